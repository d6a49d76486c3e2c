"""COCO panoptic: each pixel belongs to one segment; segments of things are objects, those of stuff are areas.

`annotations/panoptic_train2017.json`, its PNGs in `annotations/panoptic_train2017/` (or beside the images), images in
`train2017/` or `images/…`. The id of a segment is R + 256 G + 65536 B of its colour, 0 is unlabelled. A folder that
also has COCO objects is read as `coco` unless this format is named.

Kept names, no rejected image and no lost label give the JSON byte for byte; under new names it is written anew: ids,
boxes and areas from the PNGs, categories, nothing else.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from synthgen.datasets._coco_files import (
    coco_files,
    image_folders,
    join_folder,
    json_split,
    looked_in,
    no_images,
    panoptic_files,
)
from synthgen.datasets._files import (
    MAX_JSON_BYTES,
    equal_images,
    is_image,
    list_files,
    name_below,
    name_clashes,
    not_released,
    parse_json,
    read_table,
    refuse_duplicates,
    safe_relative,
    write_new,
)
from synthgen.datasets._objects import Size, mask_box
from synthgen.datasets._orientation import label_orientation
from synthgen.datasets._panoptic_write import encode_ids, segment_info, write_panoptic
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._unlabelled import white_pixels
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import decode, decode_label, read_bytes, read_header, sha256, turn
from synthgen.types import BadSample, ClassInfo, ConfigError, Finding, Instance, Item, Labels, Sample, SourceIndex

_CATEGORY_KEYS = ("id", "name", "supercategory", "isthing", "color")
_SEGMENT_KEYS = ("category_id", "iscrowd")


@dataclass(frozen=True, eq=False)
class _Entry:
    """One image: its table, the folder of its `file_name`, its record, its annotation and its PNG."""

    table: str
    folder: str
    record: Mapping[str, Any]
    annotation: Mapping[str, Any] | None
    png: str | None


@dataclass(frozen=True, eq=False)
class _Scan:
    index: SourceIndex
    entries: Mapping[str, _Entry]
    tables: Mapping[str, Mapping[str, Any]]
    things: frozenset[int]
    unlabelled: int


class Panoptic(Dataset):
    """`annotations` and `images` name the JSON files and the image folder where they are not in the usual places."""

    looks_for: ClassVar[str] = "annotations/panoptic_*.json"
    holds: ClassVar[frozenset[Held]] = frozenset({"class ids", "colours", "mask", "outlines", "crowds", "splits"})
    format: Literal["panoptic"] = "panoptic"
    annotations: tuple[str, ...] = ()
    images: str | None = None

    @classmethod
    def recognises(cls, root: Path) -> str | None:
        """As `Dataset`."""
        found = panoptic_files(root)
        return f"it has {found[0]}" if found and not coco_files(root) else None

    def index(self) -> SourceIndex:
        """As `Dataset`; images that stand twice, in one JSON or in two, stop the run with a list."""
        return self._scan.index

    def read(self, item: Item) -> Sample:
        """As `Dataset`.

        Raises:
            BadSample: also `label-missing`, `mask-size-mismatch`, `segmentation-invalid`, `class-unknown`.
        """
        data = read_bytes(item.image, self.path)
        decoded = decode(data, item.id)
        return Sample(item, decoded.image, self._labels(item, decoded.orientation, decoded.stored_size), sha256(data))

    def labels_of(self, item: Item) -> Labels:
        """As `Dataset`, without decoding the image."""
        return self._labels(item, *read_header(item.image, self.path))

    def unlabels(self) -> bool:
        """As `Dataset`: segment 0 is no segment."""
        return True

    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """As `Dataset`; `labels` are PNGs. A JSON file of which no image was released is not written."""
        rows: dict[str, list[tuple[str, str, Size, ReleasedImage]]] = defaultdict(list)
        changed: set[str] = set()
        for one in released:
            entry = self._scan.entries[one.item.id]
            if entry.png is None:
                raise ConfigError(f"{one.item.id}: can't be released without its PNG")
            write_new(out, one.name, one.data)
            orientation, stored = read_header(one.item.image, self.path)
            png = names.other(entry.png, one.item, one.variant)
            if names.keep and orientation == 1 and not one.unlabelled:
                write_new(out, png, read_bytes(self.path / entry.png, self.path))
            else:
                ids = self._ids(entry.png, orientation, stored)
                if one.unlabelled:
                    ids[white_pixels(one.unlabelled, ids.shape, entry.png)] = 0
                write_new(out, png, encode_ids(ids))
            if orientation != 1 or one.unlabelled:
                changed.add(entry.table)
            rows[entry.table].append((one.name, png, stored[::-1] if orientation >= 5 else stored, one))
        for path, table in self._scan.tables.items():
            if names.keep and len(rows[path]) == len(table["images"]) and path not in changed:
                write_new(out, path, read_table(self.path / path, self.path, MAX_JSON_BYTES))
            elif rows[path]:
                content = self._table(table, rows[path], out, names.keep)
                write_new(out, path, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
        count = sum(map(len, rows.values()))
        return {"images": count, "labels": count}

    @classmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `Dataset`; `labels` are segments."""
        return write_panoptic(records, classes, out)

    def _table(
        self, table: Mapping[str, Any], rows: Sequence[tuple[str, str, Size, ReleasedImage]], out: Path, keep: bool
    ) -> dict[str, Any]:
        """The JSON of some released images: the source's rows where names are kept, else new ones."""
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for name, png, size, one in rows if keep else sorted(rows, key=lambda row: row[0]):
            entry = self._scan.entries[one.item.id]
            assert entry.annotation is not None and entry.png is not None
            frame = {"width": size[0], "height": size[1]}
            if keep:
                images.append({**entry.record, **frame})
            else:
                images.append({"id": len(images) + 1, "file_name": name_below(name, entry.folder), **frame})
            ids = _decode_ids(read_bytes(out / png, out), png)
            there = set(np.unique(ids).tolist())
            segments = [
                segment_info(ids, row["id"], row if keep else {key: row[key] for key in _SEGMENT_KEYS if key in row})
                for row in entry.annotation["segments_info"]
                if row["id"] in there
            ]
            below = name_below(png, _png_folder(entry.png, entry.annotation["file_name"]))
            new = {"image_id": images[-1]["id"], "file_name": below, "segments_info": segments}
            annotations.append({**entry.annotation, **new} if keep else new)
        if keep:
            return {**table, "images": images, "annotations": annotations}
        categories = [{key: row[key] for key in _CATEGORY_KEYS if key in row} for row in table["categories"]]
        return {"images": images, "annotations": annotations, "categories": categories}

    def _labels(self, item: Item, orientation: int, stored: Size) -> Labels:
        scan = self._scan
        entry = scan.entries[item.id]
        if entry.annotation is None or entry.png is None:
            raise BadSample("label-missing", f"{item.id}: no annotation, or no PNG for it")
        ids = self._ids(entry.png, orientation, stored)
        segments = {row["id"]: row for row in entry.annotation["segments_info"]}
        known = {info.id for info in scan.index.classes if not info.ignore}
        mask = np.full(ids.shape, scan.unlabelled, np.int32)
        instances = []
        for number in np.unique(ids).tolist():
            row = segments.pop(number, None)
            if number and row is None:
                raise BadSample("segmentation-invalid", f"{item.id}: the JSON lacks segment {number} of {entry.png}")
            if row is not None:
                class_id = row.get("category_id")
                if type(class_id) is not int or class_id not in known:
                    raise BadSample("class-unknown", f"{item.id}: category_id {class_id!r} is not among the categories")
                segment = ids == number
                mask[segment] = class_id
                if class_id in scan.things:
                    instances.append(Instance(class_id, mask_box(segment), segment, row.get("iscrowd") == 1))
        if segments:
            raise BadSample("segmentation-invalid", f"{item.id}: {entry.png} lacks the segments {list(segments)[:10]}")
        return Labels(scan.index.classes, mask, tuple(instances))

    def _ids(self, png: str, orientation: int, stored: Size) -> NDArray[np.int32]:
        ids = _decode_ids(read_bytes(self.path / png, self.path), png)
        turned = label_orientation((ids.shape[1], ids.shape[0]), orientation, stored, png)
        return np.ascontiguousarray(turn(ids, turned))

    @cached_property
    def _scan(self) -> _Scan:
        listing = list_files(self.path)
        paths = [safe_relative(path, "source.annotations") for path in self.annotations] or panoptic_files(self.path)
        if not paths:
            raise ConfigError(f"{self.path}: expected {self.looks_for}; name the file as source.annotations")
        tables = {path: _parse_table(read_table(self.path / path, self.path, MAX_JSON_BYTES), path) for path in paths}
        files, findings = set(listing.files), list(listing.findings)
        pairs = [pair for path in paths for pair in self._entries(path, tables[path], files, findings)]
        refuse_duplicates((item_id for item_id, _ in pairs), f"{', '.join(paths)}: images that stand twice")
        entries = dict(sorted(pairs, key=lambda pair: pair[0]))
        if not entries:
            raise ConfigError(no_images(self.path, paths, self.images))
        items = tuple(
            Item(item_id, self.path / item_id, self.path / one.png if one.png else None, json_split(one.table))
            for item_id, one in entries.items()
        )
        known = {*entries, *tables, *(one.png for one in entries.values())}
        findings += [
            Finding("label-missing", path, "no JSON names this image; it is not used")
            for path in listing.files
            if is_image(path) and path not in known
        ]
        findings += not_released(path for path in listing.files if not is_image(path) and path not in known)
        classes, things, unlabelled = _classes(tables)
        index = SourceIndex(items, classes, (*findings, *name_clashes(entries), *equal_images(items, self.path)))
        return _Scan(index, entries, tables, things, unlabelled)

    def _entries(
        self, path: str, table: Mapping[str, Any], files: set[str], findings: list[Finding]
    ) -> list[tuple[str, _Entry]]:
        """(item id, entry) of the images of one JSON that are there; the others become findings."""
        annotation_of = {row["image_id"]: row for row in table["annotations"]}
        folders, found = image_folders(path, self.images), []
        parent, stem = PurePosixPath(path).parent.as_posix(), PurePosixPath(path).stem
        beside = [join_folder(parent if parent != "." else "", stem), stem]
        for record in table["images"]:
            name = safe_relative(record.get("file_name"), f"{path}, image {record['id']}")
            annotation, png = annotation_of.get(record["id"]), None
            if annotation is not None:
                file = safe_relative(annotation.get("file_name"), f"{path}, annotation of image {record['id']}")
                places = [join_folder(folder, file) for folder in (*beside, *folders)]
                png = next((p for p in places if p in files), None)
            folder = next((f for f in folders if join_folder(f, name) in files and join_folder(f, name) != png), None)
            if folder is None:
                findings.append(Finding("image-missing", name, f"named by {path}; {looked_in(path, self.images)}"))
                continue
            if png is None:
                findings.append(Finding("label-missing", join_folder(folder, name), "no PNG for it; quarantined"))
            found.append((join_folder(folder, name), _Entry(path, folder, record, annotation, png)))
        return found


def _png_folder(png: str, file_name: str) -> str:
    """The folder that the `file_name` of an annotation is relative to."""
    return png.removesuffix(PurePosixPath(file_name).as_posix()).rstrip("/")


def _decode_ids(data: bytes, origin: str) -> NDArray[np.int32]:
    raw = decode_label(data, origin).astype(np.int32)
    return raw if raw.ndim == 2 else raw[..., 0] + 256 * raw[..., 1] + 65536 * raw[..., 2]


def _parse_table(data: bytes, origin: str) -> dict[str, Any]:
    """A panoptic file whose lists, ids and references have the right form.

    Raises:
        ConfigError: another form, or ids that stand twice.
    """
    table = parse_json(data, origin)
    for key, required in (("images", "id"), ("annotations", "image_id"), ("categories", "id")):
        rows = table.get(key) if isinstance(table, dict) else None
        if not isinstance(rows, list):
            raise ConfigError(f"{origin}: expected an object with the lists images, annotations, categories; no {key}")
        for number, row in enumerate(rows):
            if not isinstance(row, dict) or not isinstance(row.get(required), int | str):
                raise ConfigError(f"{origin}: {key}[{number}] must be an object with {required}, a number or a string")
        refuse_duplicates((row[required] for row in rows), f"{origin}: {key} that stand twice")
    for number, row in enumerate(table["annotations"]):
        segments = row.get("segments_info")
        valid = isinstance(segments, list) and all(isinstance(s, dict) and type(s.get("id")) is int for s in segments)
        if not valid:
            raise ConfigError(f"{origin}: annotations[{number}] needs segments_info, a list of objects with an id")
        refuse_duplicates((s["id"] for s in segments), f"{origin}: segments of annotations[{number}] that stand twice")
    return table


def _classes(tables: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[ClassInfo, ...], frozenset[int], int]:
    """The categories of all files, which of them are things, and the id of `unlabelled`.

    Raises:
        ConfigError: an id that is no whole number, no name, or one id with two names.
    """
    found: dict[int, ClassInfo] = {}
    things = set()
    for path, table in tables.items():
        for row in table["categories"]:
            class_id, name, colour = row["id"], row.get("name"), row.get("color")
            if type(class_id) is not int or not 0 <= class_id < 1 << 30 or not isinstance(name, str):
                raise ConfigError(f"{path}: a category needs a number as id and a name, got {class_id!r}, {name!r}")
            if found.setdefault(class_id, ClassInfo(class_id, name, _colour(colour))).name != name:
                raise ConfigError(f"{path}: category {class_id} is {name!r} here, {found[class_id].name!r} elsewhere")
            if row.get("isthing", 1):
                things.add(class_id)
    unlabelled = 0 if 0 not in found else max(found) + 1
    classes = (*(found[key] for key in sorted(found)), ClassInfo(unlabelled, "unlabelled", (0, 0, 0), ignore=True))
    return classes, frozenset(things), unlabelled


def _colour(value: Any) -> tuple[int, int, int] | None:
    valid = isinstance(value, list) and len(value) == 3 and all(type(v) is int and 0 <= v < 256 for v in value)
    return (value[0], value[1], value[2]) if valid else None
