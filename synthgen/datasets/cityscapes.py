"""Cityscapes: `leftImg8bit/<split>/<city>/…_leftImg8bit.png`, labels of the same name below `gtFine`.

Read are `…_gtFine_labelIds.png` (ids) and `…_gtFine_instanceIds.png` (objects); released with them are the colour
images, the train ids and `…_polygons.json`. Classes are those of Cityscapes, or those of a `classes.csv` in the root
(see format `masks`) for other sets in this layout. Under new names the endings stay, since loaders look for them; the
polygons keep labels and points alone, cut to the frame. What an output lost is covered by *ignore*, in the polygons
too. City folders stay as all folders do.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL

from synthgen.datasets._cityscapes_polygons import format_polygons, released_polygons, unlabel_polygons
from synthgen.datasets._cityscapes_table import COUNTED, MAX_ID, STANDARD, draw_objects, read_objects
from synthgen.datasets._class_table import format_classes, parse_classes
from synthgen.datasets._files import (
    decode_text,
    equal_images,
    is_image,
    list_files,
    name_clashes,
    not_released,
    read_table,
    write_new,
)
from synthgen.datasets._objects import Size
from synthgen.datasets._orientation import label_orientation
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._tally import Tally
from synthgen.datasets._unlabelled import unlabel
from synthgen.datasets._voc_masks import voc_colour
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import decode, decode_label, encode_label, read_bytes, read_header, sha256, turn
from synthgen.types import BadSample, ClassInfo, ConfigError, Finding, Item, Labels, Sample, SourceIndex, ignore_class

IMAGES, LABELS, CLASSES = "leftImg8bit", "gtFine", "classes.csv"
_IMAGE, _IDS, _OBJECTS = "_leftImg8bit", "_gtFine_labelIds.png", "_gtFine_instanceIds.png"
_POLYGONS, _COLOURS = "_gtFine_polygons.json", "_gtFine_color.png"
_TRAIN = "TrainIds.png"
_TRAIN_VOID = (ClassInfo(255, "ignored in training", ignore=True),)
_ENDINGS = (_IDS, _OBJECTS, _POLYGONS, _COLOURS, "_gtFine_labelTrainIds.png", "_gtFine_instanceTrainIds.png")


@dataclass(frozen=True, eq=False)
class _Scan:
    index: SourceIndex
    files: frozenset[str]


class Cityscapes(Dataset):
    """The folder that holds `leftImg8bit` and `gtFine`."""

    looks_for: ClassVar[str] = "leftImg8bit/<split>/<city> and gtFine"
    holds: ClassVar[frozenset[Held]] = frozenset({"class ids", "colours", "mask", "outlines", "crowds", "splits"})
    format: Literal["cityscapes"] = "cityscapes"

    @classmethod
    def recognises(cls, root: Path) -> str | None:
        """As `Dataset`."""
        there = (root / IMAGES).is_dir() and (root / LABELS).is_dir()
        return f"it has {IMAGES}/ and {LABELS}/" if there else None

    def index(self) -> SourceIndex:
        """As `Dataset`."""
        return self._scan.index

    def read(self, item: Item) -> Sample:
        """As `Dataset`.

        Raises:
            BadSample: also `label-missing`, `label-invalid`, `mask-size-mismatch`, `image-size-mismatch`,
                `class-unknown`, `segmentation-invalid`; of the label files that are only released as well.
        """
        data = read_bytes(item.image, self.path)
        decoded = decode(data, item.id)
        labels = self._labels(item, decoded.orientation, decoded.stored_size)
        for path in self._label_paths(item):
            if not path.endswith((_IDS, _OBJECTS)):
                _check(read_bytes(self.path / path, self.path), path, decoded.orientation, decoded.stored_size)
        return Sample(item, decoded.image, labels, sha256(data))

    def labels_of(self, item: Item) -> Labels:
        """As `Dataset`, without decoding the image."""
        return self._labels(item, *read_header(item.image, self.path))

    def unlabels(self) -> bool:
        """As `Dataset`: where the table has an ignore class."""
        return ignore_class(self._classes) is not None

    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """As `Dataset`; `labels` are label files."""
        images = labels = 0
        for one in released:
            write_new(out, one.name, one.data)
            images += 1
            orientation, stored = read_header(one.item.image, self.path)
            for path in self._label_paths(one.item):
                data = read_bytes(self.path / path, self.path)
                if not names.keep or orientation != 1 or one.unlabelled:
                    data = _clean(data, path, orientation, stored)
                if one.unlabelled:
                    data = self._unlabel(data, one.unlabelled, path)
                write_new(out, names.other(path, one.item, one.variant), data)
                labels += 1
        if (self.path / CLASSES).is_file():
            write_new(out, CLASSES, read_table(self.path / CLASSES, self.path))
        return {"images": images, "labels": labels}

    @classmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `Dataset`; the first folder of a name is its city, `all` where there is none."""
        table, numbers, findings = _table(classes)
        named = {numbers[info.id]: info for info in classes}
        tally, images, objects = Tally(), 0, 0
        for record in records:
            *folders, last = PurePosixPath(record.name).parts
            split, city = record.split or "train", "-".join(folders) or "all"
            stem = PurePosixPath(last).stem.removesuffix(_IMAGE)
            write_new(out, f"{IMAGES}/{split}/{city}/{stem}{_IMAGE}{PurePosixPath(last).suffix}", record.data)
            if record.split is None:
                tally.add("split-renamed", "image(s) without a split are in train: every folder is one", record.name)
            labels = _renumber(record.labels, numbers, table)
            if labels.mask is not None:
                lost = sum(one.crowd and named[one.class_id].name not in COUNTED for one in labels.instances)
                tally.add("crowd-not-held", "group(s) of classes without objects are in the mask alone", last, lost)
                base = f"{LABELS}/{split}/{city}/{stem}"
                for ending, data in _label_files(labels, table, record.size, tally, record.name).items():
                    write_new(out, f"{base}{ending}", data)
            images, objects = images + 1, objects + len(labels.instances)
        if table is not STANDARD:
            write_new(out, CLASSES, format_classes(table))
        for folder in (IMAGES, LABELS):
            (out / folder).mkdir(exist_ok=True)
        return Written({"images": images, "labels": objects}, (*findings, *tally.findings()))

    def _unlabel(self, data: bytes, unlabelled: bytes, path: str) -> bytes:
        """A label file with *ignore* where nothing holds: the table's, or 255 where it shows train ids."""
        if path.endswith(_POLYGONS):
            return unlabel_polygons(data, unlabelled, self._void.name, path)
        if path.endswith(_TRAIN):
            return unlabel(data, unlabelled, _TRAIN_VOID, path)
        colour = self._void.color or voc_colour(self._void.id)
        return unlabel(data, unlabelled, (replace(self._void, color=colour),), path)

    @property
    def _void(self) -> ClassInfo:
        void = ignore_class(self._classes)
        assert void is not None, "nothing is unlabelled without an ignore class"
        return void

    def _label_paths(self, item: Item) -> list[str]:
        """The label files that an image has."""
        paths = [_label_path(item.id, ending) for ending in _ENDINGS]
        return [path for path in paths if path in self._scan.files]

    def _labels(self, item: Item, orientation: int, stored: Size) -> Labels:
        classes, path = self._scan.index.classes, _label_path(item.id, _IDS)
        if path not in self._scan.files:
            raise BadSample("label-missing", f"{item.id}: no {path}")
        mask = self._label_image(path, orientation, stored)
        unknown = sorted(set(np.unique(mask).tolist()) - {info.id for info in classes})
        if unknown:
            raise BadSample("class-unknown", f"{path} has {unknown[:10]}, which the class table does not list")
        path = _label_path(item.id, _OBJECTS)
        numbers = self._label_image(path, orientation, stored) if path in self._scan.files else None
        return Labels(classes, mask, () if numbers is None else read_objects(numbers, classes))

    def _label_image(self, path: str, orientation: int, stored: Size) -> NDArray[np.int32]:
        raw = decode_label(read_bytes(self.path / path, self.path), path)
        if raw.ndim != 2:
            raise BadSample("image-format", f"{path}: expected ids, got colours")
        turned = turn(raw, label_orientation((raw.shape[1], raw.shape[0]), orientation, stored, path))
        return np.ascontiguousarray(turned.astype(np.int32))

    @cached_property
    def _scan(self) -> _Scan:
        listing = list_files(self.path)
        files = frozenset(listing.files)
        images = [path for path in listing.files if path.startswith(f"{IMAGES}/") and is_image(path)]
        if not images:
            raise ConfigError(f"{self.path}: no images in {IMAGES}; expected {self.looks_for}")
        findings = list(listing.findings)
        items = []
        for path in images:
            label = _label_path(path, _IDS)
            parts = path.split("/")
            split = parts[1] if len(parts) > 2 else None
            items.append(Item(path, self.path / path, self.path / label if label in files else None, split))
            if label not in files:
                findings.append(Finding("label-missing", path, f"no {label}; quarantined"))
        owned = {_label_path(path, ending) for path in images for ending in _ENDINGS}
        other = [path for path in listing.files if path not in owned | set(images) | {CLASSES}]
        for path in (path for path in other if path.startswith(f"{LABELS}/")):
            findings.append(Finding("image-missing", path, f"no image in {IMAGES}; the label is not released"))
        findings += not_released(path for path in other if not path.startswith(f"{LABELS}/"))
        findings += [*name_clashes(images), *equal_images(items, self.path)]
        return _Scan(SourceIndex(tuple(items), self._classes, tuple(findings)), files)

    @cached_property
    def _classes(self) -> tuple[ClassInfo, ...]:
        path = self.path / CLASSES
        if not path.is_file():
            return STANDARD
        classes = parse_classes(decode_text(read_table(path, self.path, 1 << 20), CLASSES), CLASSES)
        if max(info.id for info in classes) > MAX_ID:
            raise ConfigError(f"{CLASSES}: Cityscapes' object images have room for ids up to {MAX_ID}")
        return classes


def _label_path(image: str, ending: str) -> str:
    """The label file of an image below `gtFine`."""
    pure = PurePosixPath(image)
    below = PurePosixPath(LABELS, *pure.parts[1:-1], pure.stem.removesuffix(_IMAGE) + ending)
    return below.as_posix()


def _check(data: bytes, path: str, orientation: int, stored: Size) -> None:
    """Raise BadSample where a label file can't be released."""
    if path.endswith(".json"):
        released_polygons(data, orientation, stored, path)
    else:
        height, width = decode_label(data, path).shape[:2]
        label_orientation((width, height), orientation, stored, path)


def _clean(data: bytes, path: str, orientation: int, stored: Size) -> bytes:
    """A label file for the image as shown, without a trace of its making."""
    if path.endswith(".json"):
        return released_polygons(data, orientation, stored, path)
    height, width = decode_label(data, path).shape[:2]
    return encode_label(data, label_orientation((width, height), orientation, stored, path), path)


def _table(classes: Sequence[ClassInfo]) -> tuple[tuple[ClassInfo, ...], dict[int, int], list[Finding]]:
    """Cityscapes' own table where it labels all names that carry a label, else the given one; and the new ids.

    Raises:
        ConfigError: more classes than fit.
    """
    standard = {info.name: info.id for info in STANDARD}
    labelled = {info.name for info in STANDARD if not info.ignore}
    if all(info.name in labelled or info.ignore for info in classes):
        numbers = {info.id: standard.get(info.name, 0) for info in classes}
        table = STANDARD
    else:
        fits = all(info.id <= MAX_ID and (info.id > 0 or info.ignore) for info in classes)
        if len(classes) > MAX_ID:
            raise ConfigError(f"{len(classes)} classes; format cityscapes has room for {MAX_ID}")
        ordered = sorted(info.id for info in classes)
        numbers = {class_id: class_id if fits else place for place, class_id in enumerate(ordered, start=1)}
        table = tuple(replace(info, id=numbers[info.id]) for info in classes)
    if all(old == new for old, new in numbers.items()):
        return table, numbers, []
    message = f"classes are numbered anew, from 1 to {MAX_ID} at most; those of Cityscapes have its ids; names stay"
    return table, numbers, [Finding("classes-renumbered", "the class table", message)]


def _renumber(labels: Labels, numbers: Mapping[int, int], table: tuple[ClassInfo, ...]) -> Labels:
    mask = None
    if labels.mask is not None:
        ids, inverse = np.unique(labels.mask, return_inverse=True)
        values = np.array([numbers[class_id] for class_id in ids.tolist()], dtype=np.int32)
        mask = values[inverse].reshape(labels.mask.shape)
    instances = tuple(replace(one, class_id=numbers[one.class_id]) for one in labels.instances)
    return Labels(table, mask, instances)


def _label_files(labels: Labels, table: Sequence[ClassInfo], size: Size, tally: Tally, name: str) -> dict[str, bytes]:
    """The label files of one image by ending."""
    assert labels.mask is not None
    drawn, hidden = draw_objects(labels.mask, labels.instances)
    tally.add("outlines-overlap", "outline(s) lose pixels that another one covers", name, hidden)
    colours = np.zeros((MAX_ID + 1, 3), np.uint8)
    for info in table:
        colours[info.id] = info.color or voc_colour(info.id)
    return {
        _IDS: _png(labels.mask.astype(np.uint8)),
        _OBJECTS: _png(drawn),
        _COLOURS: _png(colours[labels.mask]),
        _POLYGONS: format_polygons(labels, size),
    }


def _png(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    PIL.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
