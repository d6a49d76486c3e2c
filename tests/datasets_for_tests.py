"""A street dataset in miniature, runs of it on a tiny pipeline, and ways to look at what they left."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PillowImage

from synthgen.config import RunConfig, parse_config
from synthgen.launch import Rank, Summary, launch, resolve
from synthgen.rundir import RunDir
from synthgen.types import ClassIds, Image, Row

REPOSITORY = Path(__file__).resolve().parents[1]
SIZE = (64, 48)
CLASSES = ("Sky", "Building", "Road", "Car", "Pedestrian")
PERSON = CLASSES.index("Pedestrian")
TABLE = "id,name,r,g,b,note\n" + "".join(
    f"{number},{name},{40 * number},{255 - 40 * number},90,\n" for number, name in enumerate(CLASSES)
)
GOOD = (
    "images/train/s0.jpg",
    "images/train/s1.png",
    "images/train/s2.jpeg",
    "images/train/s3.JPG",
    "images/val/s4.png",
    "images/val/s5.jpg",
    "images/val/tall.png",
)
BAD = {
    "images/train/broken.jpg": "image-corrupt",
    "images/val/empty.png": "image-empty",
    "images/val/other-size.png": "mask-size-mismatch",
}

DOCUMENTS = {"README.md", "croissant.json"}
"""What a release has besides the dataset."""


def street(seed: int, size: tuple[int, int] = SIZE) -> tuple[Image, ClassIds]:
    """Noisy areas of colour and their class ids: sky, a house, a road, a car, a person."""
    width, height = size
    random = np.random.default_rng(seed)
    ids = np.zeros((height, width), np.int32)
    ids[height // 4 : height // 2, : width // 2] = CLASSES.index("Building")
    ids[height // 2 :] = CLASSES.index("Road")
    ids[height // 2 : height * 3 // 4, 4 : width // 4] = CLASSES.index("Car")
    left = width // 2 + int(random.integers(0, width // 4))
    ids[height // 3 : height * 5 // 6, left : left + 7] = PERSON
    ids[height // 3 - 3 : height // 3, left + 2 : left + 5] = PERSON
    colours = random.integers(20, 236, (len(CLASSES), 3))
    image = (colours[ids] + random.integers(-20, 21, (height, width, 3))).astype(np.uint8)
    return image, ids


def write_image(path: Path, image: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(image).save(path)


def write_pair(root: Path, name: str, image: Image, ids: ClassIds) -> None:
    """`images/<split>/<stem>.<suffix>` and its label image."""
    write_image(root / name, image)
    label = (root / name.replace("images/", "labels/", 1)).with_suffix(".png")
    write_image(label, ids.astype(np.uint8))


def write_streets(root: Path, bad: bool = True, names: tuple[str, ...] = GOOD) -> Path:
    """The dataset: `GOOD` images and, with `bad`, those that must be quarantined."""
    for seed, name in enumerate(names):
        write_pair(root, name, *street(seed, SIZE[::-1] if "tall" in name else SIZE))
    if bad:
        for seed, name in enumerate(BAD, start=50):
            write_pair(root, name, *street(seed))
        buffer = io.BytesIO()
        PillowImage.fromarray(street(50)[0]).save(buffer, "JPEG")
        (root / "images/train/broken.jpg").write_bytes(buffer.getvalue()[:-300])
        (root / "images/val/empty.png").write_bytes(b"")
        write_image(root / "labels/val/other-size.png", np.zeros((24, 32), np.uint8))
    (root / "classes.csv").write_text(TABLE)
    return root


def config_value(source: Path, sd: Path, /, **changes: Any) -> dict[str, Any]:
    """A whole config over `source` with the tiny pipeline in `sd`; `changes` replace top-level keys."""
    value: dict[str, Any] = {
        "name": "test",
        "names": "keep",
        "device": "cpu",
        "source": {"format": "masks", "path": str(source)},
        "detect": ["labels"],
        "extract": ["canny", {"kind": "segmentation", "palette": "starter", "model": None}],
        "protect": ["edges", "silhouette"],
        "plan": {"prompts": "street"},
        "generate": {
            "kind": "sd",
            "model": str(sd / "base"),
            "controlnets": [
                {"map": "canny", "model": str(sd / "canny")},
                {"map": "segmentation", "model": str(sd / "seg")},
            ],
            "sizes": [[64, 48], [48, 64]],
            "batch_size": 2,
            "steps": 2,
        },
        "check": [{"kind": "quality", "min_std": 0, "max_clipped": 1}],
        "execution": {"shard_size": 3},
    }
    return value | changes


def people_value(source: Path, sd: Path, /, **changes: Any) -> dict[str, Any]:
    return config_value(source, sd, mode="people", protect=["edges", "silhouette", "canvas"], **changes)


def parsed(value: dict[str, Any]) -> RunConfig:
    return parse_config(value, "test.yaml")


def run(value: dict[str, Any], out: Path, on_row: Callable[[Row], None] = lambda row: None) -> Summary:
    """The run of a config in this process."""

    def on_start(total: int, rank: Rank) -> None:
        pass

    summary = launch(resolve(parsed(value)), out, on_start, on_row)
    assert summary is not None
    return summary


def rows(out: Path) -> dict[tuple[str, int], Row]:
    return {(row.sample_id, row.variant): row for row in RunDir(out).store.rows()}


def tree(root: Path) -> dict[str, bytes]:
    """Every file below `root`, hidden ones too."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def open_image(path: Path) -> Image:
    return np.array(PillowImage.open(path).convert("RGB"))


def environment() -> dict[str, str]:
    """For a subprocess: the package from this checkout, one thread, no network."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), check=False, timeout=300)
