"""How CenterFace is fed and read: freeing the fixed shape of its ONNX file, tiles, decoding, merging.

The network (Xu et al. 2020, "CenterFace: Joint Face Detection and Alignment Using Face as Point", arXiv 1911.03599)
takes RGB 0..255, sides a multiple of 32, and returns at a quarter of the size: a heat map of face centres, the log
size of each face in units of 4 px, and the offset of its centre within the cell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.types import Image

Floats = NDArray[np.float32]
STRIDE = 4
SIDE_MULTIPLE = 32
INPUT = "input.1"
OUTPUTS = {"heat": "537", "scale": "538", "offset": "539"}
SHAPES = {
    INPUT: (10, 3, 32, 32),
    "537": (10, 1, 8, 8),
    "538": (10, 2, 8, 8),
    "539": (10, 2, 8, 8),
    "540": (10, 10, 8, 8),
}
"""The shapes that the file fixes its input and outputs to, though the network takes any."""
SAME_FACE_IOU = 0.3
SAME_FACE_INSIDE = 0.8
"""Two boxes are one face if they overlap by this IoU, or if this share of the smaller one lies in the other (a face
cut by the border of a tile)."""


def free_shapes(model: bytes) -> bytes:
    """The ONNX file with batch, height and width of its input and outputs left open.

    A dimension is the protobuf message `0a 02 | 08 n` (field 1, `dim_value` = n). Replacing its two bytes by `1a 00`
    (field 3, an empty `denotation`) keeps every length and makes the dimension unknown, so the `onnx` package is not
    needed.

    Raises:
        ValueError: the file does not declare these shapes exactly once each.
    """
    for name, shape in SHAPES.items():
        declared = bytes([0x0A, len(name), *name.encode(), 0x12, 0x16, 0x0A, 0x14, 0x08, 0x01, 0x12, 0x10])
        fixed = declared + b"".join(bytes([0x0A, 0x02, 0x08, size]) for size in shape)
        freed = declared + b"".join(
            bytes([0x0A, 0x02, 0x08, size] if axis == 1 else [0x0A, 0x02, 0x1A, 0x00])
            for axis, size in enumerate(shape)
        )
        if model.count(fixed) != 1:
            raise ValueError(f"the tensor {name} is not declared with the shape {shape}")
        model = model.replace(fixed, freed)
    return model


@dataclass(frozen=True)
class View:
    """A part of an image to look at: x0 <= x < x1, y0 <= y < y1 in pixels, seen `zoom` times as large."""

    x0: int
    y0: int
    x1: int
    y1: int
    zoom: float


def plan_views(size: tuple[int, int], min_side: int, tile: int, overlap: float, zoom: float) -> list[View]:
    """The views of an image of (width, height) that together show small faces and large ones.

    First the whole image, its longer side brought into `min_side` … `tile`. Where that shows less than `zoom` pixels
    for a pixel, tiles follow that show `zoom`, each at most `tile` pixels of the network's input; they share at least
    `overlap` of their side, so a face no larger than that is whole in one of them.
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


def render_view(image: Image, view: View) -> Floats:
    """The view as the network's input, (1, 3, height, width), 0..255, black to the right and below up to a multiple
    of 32."""
    crop: NDArray = image[view.y0 : view.y1, view.x0 : view.x1]
    width, height = (max(1, round(side * view.zoom)) for side in (view.x1 - view.x0, view.y1 - view.y0))
    if view.zoom != 1.0:
        crop = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if view.zoom < 1 else cv2.INTER_LINEAR)
    rows, columns = (math.ceil(side / SIDE_MULTIPLE) * SIDE_MULTIPLE for side in (height, width))
    padded = np.zeros((1, 3, rows, columns), np.float32)
    padded[0, :, :height, :width] = crop.transpose(2, 0, 1)
    return padded


def decode_faces(heat: Floats, scale: Floats, offset: Floats, threshold: float) -> Floats:
    """Every cell of the heat map above `threshold` as a row x0, y0, x1, y1, score, in pixels of the network's input."""
    rows, columns = np.nonzero(heat[0, 0] > threshold)
    height, width = np.exp(scale[0][:, rows, columns]) * STRIDE
    y = (rows + offset[0, 0, rows, columns] + 0.5) * STRIDE
    x = (columns + offset[0, 1, rows, columns] + 0.5) * STRIDE
    faces = [x - width / 2, y - height / 2, x + width / 2, y + height / 2, heat[0, 0, rows, columns]]
    return np.stack(faces, axis=1).astype(np.float32)


def merge_faces(faces: Floats, join: bool) -> Floats:
    """One row a face, the surest first.

    Args:
        faces: (n, 5), x0, y0, x1, y1, score.
        join: a row that gives way enlarges the row it gives way to, so that merging views never uncovers a pixel;
            without, it is dropped (plain non-maximum suppression, for the neighbouring cells of one view).
    """
    left = faces[np.lexsort((faces[:, 0], faces[:, 1], -faces[:, 4]))]
    kept = []
    while len(left):
        best = left[0].copy()
        sides = np.minimum(left[:, 2:4], best[2:4]) - np.maximum(left[:, :2], best[:2])
        shared = np.clip(sides, 0, None).prod(axis=1)
        areas = (left[:, 2:4] - left[:, :2]).prod(axis=1)
        same = (shared >= SAME_FACE_IOU * (areas + areas[0] - shared)) | (
            shared >= SAME_FACE_INSIDE * np.minimum(areas, areas[0])
        )
        same[0] = True
        if join:
            best[:2], best[2:4] = left[same, :2].min(axis=0), left[same, 2:4].max(axis=0)
        kept.append(best)
        left = left[~same]
    return np.array(kept, dtype=np.float32).reshape(-1, 5)
