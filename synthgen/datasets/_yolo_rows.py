"""One row of a YOLO label file: a class number, then a box, a box with keypoints, or a polygon, as shares of the image.

`class x y width height` (centre and size), with `kpt_shape` in the YAML followed by `x y [visibility]` a keypoint, or
`class x1 y1 x2 y2 x3 y3 …`. Shares are of the image as it is shown: Ultralytics reads images with EXIF applied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from synthgen.datasets._coco_shapes import parse_box, parse_polygon
from synthgen.datasets._objects import Size, join_rings, mask_box, outline, polygon_mask
from synthgen.types import BadSample, Box, Instance, Points

MAX_ROWS = 10_000
_MAX_NUMBERS = 100_000
KeypointShape = tuple[int, int]
"""How many keypoints an object has, and 2 or 3 numbers for each."""


def parse_rows(
    text: str, size: Size, known: frozenset[int], keypoints: KeypointShape | None, origin: str
) -> tuple[Instance, ...]:
    """The objects of a label file.

    Raises:
        BadSample: `label-invalid` (no numbers, a wrong count of them), `class-unknown`, `box-invalid`,
            `segmentation-invalid`, `keypoints-invalid`, `label-too-large`.
    """
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if len(lines) > MAX_ROWS or sum(len(words) for _, words in lines) > _MAX_NUMBERS:
        raise BadSample("label-too-large", f"{origin}: at most {MAX_ROWS} rows and {_MAX_NUMBERS} numbers")
    return tuple(_parse_row(words, size, known, keypoints, f"{origin}, line {number}") for number, words in lines)


def _parse_row(
    words: Sequence[str], size: Size, known: frozenset[int], keypoints: KeypointShape | None, origin: str
) -> Instance:
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise BadSample("label-invalid", f"{origin}: expected numbers: {error}") from error
    if not numbers[0].is_integer() or int(numbers[0]) not in known:
        raise BadSample("class-unknown", f"{origin}: {words[0]} is not among the names")
    class_id, values = int(numbers[0]), numbers[1:]
    if keypoints is not None and len(values) == 4 + keypoints[0] * keypoints[1]:
        points = _parse_keypoints(values[4:], keypoints, size, origin)
        return Instance(class_id, _parse_centre(values[:4], size, origin), keypoints=points)
    if len(values) == 4:
        return Instance(class_id, _parse_centre(values, size, origin))
    if len(values) < 6 or len(values) % 2:
        raise BadSample("label-invalid", f"{origin}: expected class x y width height or class and a polygon")
    scaled = [value * size[place % 2] for place, value in enumerate(values)]
    polygon = parse_polygon(scaled, size, origin)
    low, high = polygon.min(axis=0).tolist(), polygon.max(axis=0).tolist()
    box = parse_box([*low, high[0] - low[0], high[1] - low[1]], size, origin)
    return Instance(class_id, box, polygon_mask([polygon], size), polygons=(polygon,))


def _parse_centre(values: Sequence[float], size: Size, origin: str) -> Box:
    x, y, width, height = (value * size[place % 2] for place, value in enumerate(values))
    return parse_box([x - width / 2, y - height / 2, width, height], size, origin)


def _parse_keypoints(values: Sequence[float], shape: KeypointShape, size: Size, origin: str) -> Points:
    """(k, 3) pixels and visibility; where the file has no visibility, a point at the origin is not labelled."""
    points = np.array(values, dtype=np.float64).reshape(shape)
    if not np.isfinite(points).all() or (np.abs(points[:, :2]) > 2).any():
        raise BadSample("keypoints-invalid", f"{origin}: keypoints must be finite shares of the image")
    seen = points[:, 2:] if shape[1] == 3 else 2.0 * (points != 0).any(axis=1, keepdims=True)
    return np.hstack([points[:, :2] * np.array(size, dtype=np.float64), seen])


def format_row(number: int, instance: Instance, size: Size, as_polygon: bool, keypoints: int) -> str:
    """One row under class `number`; `as_polygon` writes the outline, or the box as a polygon where there is none.

    With `keypoints` above 0 the row is a box and so many keypoints, those that the object lacks as not labelled.
    """
    box = instance.box
    if as_polygon:
        corners = [[box.x0, box.y0], [box.x1, box.y0], [box.x1, box.y1], [box.x0, box.y1]]
        rings = outline(instance) or (np.array(corners),)
        shares = (join_rings(rings) / np.array(size)).clip(0, 1).ravel().tolist()
    else:
        shares = [
            *((box.x0 + box.x1) / 2 / size[0], (box.y0 + box.y1) / 2 / size[1]),
            *(box.width / size[0], box.height / size[1]),
        ]
    if keypoints:
        points = np.zeros((keypoints, 3))
        if instance.keypoints is not None:
            points[: len(instance.keypoints)] = instance.keypoints
        shares += (points / np.array([*size, 1])).ravel().tolist()
    return " ".join([str(number), *(_format(share) for share in shares)])


def rounds_away(instance: Instance) -> bool:
    """Whether the outline of an object has no pixel, so that no polygon can be drawn around it."""
    return instance.mask is not None and not instance.mask.any() and not instance.polygons


def is_simple(instance: Instance) -> bool:
    """Whether one polygon says all that the label says of the outline."""
    return len(instance.polygons) == 1 or (instance.mask is None)


def box_differs(instance: Instance) -> bool:
    """Whether the box is another than the one around the outline, by more than a pixel."""
    if instance.mask is None or not instance.mask.any():
        return False
    around = mask_box(instance.mask)
    pairs = ((around.x0, instance.box.x0), (around.y0, instance.box.y0), (around.x1, instance.box.x1))
    return any(not math.isclose(a, b, abs_tol=1.0) for a, b in (*pairs, (around.y1, instance.box.y1)))


def _format(share: float) -> str:
    """Eight decimals: a ten-thousandth of a pixel in an image of 10,000."""
    return f"{share:.8f}".rstrip("0").rstrip(".") or "0"
