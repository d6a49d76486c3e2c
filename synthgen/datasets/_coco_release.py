"""The JSON of a released COCO set: the source's with fewer images, or written anew from what is known to be a label."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from synthgen.datasets._files import name_below

ANNOTATION_KEYS = ("bbox", "area", "segmentation", "iscrowd", "keypoints", "num_keypoints")
CATEGORY_KEYS = ("id", "name", "supercategory", "keypoints", "skeleton")


@dataclass(frozen=True, eq=False)
class ReleasedRow:
    """One released image: `name` below the release root, `folder` that file names are relative to, its source record,
    its (width, height) as shown, and its annotations in the order of the source, for the image as shown."""

    name: str
    folder: str
    record: Mapping[str, Any]
    size: tuple[int, int]
    annotations: Sequence[Mapping[str, Any]]


def keep_rows(table: Mapping[str, Any], rows: Sequence[ReleasedRow]) -> dict[str, Any]:
    """The source's table with the released images alone; ids, names, order and all other keys stay."""
    row_of = {row.record["id"]: row for row in rows}
    left: dict[Any, Iterator[Mapping[str, Any]]] = {key: iter(row.annotations) for key, row in row_of.items()}
    images = []
    for record in table["images"]:
        if record["id"] in row_of:
            width, height = row_of[record["id"]].size
            images.append({**record, "width": width, "height": height})
    annotations = [next(left[a["image_id"]]) for a in table["annotations"] if a["image_id"] in left]
    return {**table, "images": images, "annotations": annotations}


def rename_rows(table: Mapping[str, Any], rows: Sequence[ReleasedRow]) -> dict[str, Any]:
    """A new table: images in order of their new names, ids from 1, known label keys only."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for row in sorted(rows, key=lambda row: row.name):
        number = len(images) + 1
        file_name = name_below(row.name, row.folder)
        images.append({"id": number, "file_name": file_name, "width": row.size[0], "height": row.size[1]})
        for annotation in row.annotations:
            ids = {"id": len(annotations) + 1, "image_id": number, "category_id": annotation["category_id"]}
            annotations.append({**ids, **_shapes(annotation)})
    categories = [{key: c[key] for key in CATEGORY_KEYS if key in c} for c in table["categories"]]
    return {"images": images, "annotations": annotations, "categories": categories}


def _shapes(annotation: Mapping[str, Any]) -> dict[str, Any]:
    """What an annotation says about pixels: numbers, nothing that could carry a name."""
    shapes = {key: annotation[key] for key in ANNOTATION_KEYS if key in annotation}
    segmentation = shapes.get("segmentation")
    if isinstance(segmentation, Mapping):
        shapes["segmentation"] = {key: segmentation[key] for key in ("size", "counts")}
    return {key: value for key, value in shapes.items() if key == "segmentation" or _is_numeric(value)}


def _is_numeric(value: Any) -> bool:
    if isinstance(value, list):
        return all(_is_numeric(part) for part in value)
    return isinstance(value, int | float)
