"""What privacy costs: detection, protection and the identity gate, beside the generator, as a share of a run's time.

A: the run as configured. B: the same without detectors, protectors and the checks that look for identities. Both make
the same number of outputs in one stage and one attempt, so B is what generation alone would take. Models are loaded
before the clock starts; A and B take turns, and the median of the paired ratios A / B is quoted beside the bar of 1.35.
Run it on an otherwise idle machine with as many torch threads as it has cores left:

    python scripts/bench/privacy_overhead.py [--config FILE] [--source DIR] [--images 24] [--rounds 5] [--check LIST]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from overhead import make_photos

from synthgen.cli import compose
from synthgen.launch import Rank, load_job, resolve
from synthgen.pipeline import Job, process_shard
from synthgen.rundir import RunDir
from synthgen.shards import Shard

BAR = 1.35
"""At most 35 % on top."""


def load(config: Path, source: Path, settings: list[str], folder: Path) -> Job:
    """Everything of a run, loaded."""
    resolved = resolve(compose(config, source, settings))
    run = RunDir(folder)
    run.make_folders()
    return load_job(resolved, run, Rank(), lambda row: None)


def seconds(job: Job, folder: Path) -> float:
    """How long one shard of all samples takes."""
    began = time.perf_counter()
    process_shard(replace(job, store=RunDir(folder).store), Shard("bench", tuple(job.items)))
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=Path(__file__).parents[2] / "configs/starter.yaml")
    parser.add_argument("--source", type=Path)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", default="[quality, {kind: identity, recognizer: dlib}]")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = arguments.source
        if source is None:
            source = folder / "photos"
            make_photos(source, arguments.images)
        common = [
            f"source.limit={arguments.images}",
            "attempts=1",
            "stages=[]",
            f"check={arguments.check}",
            *arguments.settings,
        ]
        private = load(arguments.config, source, common, folder / "private")
        plain_checks = json.dumps([spec.model_dump(mode="json") for spec in private.config.check if not spec.escalates])
        bare = load(
            arguments.config, source, [*common, "detect=[]", "protect=[]", f"check={plain_checks}"], folder / "bare"
        )
        gates = [spec.kind for spec in private.config.check if spec.escalates]
        seconds(private, folder / "warm-private"), seconds(bare, folder / "warm-bare")
        ratios = []
        for number in range(arguments.rounds):
            order = (bare, private) if number % 2 else (private, bare)
            times = {id(job): seconds(job, folder / f"{number}-{place}") for place, job in enumerate(order)}
            ratios.append(times[id(private)] / times[id(bare)])
            print(f"round {number}: with {times[id(private)]:.2f} s, without {times[id(bare)]:.2f} s, {ratios[-1]:.3f}")
        detectors = ", ".join(spec.kind for spec in private.config.detect)
        print(
            f"detectors {detectors}; identity gates {', '.join(gates) or 'none'}; {torch.get_num_threads()} thread(s)"
        )
        verdict = "within" if statistics.median(ratios) <= BAR else "above"
        spread = f"min {min(ratios):.3f}, max {max(ratios):.3f}, {len(private.items)} images"
        print(f"with / without = {statistics.median(ratios):.3f} ({spread}): {verdict} the bar of {BAR}")


if __name__ == "__main__":
    main()
