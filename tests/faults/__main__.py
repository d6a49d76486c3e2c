"""`python -m tests.faults` provokes every fault and prints the table; exit status 1 if one was not as expected."""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from tests.faults.lab import Lab
from tests.faults.table import FAULTS, table
from tests.generators import tiny


def main() -> int:
    torch.set_num_threads(1)
    unexpected = 0
    print(f"{'no':>3} {'':2} {'input':42} {'expected':34} got")
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder) / "lab", tiny.save_sd(Path(folder) / "sd"))
        for fault, got, held in table(lab):
            mark = "ok" if held else "--" if got.startswith("skipped") else "!!"
            unexpected += mark == "!!"
            print(
                f"{fault.number:3} {mark} {fault.input:42} {fault.expected:34} {' '.join(got.split())[:200]}",
                flush=True,
            )
    print(f"{len(FAULTS)} faults, {unexpected} not as expected")
    return int(unexpected > 0)


if __name__ == "__main__":
    raise SystemExit(main())
