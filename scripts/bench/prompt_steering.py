"""Do prompts steer? The same layouts at day and at night: mean luminance of the outputs.

    python scripts/bench/prompt_steering.py CONFIG --source DIR [--images 24]

Each layout is painted with the factor `time` fixed at each level; nothing else differs, not even the noise.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from synthgen.cli import compose
from synthgen.images import decode_image
from synthgen.launch import launch, resolve
from synthgen.rundir import RunDir


def luminances(root: Path) -> np.ndarray:
    """Mean CIE L* (0..100) of each output, in order of sample."""
    store = RunDir(root).store
    images = (
        decode_image(image.data, image.sample_id) for shard in store.shards() for image in store.stored_images(shard)
    )
    return np.array([cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[..., 0].mean() / 2.55 for image in images])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--images", type=int, default=24)
    parser.add_argument("--factor", default="time")
    parser.add_argument("--levels", nargs="+", default=["day", "night", "sunset", "fog", "overcast"])
    parser.add_argument("--set", action="append", default=[])
    arguments = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for level in arguments.levels:
            settings = [f"source.limit={arguments.images}", f"plan.fix.{arguments.factor}={level}", *arguments.set]
            resolved = resolve(compose(arguments.config, arguments.source, settings))
            launch(resolved, Path(folder) / level, lambda total, rank: None, lambda row: None)
            found[level] = luminances(Path(folder) / level)
    first = found[arguments.levels[0]]
    for level, values in found.items():
        darker = (
            ""
            if level == arguments.levels[0]
            else f", darker than {arguments.levels[0]} in {(values < first).mean():.0%}"
        )
        print(f"{level:<10} mean L* {values.mean():5.1f} (sd {values.std():.1f}, n {len(values)}){darker}")


if __name__ == "__main__":
    main()
