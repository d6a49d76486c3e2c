"""A new Hugging Face dataset out of records: parquet with features, sharded, which `load_dataset` reads as it is.

Which columns there are is known only when the last record has come, so images and rows wait on disk until then.
Outlines are COCO's compressed RLE as text: `pycocotools` reads `{"size": [height, width], "counts": text}`.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synthgen.datasets._class_ids import encode_ids, refuse_large_ids
from synthgen.datasets._class_table import format_classes
from synthgen.datasets._coco_write import encode_rle
from synthgen.datasets._files import write_new
from synthgen.datasets._hf_columns import with_features
from synthgen.datasets._records import Record, Written
from synthgen.datasets._spool import Slot, Spool
from synthgen.datasets._tally import Tally
from synthgen.types import ClassInfo, Instance

ROWS_PER_GROUP = 64
BYTES_PER_FILE = 500_000_000
"""As the hub advises."""
MAX_INT64 = (1 << 63) - 1
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_OBJECTS = pa.struct(
    [
        ("bbox", pa.list_(pa.list_(pa.float64()))),
        ("category", pa.list_(pa.int64())),
        ("area", pa.list_(pa.float64())),
        ("iscrowd", pa.list_(pa.bool_())),
        ("segmentation", pa.list_(pa.string())),
    ]
)
_RESERVED = frozenset({"image", "mask", "label", "objects"})
_TYPES: Mapping[str, pa.DataType] = {
    "bool": pa.bool_(),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "string": pa.string(),
}


@dataclass
class _Seen:
    """What the records had, over all splits: it decides the columns."""

    mask: bool = False
    objects: bool = False
    label: bool = False
    plain: dict[str, str] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def add(self, key: str, value: Any, name: str) -> None:
        """Widen the type of a plain column so that it holds `value` of the image `name`."""
        kind = {bool: "bool", int: "int64", float: "float64"}.get(type(value), "string")
        if kind == "int64" and not -MAX_INT64 <= value <= MAX_INT64:
            self.tally.add("column-as-text", f"number(s) too large: the column {key!r} becomes text", name)
            kind = "string"
        before = self.plain.get(key, kind)
        numbers = {before, kind} <= {"int64", "float64"}
        self.plain[key] = kind if before == kind else "float64" if numbers else "string"


def write_hf(records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
    """As `Dataset.write`: `data/<split>-00000-of-00001.parquet`, with objects or masks also `classes.csv`.

    Raises:
        ConfigError: a class id that masks and the class table have no place for.
    """
    refuse_large_ids(classes, "hf")
    labelled = sorted((info for info in classes if not info.ignore), key=lambda info: info.id)
    numbers = {info.id: number for number, info in enumerate(labelled)}
    by_name = {info.name: number for number, info in enumerate(labelled)}
    seen, count, objects = _Seen(), 0, 0
    with Spool(out) as spool:
        slots: dict[str, list[Slot]] = defaultdict(list)
        for record in records:
            row = _row(record, numbers, by_name, seen, spool)
            slots[record.split or "train"].append(spool.put(json.dumps(row, ensure_ascii=False).encode()))
            count, objects = count + 1, objects + len(record.labels.instances)
        schema = _schema(seen, [info.name for info in labelled])
        for split, rows in sorted(slots.items()):
            _write_split(out, split, rows, spool, schema)
    if (seen.mask or seen.objects) and classes:
        write_new(out, "classes.csv", format_classes(classes))
    return Written({"images": count, "labels": objects}, seen.tally.findings())


def _row(
    record: Record, numbers: Mapping[int, int], by_name: Mapping[str, int], seen: _Seen, spool: Spool
) -> dict[str, Any]:
    """One row as JSON: images as places in the spool."""
    labels, slot = record.labels, spool.put(record.data)
    row: dict[str, Any] = {"name": record.name, "image": [slot.offset, slot.length], "plain": {}}
    if record.split is None:
        seen.tally.add("split-renamed", "image(s) without a split are in train: every row needs one", record.name)
    if labels.mask is not None:
        mask = spool.put(encode_ids(labels.mask))
        row["mask"] = [mask.offset, mask.length]
        seen.mask = True
    if labels.image_class is not None:
        row["label"] = by_name.get(labels.image_class)
        seen.label = True
        lost = row["label"] is None
        seen.tally.add("class-not-held", "image(s) of a class that the class table lacks", record.name, lost)
    corners = sum(bool(one.polygons) for one in labels.instances)
    seen.tally.add("polygon-not-held", "outline(s) keep their pixels, not their corners", record.name, corners)
    row["objects"] = [_object(one, numbers) for one in labels.instances]
    seen.objects = seen.objects or bool(labels.instances)
    for key, value in labels.attributes.items():
        column = key
        while column in _RESERVED or (column != key and column in labels.attributes):
            column += "_"
        seen.tally.add("column-renamed", f"row(s): the column {key!r} becomes {column!r}", record.name, column != key)
        if value is not None:
            seen.add(column, value, record.name)
        row["plain"][column] = value
    return row


def _object(one: Instance, numbers: Mapping[int, int]) -> dict[str, Any]:
    box = one.box
    return {
        "bbox": [box.x0, box.y0, box.width, box.height],
        "category": numbers[one.class_id],
        "area": box.width * box.height if one.mask is None else float(one.mask.sum()),
        "iscrowd": one.crowd,
        "segmentation": None if one.mask is None else encode_rle(one.mask)["counts"],
    }


def _schema(seen: _Seen, names: Sequence[str]) -> pa.Schema:
    """Arrow types of the columns, with the features that the `datasets` library reads."""
    label = {"names": list(names), "_type": "ClassLabel"}
    fields: list[tuple[str, pa.DataType]] = [("image", _IMAGE)]
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    if seen.mask:
        fields.append(("mask", _IMAGE))
        features["mask"] = {"_type": "Image"}
    if seen.label:
        fields.append(("label", pa.int64()))
        features["label"] = label
    if seen.objects:
        fields.append(("objects", _OBJECTS))
        numbers, text = {"dtype": "float64", "_type": "Value"}, {"dtype": "string", "_type": "Value"}
        features["objects"] = {
            "bbox": _list(_list(numbers)),
            "category": _list(label),
            "area": _list(numbers),
            "iscrowd": _list({"dtype": "bool", "_type": "Value"}),
            "segmentation": _list(text),
        }
    for key, kind in seen.plain.items():
        fields.append((key, _TYPES[kind]))
        features[key] = {"dtype": kind, "_type": "Value"}
    return with_features(pa.schema(fields), features)


def _list(feature: Mapping[str, Any]) -> dict[str, Any]:
    """`Sequence` is read by every version of the library, `List` by the newer ones only."""
    return {"feature": feature, "_type": "Sequence"}


def _write_split(out: Path, split: str, slots: Sequence[Slot], spool: Spool, schema: pa.Schema) -> None:
    """The files of one split."""
    files = list(_cut(slots, spool))
    for number, part in enumerate(files):
        path = out / "data" / f"{split}-{number:05}-of-{len(files):05}.parquet"
        path.parent.mkdir(exist_ok=True)
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(0, len(part), ROWS_PER_GROUP):
                some = [json.loads(spool.get(slot)) for slot in part[start : start + ROWS_PER_GROUP]]
                rows = [_arrow_row(row, spool, schema) for row in some]
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))


def _cut(slots: Sequence[Slot], spool: Spool) -> Iterator[list[Slot]]:
    """Rows by file: a file ends where its images reach `BYTES_PER_FILE`."""
    part: list[Slot] = []
    size = 0
    for slot in slots:
        size += json.loads(spool.get(slot))["image"][1]
        part.append(slot)
        if size >= BYTES_PER_FILE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _arrow_row(row: Mapping[str, Any], spool: Spool, schema: pa.Schema) -> dict[str, Any]:
    name = row["name"]
    ready: dict[str, Any] = {"image": {"bytes": spool.get(Slot(*row["image"])), "path": name}}
    if "mask" in schema.names:
        path = PurePosixPath(name).with_suffix(".png").as_posix()
        ready["mask"] = {"bytes": spool.get(Slot(*row["mask"])), "path": path} if "mask" in row else None
    if "label" in schema.names:
        ready["label"] = row.get("label")
    if "objects" in schema.names:
        ready["objects"] = {key.name: [one[key.name] for one in row["objects"]] for key in _OBJECTS}
    for key, value in row["plain"].items():
        if value is not None and key in schema.names:
            kind = schema.field(key).type
            value = str(value) if kind == pa.string() else float(value) if kind == pa.float64() else value
        ready[key] = value
    return ready
