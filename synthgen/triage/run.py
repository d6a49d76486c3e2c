"""`synthgen triage`: scan a dataset, write its register, its images' levels, a page and a proposed run.

OUT/register.json   the set: level, counts, risks, threat model, what was not looked for, recall against labels
OUT/images.jsonl    a line an image: what was found, its sizes, its level and why
OUT/triage.html     the register as a page, without a pixel of the source
OUT/proposed.yaml   the mildest staged run that the level asks for

All four name the source's files, so they are as private as the source.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from synthgen.datasets.base import Dataset, resolve_source
from synthgen.shards import write_atomic
from synthgen.triage.levels import LEVELS, Level
from synthgen.triage.looking import Looked, load_lookers
from synthgen.triage.page import render_page
from synthgen.triage.proposal import propose_config
from synthgen.triage.register import THREATS, register_record
from synthgen.triage.scan import scan
from synthgen.triage.totals import Totals
from synthgen.types import ConfigError

_SEES = {"centerface": ("face", "head"), "persons": ("person",), "plates": ("plate",), "text": ("text",)}


@dataclass(frozen=True)
class TriageOptions:
    """How to look. `detect` are detectors as YAML; `workers` threads read and look side by side."""

    detect: tuple[str, ...] = ()
    limit: int | None = None
    device: str = "cpu"
    workers: int = 2


def triage(source: Path, out: Path | None, options: TriageOptions, note: Callable[[str], None]) -> dict[str, Any]:
    """Look at every image of a dataset of any format; the register as JSON-able values. `out` gets the four files.

    Raises:
        ConfigError: no dataset there, or a detector that `options` names can't be had.
    """
    dataset = _open(source, options.limit)
    index = dataset.index()
    lookers = load_lookers(options.detect, options.device)
    for spec in lookers.specs:
        spec.check_classes(index.classes)
    kinds = frozenset(kind for spec in lookers.specs for kind in _SEES.get(spec.kind, ()))
    totals = Totals(kinds, findings=list(index.findings))
    began = time.monotonic()
    items = index.items[: options.limit]
    with _Lines(out) as lines:
        for seen in scan(dataset, items, lookers, options.workers, note):
            totals.add(seen)
            lines.write(seen.record())
    rate = totals.images / max(time.monotonic() - began, 1e-9)
    note(f"{totals.images} images, {rate:.1f}/s")
    record = _record(dataset, totals, lookers.looked)
    unsure = any(not entry.looked for entry in lookers.looked)
    record["proposed"] = propose_config(dataset, index.classes, lookers.specs, totals.level, unsure)
    if out is not None:
        write_atomic(out / "register.json", json.dumps(record, indent=1, ensure_ascii=False).encode())
        write_atomic(out / "proposed.yaml", record["proposed"].encode())
        write_atomic(out / "triage.html", render_page(record).encode())
    return record


def _open(source: Path, limit: int | None) -> Dataset:
    try:
        return resolve_source({"path": str(source), "limit": limit})
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error


class _Lines:
    """images.jsonl, line by line under a temporary name; nowhere without a folder."""

    def __init__(self, out: Path | None) -> None:
        self._final = None if out is None else out / "images.jsonl"
        self._file: TextIO | None = None

    def __enter__(self) -> _Lines:
        if self._final is not None:
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._partial = self._final.with_name(f".{self._final.name}.{os.getpid()}.tmp")
            self._file = self._partial.open("w", encoding="utf-8")
        return self

    def write(self, record: dict[str, Any]) -> None:
        """Add a line."""
        if self._file is not None:
            self._file.write(json.dumps(record, ensure_ascii=False) + "\n")

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self._file is not None and self._final is not None:
            self._file.close()
            if kind is None:
                self._partial.replace(self._final)
            else:
                self._partial.unlink(missing_ok=True)


def _record(dataset: Dataset, totals: Totals, looked: Sequence[Looked]) -> dict[str, Any]:
    missing = [entry for entry in looked if not entry.looked]
    level: Level | None = totals.level if totals.images > totals.unread else None
    return {
        "source": str(dataset.path),
        "format": dataset.format,
        "images": totals.images,
        "unread": totals.unread,
        "level": level,
        "at_least": level is not None and level != "high" and bool(missing or totals.unread),
        "levels": {name: totals.levels[name] for name in reversed(LEVELS)},
        "people": {name: totals.people[name] for name in ("people", "faces", "unlabelled", "unseen", "small")},
        "reasons": {code: vars(total) for code, total in sorted(totals.reasons.items())},
        "looked_for": [vars(entry) for entry in looked],
        "recall": totals.recall.record(),
        "risks": register_record(totals, looked),
        "threats": [{"who": who, "does": does} for who, does in THREATS],
        "findings": [vars(finding) for finding in totals.findings],
        "worst": totals.worst(),
    }


def format_triage(record: dict[str, Any], out: Path | None) -> str:
    """What `synthgen triage` prints."""
    level = "insufficient: no image could be read" if record["level"] is None else record["level"]
    lines = [f"risk     {'at least ' if record['at_least'] else ''}{level}   ({record['source']}, {record['format']})"]
    counts = ", ".join(f"{count} {name}" for name, count in record["levels"].items())
    lines.append(f"images   {record['images']}: {counts}, {record['unread']} not readable")
    people = record["people"]
    lines.append(
        f"people   {people['people']} ({people['unlabelled']} known by their head alone, {people['unseen']} without a "
        f"head found, {people['small']} too small to check); {people['faces']} faces"
    )
    for code, total in sorted(record["reasons"].items(), key=lambda pair: -LEVELS.index(pair[1]["level"])):
        largest = f", largest {total['largest']} px" if total["largest"] else ""
        lines.append(f"  {total['level']:6} {code}: {total['things']} in {total['images']} image(s){largest}")
    for entry in record["looked_for"]:
        state = (
            f"looked for by {entry['detector']} ({entry['note']})"
            if entry["looked"]
            else f"NOT LOOKED FOR: {entry['note']}"
        )
        lines.append(f"{entry['thing']}: {state}")
    for kind, sizes in record["recall"].items():
        total = sizes["all"]
        lines.append(f"recall   {kind}: {total['found']} of {total['labelled']} labelled, {_percent(total)}")
    lines += [f"  ! {finding['code']}: {finding['subject']}" for finding in record["findings"][:10]]
    if len(record["findings"]) > 10:
        lines.append(f"  ! and {len(record['findings']) - 10} more")
    where = "--out DIR writes the register, a page and a proposed run" if out is None else f"{out / 'triage.html'}"
    return "\n".join([*lines, f"register {where}"])


def _percent(entry: dict[str, Any]) -> str:
    return f"{entry['recall']:.1%} (at least {entry['at_least']:.1%})" if entry["labelled"] else "none labelled"
