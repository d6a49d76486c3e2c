"""What a person sees of a training: a bar with rate and time left on a terminal, a plain line elsewhere; JSON lines."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from torch import Tensor


class Progress:
    """Means of the metrics over `every` steps, to `metrics` (one JSON object a line) and to the console.

    `enabled` False (the other ranks) does nothing at all.
    """

    def __init__(self, total: int, made: int, metrics: Path, every: int, enabled: bool = True) -> None:
        self.total, self.every, self.enabled, self.path = total, every, enabled, metrics
        self.seen: dict[str, list[Tensor | float]] = defaultdict(list)
        self.since, self.at = made, time.monotonic()
        self.console = Console(stderr=True)
        self.bar: Bar | None = None
        self.file: IO[str] | None = None

    def __enter__(self) -> Progress:
        if self.enabled:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("a", encoding="utf-8")
            if self.console.is_terminal:
                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn())
                self.bar = Bar(*columns, TimeRemainingColumn(), console=self.console)
                self.bar.start()
                self.task = self.bar.add_task("training", total=self.total, completed=self.since)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        if self.file is not None:
            self.file.close()

    def advance(self, made: int, metrics: Mapping[str, Tensor | float]) -> None:
        """Count one step; `made` is the number of steps made in all. Scalars on a device are read when they are due."""
        if self.file is None:
            return
        for name, value in metrics.items():
            self.seen[name].append(value)
        if self.bar is not None:
            self.bar.update(self.task, completed=made)
        if made % self.every and made != self.total:
            return
        means = {name: sum(map(float, values)) / len(values) for name, values in self.seen.items()}
        rate = (made - self.since) / max(time.monotonic() - self.at, 1e-9)
        self.file.write(json.dumps({"step": made, **means, "steps_per_second": rate}) + "\n")
        self.file.flush()
        shown = " ".join(f"{name} {value:.4g}" for name, value in means.items())
        if self.bar is not None:
            self.bar.update(self.task, description=f"{shown} {rate:.2f}/s")
        else:
            left = (self.total - made) / max(rate, 1e-9)
            self.console.print(
                f"{made}/{self.total} {shown} · {rate:.2f} steps/s, {_duration(left)} left", highlight=False
            )
        self.seen.clear()
        self.since, self.at = made, time.monotonic()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
