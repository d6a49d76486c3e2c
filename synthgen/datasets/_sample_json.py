"""The JSON beside one image of a shard: plain values, and `objects` as COCO's annotations with names for categories."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from synthgen.datasets._coco_shapes import parse_box, parse_keypoints, parse_polygons, parse_segmentation
from synthgen.datasets._coco_write import format_annotation
from synthgen.datasets._objects import Size, paint_objects, polygon_mask
from synthgen.types import BadSample, ClassInfo, Instance, Labels

OBJECTS = "objects"
MAX_OBJECTS = 10_000
MAX_MASK_PIXELS = 1 << 30
_KEYS = ("bbox", "category", "area", "iscrowd", "segmentation", "keypoints", "num_keypoints")
Plain = str | int | float | bool


def parse_labels(value: Mapping[str, Any], classes: Sequence[ClassInfo], size: Size, origin: str) -> Labels:
    """Objects, the mask that their outlines paint, and plain values as attributes.

    Raises:
        BadSample: `label-too-large`, `class-unknown`, `box-invalid`, `segmentation-invalid`, `keypoints-invalid`.
    """
    rows = value.get(OBJECTS)
    rows = [row for row in rows if isinstance(row, Mapping) and "bbox" in row] if isinstance(rows, list) else []
    outlines = sum(bool(row.get("segmentation")) for row in rows)
    if len(rows) > MAX_OBJECTS or outlines * size[0] * size[1] > MAX_MASK_PIXELS:
        raise BadSample("label-too-large", f"{origin}: {len(rows)} objects, {outlines} outlines")
    ids = {info.name: info.id for info in classes if not info.ignore}
    instances = tuple(_parse(row, ids, size, f"{origin}, object {place}") for place, row in enumerate(rows, 1))
    void = next((info.id for info in classes if info.ignore), None)
    mask = None if void is None else paint_objects(instances, void, size)
    return Labels(tuple(classes), mask, instances, attributes=plain_values(value))


def _parse(row: Mapping[str, Any], ids: Mapping[str, int], size: Size, origin: str) -> Instance:
    category = row.get("category")
    class_id = ids.get(category) if isinstance(category, str) else category
    if type(class_id) is not int or class_id not in ids.values():
        raise BadSample("class-unknown", f"{origin}: category {category!r} is not in the class table")
    shape = row.get("segmentation")
    polygons = parse_polygons(shape, size, origin)
    mask = polygon_mask(polygons, size) if polygons else parse_segmentation(shape, size, origin)
    points = parse_keypoints(row.get("keypoints"), size, origin)
    return Instance(class_id, parse_box(row["bbox"], size, origin), mask, row.get("iscrowd") == 1, polygons, points)


def format_labels(labels: Labels) -> dict[str, Any]:
    """What `parse_labels` reads."""
    rows = []
    for instance in labels.instances:
        row = format_annotation(instance)
        rows.append({"category": labels.class_name(row.pop("category_id")), **row})
    return {**labels.attributes, OBJECTS: rows} if rows else dict(labels.attributes)


def released_json(value: Mapping[str, Any], without: frozenset[str]) -> dict[str, Any]:
    """Objects of known keys, and plain values but for some: what may leave under new names."""
    kept: dict[str, Any] = {key: found for key, found in plain_values(value).items() if key not in without}
    rows = value.get(OBJECTS)
    if isinstance(rows, list):
        kept[OBJECTS] = [{k: row[k] for k in _KEYS if k in row} for row in rows if isinstance(row, Mapping)]
    return kept


def plain_values(value: Mapping[str, Any]) -> dict[str, Plain]:
    """Texts and finite numbers that name no file."""
    return {
        key: found
        for key, found in value.items()
        if isinstance(found, Plain) and not key.endswith(("file_name", "filename", "__key__", "__url__"))
        if not (isinstance(found, float) and not math.isfinite(found))
    }
