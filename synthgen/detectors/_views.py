"""How a detector looks at an image of any size: whole, and in tiles where whole means too small to see.

One view is looked at at a time, so memory is bounded by the tile and not by the image. What several views saw of one
thing is merged so that no pixel of it is uncovered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.types import Image

Floats = NDArray[np.float32]
SAME_IOU = 0.3
SAME_INSIDE = 0.8
"""Two boxes are one thing if they overlap by this IoU, or if this share of the smaller one lies in the other (a thing
cut by the border of a tile)."""


@dataclass(frozen=True)
class View:
    """A part of an image to look at: x0 <= x < x1, y0 <= y < y1 in pixels, seen `zoom` times as large."""

    x0: int
    y0: int
    x1: int
    y1: int
    zoom: float

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels as seen."""
        return max(1, round((self.x1 - self.x0) * self.zoom)), max(1, round((self.y1 - self.y0) * self.zoom))


def plan_views(size: tuple[int, int], min_side: int, tile: int, overlap: float, zoom: float) -> list[View]:
    """The views of an image of (width, height) that together show small things and large ones.

    First the whole image, its longer side brought into `min_side` … `tile`. Where that shows less than `zoom` pixels
    for a pixel, tiles follow that show `zoom`, each at most `tile` pixels of the network's input; they share at least
    `overlap` of their side, so a thing no larger than that is whole in one of them.
    """
    width, height = size
    longer = max(size)
    whole = min(max(longer, min_side), tile) / longer
    views = [View(0, 0, width, height, whole)]
    if whole < zoom:
        side = int(tile / zoom)
        views += [
            View(x, y, min(x + side, width), min(y + side, height), zoom)
            for y in _tile_starts(height, side, overlap)
            for x in _tile_starts(width, side, overlap)
        ]
    return views


def _tile_starts(length: int, side: int, overlap: float) -> list[int]:
    """Evenly spread starts of the fewest tiles that cover `length` and share at least `overlap` of their side."""
    if length <= side:
        return [0]
    count = math.ceil((length - side) / (side - math.ceil(side * overlap))) + 1
    return [index * (length - side) // (count - 1) for index in range(count)]


def crop_view(image: Image, view: View) -> Image:
    """The pixels of a view at its zoom: area-averaged when smaller, bilinear when larger."""
    crop = image[view.y0 : view.y1, view.x0 : view.x1]
    if view.zoom == 1.0:
        return crop
    interpolation = cv2.INTER_AREA if view.zoom < 1 else cv2.INTER_LINEAR
    return cv2.resize(crop, view.size, interpolation=interpolation).astype(np.uint8)


def to_image(boxes: Floats, view: View) -> Floats:
    """Rows x0, y0, x1, y1, … in pixels of a view as seen → in pixels of its image."""
    moved = boxes.copy()
    moved[:, :4] = boxes[:, :4] / view.zoom + (view.x0, view.y0, view.x0, view.y0)
    return moved


def merge_boxes(boxes: Floats, join: bool) -> Floats:
    """One row a thing, the surest first.

    Args:
        boxes: (n, 5), x0, y0, x1, y1, score.
        join: a row that gives way enlarges the row it gives way to, so that merging views never uncovers a pixel;
            without, it is dropped (plain non-maximum suppression, for the neighbouring cells of one view).
    """
    left = boxes[np.lexsort((boxes[:, 0], boxes[:, 1], -boxes[:, 4]))]
    kept = []
    while len(left):
        best = left[0].copy()
        sides = np.minimum(left[:, 2:4], best[2:4]) - np.maximum(left[:, :2], best[:2])
        shared = np.clip(sides, 0, None).prod(axis=1)
        areas = (left[:, 2:4] - left[:, :2]).prod(axis=1)
        same = (shared >= SAME_IOU * (areas + areas[0] - shared)) | (
            shared >= SAME_INSIDE * np.minimum(areas, areas[0])
        )
        same[0] = True
        if join:
            best[:2], best[2:4] = left[same, :2].min(axis=0), left[same, 2:4].max(axis=0)
        kept.append(best)
        left = left[~same]
    return np.array(kept, dtype=np.float32).reshape(-1, 5)
