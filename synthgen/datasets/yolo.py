"""YOLO: one text file an image, one row an object: a box, a box with keypoints, or a polygon; names in `data.yaml`.

Images lie below a folder `images`, their label files at the same path below `labels` (`images/train/a.jpg`,
`labels/train/a.txt`; `train/images/…` works too), or beside them. An image without a label file, or with an empty one,
shows no object: YOLO means it so. Semantic labels are painted from polygons; every pixel outside them is `unlabelled`.

Label files hold numbers alone, so a release copies them byte for byte; lists of images are rewritten. The YAML leaves
without its `path`, and under new names with splits, class names and keypoints alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import ClassVar, Literal

from synthgen.datasets._files import (
    FreeNames,
    decode_text,
    equal_images,
    is_image,
    list_files,
    name_clashes,
    not_released,
    read_table,
    refuse_duplicates,
    safe_relative,
    usual_split,
    write_new,
)
from synthgen.datasets._objects import dense_ids, paint_objects
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._tally import Tally
from synthgen.datasets._yolo_rows import box_differs, format_row, is_simple, parse_rows, rounds_away
from synthgen.datasets._yolo_yaml import DataYaml, dump_yaml, find_yaml, read_data_yaml
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import decode, read_bytes, read_header, sha256
from synthgen.types import BadSample, ClassInfo, ConfigError, Finding, Instance, Item, Labels, Sample, SourceIndex

MAX_LABEL_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class _Scan:
    index: SourceIndex
    data: DataYaml
    lists: Mapping[str, Sequence[tuple[str, str]]]
    """List file → (its line, the image that the line names)."""
    unlabelled: int


class Yolo(Dataset):
    """`data` names the YAML where it is not `data.yaml` or `dataset.yaml`."""

    looks_for: ClassVar[str] = "data.yaml with names and train"
    holds: ClassVar[frozenset[Held]] = frozenset({"boxes", "outlines", "keypoints", "splits"})
    format: Literal["yolo"] = "yolo"
    data: str | None = None

    @classmethod
    def recognises(cls, root: Path) -> str | None:
        """As `Dataset`."""
        found = find_yaml(root)
        return f"it has {found}" if found else None

    def index(self) -> SourceIndex:
        """As `Dataset`; a split or a list that names a file outside the folder stops the run."""
        return self._scan.index

    def read(self, item: Item) -> Sample:
        """As `Dataset`.

        Raises:
            BadSample: also what `parse_rows` raises: `label-invalid`, `class-unknown`, `box-invalid`, ….
        """
        data = read_bytes(item.image, self.path)
        image = decode(data, item.id).image
        labels = self._labels(item, (image.shape[1], image.shape[0]))
        return Sample(item, image, labels, sha256(data))

    def labels_of(self, item: Item) -> Labels:
        """As `Dataset`, from the header of the image alone."""
        orientation, stored = read_header(item.image, self.path)
        return self._labels(item, stored[::-1] if orientation >= 5 else stored)

    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """As `Dataset`; `labels` are label files. The YAML leaves without its `path`, which leads to the originals."""
        new_names: dict[str, list[str]] = defaultdict(list)
        images = labels = 0
        for one in released:
            write_new(out, one.name, one.data)
            new_names[one.item.id].append(one.name)
            images += 1
            if one.item.label is not None:
                path = one.item.label.relative_to(self.path).as_posix()
                text = read_bytes(one.item.label, self.path, MAX_LABEL_BYTES)
                write_new(out, names.other(path, one.item, one.variant), text)
                labels += 1
        for path, lines in self._scan.lists.items():
            left = [(line, name) for line, image in lines for name in new_names.get(image, ())]
            if names.keep and len(left) == len(lines):
                write_new(out, path, read_table(self.path / path, self.path))
            else:
                rows = [line if names.keep else _line(name, path) for line, name in left]
                write_new(out, path, "".join(f"{row}\n" for row in (rows if names.keep else sorted(rows))).encode())
        name = self._yaml_name
        if names.keep:
            write_new(out, name, self._scan.data.without_path(read_table(self.path / name, self.path)))
        else:
            write_new(out, name, dump_yaml(self._scan.data.without_origin()))
        return {"images": images, "labels": labels}

    @classmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `Dataset`: polygons where an image has any outline, else boxes; boxes with keypoints where a class has
        keypoints.

        Raises:
            ConfigError: no class, which Ultralytics does not read.
        """
        numbers = dense_ids(classes, 0)
        if not numbers:
            raise ConfigError("format yolo needs a class, and the source has none; imagefolder, hf or coco need none")
        tally, splits, free = Tally(), set(), FreeNames()
        points = max((len(info.keypoints) for info in classes), default=0)
        images = objects = 0
        for record in records:
            split = usual_split(record.split) or "train"
            splits.add(split)
            rows = _rows(record, numbers, points, tally)
            image = f"images/{split}/{free.take(_without_images_folder(record.name), split)}"
            moved = not image.endswith(f"/{record.name}")
            renamed = "path(s): a folder images becomes images_, or the name was taken"
            tally.add("image-renamed", renamed, record.name, moved)
            write_new(out, image, record.data)
            write_new(out, _label_path(image), "".join(f"{row}\n" for row in rows).encode())
            images, objects = images + 1, objects + len(rows)
        findings = list(tally.findings())
        ordered = [split for split in ("train", "val", "test") if split in splits]
        value: dict[str, object] = {split: f"images/{split}" for split in ordered}
        for key, other in (("train", ordered[:1]), ("val", ordered[-1:])):
            if key not in value:
                value[key] = f"images/{other[0] if other else 'train'}"
                findings.append(Finding("split-missing", key, f"data.yaml needs it; it names {value[key]} there"))
        for split in sorted(splits - set(ordered)):
            findings.append(Finding("split-not-named", split, "data.yaml names train, val and test only"))
        (out / "images/train").mkdir(parents=True, exist_ok=True)
        names = {numbers[info.id]: info.name for info in classes if info.id in numbers}
        value["names"] = dict(sorted(names.items()))
        if any(old != new for old, new in numbers.items()):
            message = "classes are numbered from 0 without gaps, in order of their ids; names stay"
            findings.append(Finding("classes-renumbered", "data.yaml", message))
        if points:
            value["kpt_shape"] = [points, 3]
            value["kpt_names"] = {numbers[c.id]: list(c.keypoints) for c in classes if c.id in numbers and c.keypoints}
        write_new(out, "data.yaml", dump_yaml(value))
        return Written({"images": images, "labels": objects}, tuple(findings))

    @property
    def _yaml_name(self) -> str:
        name = self.data or find_yaml(self.path)
        if name is None:
            raise ConfigError(f"{self.path}: expected {self.looks_for}; name another YAML as source.data")
        return safe_relative(name, "source.data")

    def _labels(self, item: Item, size: tuple[int, int]) -> Labels:
        scan = self._scan
        if item.label is None:
            return Labels(scan.index.classes)
        data = read_bytes(item.label, self.path, MAX_LABEL_BYTES)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise BadSample("label-invalid", f"{item.id}: its label file is not UTF-8") from error
        instances = parse_rows(text, size, frozenset(scan.data.names), scan.data.keypoints, f"the labels of {item.id}")
        return Labels(scan.index.classes, paint_objects(instances, scan.unlabelled, size), instances)

    @cached_property
    def _scan(self) -> _Scan:
        data = read_data_yaml(self.path, self._yaml_name)
        listing = list_files(self.path)
        findings = list(listing.findings)
        if data.value.get("path"):
            message = "its path is neither followed nor released: readers would look for the released images there"
            findings.append(Finding("path-not-released", self._yaml_name, message))
        files = set(listing.files)
        split_of: dict[str, str] = {}
        lists: dict[str, list[tuple[str, str]]] = {}
        own_first = sorted(data.places.items(), key=lambda pair: not any(pair[0] in place for place in pair[1]))
        for split, places in own_first:
            for place in places:
                named = self._named(place, listing.files, lists, findings)
                twice = sum(split_of.setdefault(path, split) != split for path in named)
                if twice:
                    message = f"{twice} image(s) of {place} belong to a split named before; they count there"
                    findings.append(Finding("split-repeated", split, message))
        if not split_of:
            raise ConfigError(f"{self.path}: none of the images that {self._yaml_name} names is there")
        label_of = {path: _label_path(path) for path in split_of}
        refuse_duplicates(label_of.values(), f"{self.path}: several images for one label file")
        items = []
        for path, split in sorted(split_of.items()):
            label = label_of[path] if label_of[path] in files else None
            items.append(Item(path, self.path / path, self.path / label if label else None, split))
        missing = [item.id for item in items if item.label is None]
        if missing:
            message = f"{len(missing)} image(s) have no label file; that says that they show no object"
            findings.append(Finding("label-missing", missing[0], message))
        findings += self._leftovers(listing.files, split_of, set(label_of.values()), lists)
        findings += [*name_clashes(split_of), *equal_images(items, self.path)]
        unlabelled = max(data.names, default=-1) + 1
        points = {number: data.point_names.get(number, ()) for number in data.names}
        if data.keypoints is not None and not data.point_names:
            points = {number: tuple(str(k) for k in range(1, data.keypoints[0] + 1)) for number in data.names}
        classes = [ClassInfo(number, name, keypoints=points[number]) for number, name in data.names.items()]
        classes.append(ClassInfo(unlabelled, "unlabelled", (0, 0, 0), ignore=True))
        return _Scan(SourceIndex(tuple(items), tuple(classes), tuple(findings)), data, lists, unlabelled)

    def _named(
        self, place: str, files: Sequence[str], lists: dict[str, list[tuple[str, str]]], findings: list[Finding]
    ) -> list[str]:
        """The images that a folder or a list of a split names."""
        if not place.endswith(".txt"):
            inside = [path for path in files if is_image(path) and (place == "." or path.startswith(f"{place}/"))]
            if not inside:
                findings.append(Finding("image-missing", place, f"{self._yaml_name} names it; no images are there"))
            return inside
        there, found = set(files), []
        if place not in there:
            findings.append(Finding("image-missing", place, f"{self._yaml_name} names this list; it is not there"))
            return []
        for number, line in enumerate(decode_text(read_table(self.path / place, self.path), place).split("\n"), 1):
            line = line.removesuffix("\r")
            if line.strip():
                image = safe_relative(line.strip(), f"{place}, line {number}")
                beside = PurePosixPath(place).parent.joinpath(image).as_posix()
                image = beside if beside in there else image
                if image in there:
                    found.append((line, image))
                else:
                    findings.append(Finding("image-missing", image, f"named by {place}"))
        lists[place] = found
        return [image for _, image in found]

    def _leftovers(
        self, files: Iterable[str], images: Iterable[str], labels: set[str], lists: Iterable[str]
    ) -> list[Finding]:
        known = {*images, *labels, *lists, self._yaml_name}
        other = [path for path in files if path not in known]
        orphans = [path for path in other if path.endswith(".txt") and "labels" in path.split("/")[:-1]]
        unused = [path for path in other if is_image(path)]
        findings = [
            Finding("image-missing", path, "no image for this label file; it is not released") for path in orphans
        ]
        findings += [Finding("label-missing", path, "no split names this image; it is not used") for path in unused]
        return findings + not_released(path for path in other if path not in {*orphans, *unused})


def _rows(record: Record, numbers: Mapping[int, int], points: int, tally: Tally) -> list[str]:
    """The rows of one image, and a note of what they leave out."""
    instances: list[Instance] = [one for one in record.labels.instances if not rounds_away(one)]
    lost = len(record.labels.instances) - len(instances)
    tally.add("outline-empty", "object(s) whose outline covers no pixel are left out", record.name, lost)
    outlined = [one for one in instances if one.mask is not None or one.polygons]
    if points:
        tally.add("outline-not-held", "outline(s): rows with keypoints have a box only", record.name, len(outlined))
    elif outlined:
        boxes = len(instances) - len(outlined)
        tally.add("box-as-outline", "box(es) beside outlines are written as rectangles", record.name, boxes)
        joined = sum(not is_simple(one) for one in outlined)
        tally.add(
            "outline-joined", "outline(s) of several parts, or of pixels, become one polygon", record.name, joined
        )
        moved = sum(box_differs(one) for one in outlined)
        tally.add("box-not-held", "box(es) that differ from their outline: the outline counts", record.name, moved)
    return [
        format_row(numbers[one.class_id], one, record.size, bool(outlined) and not points, points) for one in instances
    ]


def _without_images_folder(name: str) -> str:
    """The name of an image with its folders `images` called otherwise: readers take the last one for theirs."""
    *folders, last = name.split("/")
    return "/".join([*("images_" if folder == "images" else folder for folder in folders), last])


def _label_path(image: str) -> str:
    """Where the label file of an image lies: the last folder `images` becomes `labels`, as Ultralytics looks."""
    folders, stem = image.split("/")[:-1], PurePosixPath(image).stem
    for place in range(len(folders) - 1, -1, -1):
        if folders[place] == "images":
            folders[place] = "labels"
            break
    return "/".join([*folders, f"{stem}.txt"])


def _line(name: str, path: str) -> str:
    """A line of a list: relative to the list where that is possible, as Ultralytics reads `./`."""
    parent = PurePosixPath(path).parent
    pure = PurePosixPath(name)
    return f"./{pure.relative_to(parent)}" if pure.is_relative_to(parent) else name
