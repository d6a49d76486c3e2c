"""A new COCO panoptic set out of records: every pixel of an image belongs to one segment or to none."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL

from synthgen.datasets._coco_write import SplitTable, image_row, split_table
from synthgen.datasets._files import write_new
from synthgen.datasets._objects import mask_box
from synthgen.datasets._records import Record, Written
from synthgen.datasets._tally import Tally
from synthgen.types import ClassIds, ClassInfo, Labels, Mask


def write_panoptic(records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
    """As `Dataset.write`: `annotations/panoptic_<split>.json`, its PNGs in the folder of that name, `images/<split>`.

    A class with an object anywhere is a thing. Pixels of such a class outside its objects are a crowd.
    """
    splits: dict[str, SplitTable] = {}
    tally, things, images, count = Tally(), set[int](), 0, 0
    for record in records:
        table = split_table(splits, out, "panoptic", record)
        number = table.add("images", image_row(record))
        ids, segments = draw_segments(record.labels, record.size, tally, record.name)
        things |= {one.class_id for one in record.labels.instances}
        name = PurePosixPath(record.name).with_suffix(".png").as_posix()
        folder = f"panoptic_{record.split}" if record.split else "panoptic"
        write_new(out, f"annotations/{folder}/{name}", encode_ids(ids))
        table.add("annotations", {"image_id": number, "file_name": name, "segments_info": segments})
        images, count = images + 1, count + len(segments)
    categories = [_category(info, things) for info in classes if not info.ignore]
    for table in splits.values() or [SplitTable(out, "panoptic")]:
        table.finish(categories)
    return Written({"images": images, "labels": count}, tally.findings())


def draw_segments(
    labels: Labels, size: tuple[int, int], tally: Tally, name: str
) -> tuple[NDArray[np.int32], list[dict[str, Any]]]:
    """Segment ids (height, width), 0 for none, and what COCO says of each."""
    ids = np.zeros((size[1], size[0]), np.int32)
    if labels.mask is None:
        return ids, []
    found: list[tuple[int, bool]] = []
    outlined = [(one, one.mask) for one in labels.instances if one.mask is not None]
    for one, mask in sorted(outlined, key=lambda pair: (not pair[0].crowd, -int(pair[1].sum()))):
        found.append((one.class_id, one.crowd))
        ids[mask & (labels.mask == one.class_id)] = len(found)
    counted = {one.class_id for one, _ in outlined}
    for class_id, area in _areas(labels, labels.mask, ids == 0):
        found.append((class_id, class_id in counted))
        ids[area] = len(found)
    hidden = sum(len(np.unique(ids[mask])) > 1 for _, mask in outlined)
    tally.add("outlines-overlap", "outline(s) lose pixels that another one covers", name, hidden)
    there = set(np.unique(ids).tolist())
    told = {n: {"category_id": c, "iscrowd": int(crowd)} for n, (c, crowd) in enumerate(found, 1) if n in there}
    return ids, [segment_info(ids, number, row) for number, row in told.items()]


def _areas(labels: Labels, mask: ClassIds, free: Mask) -> Iterator[tuple[int, Mask]]:
    ignored = {info.id for info in labels.classes if info.ignore}
    for class_id in np.unique(mask[free]).tolist():
        if class_id not in ignored:
            yield class_id, (mask == class_id) & free


def segment_info(ids: NDArray[np.int32], number: int, told: Mapping[str, Any]) -> dict[str, Any]:
    """A segment's id, box and area, measured, with what else is told of it."""
    mask = ids == number
    box = mask_box(mask)
    whole = [int(value) for value in (box.x0, box.y0, box.width, box.height)]
    return {"id": number, **told, "bbox": whole, "area": int(mask.sum())}


def encode_ids(ids: NDArray[np.int32]) -> bytes:
    """A panoptic PNG: id = R + 256 G + 65536 B (the format's `rgb2id`)."""
    pixels = np.stack([ids & 255, ids >> 8 & 255, ids >> 16 & 255], axis=2).astype(np.uint8)
    buffer = io.BytesIO()
    PIL.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _category(info: ClassInfo, things: set[int]) -> dict[str, Any]:
    row: dict[str, Any] = {"id": info.id, "name": info.name, "isthing": int(info.id in things)}
    return {**row, "color": list(info.color)} if info.color else row
