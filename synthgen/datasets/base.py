"""What a dataset format must do: list its items without decoding them, read one, and write a set.

A set is written in two ways. `write_release` puts outputs in the place of the source's images: same tree, same label
files. `write` makes a new set of this format out of images and labels from anywhere; `holds` says what of the labels
the format has a place for, so that a converter can tell what is lost before anything is written.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Protocol

from pydantic import Field, field_validator

from synthgen.component import Component, component_class, kinds, parse_component
from synthgen.datasets._files import FreeNames, usual_split
from synthgen.datasets._fit import Fitting
from synthgen.datasets._label_signs import find_labels
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._unlabelled import without_labels
from synthgen.images import read_bytes
from synthgen.remote import is_url, local_copy
from synthgen.types import ClassInfo, Item, Labels, Sample, SourceIndex

__all__ = [
    "Dataset",
    "FreeNames",
    "Held",
    "NameMap",
    "Record",
    "ReleasedImage",
    "Written",
    "resolve_source",
    "usual_split",
]


@dataclass(frozen=True)
class ReleasedImage:
    """One accepted output on its way out: the encoded file and the labels that go with it.

    `name` is the new path of the image below the release root, with forward slashes and the source's suffix. With
    `names: keep` and one variant it equals `item.id`, and label files are copied byte for byte.

    `unlabelled` is a PNG of the image as shown, white where its label does not hold in this output and becomes
    *ignore*; empty, as always where the format can't do that, it changes nothing.
    """

    item: Item
    variant: int
    name: str
    data: bytes
    unlabelled: bytes = b""

    def labels(self, of_source: Labels) -> Labels:
        """The source's labels as they hold in this output."""
        return without_labels(of_source, self.unlabelled, self.item.id)


class NameMap(Protocol):
    """Gives every file of the release its name."""

    @property
    def keep(self) -> bool:
        """Whether names stay as they are, and label files byte for byte."""
        ...

    def image(self, item: Item, variant: int) -> str:
        """The path of an output below the release root, in the folder of its source image."""
        ...

    def other(self, path: str, item: Item, variant: int) -> str:
        """The new path of a file that belongs to `item` (its mask, its text), given its path below the source root."""
        ...


class Dataset(Component):
    """A folder of images in one format. Paths in label files may not leave `path`."""

    looks_for: ClassVar[str]
    """What `recognises` wants to see, for the message when no format matches."""
    holds: ClassVar[frozenset[Held]]
    """What `write` has a place for."""
    split_folders: ClassVar[bool] = True
    """Whether `write` keeps the images of each split apart, so that two splits may use one name."""
    format: str
    path: Path
    url: str | None = None
    """Where `path` is a copy of; a config names it as its `path`."""
    splits: tuple[str, ...] | None = None
    """Only these splits; the release then holds no others."""
    limit: int | None = Field(default=None, ge=1)
    """Only the first so many images (in order of id): for a first look."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return Path(os.path.abspath(path))

    @classmethod
    @abstractmethod
    def recognises(cls, root: Path) -> str | None:
        """Why `root` looks like this format (one clause for the message to the user), or None."""

    @abstractmethod
    def index(self) -> SourceIndex:
        """All items, sorted by id, without decoding an image.

        Raises:
            ConfigError: no images, duplicate ids, a label path that leaves the root, an unreadable class table.
        """

    @abstractmethod
    def read(self, item: Item) -> Sample:
        """Decode one item.

        Raises:
            BadSample: the image or its labels can't be used; the code says why.
        """

    @abstractmethod
    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """Write images and labels below `out` in this format's own layout; stream, never hold all images.

        Items that are not in `released` leave every label file. Returns counts (`images`, `labels`, …).
        """

    @classmethod
    @abstractmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """Write a new set of this format below `out`, an empty folder; stream, never hold all images.

        `classes` is the table that the labels of all `records` refer to. Labels hold nothing that `holds` lacks.

        Raises:
            ConfigError: a class table that the format can't express.
        """

    @classmethod
    def write_fitted(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `write`, of labels from any format: what has no place in this one becomes findings."""
        fitting = Fitting(classes, cls.holds)
        written = cls.write(map(fitting.fit, records), fitting.classes, out)
        return Written(written.counts, (*fitting.findings(), *written.findings))

    def encoded(self, item: Item) -> bytes:
        """The bytes of an item's image file.

        Raises:
            BadSample: as `read_bytes`.
        """
        return read_bytes(item.image, self.path)

    def labels_stand_still(self) -> bool:
        """Whether every label speaks of the image as a whole, so that it stays true when the image is moved."""
        return False

    def located_classes(self, index: SourceIndex) -> tuple[ClassInfo, ...]:
        """Those of the `index` that labels may place in an image: none where each label speaks of a whole image."""
        return () if self.labels_stand_still() else index.classes

    def held_back(self, keep: bool) -> frozenset[str]:
        """The attributes that a release leaves out, since they may tell who, where or when; `keep` is that of names."""
        return frozenset()

    def unlabels(self) -> bool:
        """Whether `write_release` can set the label of single pixels to *ignore*."""
        return False

    def labels_of(self, item: Item) -> Labels:
        """The labels alone; formats that can read them without the image override this."""
        return self.read(item).labels


def resolve_source(value: Any, cache: Path | None = None) -> Dataset:
    """A spec from what a config may hold: a spec, a folder or URL, or `{format: auto | <kind>, path: ..., ...}`.

    With `auto`, the default, every format looks at the folder and exactly one must recognise it. What a URL names is
    copied below `cache` first; a spec that names its `url` beside a copy that is there is taken as it is.

    Raises:
        ValueError: no folder, no format or several recognise it, an unknown format or key.
    """
    if isinstance(value, Dataset):
        return value
    if isinstance(value, str | Path):
        value = {"path": value}
    if not isinstance(value, dict) or not value.get("path"):
        raise ValueError("expected the folder of a dataset, or a mapping with path and format")
    if is_url(value["path"]):
        value = {**value, "url": str(value["path"]), "path": local_copy(str(value["path"]), cache)}
    elif value.get("url") and not Path(value["path"]).is_dir():
        value = {**value, "path": local_copy(value["url"], cache)}
    if value.get("format", "auto") == "auto":
        value = {**value, "format": _recognise(Path(value["path"]))}
    spec = parse_component("datasets", value, tag="format")
    assert isinstance(spec, Dataset)
    return spec


def _recognise(root: Path) -> str:
    if not root.is_dir():
        raise ValueError(f"source.path: {root} is not a folder; give the root folder of a dataset, unpacked")
    formats: dict[str, type[Dataset]] = {
        kind: cls for kind in kinds("datasets") if issubclass(cls := component_class("datasets", kind), Dataset)
    }
    found = {kind: why for kind, cls in formats.items() if (why := cls.recognises(root))}
    if len(found) == 1:
        return next(iter(found))
    if found:
        lines = [f"{root} looks like several formats; name one as source.format:"]
        lines += [f"  {kind}: {why}" for kind, why in found.items()]
    else:
        lines = [f"{root} looks like no known format; name one as source.format, or change the folder. Tried:"]
        lines += [f"  {kind} looks for {cls.looks_for}" for kind, cls in formats.items()]
        lines += _labels_there(root, formats)
    raise ValueError("\n".join(lines))


def _labels_there(root: Path, formats: Mapping[str, type[Dataset]]) -> list[str]:
    """What to do about images whose labels no format reads from here: the folder to give, or how to lay them out."""
    sign = find_labels(root)
    if sign is None:
        return []
    above = [folder.as_posix() for folder in reversed(PurePosixPath(sign.path).parents) if folder.parts]
    for folder in (*above, sign.path) if (root / sign.path).is_dir() else above:
        for kind, cls in formats.items():
            if kind != "imagefolder" and (why := cls.recognises(root / folder)):
                return [f"{folder} looks like {kind}: {why}; give {root / folder} as source.path"]
    return [
        f"{sign.path} looks like labels: {sign.advice}. To go on without the labels, name source.format: imagefolder"
    ]
