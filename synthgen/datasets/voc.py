"""Pascal VOC: one XML an image with its objects, palette PNGs for segmentation, lists of names for the splits.

`JPEGImages/a.jpg`, `Annotations/a.xml`, `SegmentationClass/a.png`, `SegmentationObject/a.png`, `ImageSets/Main/*.txt`
and `ImageSets/Segmentation/*.txt`. The lists `train`, `val` and `test` are the splits. Classes are the twenty of VOC
where the objects have no other names; else those of `labelmap.txt`; else the names that occur, in order.

Under new names the XML is written anew from sizes, names, boxes and flags: where the picture came from, and the parts
of people (heads, hands), stay behind.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from synthgen.datasets._files import (
    decode_text,
    equal_images,
    is_image,
    list_files,
    name_clashes,
    not_released,
    read_table,
    refuse_duplicates,
    write_new,
)
from synthgen.datasets._objects import Size, mask_box, paint_objects
from synthgen.datasets._orientation import label_orientation
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._unlabelled import unlabel, white_pixels
from synthgen.datasets._voc_masks import (
    STANDARD,
    VOID,
    class_mask,
    object_indices,
    object_numbers,
    outline_objects,
    parse_labelmap,
    table_of,
)
from synthgen.datasets._voc_unlabel import lost_objects, without_objects
from synthgen.datasets._voc_write import CLASS_MASKS, IMAGES, LABELMAP, OBJECT_MASKS, SPLITS, XML, write_voc
from synthgen.datasets._voc_xml import MAX_XML_BYTES, parse_voc, released_xml, xml_objects
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import (
    decode,
    decode_label,
    encode_label,
    read_bytes,
    read_header,
    sha256,
    turn,
)
from synthgen.types import (
    BadSample,
    ClassIds,
    ClassInfo,
    ConfigError,
    Finding,
    Instance,
    Item,
    Labels,
    Sample,
    SourceIndex,
)


@dataclass(frozen=True, eq=False)
class _Scan:
    index: SourceIndex
    files: frozenset[str]
    lists: Mapping[str, Sequence[tuple[str, str]]]
    """List file → (stem of an image, what follows it on the line)."""


class Voc(Dataset):
    """The folder that holds `JPEGImages`, such as `VOCdevkit/VOC2012`."""

    looks_for: ClassVar[str] = "JPEGImages with Annotations/*.xml or SegmentationClass"
    holds: ClassVar[frozenset[Held]] = frozenset(
        {"colours", "mask", "boxes", "outlines", "object attributes", "splits"}
    )
    split_folders: ClassVar[bool] = False
    format: Literal["voc"] = "voc"

    @classmethod
    def recognises(cls, root: Path) -> str | None:
        """As `Dataset`."""
        if (root / IMAGES).is_dir() and not (root / "classes.csv").is_file():
            for folder, pattern in ((XML, "*.xml"), (CLASS_MASKS, "*.png")):
                if next((root / folder).rglob(pattern), None) is not None:
                    return f"it has {IMAGES}/ and {folder}/"
        return None

    def index(self) -> SourceIndex:
        """As `Dataset`; the XML files are read for the names of classes, one after the other."""
        return self._scan.index

    def read(self, item: Item) -> Sample:
        """As `Dataset`.

        Raises:
            BadSample: also `label-missing`, `label-invalid`, `class-unknown`, `box-invalid`, `image-size-mismatch`,
                `mask-size-mismatch`.
        """
        data = read_bytes(item.image, self.path)
        decoded = decode(data, item.id)
        labels = self._labels(item, decoded.orientation, decoded.stored_size)
        return Sample(item, decoded.image, labels, sha256(data))

    def labels_of(self, item: Item) -> Labels:
        """As `Dataset`, without decoding the image."""
        return self._labels(item, *read_header(item.image, self.path))

    def unlabels(self) -> bool:
        """As `Dataset`: where there are label images, and an object image beside every one that has an XML.

        Without it nothing says which box of the XML belongs to pixels that were lost.
        """
        return self._unlabels

    @cached_property
    def _unlabels(self) -> bool:
        files = self._scan.files
        kinds = (CLASS_MASKS, OBJECT_MASKS)
        stems = {_stem(path, kind) for kind in kinds for path in files if path.startswith(f"{kind}/")}
        told = [stem for stem in stems if f"{XML}/{stem}.xml" in files]
        return bool(stems) and all(f"{OBJECT_MASKS}/{stem}.png" in files for stem in told)

    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """As `Dataset`; label files turn where EXIF turned their image; `labels` are XML and PNG files."""
        stems: dict[str, list[str]] = defaultdict(list)
        images = labels = 0
        for one in released:
            write_new(out, one.name, one.data)
            images += 1
            stem = _stem(one.item.id, IMAGES)
            stems[stem].append(_stem(one.name, IMAGES))
            orientation, stored = read_header(one.item.image, self.path)
            for folder, suffix in ((XML, ".xml"), (CLASS_MASKS, ".png"), (OBJECT_MASKS, ".png")):
                path = f"{folder}/{stem}{suffix}"
                if path in self._scan.files:
                    data = self._release_label(path, one, orientation, stored, names.keep)
                    if one.unlabelled:
                        data = self._unlabel(data, path, one, orientation, stored)
                    write_new(out, names.other(path, one.item, one.variant), data)
                    labels += 1
        for path, lines in self._scan.lists.items():
            rows = [f"{new}{rest}" for stem, rest in lines for new in stems.get(stem, ())]
            if names.keep and len(rows) == len(lines):
                write_new(out, path, read_table(self.path / path, self.path))
            else:
                write_new(out, path, "".join(f"{row}\n" for row in (rows if names.keep else sorted(rows))).encode())
        if LABELMAP in self._scan.files:
            write_new(out, LABELMAP, read_table(self.path / LABELMAP, self.path))
        return {"images": images, "labels": labels}

    @classmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `Dataset`; label images are written where the labels have a mask or outlines."""
        return write_voc(records, classes, out)

    def _release_label(self, path: str, one: ReleasedImage, orientation: int, stored: Size, keep: bool) -> bytes:
        """The bytes of a label file for the image as shown, without a trace of its origin unless names are kept."""
        data = read_bytes(self.path / path, self.path, MAX_XML_BYTES)
        if keep and orientation == 1:
            return data
        if not path.endswith(".xml"):
            height, width = decode_label(data, path).shape[:2]
            return encode_label(data, label_orientation((width, height), orientation, stored, path), path)
        parsed = parse_voc(data, path)
        return released_xml(parsed, one.name, orientation, stored)

    def _unlabel(self, data: bytes, path: str, one: ReleasedImage, orientation: int, stored: Size) -> bytes:
        """A released label file without what the output lost: void in images, and lost objects leave the XML."""
        if path.startswith(f"{CLASS_MASKS}/"):
            return unlabel(data, one.unlabelled, self._scan.index.classes, path)
        instances = self._labels(one.item, orientation, stored).instances
        where = white_pixels(one.unlabelled, (stored if orientation >= 5 else stored[::-1]), path)
        lost = lost_objects(instances, where)
        if path.endswith(".xml"):
            parsed = parse_voc(read_bytes(self.path / path, self.path, MAX_XML_BYTES), path)
            return released_xml(parsed, one.name, orientation, stored, lost) if lost else data
        indices = object_indices(self._label_image(path, orientation, stored))
        return without_objects(indices, instances, lost, where)

    def _labels(self, item: Item, orientation: int, stored: Size) -> Labels:
        scan, classes = self._scan, self._scan.index.classes
        stem = _stem(item.id, IMAGES)
        xml, class_path, object_path = f"{XML}/{stem}.xml", f"{CLASS_MASKS}/{stem}.png", f"{OBJECT_MASKS}/{stem}.png"
        if xml not in scan.files and class_path not in scan.files:
            raise BadSample("label-missing", f"{item.id}: neither {xml} nor {class_path}")
        mask: ClassIds | None = None
        if class_path in scan.files:
            mask = class_mask(self._label_image(class_path, orientation, stored), classes, class_path)
        numbers = None
        if object_path in scan.files:
            numbers = object_numbers(self._label_image(object_path, orientation, stored))
        instances: tuple[Instance, ...] = ()
        if xml in scan.files:
            parsed = parse_voc(read_bytes(self.path / xml, self.path, MAX_XML_BYTES), xml)
            instances = xml_objects(parsed, classes, orientation, stored, item.id)
            if numbers is not None:
                instances = outline_objects(instances, numbers)
        elif mask is not None and numbers is not None:
            masks = [numbers == number for number in np.unique(numbers).tolist() if number]
            instances = tuple(Instance(_commonest(mask[one]), mask_box(one), one) for one in masks)
        if mask is None and instances and all(one.mask is not None for one in instances):
            mask = paint_objects(instances, VOID, (stored[::-1] if orientation >= 5 else stored))
        return Labels(classes, mask, instances)

    def _label_image(self, path: str, orientation: int, stored: Size) -> NDArray[Any]:
        raw = decode_label(read_bytes(self.path / path, self.path), path)
        size = (raw.shape[1], raw.shape[0])
        return np.ascontiguousarray(turn(raw, label_orientation(size, orientation, stored, path)))

    @cached_property
    def _scan(self) -> _Scan:
        listing = list_files(self.path)
        files = frozenset(listing.files)
        images = {
            path: _stem(path, IMAGES) for path in listing.files if path.startswith(f"{IMAGES}/") and is_image(path)
        }
        if not images:
            raise ConfigError(f"{self.path}: no images in {IMAGES}; {self.looks_for}")
        refuse_duplicates(images.values(), f"{self.path / IMAGES}: several images for one annotation")
        findings = list(listing.findings)
        lists, split_of = self._lists(listing.files, set(images.values()), findings)
        items = tuple(
            Item(path, self.path / path, self._label_file(stem, files), split_of.get(stem))
            for path, stem in sorted(images.items())
        )
        classes = self._classes(files, set(images.values()), findings)
        known = set(images) | set(lists) | {LABELMAP}
        for stem in images.values():
            paths = {f"{XML}/{stem}.xml", f"{CLASS_MASKS}/{stem}.png", f"{OBJECT_MASKS}/{stem}.png"}
            known |= paths
            if not paths & files:
                findings.append(Finding("label-missing", f"{IMAGES}/{stem}", "no annotation for it; quarantined"))
        other = [path for path in listing.files if path not in known]
        orphans = [path for path in other if path.split("/")[0] in (XML, CLASS_MASKS, OBJECT_MASKS)]
        findings += [
            Finding("image-missing", path, f"no image in {IMAGES}; the label is not released") for path in orphans
        ]
        findings += not_released(path for path in other if path not in set(orphans))
        index = SourceIndex(items, classes, (*findings, *name_clashes(images), *equal_images(items, self.path)))
        return _Scan(index, files, lists)

    def _label_file(self, stem: str, files: frozenset[str]) -> Path | None:
        paths = (f"{XML}/{stem}.xml", f"{CLASS_MASKS}/{stem}.png")
        return next((self.path / path for path in paths if path in files), None)

    def _lists(
        self, files: Sequence[str], stems: set[str], findings: list[Finding]
    ) -> tuple[dict[str, list[tuple[str, str]]], dict[str, str]]:
        """The lines of all lists, and the split of each stem by the lists train, val and test, Main first."""
        lists: dict[str, list[tuple[str, str]]] = {}
        split_of: dict[str, str] = {}
        for path in (path for path in files if path.startswith("ImageSets/") and path.endswith(".txt")):
            lists[path] = []
            missing = []
            for line in decode_text(read_table(self.path / path, self.path), path).split("\n"):
                stem, rest = _split_line(line.rstrip("\r"), stems)
                if stem in stems:
                    lists[path].append((stem, rest))
                elif stem:
                    missing.append(stem)
            if missing:
                message = f"names {len(missing)} image(s) that are not there, such as {missing[0]!r}"
                findings.append(Finding("image-missing", path, message))
        for path in sorted(lists, key=lambda path: (not path.startswith("ImageSets/Main/"), path)):
            if PurePosixPath(path).stem in SPLITS:
                for stem, _ in lists[path]:
                    split_of.setdefault(stem, PurePosixPath(path).stem)
        return lists, split_of

    def _classes(self, files: frozenset[str], stems: set[str], findings: list[Finding]) -> tuple[ClassInfo, ...]:
        """The class table: see the module."""
        names: set[str] = set()
        parts, first = 0, ""
        for path in sorted(f"{XML}/{stem}.xml" for stem in stems if f"{XML}/{stem}.xml" in files):
            try:
                parsed = parse_voc(read_bytes(self.path / path, self.path, MAX_XML_BYTES), path)
            except BadSample:
                continue
            names |= {found.name for found in parsed.objects}
            count = sum(found.parts for found in parsed.objects)
            parts, first = parts + count, first or (path if count else "")
        if parts:
            message = f"{parts} part(s) of objects are not read; released only with names: keep"
            findings.append(Finding("part-not-read", first, message))
        if LABELMAP in files:
            text = decode_text(read_table(self.path / LABELMAP, self.path, 1 << 20), LABELMAP)
            return parse_labelmap(text, LABELMAP)
        if names <= {info.name for info in STANDARD}:
            return STANDARD
        ordered = sorted(name for name in names if name and name != "background")
        if len(ordered) >= VOID:
            raise ConfigError(f"{self.path}: {len(ordered)} classes; VOC has room for {VOID - 1}")
        return table_of(["background", *ordered])


def _stem(path: str, folder: str) -> str:
    return PurePosixPath(path).relative_to(folder).with_suffix("").as_posix()


def _split_line(line: str, stems: set[str]) -> tuple[str, str]:
    """The stem on a line of a list and what follows it (`-1`, `1`, an object's number); stems may have spaces."""
    stem = line.strip()
    while stem not in stems and (word := stem.rpartition(" ")[2]).lstrip("-").isdecimal() and " " in stem:
        stem = stem[: -len(word)].rstrip()
    return stem, line.strip()[len(stem) :]


def _commonest(ids: NDArray[Any]) -> int:
    values, counts = np.unique(ids, return_counts=True)
    return int(values[counts.argmax()])
