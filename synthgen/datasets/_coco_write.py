"""A new COCO set out of records: one JSON a split, its rows kept on disk until the split is whole.

Masks become outlines before they come here. Polygons stay polygons; outlines that are known as pixels are compressed
RLE, which `pycocotools` reads for crowds and single objects alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pycocotools import mask as coco_mask

from synthgen.datasets._files import write_new
from synthgen.datasets._records import Record, Written
from synthgen.types import ClassInfo, Instance, Mask

_BLOCK = 1 << 20


def write_coco(records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
    """As `Dataset.write`: `images/[split/]…` and `annotations/instances[_split].json`."""
    splits: dict[str, SplitTable] = {}
    images = objects = 0
    for record in records:
        table = split_table(splits, out, "instances", record)
        number = table.add("images", image_row(record))
        for instance in record.labels.instances:
            table.add("annotations", {"image_id": number, **format_annotation(instance)})
        images, objects = images + 1, objects + len(record.labels.instances)
    for table in splits.values() or [SplitTable(out, "instances")]:
        table.finish([category(info) for info in classes if not info.ignore])
    return Written({"images": images, "labels": objects})


def split_table(splits: dict[str, SplitTable], out: Path, kind: str, record: Record) -> SplitTable:
    """The table of a record's split, new where it is the first one; the image is written."""
    split = record.split or ""
    if split not in splits:
        splits[split] = SplitTable(out, f"{kind}_{split}" if split else kind)
    write_new(out, f"images/{split}/{record.name}" if split else f"images/{record.name}", record.data)
    return splits[split]


def image_row(record: Record) -> dict[str, Any]:
    """A record as COCO's image, without its id."""
    return {"file_name": record.name, "width": record.size[0], "height": record.size[1]}


def category(info: ClassInfo) -> dict[str, Any]:
    """A class as COCO's category."""
    row: dict[str, Any] = {"id": info.id, "name": info.name}
    if info.keypoints:
        row |= {"keypoints": list(info.keypoints), "skeleton": [list(pair) for pair in info.skeleton]}
    return row


def encode_rle(mask: Mask) -> dict[str, Any]:
    """A mask (height, width) as COCO's compressed RLE."""
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def format_annotation(instance: Instance) -> dict[str, Any]:
    """An object as COCO's annotation, without ids of its own and of its image."""
    box = instance.box
    row: dict[str, Any] = {
        "category_id": instance.class_id,
        "bbox": [box.x0, box.y0, box.width, box.height],
        "area": box.width * box.height if instance.mask is None else float(instance.mask.sum()),
        "iscrowd": int(instance.crowd),
    }
    if instance.polygons:
        row["segmentation"] = [polygon.ravel().tolist() for polygon in instance.polygons]
    elif instance.mask is not None:
        row["segmentation"] = encode_rle(instance.mask)
    if instance.keypoints is not None:
        row["keypoints"] = [int(v) if v == int(v) else v for v in instance.keypoints.ravel().tolist()]
        row["num_keypoints"] = int((instance.keypoints[:, 2] > 0).sum())
    return row


class SplitTable:
    """The rows of `annotations/<name>.json`, as they come, in two files that `finish` joins."""

    def __init__(self, out: Path, name: str) -> None:
        folder = out / "annotations"
        folder.mkdir(exist_ok=True)
        self._target = folder / f"{name}.json"
        self._parts = {key: folder / f".{name}.{key}" for key in ("images", "annotations")}
        self._files: dict[str, BinaryIO] = {key: path.open("xb") for key, path in self._parts.items()}
        self._counts = dict.fromkeys(self._parts, 0)

    def add(self, key: str, value: Mapping[str, Any]) -> int:
        """Append to `images` or `annotations` under the next id; returns the id."""
        self._counts[key] += 1
        comma = b"" if self._counts[key] == 1 else b",\n"
        self._files[key].write(comma + _encode({"id": self._counts[key], **value}))
        return self._counts[key]

    def finish(self, categories: Sequence[Mapping[str, Any]]) -> None:
        """Write the file."""
        with self._target.open("xb") as target:
            for key, file in self._files.items():
                file.close()
                target.write(b"{" if key == "images" else b",\n")
                target.write(f'"{key}":['.encode())
                with self._parts[key].open("rb") as part:
                    while block := part.read(_BLOCK):
                        target.write(block)
                target.write(b"]")
                self._parts[key].unlink()
            target.write(b',\n"categories":' + _encode(list(categories)) + b"}\n")


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
