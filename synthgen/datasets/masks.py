"""Images beside label images of the same path: `images/train/a.jpg`, `labels/train/a.png`, and a class table.

`classes.csv` has the columns `id`, `name` and, if wanted, `r`, `g`, `b` and `note`; the note `ignore` marks pixels that
carry no label. Label images hold ids (gray or palette index), or the colours of the table. Every id must be in the
table, so that no class is silently read as another. Released are the images, their label images and the table.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL

from synthgen.datasets._class_table import format_classes, parse_classes
from synthgen.datasets._files import (
    IMAGE_FOLDERS,
    LABEL_FOLDERS,
    decode_text,
    equal_images,
    is_image,
    list_files,
    name_clashes,
    not_released,
    read_table,
    refuse_duplicates,
    safe_relative,
    split_of,
    write_new,
)
from synthgen.datasets._orientation import label_orientation
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._unlabelled import unlabel
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import decode, decode_label, encode_label, read_bytes, read_header, sha256, turn
from synthgen.types import (
    BadSample,
    ClassIds,
    ClassInfo,
    ConfigError,
    Finding,
    Item,
    Labels,
    Sample,
    SourceIndex,
    ignore_class,
)

LABEL_SUFFIXES = frozenset({".png", ".bmp", ".tif", ".tiff"})


class Masks(Dataset):
    """`images` and `labels` name the two folders where their names are not the usual ones."""

    looks_for: ClassVar[str] = "an image folder (images, imgs, …), a label folder (labels, masks, …) and classes.csv"
    holds: ClassVar[frozenset[Held]] = frozenset({"class ids", "colours", "mask", "splits"})
    format: Literal["masks"] = "masks"
    images: str | None = None
    labels: str | None = None
    classes: str = "classes.csv"

    @classmethod
    def recognises(cls, root: Path) -> str | None:
        """As `Dataset`."""
        images, labels = _find_folder(root, IMAGE_FOLDERS), _find_folder(root, LABEL_FOLDERS)
        if images and labels and (root / "classes.csv").is_file():
            return f"it has {images}/, {labels}/ and classes.csv"
        return None

    def index(self) -> SourceIndex:
        """As `Dataset`; two images or two labels of one path stop the run, since a label would be a guess."""
        listing = list_files(self.path)
        images = self._folder("images", self.images, IMAGE_FOLDERS)
        labels = self._folder("labels", self.labels, LABEL_FOLDERS)
        image_of, label_of, other = {}, {}, []
        for path in listing.files:
            if path.startswith(f"{images}/") and is_image(path):
                image_of[path] = _stem(path, images)
            elif path.startswith(f"{labels}/") and PurePosixPath(path).suffix.lower() in LABEL_SUFFIXES:
                label_of[path] = _stem(path, labels)
            elif path != self.classes:
                other.append(path)
        if not image_of:
            raise ConfigError(f"source.path: no images in {self.path / images}")
        refuse_duplicates(image_of.values(), f"{self.path / images}: several images for one label")
        refuse_duplicates(label_of.values(), f"{self.path / labels}: several labels for one image")
        label_at = {stem: path for path, stem in label_of.items()}
        items, findings = [], [*listing.findings, *not_released(other), *name_clashes(image_of)]
        for path, stem in sorted(image_of.items()):
            label = label_at.pop(stem, None)
            split = split_of(PurePosixPath(stem).parts)
            items.append(Item(path, self.path / path, self.path / label if label else None, split))
            if label is None:
                findings.append(Finding("label-missing", path, f"no label image {labels}/{stem}.*; quarantined"))
        for stem, path in sorted(label_at.items()):
            findings.append(Finding("image-missing", path, f"no image {images}/{stem}.*; the label is not released"))
        findings += equal_images(items, self.path)
        return SourceIndex(tuple(items), self._classes, tuple(findings))

    def unlabels(self) -> bool:
        """As `Dataset`: where the table has an ignore class that label images of 8 bits, or of colours, can show."""
        ignore = ignore_class(self._classes)
        painted = any(info.color is not None for info in self._classes)
        return ignore is not None and ignore.id < 1 << 8 and not (painted and ignore.color is None)

    def read(self, item: Item) -> Sample:
        """As `Dataset`.

        Raises:
            BadSample: also `label-missing`, `mask-size-mismatch`, `class-unknown`, `class-ambiguous`.
        """
        data = read_bytes(item.image, self.path)
        decoded = decode(data, item.id)
        if item.label is None:
            raise BadSample("label-missing", f"{item.id}: there is no label image for it")
        raw = decode_label(read_bytes(item.label, self.path), str(item.label))
        size = (raw.shape[1], raw.shape[0])
        turned = label_orientation(size, decoded.orientation, decoded.stored_size, item.id)
        mask = np.ascontiguousarray(turn(self._class_ids(raw, item), turned))
        return Sample(item, decoded.image, Labels(self._classes, mask), sha256(data))

    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """As `Dataset`; label images lose their metadata unless names are kept, and turn where their image did."""
        count = 0
        for one in released:
            write_new(out, one.name, one.data)
            if one.item.label is None:
                raise ConfigError(f"{one.item.id}: can't be released without its label image")
            label = one.item.label.relative_to(self.path).as_posix()
            data = read_bytes(one.item.label, self.path)
            orientation, size = read_header(one.item.image, self.path)
            if orientation != 1:
                height, width = decode_label(data, label).shape[:2]
                orientation = label_orientation((width, height), orientation, size, one.item.id)
            if orientation != 1 or not names.keep or one.unlabelled:
                data = encode_label(data, orientation, label)
            if one.unlabelled:
                data = unlabel(data, one.unlabelled, self._classes, label)
            write_new(out, names.other(label, one.item, one.variant), data)
            count += 1
        write_new(out, self.classes, read_table(self.path / self.classes, self.path))
        return {"images": count, "labels": count}

    @classmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `Dataset`: gray label images of ids, 8 bits or, above 255, 16."""
        if not classes or max(info.id for info in classes) >= 1 << 16:
            raise ConfigError("format masks: needs a class table with ids from 0 to 65535")
        kind = np.uint8 if max(info.id for info in classes) < 1 << 8 else np.uint16
        count = 0
        for record in records:
            below = f"{record.split}/{record.name}" if record.split else record.name
            write_new(out, f"images/{below}", record.data)
            if record.labels.mask is not None:
                buffer = io.BytesIO()
                PIL.fromarray(record.labels.mask.astype(kind)).save(buffer, "PNG")
                write_new(out, f"labels/{PurePosixPath(below).with_suffix('.png')}", buffer.getvalue())
            count += 1
        write_new(out, "classes.csv", format_classes(classes))
        for folder in ("images", "labels"):
            (out / folder).mkdir(exist_ok=True)
        return Written({"images": count, "labels": count})

    def _folder(self, key: str, given: str | None, usual: tuple[str, ...]) -> str:
        if given is not None:
            return safe_relative(given, f"source.{key}")
        found = _find_folder(self.path, usual)
        if found is None:
            raise ConfigError(f"{self.path}: expected a folder named {', '.join(usual)}; name another as source.{key}")
        return found

    @cached_property
    def _classes(self) -> tuple[ClassInfo, ...]:
        path = self.path / safe_relative(self.classes, "source.classes")
        if not path.is_file():
            raise ConfigError(f"{path}: expected a class table with the columns id,name; name it as source.classes")
        return parse_classes(decode_text(read_table(path, self.path, 1 << 20), str(path)), str(path))

    def _class_ids(self, raw: NDArray[Any], item: Item) -> ClassIds:
        """Stored ids or colours as ids of the table."""
        if raw.ndim == 3:
            return _colours_to_ids(raw, self._classes, item)
        unknown = sorted({int(value) for value in np.unique(raw)} - {info.id for info in self._classes})
        if unknown:
            raise BadSample(
                "class-unknown", f"{item.id}: its label image has {unknown[:10]}, which {self.classes} does not list"
            )
        return raw.astype(np.int32)


def _find_folder(root: Path, usual: tuple[str, ...]) -> str | None:
    """The first of the usual names that is a folder of `root`, in whatever case."""
    there = {path.name.lower(): path.name for path in sorted(root.iterdir()) if path.is_dir()} if root.is_dir() else {}
    return next((there[name.lower()] for name in usual if name.lower() in there), None)


def _stem(path: str, folder: str) -> str:
    return PurePosixPath(path).relative_to(folder).with_suffix("").as_posix()


def _colours_to_ids(raw: NDArray[Any], classes: tuple[ClassInfo, ...], item: Item) -> ClassIds:
    """(height, width, 3) colours as class ids by the colours of the table."""
    by_colour: dict[int, int] = {}
    for info in classes:
        if info.color is not None:
            red, green, blue = info.color
            by_colour.setdefault(red << 16 | green << 8 | blue, info.id)
    packed = raw.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.int32)
    colours, inverse = np.unique(packed, return_inverse=True)
    unknown = [f"#{colour:06x}" for colour in colours.tolist() if colour not in by_colour]
    if unknown:
        raise BadSample("class-unknown", f"{item.id}: the class table has no colour {', '.join(unknown[:10])}")
    if len(by_colour) < len({info.id for info in classes if info.color is not None}):
        raise BadSample("class-ambiguous", f"{item.id}: a colour label image, but two classes share a colour")
    ids = np.array([by_colour[colour] for colour in colours.tolist()], dtype=np.int32)
    return ids[inverse].reshape(packed.shape)
