"""A set that a small network learns in seconds, runs of it by a classic method, and damage to their labels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PIL

from synthgen.config import parse_config
from synthgen.launch import launch, resolve
from synthgen.types import ClassIds, Image
from synthgen.utility.spec import UtilitySpec
from tests.datasets_for_tests import write_pair

CLASSES = ("ground", "box", "disc", "bar")
TABLE = "id,name,note\n" + "".join(f"{number},{name},\n" for number, name in enumerate(CLASSES)) + "9,void,ignore\n"
SIZE = (64, 48)
SHIFT = 20
TRAIN, TEST = 24, 24


def shapes(seed: int) -> tuple[Image, ClassIds]:
    """Some of a reddish box, a greenish disc and a bluish bar on noisy ground."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    ids = np.zeros((height, width), np.int32)
    y, x = np.mgrid[:height, :width]
    there = rng.random(3) < 0.7
    if there[0]:
        left, top = rng.integers(2, 36), rng.integers(2, 26)
        ids[top : top + 16, left : left + 20] = 1
    if there[1]:
        ids[(x - rng.integers(14, 50)) ** 2 + (y - rng.integers(12, 36)) ** 2 < 100] = 2
    if there[2]:
        top = rng.integers(2, 40)
        ids[top : top + 6] = 3
    colours = np.array([[120, 120, 120], [190, 80, 80], [80, 180, 80], [70, 80, 190]]) + rng.integers(-25, 26, (4, 3))
    return np.clip(colours[ids] + rng.normal(0, 14, (height, width, 3)), 0, 255).astype(np.uint8), ids


def write_shapes(root: Path) -> Path:
    """Image + mask folders with the splits train and test."""
    for split, first, count in (("train", 0, TRAIN), ("test", 1000, TEST)):
        for number in range(count):
            write_pair(root, f"images/{split}/{split}{chr(97 + number)}.png", *shapes(first + number))
    (root / "classes.csv").write_text(TABLE)
    return root


def write_run(
    folder: Path, out: Path, amount: float = 0.1, source: dict[str, Any] | None = None, source_format: str = "masks"
) -> Path:
    """A finished run over whole pictures: colours change by `amount`, labels stay."""
    value = {
        "source": source or {"path": str(folder), "format": source_format},
        "names": "keep",
        "protect": [{"kind": "color", "region": "all", "amount": amount}],
        "generate": {"kind": "none"},
    }
    assert launch(resolve(parse_config(value, "test")), out, lambda total, rank: None, lambda row: None) is not None
    return out


def damaged(run: Path, out: Path) -> Path:
    """A copy of a run in whose training labels everything lies 20 px to the right, and boxes and discs are swapped."""
    shutil.copytree(run, out)
    for path in sorted((out / "release/labels/train").iterdir()):
        ids = np.array(PIL.open(path))
        moved = np.roll(ids, SHIFT, axis=1)
        PIL.fromarray(np.array([0, 2, 1, 3, *[9] * 6], np.uint8)[moved]).save(path)
    return out


def spec_value(source_folder: Path, **changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = {
        "source": {"path": str(source_folder), "format": "masks"},
        "models": [
            {"name": "unet", "kind": "convnet", "task": "segmentation", "width": 8, "depth": 1, "learning_rate": 0.02},
            {"name": "classes", "kind": "convnet", "task": "classes", "width": 4, "depth": 1, "learning_rate": 0.02},
        ],
        "size": [32, 24],
        "steps": 60,
        "variants": 1,
        "bootstraps": 200,
        "margin": 0.05,
        "device": "cpu",
    }
    return value | changes


def spec(source_folder: Path, **changes: Any) -> UtilitySpec:
    return UtilitySpec.model_validate(spec_value(source_folder, **changes))
