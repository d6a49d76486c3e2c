"""Another view: flip, small rotation, small crop; image, mask and boxes move together by one affine map.

The view always lies inside the image (rotation zooms in by as much as it takes), so no border has to be made up and
no label says anything of pixels that were never there. A box whose object has an outline follows the outline; a bare
box follows its corners and, rotated, becomes the upright box around them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from synthgen.randomizers.base import Interval, Randomizer, draw
from synthgen.types import Box, Image, Instance, Labels, Mask

Matrix = NDArray[np.float64]
"""(2, 3): source position (x, y, 1) in pixels, corner of the frame at 0 → position in the view."""


class Geometry(Randomizer):
    """`crop` is the share of each side that stays in view; `rotate` is in degrees, counter-clockwise."""

    moves_labels: ClassVar[bool] = True
    kind: Literal["geometry"] = "geometry"
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability of a mirror image (left and right)."""
    crop: Interval = (1.0, 1.0)
    rotate: Interval = (0.0, 0.0)
    min_visible: float = Field(default=0.25, ge=0, le=1)
    """An object of whose box less than this share stays in view loses its label."""

    @field_validator("crop")
    @classmethod
    def _share(cls, crop: tuple[float, float]) -> tuple[float, float]:
        if not 0.3 <= crop[0] <= crop[1] <= 1:
            raise ValueError(f"expected shares in 0.3..1, got {list(crop)}")
        return crop

    @field_validator("rotate")
    @classmethod
    def _small(cls, rotate: tuple[float, float]) -> tuple[float, float]:
        if not -45 <= rotate[0] <= rotate[1] <= 45:
            raise ValueError(f"expected degrees in -45..45, got {list(rotate)}")
        return rotate

    def apply(self, image: Image, labels: Labels, stream: np.random.Generator) -> tuple[Image, Labels]:
        """As `Randomizer`."""
        height, width = image.shape[:2]
        flipped = bool(stream.random() < self.flip)
        matrix = view_matrix(
            (width, height), draw(self.crop, stream), draw(self.rotate, stream), stream.random(2), flipped
        )
        moved = _warp(image, matrix, cv2.INTER_LINEAR)
        mask = (
            None
            if labels.mask is None
            else _warp(labels.mask.astype(np.float32), matrix, cv2.INTER_NEAREST).astype(np.int32)
        )
        found = (_move(one, matrix, (width, height), self.min_visible) for one in labels.instances)
        return moved.astype(np.uint8), replace(labels, mask=mask, instances=tuple(one for one in found if one))


def view_matrix(size: tuple[int, int], crop: float, degrees: float, place: NDArray[np.float64], flip: bool) -> Matrix:
    """The map from source to view: the view is the rotated rectangle of `crop` of each side, `place` (0..1, 0..1) in
    the room that is left for it, mirrored last."""
    width, height = size
    angle = np.deg2rad(degrees)
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    fits = min(width / (width * cos + height * sin), height / (width * sin + height * cos))
    side = crop * fits
    room = np.array([width - side * (width * cos + height * sin), height - side * (width * sin + height * cos)])
    centre = np.array([width, height]) / 2 + (place - 0.5) * np.maximum(room, 0)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / side
    matrix = np.hstack([turn, (np.array([width, height]) / 2 - turn @ centre)[:, None]])
    if flip:
        matrix = np.array([[-1, 0], [0, 1]]) @ matrix + np.array([[0, 0, width], [0, 0, 0]])
    return matrix


def _warp(pixels: Image | NDArray[np.float32], matrix: Matrix, how: int) -> NDArray[Any]:
    """8-bit values, or floats that hold ids below 2²⁴. OpenCV counts from a pixel's centre, boxes from its corner."""
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ np.array([0.5, 0.5]) - 0.5
    size = (pixels.shape[1], pixels.shape[0])
    return np.asarray(cv2.warpAffine(pixels, shifted, size, flags=how, borderMode=cv2.BORDER_REPLICATE))


def _move(instance: Instance, matrix: Matrix, size: tuple[int, int], min_visible: float) -> Instance | None:
    box = instance.box
    corners = np.array([[x, y, 1] for x in (box.x0, box.x1) for y in (box.y0, box.y1)])
    moved = corners @ matrix.T
    whole = Box(*moved.min(axis=0).tolist(), *moved.max(axis=0).tolist())
    seen = Box(max(whole.x0, 0), max(whole.y0, 0), min(whole.x1, size[0]), min(whole.y1, size[1]))
    if seen.width <= 0 or seen.height <= 0:
        return None
    if seen.width * seen.height < min_visible * whole.width * whole.height:
        return None
    if instance.mask is None:
        return replace(instance, box=seen, keypoints=None)
    mask: Mask = _warp(instance.mask.astype(np.uint8), matrix, cv2.INTER_NEAREST).astype(np.bool_)
    if not mask.any():
        return None
    xs, ys = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    outline = Box(float(xs[0]), float(ys[0]), float(xs[-1] + 1), float(ys[-1] + 1))
    return replace(instance, box=outline, mask=mask, polygons=(), keypoints=None)
