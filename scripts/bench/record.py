"""What a measurement says and how it is written down: a bar, its figures, and what they were measured on.

Two ways of doing the same are compared by paired ratios: they take turns, so that a machine that grows warm or busy
slows both, and the median of the ratios is quoted with the least and the greatest.
"""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

RESULTS = Path(__file__).with_name("RESULTS.md")
LIBRARIES = ("torch", "diffusers", "transformers", "accelerate", "numpy", "opencv-python-headless", "pillow", "prdc")
OPENING = """# What was measured

Each part is written by the command in its heading and by nothing else; the bars are those of the design.
"""


@dataclass(frozen=True)
class Result:
    """One line of the answer. `figures` says what came out, `bar` what was asked, `how` on what it was measured."""

    number: str
    how: str
    figures: str
    bar: str
    verdict: Literal["met", "missed", "not run"]

    def __str__(self) -> str:
        return f"bar {self.number}: {self.verdict}\n  {self.how}\n  {self.figures}\n  asked: {self.bar}"


def judged(number: str, how: str, figures: str, bar: str, met: bool) -> Result:
    """A result that was measured."""
    return Result(number, how, figures, bar, "met" if met else "missed")


def not_run(number: str, bar: str, why: str) -> Result:
    """A result that was not measured, and why."""
    return Result(number, "", why, bar, "not run")


@dataclass(frozen=True)
class Ratios:
    """One number a round, each from what was measured side by side in it."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of all rounds."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        spread = f"min {min(self.values):.3f}, max {max(self.values):.3f}"
        return f"{self.median:.3f} (median of {len(self.values)} rounds; {spread})"


def take_turns(rounds: int, *ways: Callable[[], float]) -> list[tuple[float, ...]]:
    """The seconds that each way tells of itself, round by round; every second round in reverse order."""
    found = []
    for number in range(rounds):
        order = range(len(ways)) if number % 2 == 0 else reversed(range(len(ways)))
        seconds = {place: ways[place]() for place in order}
        found.append(tuple(seconds[place] for place in range(len(ways))))
    return found


def ratios(rounds: Sequence[tuple[float, ...]], over: int = 0, under: int = 1) -> Ratios:
    """Of two of the ways, round by round."""
    return Ratios(tuple(seconds[over] / seconds[under] for seconds in rounds))


def measured_on(device: str, threads: int | None = None) -> str:
    """The kind of device, its cores and the versions of the libraries; neither a machine's name nor a path."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    busy = f"load average {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"
    parts = [device, f"{cores} cores", platform.machine(), platform.system(), f"Python {platform.python_version()}"]
    if threads is not None:
        parts.insert(2, f"{threads} torch thread(s) a process")
    return ", ".join([*parts, *(f"{name} {_version(name)}" for name in LIBRARIES), f"{busy} at the start"])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def write_section(heading: str, measured: str, results: Sequence[Result], path: Path = RESULTS) -> None:
    """Put the results into their part of the file; the other parts stay as they are."""
    text = path.read_text(encoding="utf-8") if path.is_file() else OPENING
    rows = [
        "| " + " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in row) + " |"
        for row in (
            ("bar", "", "asked", "figures", "measured"),
            ("---",) * 5,
            *((one.number, one.verdict, one.bar, one.figures, one.how) for one in results),
        )
    ]
    section = "\n".join([f"## `{heading}`", "", f"Measured on: {measured}.", "", *rows, ""])
    found = re.search(rf"^## `{re.escape(heading.split()[0])}[^\n]*\n.*?(?=^## |\Z)", text, re.M | re.S)
    before, after = (text[: found.start()], text[found.end() :]) if found else (f"{text.rstrip()}\n\n", "")
    path.write_text(before + section + after, encoding="utf-8")
