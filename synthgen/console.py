"""What the command line prints: results to standard output, progress and errors to standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from synthgen.launch import Rank, Summary
from synthgen.types import Row

LINE_SECONDS = 15.0
"""How often progress is a line where there is no terminal."""


def say(text: str) -> None:
    """Print a result."""
    print(text, flush=True)


def note(text: str) -> None:
    """Print what is being done."""
    print(text, file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Print an error."""
    print(f"error: {message}", file=sys.stderr, flush=True)


class Progress:
    """Counts outputs: a bar with rate and time left on a terminal, a line now and then elsewhere."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bar: RichProgress | None = None
        self._total = self._done = self._rejected = 0
        self._began = self._printed = time.monotonic()
        self._rank = Rank()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif kind is None and not self._quiet and self._total:
            self._line()

    def start(self, total: int, rank: Rank) -> None:
        """Hear how many outputs this rank has to make; a further round adds to them."""
        if self._total:
            self._total += total
            if self._bar is not None:
                self._bar.update(self._bar.task_ids[0], total=self._total)
            return
        self._total, self._rank = total, rank
        self._began = self._printed = time.monotonic()
        terminal = Console(stderr=True)
        if terminal.is_terminal and not self._quiet and total and rank.first:
            columns = ("{task.description}", "{task.fields[rate]}", "{task.fields[rejected]}")
            texts = [TextColumn(column) for column in columns]
            self._bar = RichProgress(
                texts[0], BarColumn(), MofNCompleteColumn(), *texts[1:], TimeRemainingColumn(), console=terminal
            )
            label = "generating" if rank.count == 1 else f"generating (rank 1 of {rank.count})"
            self._bar.add_task(label, total=total, rate="", rejected="")
            self._bar.start()

    def advance(self, row: Row) -> None:
        """Hear of one finished output."""
        self._done += 1
        self._rejected += row.verdict != "accepted"
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        if self._bar is not None:
            rejected = f"{self._rejected} quarantined" if self._rejected else ""
            self._bar.update(self._bar.task_ids[0], completed=self._done, rate=f"{rate:.2f}/s", rejected=rejected)
        elif not self._quiet and time.monotonic() - self._printed > LINE_SECONDS:
            self._line()

    def _line(self) -> None:
        self._printed = time.monotonic()
        rate = self._done / max(self._printed - self._began, 1e-9)
        left = (self._total - self._done) / rate if rate else float("inf")
        where = "" if self._rank.count == 1 else f"rank {self._rank.index}: "
        counts = f"{self._done}/{self._total} outputs, {rate:.2f}/s, {self._rejected} quarantined"
        print(f"{where}{counts}, {left:.0f} s left", file=sys.stderr, flush=True)


def summary_record(summary: Summary) -> dict[str, Any]:
    """A summary as JSON-able values."""
    return {
        "run": str(summary.root),
        "run_id": summary.run_id,
        "accepted": summary.accepted,
        "quarantined": summary.quarantined,
        "targets": summary.targets,
        "stages": summary.stages,
        "release": str(summary.root / "release"),
    }


def format_summary(summary: Summary) -> str:
    """What `synthgen run` ends with."""
    lines = [f"run {summary.run_id}: {summary.accepted} accepted, {sum(summary.quarantined.values())} quarantined"]
    lines += [f"  {count} × {code}" for code, count in sorted(summary.quarantined.items())]
    lines += [f"stage    {title}: released {count}" for title, count in summary.stages.items()]
    lines += [f"target   {name}: {distance:.3f} total variation" for name, distance in summary.targets.items()]
    lines += [
        f"release  {summary.root / 'release'}   the replacement dataset",
        f"private  {summary.root / 'private'}   ledger, key, control maps: never leaves",
        f"look     synthgen show {summary.root}",
    ]
    return "\n".join(lines)


def format_status(record: Mapping[str, Any]) -> str:
    """What `synthgen status` prints."""
    rejected = sum(record["quarantined"].values())
    lines = [
        f"run {record['run_id']} ({record['name']}): {record['shards_done']} of {record['shards']} shards done",
        f"accepted {record['accepted']}, quarantined {rejected}, of {record['outputs']} outputs",
    ]
    lines += [f"  {count} × {code}" for code, count in sorted(record["quarantined"].items())]
    lines += [f"stage {title}: released {count}" for title, count in record["stages"].items()]
    if record["rate"]:
        lines.append(f"rate {record['rate']:.2f} outputs/s, {record['seconds_left']:.0f} s left at that rate")
    lines.append("release is written" if record["released"] else "release is not written yet")
    return "\n".join(lines)


def format_check(description: Mapping[str, Any]) -> str:
    """What `synthgen check` prints."""
    lines = [description["config"].rstrip(), ""]
    lines.append(f"run id   {description['run_id'] or '(needs the source and the weights)'}")
    source = description["source"]
    lines.append(f"source   {source['text']}")
    lines += [f"  ! {finding}" for finding in source["findings"]]
    lines.append("weights")
    for weights in description["weights"]:
        lines.append(f"  {weights['ref']}  {weights['state']}  licence: {weights['licence'] or 'not stated'}")
    lines.append("stages")
    lines += [f"  {line}" for line in description["stages"]]
    lines.append("plan")
    lines += [f"  {line}" for line in description["plan"]]
    lines.append(f"cost     {description['cost']}")
    return "\n".join(lines)
