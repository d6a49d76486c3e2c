"""Every bar that a CPU can be held to, one command:

    python scripts/bench/cpu.py [--bars 1,2,7] [--quick] [--threads 1] [--rounds 5] [--write]

Run it on an otherwise idle machine of at least two cores; it takes about half an hour. Two ways of doing the
same take turns, models are loaded and warm before any clock starts, and the median of the paired ratios is quoted.
`--quick` shows that the command works and measures nothing. `--write` puts the answer into RESULTS.md. The exit status
is 1 if a bar was missed or could not be run.
"""

from __future__ import annotations

import argparse
import importlib
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch
from record import RESULTS, Result, measured_on, not_run, write_section
from workload import Options

BARS = {
    "1": "throughput",
    "2": "throughput",
    "3": "shortcuts",
    "4": "shortcuts",
    "5": "restarts",
    "6": "restarts",
    "7": "throughput",
    "8": "scaling",
    "9": "metrics_scaling",
}
"""Each bar N is the function `bar_N` of its module."""


def measure(number: str, options: Options) -> Result:
    """One bar; what breaks is told, and does not stop the others."""
    try:
        result: Result = getattr(importlib.import_module(BARS[number]), f"bar_{number}")(options)
    except (Exception, SystemExit) as error:
        traceback.print_exc()
        return not_run(number, "", f"it broke: {type(error).__name__}: {str(error).splitlines()[0]}")
    return result


def main(arguments: Sequence[str] | None = None, results: Path = RESULTS) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", default=",".join(BARS), help="which, with commas between them")
    parser.add_argument("--quick", action="store_true", help="2 rounds of the smallest size: a trial of the command")
    parser.add_argument("--threads", type=int, default=1, help="torch threads on both sides (the default of a run)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    chosen = parser.parse_args(arguments)
    numbers = chosen.bars.split(",")
    if unknown := [number for number in numbers if number not in BARS]:
        parser.error(f"--bars: there is no {', '.join(unknown)}; there are {', '.join(BARS)}")
    capability = torch.backends.cpu.get_cpu_capability()
    measured = measured_on(f"CPU with {capability}", chosen.threads)
    if chosen.quick:
        measured += "; --quick, which is no measurement"
    print(f"measured on: {measured}", flush=True)
    found = {number: not_run(number, "", "not asked for") for number in BARS}
    with tempfile.TemporaryDirectory(prefix="synthgen-bench-") as folder:
        for number in numbers:
            options = Options(Path(folder) / number, 2 if chosen.quick else chosen.rounds, chosen.threads, chosen.quick)
            found[number] = measure(number, options)
            print(found[number], flush=True)
    if chosen.write:
        write_section("scripts/bench/cpu.py", measured, list(found.values()), results)
    return int(any(found[number].verdict != "met" for number in numbers))


if __name__ == "__main__":
    raise SystemExit(main())
