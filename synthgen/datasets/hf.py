"""Hugging Face datasets: parquet files with an image column, from a folder or from the hub.

`data/train-00000-of-00002.parquet` and the like; the name says the split. Images are bytes in the files, so an item's
id is the file's path and the image's own name in it. Masks need a class table, `classes.csv`, beside the files (see
format `masks`): the hub's features have no place for one. Boxes are `[x, y, width, height]`, or `xyxy` by `boxes`.

Rows are read by row group, so memory is bounded by the largest of those. Released are the same files with other images
and without the rows that were rejected, never with a second image, bytes or pixels in another column; under new names
without nested columns that are no labels and columns that may tell who, where or when (`_identity.py`), and in each row
group in the order of the new names.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import field_validator

from synthgen.datasets._class_table import parse_classes
from synthgen.datasets._files import (
    decode_text,
    list_files,
    name_below,
    name_clashes,
    not_released,
    read_table,
    write_new,
)
from synthgen.datasets._hf_columns import CROWD, RLE, Columns, read_columns, released_schema
from synthgen.datasets._hf_files import (
    EMBED,
    Place,
    download,
    encoded_nested,
    item_folder,
    list_places,
    open_parquet,
    read_group,
    read_plain,
)
from synthgen.datasets._hf_write import write_hf
from synthgen.datasets._identity import columns_held_back
from synthgen.datasets._objects import Size, paint_objects
from synthgen.datasets._opaque import OPAQUE, UNKNOWN, encoded_columns
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._sample_json import object_rows, parse_shape
from synthgen.datasets._shard_splits import shard_splits
from synthgen.datasets._spool import Slot, Spool
from synthgen.datasets._unlabelled import unlabel
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import MAX_FILE_BYTES, decode, decode_label, encode_label, sha256
from synthgen.types import (
    BadSample,
    ClassInfo,
    ConfigError,
    Finding,
    Instance,
    Item,
    Labels,
    Sample,
    SourceIndex,
    ignore_class,
)

CLASSES = "classes.csv"
_HUB = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}")


@dataclass(frozen=True, eq=False)
class _Scan:
    index: SourceIndex
    places: Mapping[str, Place]
    columns: Mapping[str, Columns]
    unlabelled: int
    held_back: frozenset[str]
    encoded: frozenset[str]


class Hf(Dataset):
    """`hub` is `org/name@<commit>`, downloaded to `path` once; `image` names the image column where there are several;
    `boxes` says how boxes are written; `columns` names the plain columns that are released."""

    looks_for: ClassVar[str] = "*.parquet with an image column"
    holds: ClassVar[frozenset[Held]] = frozenset(
        {"class ids", "colours", "mask", "boxes", "outlines", "crowds", "image class", "attributes", "splits"}
    )
    format: Literal["hf"] = "hf"
    hub: str | None = None
    image: str | None = None
    boxes: Literal["xywh", "xyxy"] = "xywh"
    columns: tuple[str, ...] | None = None

    @field_validator("hub")
    @classmethod
    def _pinned(cls, hub: str | None) -> str | None:
        if hub is not None and not _HUB.fullmatch(hub):
            raise ValueError(f"{hub!r}: expected org/name@<40 hex digits of a commit>; a branch can move under a run")
        return hub

    @classmethod
    def recognises(cls, root: Path) -> str | None:
        """As `Dataset`."""
        found = next((path for pattern in ("*.parquet", "*/*.parquet") for path in root.glob(pattern)), None)
        return f"it has {found.relative_to(root).as_posix()}" if found else None

    def index(self) -> SourceIndex:
        """As `Dataset`; of the files only names are read. A file that is no parquet stops the run."""
        return self._scan.index

    def encoded(self, item: Item) -> bytes:
        """As `Dataset`."""
        place = self._scan.places[item.id]
        data = (self._row(place).get(self._scan.columns[place.file].image) or {}).get("bytes")
        if not isinstance(data, bytes):
            raise BadSample("file-missing", f"{item.id}: the row has no bytes of an image; {EMBED}")
        if len(data) > MAX_FILE_BYTES:
            raise BadSample("file-too-large", f"{item.id}: more than {MAX_FILE_BYTES} bytes")
        return data

    def read(self, item: Item) -> Sample:
        """As `Dataset`.

        Raises:
            BadSample: also `label-invalid`, `box-invalid`, `class-unknown`, `segmentation-invalid`,
                `mask-size-mismatch`, and `orientation-unsupported`: EXIF turns an image that has a mask or objects.
        """
        data = self.encoded(item)
        decoded = decode(data, item.id)
        size = (decoded.image.shape[1], decoded.image.shape[0])
        labels = self._labels(item, size)
        if decoded.orientation != 1 and (labels.mask is not None or labels.instances):
            raise BadSample(
                "orientation-unsupported", f"{item.id}: turned by EXIF; which pixels its labels mean is open"
            )
        return Sample(item, decoded.image, labels, sha256(data))

    def labels_stand_still(self) -> bool:
        """As `Dataset`: classes do."""
        return not any(one.mask or one.objects or one.plain or one.left_out for one in self._scan.columns.values())

    def held_back(self, keep: bool) -> frozenset[str]:
        """As `Dataset`; with kept names columns stay unless `columns` says otherwise, or texts have bytes in them."""
        return self._scan.encoded | (frozenset() if keep and self.columns is None else self._scan.held_back)

    def unlabels(self) -> bool:
        """As `Dataset`: where every file has masks, none has objects, and the table has an ignore class for 8 bits."""
        masked = all(one.mask is not None and one.objects is None for one in self._scan.columns.values())
        ignore = ignore_class(self._scan.index.classes)
        return masked and ignore is not None and ignore.id < 1 << 8

    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """As `Dataset`; `labels` are rows."""
        count = 0
        with Spool(out) as spool:
            slots: dict[str, list[tuple[str, Slot, Slot | None]]] = defaultdict(list)
            for one in released:
                lost = spool.put(one.unlabelled) if one.unlabelled else None
                slots[one.item.id].append((one.name, spool.put(one.data), lost))
                count += 1
            by_place = {
                (p.file, p.group, p.row): item_id for item_id, p in self._scan.places.items() if item_id in slots
            }
            for file, columns in self._scan.columns.items():
                if any(key[0] == file for key in by_place):
                    self._release_file(file, columns, by_place, slots, spool, names, out)
        if (self.path / CLASSES).is_file():
            write_new(out, CLASSES, read_table(self.path / CLASSES, self.path))
        return {"images": count, "labels": count}

    @classmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `Dataset`; `load_dataset("parquet", …)` and `load_dataset(folder)` read it."""
        return write_hf(records, classes, out)

    def _release_file(
        self,
        file: str,
        columns: Columns,
        by_place: Mapping[tuple[str, int, int], str],
        slots: Mapping[str, list[tuple[str, Slot, Slot | None]]],
        spool: Spool,
        names: NameMap,
        out: Path,
    ) -> None:
        """One parquet file again, row group by row group."""
        target = out / file
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = item_folder(file)
        with self._open(file) as source:
            schema = released_schema(source.schema_arrow, columns, self.held_back(names.keep), names.keep)
            with pq.ParquetWriter(target, schema) as writer:
                for group in range(source.num_row_groups):
                    rows = source.read_row_group(group, columns=schema.names).to_pylist()
                    new: list[tuple[str, dict[str, Any]]] = []
                    for number, row in enumerate(rows):
                        for name, slot, lost in slots.get(by_place.get((file, group, number), ""), ()):
                            path = name_below(name, folder)
                            image = {"bytes": spool.get(slot), "path": path}
                            mask = self._released_mask(row, columns, path, names, spool.get(lost) if lost else b"")
                            new.append((name, {**row, **mask, columns.image: image}))
                    if not names.keep:
                        new.sort(key=lambda pair: pair[0])
                    if new:
                        writer.write_table(pa.Table.from_pylist([row for _, row in new], schema=schema))

    def _released_mask(
        self, row: Mapping[str, Any], columns: Columns, path: str, names: NameMap, unlabelled: bytes
    ) -> dict[str, Any]:
        """The mask of a row where it is changed: without metadata and under its new name, with what was lost as ignore.

        Empty where it stays as it is.
        """
        if columns.mask is None or not (row[columns.mask] or {}).get("bytes") or (names.keep and not unlabelled):
            return {}
        data = encode_label(row[columns.mask]["bytes"], 1, path)
        if unlabelled:
            data = unlabel(data, unlabelled, self._scan.index.classes, path)
        new = PurePosixPath(path).with_suffix(".png").as_posix()
        return {columns.mask: {"bytes": data, "path": row[columns.mask].get("path") if names.keep else new}}

    @cached_property
    def _group(self) -> Callable[[str, int], pa.Table]:
        """The rows of a group; neighbours are asked for one after the other, so the last groups are kept."""
        return lru_cache(maxsize=2)(partial(read_group, self.path))

    @cached_property
    def _scan(self) -> _Scan:
        if self.hub is not None and not any(self.path.rglob("*.parquet")):
            download(self.hub, self.path)
        listing = list_files(self.path)
        files = [path for path in listing.files if path.endswith(".parquet")]
        if not files:
            raise ConfigError(
                f"{self.path}: expected {self.looks_for} (save_to_disk folders: use ds.to_parquet instead)"
            )
        columns: dict[str, Columns] = {}
        places: dict[str, Place] = {}
        rows: list[dict[str, Any]] = []
        encoded: frozenset[str] = frozenset()
        for file in files:
            with self._open(file) as source:
                columns[file] = read_columns(source.schema_arrow, file, self.image)
                for place in list_places(source, file, columns[file].image):
                    places[f"{item_folder(file)}/{place.name}"] = place
                rows += read_plain(source, columns[file].plain)
                encoded |= encoded_nested(source, set(columns[file].left_out) - columns[file].opaque)
        classes, unlabelled = self._classes(columns)
        splits = shard_splits(files)
        items = tuple(
            Item(item_id, self.path / place.file, None, splits[place.file]) for item_id, place in sorted(places.items())
        )
        held_back, told = columns_held_back(rows, self.columns)
        encoded |= encoded_columns(rows)
        findings = [*listing.findings, *name_clashes(places), *told]
        opaque = encoded.union(*(one.opaque for one in columns.values()))
        left_out = opaque.union(*({*one.left_out, *one.unread} for one in columns.values()))
        for name in sorted(left_out):
            findings.append(Finding("column-not-released", name, OPAQUE if name in opaque else UNKNOWN))
        findings += not_released(path for path in listing.files if path not in columns and path != CLASSES)
        return _Scan(SourceIndex(items, classes, tuple(findings)), places, columns, unlabelled, held_back, encoded)

    def _classes(self, columns: Mapping[str, Columns]) -> tuple[tuple[ClassInfo, ...], int]:
        """The class table, from `classes.csv` or from the names in the features, and the id of `unlabelled`."""
        if (self.path / CLASSES).is_file():
            text = decode_text(read_table(self.path / CLASSES, self.path, 1 << 20), CLASSES)
            classes = parse_classes(text, CLASSES)
        else:
            masked = [file for file, one in columns.items() if one.mask]
            if masked:
                name = columns[masked[0]].mask
                raise ConfigError(f"{masked[0]}: the column {name} is a mask; name its classes in {CLASSES} (id,name)")
            tables = {one.object_names or one.class_names for one in columns.values()}
            if len(tables) > 1:
                raise ConfigError(f"{self.path}: the files name their classes differently; split them into two folders")
            classes = tuple(ClassInfo(number, name) for number, name in enumerate(next(iter(tables))))
        void = next((info.id for info in classes if info.ignore), None)
        if void is None and any(one.objects for one in columns.values()):
            void = max((info.id for info in classes), default=-1) + 1
            classes = (*classes, ClassInfo(void, "unlabelled", (0, 0, 0), ignore=True))
        return classes, -1 if void is None else void

    def _labels(self, item: Item, size: Size) -> Labels:
        place, classes = self._scan.places[item.id], self._scan.index.classes
        columns, row = self._scan.columns[place.file], self._row(place)
        objects = object_rows(row[columns.objects], columns.fields, item.id) if columns.objects else ()
        instances = tuple(
            self._instance(one, columns, size, f"{item.id}, object {number}")
            for number, one in enumerate(objects, start=1)
        )
        mask = paint_objects(instances, self._scan.unlabelled, size)
        if columns.mask is not None and (row[columns.mask] is not None or columns.objects is None):
            mask = _mask((row[columns.mask] or {}).get("bytes"), classes, size, item.id)
        image_class = row[columns.image_class] if columns.image_class else None
        if isinstance(image_class, int) and columns.class_names:
            if not 0 <= image_class < len(columns.class_names):
                raise BadSample("class-unknown", f"{item.id}: {columns.image_class} is {image_class}")
            image_class = columns.class_names[image_class]
        attributes = {name: row[name] for name in columns.plain if row[name] is not None}
        return Labels(classes, mask, instances, None if image_class is None else str(image_class), attributes)

    def _instance(self, one: Mapping[str, Any], columns: Columns, size: Size, origin: str) -> Instance:
        value = one.get(columns.category or "")
        names = columns.object_names
        named = names[value] if isinstance(value, int) and 0 <= value < len(names) else value
        ids = {info.name: info.id for info in self._scan.index.classes if not info.ignore}
        class_id = ids.get(named) if isinstance(named, str) else named
        if class_id not in ids.values():
            raise BadSample("class-unknown", f"{origin}: {columns.category} is {value!r}")
        box = one.get("bbox")
        if self.boxes == "xyxy" and isinstance(box, list) and len(box) == 4 and None not in box:
            box = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
        assert isinstance(class_id, int)
        box, mask, polygons = parse_shape(box, _outline(one.get(RLE), size), size, origin)
        return Instance(class_id, box, mask, one.get(CROWD) in (1, True), polygons)

    def _row(self, place: Place) -> dict[str, Any]:
        table = self._group(place.file, place.group)
        return table.slice(place.row, 1).to_pylist()[0]

    def _open(self, file: str) -> pq.ParquetFile:
        return open_parquet(self.path, file)


def _outline(value: Any, size: Size) -> Any:
    """A segmentation as COCO has it, out of that, of compressed counts alone, or of one polygon."""
    if isinstance(value, str) and value:
        return {"size": [size[1], size[0]], "counts": value}
    if isinstance(value, Mapping) and value.get("counts"):
        return value
    if isinstance(value, list) and value:
        return value if isinstance(value[0], list) else [value]
    return None


def _mask(data: Any, classes: Sequence[ClassInfo], size: Size, origin: str) -> Any:
    if not isinstance(data, bytes):
        raise BadSample("label-missing", f"{origin}: the row has no mask")
    raw = decode_label(data, f"the mask of {origin}")
    if raw.ndim != 2 or (raw.shape[1], raw.shape[0]) != size:
        raise BadSample("mask-size-mismatch", f"{origin}: the image is {size}, its mask {raw.shape}")
    unknown = sorted(set(np.unique(raw).tolist()) - {info.id for info in classes})
    if unknown:
        raise BadSample("class-unknown", f"{origin}: its mask has {unknown[:10]}, which {CLASSES} does not list")
    return raw.astype(np.int32)
