"""New tar shards out of records: `<split>-000000.tar`, one after the other, and the class table beside them."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from synthgen.datasets._class_ids import encode_ids, refuse_large_ids
from synthgen.datasets._class_table import format_classes
from synthgen.datasets._files import write_new
from synthgen.datasets._records import Record, Written
from synthgen.datasets._sample_json import OBJECTS, format_labels
from synthgen.datasets._tally import Tally
from synthgen.types import ClassInfo

CLASSES = "classes.csv"
MASKS = ("seg.png", "mask.png")
BYTES_PER_SHARD = 1 << 30


def add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """A plain file with nothing in its header but name and length."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def write_shards(records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
    """As `Dataset.write`; a shard ends where it reaches `BYTES_PER_SHARD`.

    Raises:
        ConfigError: a class id that masks and the class table have no place for.
    """
    refuse_large_ids(classes, "webdataset")
    shards: dict[str, _Shards] = {}
    tally, stems, ids = Tally(), set[tuple[str, str]](), {info.name: info.id for info in classes}
    images = objects = 0
    try:
        for record in records:
            split = record.split or "all"
            writer = shards.setdefault(split, _Shards(out, split))
            stem = _free_stem(record, split, stems, tally)
            writer.add(f"{stem}{PurePosixPath(record.name).suffix.lower()}", record.data)
            for extension, data in _labels(record, ids, tally):
                writer.add(f"{stem}.{extension}", data)
            writer.end_sample()
            images, objects = images + 1, objects + len(record.labels.instances)
    finally:
        for writer in shards.values():
            writer.close()
    if classes:
        write_new(out, CLASSES, format_classes(classes))
    return Written({"images": images, "labels": objects}, tally.findings())


def _free_stem(record: Record, split: str, taken: set[tuple[str, str]], tally: Tally) -> str:
    """The name of a sample: without dots, which end it."""
    path = PurePosixPath(record.name)
    wanted = path.with_name(path.stem.replace(".", "_")).as_posix()
    stem, number = wanted, 1
    while (split, stem.casefold()) in taken:
        number += 1
        stem = f"{wanted}-{number}"
    taken.add((split, stem.casefold()))
    changed = stem != path.with_suffix("").as_posix()
    tally.add("image-renamed", "name(s) have dots, which end a name in a shard: they become _", record.name, changed)
    return stem


def _labels(record: Record, ids: dict[str, int], tally: Tally) -> list[tuple[str, bytes]]:
    """(extension, bytes) of the members beside an image."""
    found: list[tuple[str, bytes]] = []
    labels = record.labels
    if labels.image_class is not None:
        if labels.image_class in ids:
            found.append(("cls", str(ids[labels.image_class]).encode()))
        else:
            tally.add("class-not-held", "image(s) of a class that the class table lacks", record.name)
    if labels.mask is not None:
        found.append((MASKS[0], encode_ids(labels.mask)))
    if OBJECTS in labels.attributes:
        tally.add("column-renamed", f"row(s): the column {OBJECTS!r} becomes {OBJECTS}_", record.name)
        renamed = {f"{key}_" if key == OBJECTS else key: value for key, value in labels.attributes.items()}
        labels = replace(labels, attributes=renamed)
    if value := format_labels(labels):
        found.append(("json", json.dumps(value, ensure_ascii=False).encode()))
    return found


class _Shards:
    """The shards of one split, one open at a time."""

    def __init__(self, out: Path, split: str) -> None:
        self._out, self._split = out, split
        self._number = self._bytes = 0
        self._tar: tarfile.TarFile | None = None

    def add(self, name: str, data: bytes) -> None:
        if self._tar is None:
            path = self._out / f"{self._split}-{self._number:06}.tar"
            self._tar = tarfile.open(path, "x", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        add_file(self._tar, name, data)
        self._bytes += len(data)

    def end_sample(self) -> None:
        """Close the shard if it is full: a sample never lies in two."""
        if self._bytes >= BYTES_PER_SHARD:
            self.close()
            self._number, self._bytes = self._number + 1, 0

    def close(self) -> None:
        if self._tar is not None:
            self._tar.close()
            self._tar = None
