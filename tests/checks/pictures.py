"""Candidates for the checks: drawn scenes, and what a run may make of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from synthgen.checks.base import Candidate
from synthgen.images import sha256
from synthgen.types import Box, Generated, Image, Item, Labels, Mask, Recipe, Region, RegionKind, Sample

SIZE = (192, 144)


def scene(seed: int, size: tuple[int, int] = SIZE) -> Image:
    """Blocks and discs of many colours with grain: no two seeds are alike."""
    random = np.random.default_rng(seed)
    image = np.full((size[1], size[0], 3), random.integers(0, 256, 3), np.uint8)
    for _ in range(40):
        colour = tuple(int(value) for value in random.integers(0, 256, 3))
        x, y, side = (int(value) for value in (*random.integers(0, size), random.integers(6, size[1] // 2)))
        if random.random() < 0.5:
            cv2.rectangle(image, (x, y), (x + side, y + side // 2), colour, -1)
        else:
            cv2.circle(image, (x, y), side // 2, colour, -1)
    return (image + random.normal(0, 6, image.shape)).clip(0, 255).astype(np.uint8)


def sample_of(image: Image, name: str = "a.png") -> Sample:
    return Sample(Item(name, Path(name)), image, Labels(), sha256(image.tobytes()))


def candidate(
    source: Image, output: Image, regions: tuple[Region, ...] = (), kept: Mask | None = None, name: str = "a.png"
) -> Candidate:
    return Candidate(sample_of(source, name), regions, kept, Generated(output, Recipe(name, 0, 0, 1, "a street")))


def region(kind: RegionKind, x0: float, y0: float, x1: float, y1: float) -> Region:
    return Region(kind, Box(x0, y0, x1, y1), 1.0, "detector")


def inside(image: Image, box: Box) -> Mask:
    mask: Mask = np.zeros(image.shape[:2], np.bool_)
    mask[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
    return mask
