"""`…_polygons.json` of Cityscapes: what was drawn, in the order in which it covers what came before."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synthgen.datasets._coco_shapes import MAX_POINTS
from synthgen.datasets._files import parse_json
from synthgen.datasets._objects import Size, areas_beside_objects, join_rings, outline
from synthgen.datasets._surrogates import without_surrogates
from synthgen.datasets._unlabelled import white_pixels
from synthgen.images import turn_points
from synthgen.types import BadSample, ConfigError, Labels, Mask, Points


def format_polygons(labels: Labels, size: Size) -> bytes:
    """Areas first, then objects; each as one polygon."""
    rows = [*areas_beside_objects(labels, size), *labels.instances]
    drawn = [(labels.class_name(one.class_id), one.crowd, outline(one)) for one in rows]
    return _dump(
        size, [(f"{name}group" if crowd else name, join_rings(rings)) for name, crowd, rings in drawn if rings]
    )


def released_polygons(data: bytes, orientation: int, stored: Size, origin: str) -> bytes:
    """The polygons for the image as shown, cut to its frame: names and points, nothing of who drew them and when.

    Raises:
        BadSample: `label-invalid`, `image-size-mismatch`, `segmentation-invalid`.
    """
    try:
        value = parse_json(data, origin)
    except ConfigError as error:
        raise BadSample("label-invalid", str(error)) from error
    rows = value.get("objects") if isinstance(value, Mapping) else None
    if not isinstance(rows, list):
        raise BadSample("label-invalid", f"{origin}: expected an object with a list of objects")
    shown = stored[::-1] if orientation >= 5 else stored
    said = (value.get("imgWidth"), value.get("imgHeight"))
    if said not in (stored, shown):
        raise BadSample("image-size-mismatch", f"{origin}: the file is {stored}, its polygons say {said}")
    drawn = [_row(row, said == stored, orientation, stored, origin) for row in rows if not _deleted(row)]
    return _dump(shown, [(label, points) for label, points in drawn if len(points)])


def unlabel_polygons(data: bytes, unlabelled: bytes, void: str, origin: str) -> bytes:
    """Released polygons, with the label `void` drawn last over the white pixels of the PNG `unlabelled`.

    A later polygon covers the earlier ones, and a polygon has no holes: an area with holes becomes its bands of rows
    of equal runs, as rectangles.

    Raises:
        BadSample: `mask-size-mismatch` where it is not of the polygons' size.
    """
    value = json.loads(data)
    where = white_pixels(unlabelled, (value["imgHeight"], value["imgWidth"]), origin)
    bands = [{"label": void, "polygon": corners} for corners in _bands(where)]
    return json.dumps({**value, "objects": [*value["objects"], *bands]}, ensure_ascii=False).encode()


def _bands(where: Mask) -> list[list[list[float]]]:
    """Rectangles that cover exactly the pixels: runs of a row, joined with equal runs of the rows below it."""
    found: list[list[list[float]]] = []
    open_runs: dict[tuple[int, int], int] = {}
    for y, row in enumerate([*where, np.zeros(where.shape[1], np.bool_)]):
        steps = np.flatnonzero(np.diff(np.concatenate([[0], row.astype(np.int8), [0]])))
        runs = {(int(x0), int(x1)) for x0, x1 in zip(steps[::2], steps[1::2], strict=True)}
        for x0, x1 in sorted(open_runs.keys() - runs):
            top = open_runs.pop((x0, x1))
            found.append([[x0, top], [x1, top], [x1, y], [x0, y]])
        open_runs |= dict.fromkeys(runs - open_runs.keys(), y)
    return found


def _row(row: Any, turning: bool, orientation: int, stored: Size, origin: str) -> tuple[str, Points]:
    """Label and points, none where the polygon lies outside the frame."""
    if not isinstance(row, Mapping) or not _is_name(row.get("label")):
        raise BadSample("label-invalid", f"{origin}: every object has a label, which is text")
    points = row.get("polygon")
    if not isinstance(points, list) or not 3 <= len(points) <= MAX_POINTS or not all(map(_is_point, points)):
        raise BadSample("segmentation-invalid", f"{origin}: a polygon is a list of at least three finite [x, y]")
    polygon = clip_polygon(np.array(points, dtype=np.float64), stored if turning or orientation < 5 else stored[::-1])
    return row["label"], turn_points(polygon, orientation, stored) if turning else polygon


def clip_polygon(points: Points, size: Size) -> Points:
    """The part of a polygon (n, 2) inside the frame of `size`, (m, 2); m is 0 where there is none.

    Sutherland and Hodgman (1974), one side of the frame after the other. Parts of a concave polygon stay joined along
    the frame.
    """
    for axis, side, limit in ((0, 1, 0.0), (0, -1, size[0]), (1, 1, 0.0), (1, -1, size[1])):
        inside = side * (points[:, axis] - limit) >= 0
        if inside.all():
            continue
        kept: list[Points] = []
        for start, end, start_in, end_in in zip(np.roll(points, 1, 0), points, np.roll(inside, 1), inside, strict=True):
            if start_in != end_in:
                crossing = start + (end - start) * ((limit - start[axis]) / (end[axis] - start[axis]))
                crossing[axis] = limit
                kept.append(crossing)
            if end_in:
                kept.append(end)
        points = np.array(kept, dtype=np.float64).reshape(-1, 2)
    return points if len(points) >= 3 else points[:0]


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and without_surrogates(value) == value


def _is_point(value: Any) -> bool:
    """Two numbers; a comparison takes NaN and whole numbers of any length."""
    numbers = isinstance(value, list) and len(value) == 2 and all(type(number) in (int, float) for number in value)
    return numbers and all(-1e9 < number < 1e9 for number in value)


def _deleted(row: Any) -> bool:
    return isinstance(row, Mapping) and bool(row.get("deleted"))


def _dump(size: Size, rows: Sequence[tuple[str, Points]]) -> bytes:
    objects = [{"label": label, "polygon": np.round(points, 4).tolist()} for label, points in rows]
    return json.dumps({"imgHeight": size[1], "imgWidth": size[0], "objects": objects}, ensure_ascii=False).encode()
