"""One COCO annotation's shapes: checked against the image before anything is allocated, then made masks, or turned.

The file decides nothing about memory: a box or outline must lie in the frame (1 px of slack for rounding, then cut to
it), an RLE must have the image's size, and its runs must sum to it. pycocotools rasterises; but its decoder leaves
memory uninitialised where runs are missing, so runs are counted here first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from synthgen.datasets._objects import Size, polygon_mask
from synthgen.images import turn, turn_points
from synthgen.types import BadSample, Box, Mask, Points

SLACK = 1.0
MAX_POINTS = 100_000


def parse_box(value: Any, size: Size, origin: str) -> Box:
    """COCO's [x, y, width, height], cut to the frame.

    Raises:
        BadSample: `box-invalid`: not four finite numbers, no area, or more than `SLACK` px out of the frame.
    """
    numbers = _numbers(value)
    if numbers is None or numbers.shape != (4,):
        raise BadSample("box-invalid", f"{origin}: bbox must be four finite numbers [x, y, width, height]")
    x, y, width, height = numbers.tolist()
    inside = min(x, y) >= -SLACK and x + width <= size[0] + SLACK and y + height <= size[1] + SLACK
    box = Box(max(x, 0.0), max(y, 0.0), min(x + width, float(size[0])), min(y + height, float(size[1])))
    if not inside or box.width <= 0 or box.height <= 0:
        raise BadSample("box-invalid", f"{origin}: bbox {[x, y, width, height]} in an image of {size[0]}x{size[1]}")
    return box


def parse_segmentation(value: Any, size: Size, origin: str) -> Mask | None:
    """Polygons, uncompressed or compressed RLE as a mask (height, width); None where there is no outline.

    Raises:
        BadSample: `segmentation-invalid`: malformed, out of the frame, or of another size than the image.
    """
    if value is None or value == []:
        return None
    if isinstance(value, list):
        return polygon_mask(parse_polygons(value, size, origin), size)
    if not isinstance(value, Mapping) or value.get("size") != [size[1], size[0]]:
        raise _invalid(origin, f"an RLE needs counts and size [{size[1]}, {size[0]}]")
    runs = _runs(value.get("counts"), size, origin)
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(size).T


def parse_polygons(value: Any, size: Size, origin: str) -> tuple[Points, ...]:
    """The (n, 2) polygons of a segmentation, cut to the frame; () where it is an RLE or nothing.

    Raises:
        BadSample: `segmentation-invalid`.
    """
    return tuple(parse_polygon(polygon, size, origin) for polygon in value) if isinstance(value, list) else ()


def parse_keypoints(value: Any, size: Size, origin: str) -> Points | None:
    """COCO's x, y, visibility, … as (k, 3); None where there are none.

    Raises:
        BadSample: `keypoints-invalid`: malformed, or a labelled point more than `SLACK` px out of the frame.
    """
    if value is None or value == []:
        return None
    numbers = _numbers(value)
    if numbers is None or numbers.ndim != 1 or numbers.size % 3:
        raise BadSample("keypoints-invalid", f"{origin}: keypoints must be finite numbers x, y, visibility, …")
    points = numbers.reshape(-1, 3)
    seen = points[points[:, 2] > 0, :2]
    if seen.size and (seen.min() < -SLACK or (seen > np.array(size) + SLACK).any()):
        raise BadSample("keypoints-invalid", f"{origin}: a keypoint leaves the image of {size[0]}x{size[1]}")
    return points


def parse_polygon(value: Any, size: Size, origin: str) -> NDArray[np.float64]:
    """(n, 2) points, cut to the frame."""
    numbers = _numbers(value)
    if numbers is None or numbers.ndim != 1 or numbers.size < 6 or numbers.size % 2:
        raise _invalid(origin, "a polygon is a list of at least six finite numbers x, y, x, y, …")
    points = numbers.reshape(-1, 2)
    if points.min() < -SLACK or (points > np.array(size) + SLACK).any():
        raise _invalid(origin, f"a polygon leaves the image of {size[0]}x{size[1]}")
    return points.clip(0, np.array(size, dtype=np.float64))


def _runs(counts: Any, size: Size, origin: str) -> NDArray[np.int64]:
    """The run lengths of an RLE, down the columns, outside first."""
    pixels = size[0] * size[1]
    if isinstance(counts, list) and len(counts) <= pixels + 1:
        valid = all(type(count) is int and 0 <= count <= pixels for count in counts)
        runs = counts if valid else []
    elif isinstance(counts, str) and len(counts) <= 7 * (pixels + 1):
        runs = _decode_counts(counts)
    else:
        runs = []
    if any(run < 0 for run in runs) or sum(runs) != pixels:
        raise _invalid(origin, f"the runs of an RLE must be whole numbers that sum to {pixels}")
    return np.array(runs, dtype=np.int64)


def _decode_counts(text: str) -> list[int]:
    """COCO's compressed counts: base 32 in characters from `0`, sign-extended, each a difference to the last but one.

    Source: `rleFrString` in cocoapi's maskApi.c. Returns [] where the text is malformed.
    """
    runs: list[int] = []
    value = shift = 0
    for char in text:
        code = ord(char) - 48
        if not 0 <= code < 64 or shift > 30:
            return []
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return [] if shift else runs


def _numbers(value: Any) -> NDArray[np.float64] | None:
    """A bounded list as finite numbers, or None."""
    if not isinstance(value, list) or len(value) > MAX_POINTS or not all(type(v) in (int, float) for v in value):
        return None
    try:
        numbers = np.array(value, dtype=np.float64)
    except OverflowError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _invalid(origin: str, message: str) -> BadSample:
    return BadSample("segmentation-invalid", f"{origin}: {message}")


def turn_annotation(annotation: Mapping[str, Any], orientation: int, stored: Size, origin: str) -> dict[str, Any]:
    """An annotation of stored pixels for the image as shown; outlines as RLE become compressed RLE.

    `stored` is (width, height) before turning. Box, outline and keypoints turn; the rest stays.

    Raises:
        BadSample: as `parse_box` and `parse_segmentation`; `keypoints-invalid`.
    """
    turned = dict(annotation)
    box = parse_box(annotation.get("bbox"), stored, origin)
    corners = turn_points(np.array([[box.x0, box.y0], [box.x1, box.y1]]), orientation, stored)
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    turned["bbox"] = [x0, y0, x1 - x0, y1 - y0]
    shape = annotation.get("segmentation")
    if isinstance(shape, list):
        polygons = parse_polygons(shape, stored, origin)
        turned["segmentation"] = [turn_points(points, orientation, stored).ravel().tolist() for points in polygons]
    elif shape is not None:
        mask = parse_segmentation(shape, stored, origin)
        assert mask is not None
        rle = coco_mask.encode(np.asfortranarray(turn(mask, orientation).astype(np.uint8)))
        turned["segmentation"] = {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}
    points = parse_keypoints(annotation.get("keypoints"), stored, origin)
    if points is not None:
        seen = points[:, 2:] > 0
        moved = turn_points(points[:, :2] + 0.5, orientation, stored) - 0.5
        turned["keypoints"] = np.hstack([np.where(seen, moved, points[:, :2]), points[:, 2:]]).ravel().tolist()
    return turned
