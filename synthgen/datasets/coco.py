"""COCO objects: boxes, polygons and RLE in JSON, images beside it.

Layouts: `annotations/instances_train2017.json` with `train2017/` or `images/[train2017/]`, `[annotations/]train.json`
with `train/` or `images/[train/]`, one JSON in the root, or `train/_annotations.coco.json` beside its images. Semantic
labels are painted from the outlines, crowds first, then large to small; every pixel outside them is `unlabelled`
(ignore): COCO does not say what is there. Objects with only a box are not painted.

Kept names and no rejected image give the JSON byte for byte. Under new names the JSON is written anew from what is
known to be a label: image and annotation ids are numbered afresh; URLs, dates, licences, authors and unknown keys stay
behind.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

from synthgen.datasets._coco_files import coco_files, image_folders, join_folder, json_split, looked_in, no_images
from synthgen.datasets._coco_release import ReleasedRow, keep_rows, rename_rows
from synthgen.datasets._coco_shapes import (
    parse_box,
    parse_keypoints,
    parse_polygons,
    parse_segmentation,
    turn_annotation,
)
from synthgen.datasets._coco_write import write_coco
from synthgen.datasets._files import (
    MAX_JSON_BYTES,
    equal_images,
    is_image,
    list_files,
    name_clashes,
    not_released,
    parse_json,
    read_table,
    refuse_duplicates,
    safe_relative,
    write_new,
)
from synthgen.datasets._objects import Size, paint_objects, polygon_mask
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import decode, read_bytes, read_header, sha256
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
)

MAX_MASK_PIXELS = 1 << 30
"""Outlines of one image, as pixels of all its masks together: bounds what one line of JSON can make us allocate."""


@dataclass(frozen=True, eq=False)
class _Entry:
    """One image of a JSON file: its record, the folder its `file_name` is relative to, and its annotations."""

    table: str
    folder: str
    record: Mapping[str, Any]
    annotations: Sequence[Mapping[str, Any]]

    def shown(self, orientation: int, stored: Size, origin: str) -> tuple[Size, list[Mapping[str, Any]]]:
        """(width, height) and annotations for the image as shown.

        The record's size says which pixels the annotations mean: those stored, which then turn, or those shown.

        Raises:
            BadSample: `image-size-mismatch`; where they turn, also what `turn_annotation` raises.
        """
        shown = stored[::-1] if orientation >= 5 else stored
        said = (self.record.get("width", stored[0]), self.record.get("height", stored[1]))
        if orientation != 1 and said == stored:
            return shown, [turn_annotation(a, orientation, stored, origin) for a in self.annotations]
        if said == shown:
            return shown, list(self.annotations)
        raise BadSample("image-size-mismatch", f"{origin}: the file is {stored}, {self.table} says {said}")


@dataclass(frozen=True, eq=False)
class _Scan:
    index: SourceIndex
    entries: Mapping[str, _Entry]
    tables: Mapping[str, Mapping[str, Any]]
    unlabelled: int


class Coco(Dataset):
    """`annotations` and `images` name the JSON files and the image folder where they are not in the usual places."""

    looks_for: ClassVar[str] = "COCO objects in annotations/*.json, *.json or */_annotations.coco.json"
    holds: ClassVar[frozenset[Held]] = frozenset({"class ids", "boxes", "outlines", "crowds", "keypoints", "splits"})
    format: Literal["coco"] = "coco"
    annotations: tuple[str, ...] = ()
    images: str | None = None

    @classmethod
    def recognises(cls, root: Path) -> str | None:
        """As `Dataset`."""
        found = coco_files(root)
        return f"it has COCO objects in {', '.join(found[:3])}" if found else None

    def index(self) -> SourceIndex:
        """As `Dataset`; images that stand twice, in one JSON or in two, stop the run with a list."""
        return self._scan.index

    def read(self, item: Item) -> Sample:
        """As `Dataset`.

        Raises:
            BadSample: also `image-size-mismatch`, `box-invalid`, `segmentation-invalid`, `keypoints-invalid`,
                `class-unknown`, `label-too-large`; only this image is lost.
        """
        entry, classes = self._scan.entries[item.id], self._scan.index.classes
        data = read_bytes(item.image, self.path)
        decoded = decode(data, item.id)
        outlines = sum(bool(annotation.get("segmentation")) for annotation in entry.annotations)
        if outlines * decoded.image.shape[0] * decoded.image.shape[1] > MAX_MASK_PIXELS:
            raise BadSample("label-too-large", f"{item.id}: {outlines} outlines in one image of {decoded.stored_size}")
        size, annotations = entry.shown(decoded.orientation, decoded.stored_size, item.id)
        known = {info.id for info in classes if info.id != self._scan.unlabelled}
        instances = tuple(_instance(annotation, known, size, item.id) for annotation in annotations)
        mask = paint_objects(instances, self._scan.unlabelled, size)
        return Sample(item, decoded.image, Labels(classes, mask, instances), sha256(data))

    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """As `Dataset`; boxes, outlines and keypoints turn where EXIF turned their image; `labels` are annotations.

        A JSON file of which no image was released is not written.
        """
        rows: dict[str, list[ReleasedRow]] = defaultdict(list)
        turned: set[str] = set()
        for one in released:
            write_new(out, one.name, one.data)
            entry = self._scan.entries[one.item.id]
            orientation, stored = read_header(one.item.image, self.path)
            size, annotations = entry.shown(orientation, stored, one.item.id)
            rows[entry.table].append(ReleasedRow(one.name, entry.folder, entry.record, size, annotations))
            if orientation != 1:
                turned.add(entry.table)
        for path, table in self._scan.tables.items():
            if names.keep and len(rows[path]) == len(table["images"]) and path not in turned:
                write_new(out, path, read_table(self.path / path, self.path, MAX_JSON_BYTES))
            elif rows[path]:
                content = keep_rows(table, rows[path]) if names.keep else rename_rows(table, rows[path])
                write_new(out, path, json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())
        written = [row for table_rows in rows.values() for row in table_rows]
        return {"images": len(written), "labels": sum(len(row.annotations) for row in written)}

    @classmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `Dataset`; `labels` are annotations."""
        return write_coco(records, classes, out)

    @cached_property
    def _scan(self) -> _Scan:
        listing = list_files(self.path)
        paths = [safe_relative(path, "source.annotations") for path in self.annotations] or coco_files(self.path)
        if not paths:
            raise ConfigError(f"{self.path}: expected {self.looks_for}; name the file as source.annotations")
        tables = {path: _parse_table(read_table(self.path / path, self.path, MAX_JSON_BYTES), path) for path in paths}
        classes, unlabelled = _classes(tables)
        findings = list(listing.findings)
        pairs = [pair for path in paths for pair in self._entries(path, tables[path], set(listing.files), findings)]
        refuse_duplicates((item_id for item_id, _ in pairs), f"{', '.join(paths)}: images that stand twice")
        entries = dict(sorted(pairs, key=lambda pair: pair[0]))
        if not entries:
            raise ConfigError(no_images(self.path, paths, self.images))
        items = tuple(
            Item(item_id, self.path / item_id, self.path / entry.table, json_split(entry.table))
            for item_id, entry in entries.items()
        )
        unlisted = [path for path in listing.files if is_image(path) and path not in entries]
        findings += [Finding("label-missing", path, "no JSON names this image; it is not used") for path in unlisted]
        findings += not_released(path for path in listing.files if not is_image(path) and path not in tables)
        index = SourceIndex(items, classes, (*findings, *name_clashes(entries), *equal_images(items, self.path)))
        return _Scan(index, entries, tables, unlabelled)

    def _entries(
        self, path: str, table: Mapping[str, Any], files: set[str], findings: list[Finding]
    ) -> list[tuple[str, _Entry]]:
        """(item id, entry) of the images of one JSON that are there; the others become findings."""
        annotations: dict[Any, list[Mapping[str, Any]]] = {record["id"]: [] for record in table["images"]}
        orphans = 0
        for annotation in table["annotations"]:
            if annotation["image_id"] in annotations:
                annotations[annotation["image_id"]].append(annotation)
            else:
                orphans += 1
        if orphans:
            findings.append(Finding("image-missing", path, f"{orphans} annotation(s) of images that it does not list"))
        folders, found = image_folders(path, self.images), []
        for record in table["images"]:
            name = safe_relative(record.get("file_name"), f"{path}, image {record['id']}")
            folder = next((folder for folder in folders if join_folder(folder, name) in files), None)
            if folder is None:
                findings.append(Finding("image-missing", name, f"named by {path}; {looked_in(path, self.images)}"))
            else:
                found.append((join_folder(folder, name), _Entry(path, folder, record, annotations[record["id"]])))
        return found


def _parse_table(data: bytes, origin: str) -> dict[str, Any]:
    """A COCO file whose lists, ids and references have the right form; shapes are checked when an image is read.

    Raises:
        ConfigError: another form, or ids or file names that stand twice.
    """
    table = parse_json(data, origin)
    for key, required in (("images", "id"), ("annotations", "image_id"), ("categories", "id")):
        rows = table.get(key) if isinstance(table, dict) else None
        if not isinstance(rows, list):
            raise ConfigError(f"{origin}: expected an object with the lists images, annotations, categories; no {key}")
        for number, row in enumerate(rows):
            if not isinstance(row, dict) or not isinstance(row.get(required), int | str):
                raise ConfigError(f"{origin}: {key}[{number}] must be an object with {required}, a number or a string")
    refuse_duplicates((row["id"] for row in table["images"]), f"{origin}: image ids that stand twice")
    refuse_duplicates((str(row.get("file_name")) for row in table["images"]), f"{origin}: file names that stand twice")
    ids = [row["id"] for row in table["annotations"] if isinstance(row.get("id"), int | str)]
    refuse_duplicates(ids, f"{origin}: annotation ids that stand twice")
    return table


def _classes(tables: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[ClassInfo, ...], int]:
    """The categories of all files and the id of `unlabelled`: 0 where that is free.

    Raises:
        ConfigError: an id that is no whole number, a category without a name, or one id with two names.
    """
    names: dict[int, str] = {}
    points: dict[int, tuple[tuple[str, ...], tuple[tuple[int, int], ...]]] = {}
    for path, table in tables.items():
        refuse_duplicates((row["id"] for row in table["categories"]), f"{path}: category ids that stand twice")
        for row in table["categories"]:
            class_id, name = row["id"], row.get("name")
            if not isinstance(class_id, int) or not 0 <= class_id < 1 << 30 or not isinstance(name, str):
                raise ConfigError(f"{path}: a category needs a number as id and a name, got {class_id!r}, {name!r}")
            if names.setdefault(class_id, name) != name:
                raise ConfigError(f"{path}: category {class_id} is {name!r} here, {names[class_id]!r} in another file")
            points[class_id] = max(points.get(class_id, ((), ())), _point_names(row))
    unlabelled = 0 if 0 not in names else max(names) + 1
    classes = [
        ClassInfo(class_id, name, keypoints=points[class_id][0], skeleton=points[class_id][1])
        for class_id, name in sorted(names.items())
    ]
    return (*classes, ClassInfo(unlabelled, "unlabelled", (0, 0, 0), ignore=True)), unlabelled


def _point_names(row: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Names of a category's keypoints and the pairs that its skeleton joins; what has another form is left out."""
    names, skeleton = row.get("keypoints"), row.get("skeleton")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return (), ()
    pairs = skeleton if isinstance(skeleton, list) else []
    joined = [(pair[0], pair[1]) for pair in pairs if isinstance(pair, list) and [*map(type, pair)] == [int, int]]
    return tuple(names), tuple(joined)


def _instance(annotation: Mapping[str, Any], known: set[int], size: Size, origin: str) -> Instance:
    origin = f"{origin}, annotation {annotation.get('id')}"
    class_id = annotation.get("category_id")
    if not isinstance(class_id, int) or class_id not in known:
        raise BadSample("class-unknown", f"{origin}: category_id {class_id!r} is not among the categories")
    box = parse_box(annotation.get("bbox"), size, origin)
    polygons = parse_polygons(annotation.get("segmentation"), size, origin)
    mask = (
        polygon_mask(polygons, size) if polygons else parse_segmentation(annotation.get("segmentation"), size, origin)
    )
    points = parse_keypoints(annotation.get("keypoints"), size, origin)
    return Instance(class_id, box, mask, annotation.get("iscrowd") == 1, polygons, points)
