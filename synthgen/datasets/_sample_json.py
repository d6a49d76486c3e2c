"""The JSON beside one image of a shard: plain values, and `objects` as COCO's annotations with names for categories.

Objects are a list of mappings or a mapping of lists. What else is nested is neither read nor released under new names;
`left_out_keys` says which keys that concerns, so that nothing disappears without a word.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from synthgen.datasets._coco_shapes import parse_box, parse_keypoints, parse_polygons, parse_segmentation
from synthgen.datasets._coco_write import format_annotation
from synthgen.datasets._objects import Size, mask_box, paint_objects, polygon_mask
from synthgen.datasets._opaque import is_encoded
from synthgen.types import BadSample, Box, ClassInfo, Instance, Labels, Mask, Points

OBJECTS = "objects"
MAX_OBJECTS = 10_000
MAX_MASK_PIXELS = 1 << 30
_NUMBERS = ("area", "iscrowd", "num_keypoints")
_KEYS = ("bbox", "category", "area", "iscrowd", "segmentation", "keypoints", "num_keypoints")
Plain = str | int | float | bool


def parse_labels(value: Mapping[str, Any], classes: Sequence[ClassInfo], size: Size, origin: str) -> Labels:
    """Objects, the mask that their outlines paint, and plain values as attributes.

    Raises:
        BadSample: `label-too-large`, `label-invalid`, `class-unknown`, `box-invalid`, `segmentation-invalid`,
            `keypoints-invalid`.
    """
    rows = [row for row in object_rows(value.get(OBJECTS), _KEYS, origin) if _is_placed(row)]
    outlines = sum(bool(row.get("segmentation")) for row in rows)
    if len(rows) > MAX_OBJECTS or outlines * size[0] * size[1] > MAX_MASK_PIXELS:
        raise BadSample("label-too-large", f"{origin}: {len(rows)} objects, {outlines} outlines")
    ids = {info.name: info.id for info in classes if not info.ignore}
    instances = tuple(_parse(row, ids, size, f"{origin}, object {place}") for place, row in enumerate(rows, 1))
    void = next((info.id for info in classes if info.ignore), None)
    mask = None if void is None else paint_objects(instances, void, size)
    return Labels(tuple(classes), mask, instances, attributes=plain_values(value))


def object_rows(value: Any, known: Collection[str], origin: str) -> list[dict[str, Any]]:
    """Objects with the `known` keys, one mapping each, from a list of mappings or a mapping of lists.

    An empty list in a mapping of lists is none.

    Raises:
        BadSample: `label-invalid`: lists of different lengths, so that which box has which class is open.
    """
    if not isinstance(value, Mapping):
        rows = value if isinstance(value, list) else []
        return [{key: row[key] for key in row if key in known} for row in rows if isinstance(row, Mapping)]
    lists = {key: found for key, found in value.items() if key in known and isinstance(found, list) and found}
    if len({len(found) for found in lists.values()}) > 1:
        lengths = ", ".join(f"{key} {len(found)}" for key, found in lists.items())
        raise BadSample("label-invalid", f"{origin}: its objects are lists of different lengths: {lengths}")
    count = max(map(len, lists.values()), default=0)
    return [{key: found[place] for key, found in lists.items()} for place in range(count)]


def parse_shape(box: Any, shape: Any, size: Size, origin: str) -> tuple[Box, Mask | None, tuple[Points, ...]]:
    """Box, outline and polygons of one object; an outline without a box has the box around it.

    Raises:
        BadSample: `box-invalid`, `segmentation-invalid`.
    """
    polygons = parse_polygons(shape, size, origin)
    mask = polygon_mask(polygons, size) if polygons else parse_segmentation(shape, size, origin)
    if box is None and polygons:
        points = np.concatenate(polygons)
        (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        box = [x0, y0, x1 - x0, y1 - y0]
    elif box is None and mask is not None and mask.any():
        return mask_box(mask), mask, ()
    return parse_box(box, size, origin), mask, polygons


def _is_placed(row: Mapping[str, Any]) -> bool:
    return "bbox" in row or bool(row.get("segmentation"))


def _parse(row: Mapping[str, Any], ids: Mapping[str, int], size: Size, origin: str) -> Instance:
    category = row.get("category")
    class_id = ids.get(category) if isinstance(category, str) else category
    if type(class_id) is not int or class_id not in ids.values():
        raise BadSample("class-unknown", f"{origin}: category {category!r} is not in the class table")
    box, mask, polygons = parse_shape(row.get("bbox"), row.get("segmentation"), size, origin)
    points = parse_keypoints(row.get("keypoints"), size, origin)
    return Instance(class_id, box, mask, row.get("iscrowd") == 1, polygons, points)


def format_labels(labels: Labels) -> dict[str, Any]:
    """What `parse_labels` reads."""
    rows = []
    for instance in labels.instances:
        row = format_annotation(instance)
        rows.append({"category": labels.class_name(row.pop("category_id")), **row})
    return {**labels.attributes, OBJECTS: rows} if rows else dict(labels.attributes)


def released_json(value: Mapping[str, Any], without: frozenset[str], origin: str) -> dict[str, Any]:
    """Objects as they are read, and plain values but for some: what may leave under new names.

    Raises:
        BadSample: as `object_rows`.
    """
    kept: dict[str, Any] = {key: found for key, found in plain_values(value).items() if key not in without}
    rows = [row for row in object_rows(value.get(OBJECTS), _KEYS, origin) if _is_placed(row)]
    if rows or isinstance(value.get(OBJECTS), list):
        kept[OBJECTS] = [_released_row(row) for row in rows]
    return kept


def _released_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The labels of an object; what is parsed was found right when it was read."""
    kept = {key: row[key] for key in _KEYS if row.get(key) is not None}
    kept = {key: found for key, found in kept.items() if key not in _NUMBERS or isinstance(found, int | float)}
    if isinstance(kept.get("segmentation"), Mapping):
        kept["segmentation"] = {key: kept["segmentation"].get(key) for key in ("size", "counts")}
    return kept


def plain_values(value: Mapping[str, Any]) -> dict[str, Plain]:
    """Texts and finite numbers that name no file and are no file."""
    return {
        key: found
        for key, found in value.items()
        if isinstance(found, Plain) and not _names_file(key)
        if not (isinstance(found, float) and not math.isfinite(found))
        if not (isinstance(found, str) and is_encoded(found))
    }


def _names_file(key: str) -> bool:
    return key.endswith(("file_name", "filename", "__key__", "__url__"))


def left_out_keys(value: Mapping[str, Any]) -> Iterator[str]:
    """The keys whose values are nested and no label that is known, or name a file; `objects.<key>` in objects."""
    for key, found in value.items():
        if key == OBJECTS and isinstance(found, list):
            yield from (f"{key}.{inner}" for row in found if isinstance(row, Mapping) for inner in row.keys() - _KEYS)
            if not all(isinstance(row, Mapping) and _is_placed(row) for row in found):
                yield f"{key} without bbox and segmentation"
        elif key == OBJECTS and _is_lists(found):
            yield from (f"{key}.{inner}" for inner in found if inner not in _KEYS or not isinstance(found[inner], list))
        elif isinstance(found, dict | list) or (isinstance(found, Plain) and _names_file(key)):
            yield key


def _is_lists(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(value.get(key), list) for key in ("bbox", "segmentation"))
