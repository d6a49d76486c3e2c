"""A folder of images as torchvision and Hugging Face read it: `[split/]class/name.jpg`, or just images.

`metadata.csv` or `metadata.jsonl` (a `file_name` column and one column an attribute) speaks for the images of its
folder and below; as with Hugging Face, folders are then no classes, and an image without a row is not used. Released
are the images and the metadata; under new names its rows are written anew, in the order of the new names, with plain
values only: nested values, columns that name further files, and columns that may tell who, where or when stay behind
(`_identity.py`), and the index says which. `columns` names what is released instead.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

from synthgen.datasets._files import (
    IMAGE_FOLDERS,
    SPLITS,
    FreeNames,
    decode_text,
    equal_images,
    is_image,
    list_files,
    name_below,
    name_clashes,
    not_released,
    parse_csv,
    parse_json,
    read_table,
    refuse_duplicates,
    safe_relative,
    write_new,
)
from synthgen.datasets._identity import identity_columns, person_folders
from synthgen.datasets._label_signs import find_labels
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._surrogates import may_have_surrogates, without_surrogates
from synthgen.datasets._tally import Tally
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import decode, read_bytes, sha256
from synthgen.types import BadSample, ClassInfo, ConfigError, Finding, Item, Labels, Sample, SourceIndex

TABLES = ("metadata.csv", "metadata.jsonl")
_NO_FOLDER = re.compile(r"[/\\]|^\.+|(?<=^.):")
"""What the name of a folder may not have: a slash, a leading dot (such files are no part of a dataset), a drive."""


@dataclass(frozen=True, eq=False)
class _Table:
    """One metadata file: `rows` by item id; `folder` is empty at the root."""

    path: str
    folder: str
    data: bytes
    rows: Mapping[str, Mapping[str, Any]]
    left_out: frozenset[str]
    held_back: frozenset[str]
    nested: bool

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(key for row in self.rows.values() for key in row))


@dataclass(frozen=True, eq=False)
class _Scan:
    index: SourceIndex
    tables: tuple[_Table, ...]
    class_of: Mapping[str, str]
    table_of: Mapping[str, _Table]


class ImageFolder(Dataset):
    """Images, classes by folder, attributes by metadata file."""

    looks_for: ClassVar[str] = (
        "images, in class folders or not, with or without metadata.csv or metadata.jsonl, and no other label files"
    )
    holds: ClassVar[frozenset[Held]] = frozenset({"image class", "attributes", "splits"})
    format: Literal["imagefolder"] = "imagefolder"
    columns: tuple[str, ...] | None = None
    """The columns of metadata files that are released; none named: under new names all but those that may tell who,
    where or when, and with `names: keep` all of them."""

    @classmethod
    def recognises(cls, root: Path) -> str | None:
        """As `Dataset`; folders of label images and label files mean another format, whose labels would be lost."""
        there = any(is_image(path) for path in list_files(root).files)
        return "it has images and no label files" if there and find_labels(root) is None else None

    def index(self) -> SourceIndex:
        """As `Dataset`."""
        return self._scan.index

    def read(self, item: Item) -> Sample:
        """As `Dataset`.

        Raises:
            BadSample: also `label-missing` (no row in the metadata), `orientation-unsupported` (EXIF turns the image
                and its metadata has nested values: they may be coordinates, which would no longer fit).
        """
        labels = self.labels_of(item)
        data = read_bytes(item.image, self.path)
        decoded = decode(data, item.id)
        table = self._scan.table_of.get(item.id)
        if decoded.orientation != 1 and table is not None and table.nested:
            raise BadSample(
                "orientation-unsupported",
                f"{item.id}: turned by EXIF, and {table.path} has nested values",
            )
        return Sample(item, decoded.image, labels, sha256(data))

    def labels_stand_still(self) -> bool:
        """As `Dataset`: classes do; a column of a metadata file may hold coordinates."""
        return not self._scan.tables

    def held_back(self, keep: bool) -> frozenset[str]:
        """As `Dataset`."""
        if keep and self.columns is None:
            return frozenset()
        return frozenset().union(*(table.held_back for table in self._scan.tables))

    def labels_of(self, item: Item) -> Labels:
        """Class and attributes, without opening the image."""
        table = self._scan.table_of.get(item.id)
        if table is None:
            return Labels(self._scan.index.classes, image_class=self._scan.class_of.get(item.id))
        row = table.rows.get(item.id)
        if row is None:
            raise BadSample("label-missing", f"{item.id}: no row in {table.path}")
        return Labels(attributes={key: row[key] for key in row if key not in table.left_out and key != "file_name"})

    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """As `Dataset`; a metadata file of which nothing was released is not written."""
        written: dict[str, list[str]] = defaultdict(list)
        count = 0
        for one in released:
            write_new(out, one.name, one.data)
            written[one.item.id].append(one.name)
            count += 1
        labels = 0
        for table in self._scan.tables:
            pairs = [(name, row) for item_id, row in table.rows.items() for name in written.get(item_id, ())]
            labels += len(pairs)
            if names.keep and self.columns is None and len(pairs) == len(table.rows):
                write_new(out, table.path, table.data)
            elif pairs:
                write_new(out, table.path, _write_rows(table, pairs, names.keep, self.columns is not None))
        return {"images": count, "labels": labels}

    @classmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `Dataset`: class folders, and one metadata.jsonl a split where any image has attributes.

        Beside a metadata file folders are no classes, so the class is then also its column `label`.
        """
        tally, free, tables, images, attributes = Tally(), FreeNames(), set[Path](), 0, 0
        for record in records:
            name, folder = record.name, _NO_FOLDER.sub("_", record.labels.image_class or "")
            if folder != (record.labels.image_class or ""):
                tally.add("class-renamed", "image(s) of a class whose name no folder may have: it gets _", name)
            wanted = f"{folder}/{name.removeprefix(f'{folder}/')}" if folder else name
            name = free.take(wanted, record.split)
            tally.add("image-renamed", "image(s) of names that others of their class have", wanted, name != wanted)
            write_new(out, f"{record.split}/{name}" if record.split else name, record.data)
            table = out / (record.split or "") / "metadata.jsonl"
            tables.add(table)
            row = {"file_name": name, **({"label": folder} if folder else {}), **record.labels.attributes}
            with table.open("ab") as file:
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
            images, attributes = images + 1, attributes + bool(record.labels.attributes)
        for table in tables if not attributes else ():
            table.unlink()
        return Written({"images": images, "labels": attributes}, tally.findings())

    @cached_property
    def _scan(self) -> _Scan:
        listing = list_files(self.path)
        images = [path for path in listing.files if is_image(path)]
        if not images:
            raise ConfigError(f"source.path: no images below {self.path}")
        paths = [path for path in listing.files if PurePosixPath(path).name in TABLES]
        refuse_duplicates(
            [_parent(path) for path in paths], f"{self.path}: metadata.csv and metadata.jsonl in one folder"
        )
        findings = [*listing.findings, *name_clashes(images)]
        findings += not_released(sorted(set(listing.files) - set(images) - set(paths)))
        tables = tuple(self._table(path, frozenset(images), findings) for path in paths)
        table_at = {table.folder: table for table in tables}
        table_of = {path: table for path in images if (table := _governing(path, table_at))}
        for path in sorted(table_of):
            if path not in table_of[path].rows:
                findings.append(Finding("label-missing", path, f"no row in {table_of[path].path}; quarantined"))
        split_of, class_of = _folders_to_classes(images)
        class_of = {path: name for path, name in class_of.items() if path not in table_of}
        findings += person_folders(class_of)
        classes = tuple(ClassInfo(number, name) for number, name in enumerate(sorted(set(class_of.values()))))
        items = tuple(Item(path, self.path / path, None, split_of.get(path)) for path in images)
        findings += equal_images(items, self.path)
        return _Scan(SourceIndex(items, classes, tuple(findings)), tables, class_of, table_of)

    def _table(self, path: str, images: frozenset[str], findings: list[Finding]) -> _Table:
        """Read one metadata file; rows of images that are not there become findings."""
        data = read_table(self.path / path, self.path)
        text, folder = decode_text(data, path), _parent(path)
        rows: list[dict[str, Any]] = (
            list(parse_csv(text, path)[1]) if path.endswith(".csv") else _parse_lines(text, path)
        )
        if path.endswith(".jsonl") and may_have_surrogates(text) and (clean := without_surrogates(rows)) != rows:
            message = (
                "half a character (a lone surrogate) in its texts: \ufffd stands for it where the table is written anew"
            )
            findings.append(Finding("text-replaced", path, message))
            rows = clean
        by_id = {}
        for number, row in enumerate(rows, start=1):
            if "file_name" not in row:
                raise ConfigError(f"{path}, row {number}: expected a column file_name, got {', '.join(row)}")
            name = safe_relative(row["file_name"], f"{path}, row {number}")
            by_id[f"{folder}/{name}" if folder else name] = row
        if len(by_id) < len(rows):
            refuse_duplicates(
                [safe_relative(row["file_name"], path) for row in rows], f"{path}: images that stand twice"
            )
        for missing in sorted(set(by_id) - images):
            findings.append(Finding("image-missing", missing, f"named by {path}, but there is no such image"))
        nested = {key for row in rows for key, value in row.items() if isinstance(value, dict | list)}
        files = {key for row in rows for key in row if key.endswith("file_name") and key != "file_name"}
        for key in sorted(nested | files):
            message = "not a plain value, or the name of a further file; released only with names: keep"
            findings.append(Finding("column-not-released", f"{path}: {key}", message))
        held_back = self._held_back(path, rows, frozenset(nested | files), findings)
        return _Table(path, folder, data, by_id, frozenset(nested | files), held_back, bool(nested))

    def _held_back(
        self, path: str, rows: list[dict[str, Any]], left_out: frozenset[str], findings: list[Finding]
    ) -> frozenset[str]:
        """The columns that stay behind for what they tell; each becomes a finding."""
        there = {key: None for row in rows for key in row if key != "file_name" and key not in left_out}
        if self.columns is not None:
            reasons = {key: "is not among source.columns" for key in there if key not in self.columns}
        else:
            found = identity_columns(rows)
            reasons = {key: found[key] for key in there if key in found}
        advice = "" if self.columns is not None else "; to release it name it under source.columns"
        for key, reason in sorted(reasons.items()):
            findings.append(Finding("column-not-released", f"{path}: {key}", f"{reason}: not released{advice}"))
        return frozenset(reasons)


def _parse_lines(text: str, origin: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            row = parse_json(line, f"{origin}, line {number}")
            if not isinstance(row, dict):
                raise ConfigError(f"{origin}, line {number}: expected an object, got {type(row).__name__}")
            rows.append(row)
    return rows


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


def _governing(path: str, table_at: Mapping[str, _Table]) -> _Table | None:
    """The metadata file of the nearest folder above an image."""
    folder = path
    while folder:
        folder = _parent(folder)
        if folder in table_at:
            return table_at[folder]
    return None


def _folders_to_classes(images: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Split and class of each image by its folders: `[split/][images/]class/…/name`.

    Top folders are splits only if every one of them has a split's name: `test` beside `cat` is a class.
    """
    tops = {path.split("/")[0].lower() for path in images if "/" in path}
    splits = bool(tops) and tops <= SPLITS
    containers = {name.lower() for name in IMAGE_FOLDERS}
    split_of, class_of = {}, {}
    for path in images:
        folders = path.split("/")[:-1]
        if splits and folders:
            split_of[path] = folders.pop(0)
        if folders and folders[0].lower() in containers:
            folders.pop(0)
        if folders:
            class_of[path] = folders[0]
    return split_of, class_of


def _write_rows(table: _Table, pairs: list[tuple[str, Mapping[str, Any]]], keep: bool, chosen: bool) -> bytes:
    """The metadata of the released images: in the source's order where names are kept, else by the new names.

    Args:
        chosen: whether the columns were named, so that what is held back is so with kept names too.
    """
    behind = (table.held_back if chosen or not keep else frozenset()) | (frozenset() if keep else table.left_out)
    columns = [key for key in table.columns if key not in behind]
    rows = []
    for name, row in pairs if keep else sorted(pairs, key=lambda pair: pair[0]):
        kept = {key: row[key] for key in columns if key in row}
        rows.append({**kept, "file_name": row["file_name"] if keep else name_below(name, table.folder)})
    if table.path.endswith(".jsonl"):
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\r\n" if b"\r\n" in table.data else "\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
