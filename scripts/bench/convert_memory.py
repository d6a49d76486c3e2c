"""Does memory grow with the number of images? Peak RSS of `synthgen convert` on a small and a large set, by format.

Sets of tiny drawn images with masks and objects are written in a scratch folder; each conversion is a process of its
own, and the ratio of its peak to that of the small set is printed. 1.00 is no growth.

    python scripts/bench/convert_memory.py --sizes 200 2000
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("masks", "cityscapes", "voc", "panoptic", "coco", "yolo", "hf", "webdataset")
SIZE = (64, 48)


def write_set(root: Path, count: int) -> Path:
    """Images with a mask of three classes each."""
    for folder in ("images", "labels"):
        (root / folder / "train").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        ids = np.zeros(SIZE[::-1], np.uint8)
        ids[20:] = 1
        x, y = int(rng.integers(0, 48)), int(rng.integers(16, 36))
        ids[y : y + 10, x : x + 14] = 2
        pixels = (ids[:, :, None] * 80 + rng.integers(0, 60, (*ids.shape, 3))).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"images/train/{number:06}.png")
        Image.fromarray(ids).save(root / f"labels/train/{number:06}.png")
    (root / "classes.csv").write_text("id,name,note\n0,sky,\n1,road,\n2,car,\n3,void,ignore\n")
    return root


def peak(arguments: list[str]) -> float:
    """MiB of resident memory at most that a run of the command line took."""
    process = subprocess.Popen([sys.executable, "-m", "synthgen", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"synthgen {' '.join(arguments)} ended with {status}")
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs=2, default=(200, 2000))
    parser.add_argument("--formats", nargs="+", default=FORMATS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sets = [write_set(Path(scratch) / f"set-{size}", size) for size in arguments.sizes]
        print(f"{'format':<12}{arguments.sizes[0]:>8}{arguments.sizes[1]:>8} images, MiB{'ratio':>8}")
        for form in arguments.formats:
            few, many = (peak(["convert", str(one), f"{one}-{form}", "--format", form]) for one in sets)
            print(f"{form:<12}{few:>8.0f}{many:>8.0f}{'':>13}{many / few:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
