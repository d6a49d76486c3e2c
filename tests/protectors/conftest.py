"""Stand-ins for the extractors: what a map of each kind looks like, from real filters on synthetic pixels."""

from __future__ import annotations

import cv2
import numpy as np

from synthgen.palettes import load_palette
from synthgen.types import Box, ClassIds, ControlMap, Image, Mask, Region, SourceMaps


def extract(image: Image, ids: ClassIds) -> SourceMaps:
    """Canny, a soft edge map with a wide support, depth (a blur: support everywhere near), segmentation, canvas."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    soft = np.abs(cv2.Laplacian(cv2.GaussianBlur(grey, (0, 0), 3), cv2.CV_32F, ksize=5)).clip(0, 255).astype(np.uint8)
    layers = {"canny": cv2.Canny(grey, 60, 120), "hed": soft, "lineart": 255 - grey, "depth": cv2.blur(grey, (15, 15))}
    maps = {kind: ControlMap(kind, np.repeat(layer[..., None], 3, axis=2)) for kind, layer in layers.items()}
    palette = load_palette("starter")
    maps["segmentation"] = ControlMap("segmentation", palette.paint(ids), ids, palette.names)
    return SourceMaps(maps, canvas=image)


def same(first: SourceMaps, second: SourceMaps) -> bool:
    """Byte for byte: every map, its ids and names, the canvas and the hole."""
    pairs = [(first.canvas, second.canvas), (first.hole, second.hole)]
    for kind in {*first.maps, *second.maps}:
        if kind not in first.maps or kind not in second.maps or first.maps[kind].names != second.maps[kind].names:
            return False
        pairs += [(first.maps[kind].image, second.maps[kind].image), (first.maps[kind].ids, second.maps[kind].ids)]
    return all((a is None) == (b is None) and (a is None or np.array_equal(a, b)) for a, b in pairs)


def random_regions(rng: np.random.Generator, size: tuple[int, int], count: int) -> tuple[Region, ...]:
    """Boxes and masks, also one pixel large, overlapping, across the border and outside."""
    width, height = size
    regions = []
    for index in range(count):
        x0, y0 = float(rng.integers(-8, width + 4)), float(rng.integers(-8, height + 4))
        x1, y1 = x0 + float(rng.integers(1, width // 2)), y0 + float(rng.integers(1, height // 2))
        box = Box(x0, y0, x1, y1)
        mask: Mask | None = None
        if index % 2:
            mask = np.zeros((height, width), dtype=bool)
            mask[max(int(y0), 0) : max(int(y1), 0), max(int(x0), 0) : max(int(x1), 0)] = True
            mask &= rng.random((height, width)) < 0.7
        regions.append(Region(("person", "face", "head")[index % 3], box, 0.9, "detector", mask))
    return tuple(regions)
