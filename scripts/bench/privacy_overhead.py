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
import tempfile
from pathlib import Path

import torch
from record import ratios, take_turns
from workload import Folders, load, make_photos, run_seconds

BAR = 1.35
"""At most 35 % on top."""


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
        run_seconds(private, folder / "warm-private"), run_seconds(bare, folder / "warm-bare")
        folders = Folders(folder / "runs")
        rounds = take_turns(
            arguments.rounds,
            lambda: run_seconds(private, folders.new()),
            lambda: run_seconds(bare, folders.new()),
        )
        for number, (with_it, without) in enumerate(rounds):
            print(f"round {number}: with {with_it:.2f} s, without {without:.2f} s, {with_it / without:.3f}")
        found = ratios(rounds)
        detectors = ", ".join(spec.kind for spec in private.config.detect)
        print(
            f"detectors {detectors}; identity gates {', '.join(gates) or 'none'}; {torch.get_num_threads()} thread(s)"
        )
        verdict = "within" if found.median <= BAR else "above"
        print(f"with / without = {found}, {len(private.items)} images: {verdict} the bar of {BAR}")


if __name__ == "__main__":
    main()
