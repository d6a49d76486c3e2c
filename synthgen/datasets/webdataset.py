"""WebDataset: tar shards in which files that share a name up to the first dot are one sample.

`train-000000.tar` holds `a.jpg`, `a.cls` (a class id), `a.seg.png` (a mask of ids), `a.json` (plain values, and
`objects` with `bbox` and `category`, `segmentation` and `keypoints` as COCO has them). `classes.csv` beside the shards
names the classes (see format `masks`). The name of a shard says the split.

Nothing is extracted; shards are read in place, so they may not be compressed. A release has the same shards: with kept
names all members but the images byte for byte, in their order; under new names the members named above alone, in the
order of the new names, and of `a.json` objects and plain values, but for those that may tell who, where or when
(`_identity.py`).
"""

from __future__ import annotations

import copy
import io
import json
import tarfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from synthgen.datasets._class_table import parse_classes
from synthgen.datasets._files import (
    decode_text,
    list_files,
    name_below,
    name_clashes,
    not_released,
    parse_json,
    read_table,
    write_new,
)
from synthgen.datasets._hf_files import file_split
from synthgen.datasets._identity import columns_held_back
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._sample_json import parse_labels, plain_values, released_json
from synthgen.datasets._spool import Slot, Spool
from synthgen.datasets._tar_files import Member, list_members, read_member
from synthgen.datasets._tar_write import CLASSES, MASKS, add_file, write_shards
from synthgen.datasets._unlabelled import unlabel
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import SUFFIXES, decode, decode_label, encode_label, sha256
from synthgen.types import BadSample, ClassInfo, ConfigError, Finding, Item, Labels, Sample, SourceIndex, ignore_class

MAX_JSON_BYTES = 1 << 26
_KNOWN = frozenset({"cls", "json", *MASKS})


@dataclass(frozen=True, eq=False)
class _Sample:
    """One sample: its shard, its image, and all its members by extension."""

    shard: str
    image: Member
    members: Mapping[str, Member]


@dataclass(frozen=True)
class _Output:
    """An output that waits on disk: its name, its bytes, and where its label does not hold."""

    name: str
    image: Slot
    unlabelled: Slot | None


@dataclass(frozen=True, eq=False)
class _Scan:
    index: SourceIndex
    samples: Mapping[str, _Sample]
    members: Mapping[str, Sequence[Member]]
    held_back: frozenset[str]


class WebDataset(Dataset):
    """A folder of uncompressed tar shards; `columns` names the plain values of JSON members that are released."""

    looks_for: ClassVar[str] = "*.tar shards"
    holds: ClassVar[frozenset[Held]] = frozenset(
        {
            "class ids",
            "colours",
            "mask",
            "boxes",
            "outlines",
            "crowds",
            "keypoints",
            "image class",
            "attributes",
            "splits",
        }
    )
    format: Literal["webdataset"] = "webdataset"
    columns: tuple[str, ...] | None = None

    @classmethod
    def recognises(cls, root: Path) -> str | None:
        """As `Dataset`."""
        found = next((path for pattern in ("*.tar", "*/*.tar") for path in root.glob(pattern)), None)
        return f"it has {found.relative_to(root).as_posix()}" if found else None

    def index(self) -> SourceIndex:
        """As `Dataset`; of the shards headers and JSON are read. A link, a pipe or a path out of one stops the run."""
        return self._scan.index

    def encoded(self, item: Item) -> bytes:
        """As `Dataset`."""
        sample = self._scan.samples[item.id]
        return read_member(self.path, sample.shard, sample.image)

    def read(self, item: Item) -> Sample:
        """As `Dataset`.

        Raises:
            BadSample: also `label-invalid`, `class-unknown`, `box-invalid`, `segmentation-invalid`,
                `keypoints-invalid`, `mask-size-mismatch`, and `orientation-unsupported`: EXIF turns an image that has
                a mask or objects.
        """
        data = self.encoded(item)
        decoded = decode(data, item.id)
        size = (decoded.image.shape[1], decoded.image.shape[0])
        found = {extension: self._member(item, extension) for extension in self._scan.samples[item.id].members}
        labels = self._labels(found, size, item.id)
        if decoded.orientation != 1 and (labels.mask is not None or labels.instances):
            message = f"{item.id}: turned by EXIF; which pixels its labels mean is open"
            raise BadSample("orientation-unsupported", message)
        return Sample(item, decoded.image, labels, sha256(data))

    def labels_stand_still(self) -> bool:
        """As `Dataset`: classes do."""
        extensions = {extension for sample in self._scan.samples.values() for extension in sample.members}
        return extensions <= {"cls", *(suffix[1:] for suffix in SUFFIXES)}

    def held_back(self, keep: bool) -> frozenset[str]:
        """As `Dataset`; with kept names JSON members stay as they are unless `columns` says otherwise."""
        return frozenset() if keep and self.columns is None else self._scan.held_back

    def unlabels(self) -> bool:
        """As `Dataset`: where samples have masks and none has objects, and the table has an ignore class."""
        return self._unlabels

    @cached_property
    def _unlabels(self) -> bool:
        samples = self._scan.samples.values()
        masked = any(extension in MASKS for sample in samples for extension in sample.members)
        if not masked or ignore_class(self._scan.index.classes) is None:
            return False
        return not any("objects" in value for value in self._json_members(samples))

    def write_release(self, released: Iterable[ReleasedImage], names: NameMap, out: Path) -> Mapping[str, int]:
        """As `Dataset`; `labels` are members beside images."""
        images = labels = 0
        with Spool(out) as spool:
            slots: dict[str, dict[str, list[_Output]]] = defaultdict(lambda: defaultdict(list))
            for one in released:
                shard = self._scan.samples[one.item.id].shard
                lost = spool.put(one.unlabelled) if one.unlabelled else None
                slots[shard][one.item.id].append(_Output(one.name, spool.put(one.data), lost))
                images += 1
            for shard, ids in slots.items():
                target = out / shard
                target.parent.mkdir(parents=True, exist_ok=True)
                with tarfile.open(target, "x", format=tarfile.PAX_FORMAT) as tar:
                    write = self._keep_shard if names.keep else self._rename_shard
                    labels += write(tar, shard, ids, spool)
        if (self.path / CLASSES).is_file():
            write_new(out, CLASSES, read_table(self.path / CLASSES, self.path))
        return {"images": images, "labels": labels}

    @classmethod
    def write(cls, records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
        """As `Dataset`."""
        return write_shards(records, classes, out)

    def _keep_shard(self, tar: tarfile.TarFile, shard: str, ids: Mapping[str, Sequence[_Output]], spool: Spool) -> int:
        """All members of the samples that are left, in their order, with their headers."""
        new = {self._scan.samples[item_id].image.info.name: outputs[0].image for item_id, outputs in ids.items()}
        left = {self._scan.samples[item_id].image.key: outputs[0] for item_id, outputs in ids.items()}
        count = 0
        for member in self._scan.members[shard]:
            if member.key in left:
                slot = new.get(member.info.name)
                data = read_member(self.path, shard, member) if slot is None else spool.get(slot)
                if member.extension == "json" and self.columns is not None:
                    data = _released(data, member.info.name, self.held_back(keep=True))
                lost = left[member.key].unlabelled
                if member.extension in MASKS and lost is not None:
                    data = self._unlabel(data, spool.get(lost), member.info.name)
                info = copy.copy(member.info)
                info.size = len(data)
                info.pax_headers = {key: value for key, value in info.pax_headers.items() if key != "size"}
                tar.addfile(info, io.BytesIO(data))
                count += slot is None
        return count

    def _rename_shard(
        self, tar: tarfile.TarFile, shard: str, ids: Mapping[str, Sequence[_Output]], spool: Spool
    ) -> int:
        """Images and known labels under their new names, in order of these."""
        count = 0
        pairs = [(one, item_id) for item_id, outputs in ids.items() for one in outputs]
        for one, item_id in sorted(pairs, key=lambda pair: pair[0].name):
            sample = self._scan.samples[item_id]
            path = name_below(one.name, _folder(shard))
            add_file(tar, path, spool.get(one.image))
            stem = path.rpartition(".")[0]
            for extension, member in sorted(sample.members.items()):
                if extension in _KNOWN:
                    data = read_member(self.path, shard, member)
                    if extension in MASKS:
                        data = encode_label(data, 1, item_id)
                        if one.unlabelled is not None:
                            data = self._unlabel(data, spool.get(one.unlabelled), item_id)
                    elif extension == "json":
                        data = _released(data, item_id, self.held_back(keep=False))
                    add_file(tar, f"{stem}.{extension}", data)
                    count += 1
        return count

    def _unlabel(self, data: bytes, unlabelled: bytes, origin: str) -> bytes:
        return unlabel(data, unlabelled, self._scan.index.classes, origin)

    def _member(self, item: Item, extension: str) -> bytes:
        sample = self._scan.samples[item.id]
        return read_member(self.path, sample.shard, sample.members[extension]) if extension in _KNOWN else b""

    def _labels(self, found: Mapping[str, bytes], size: tuple[int, int], origin: str) -> Labels:
        classes = self._scan.index.classes
        names = {info.id: info.name for info in classes}
        image_class = None
        if "cls" in found:
            text = found["cls"][:64].decode("utf-8", "replace").strip()
            if not text.lstrip("-").isdecimal():
                raise BadSample("label-invalid", f"{origin}: its .cls is {text!r}, no number")
            if classes and int(text) not in names:
                raise BadSample("class-unknown", f"{origin}: its .cls is {text}, which {CLASSES} does not list")
            image_class = names.get(int(text), text)
        value = _parse_json(found["json"], origin) if "json" in found else {}
        labels = parse_labels(value, classes, size, origin)
        mask = labels.mask
        for extension in MASKS:
            if extension in found:
                mask = self._mask(found[extension], size, origin)
                break
        return Labels(classes, mask, labels.instances, image_class, labels.attributes)

    def _mask(self, data: bytes, size: tuple[int, int], origin: str) -> Any:
        raw = decode_label(data, f"the mask of {origin}")
        if raw.ndim != 2 or (raw.shape[1], raw.shape[0]) != size:
            raise BadSample("mask-size-mismatch", f"{origin}: the image is {size}, its mask {raw.shape}")
        unknown = sorted(set(np.unique(raw).tolist()) - {info.id for info in self._scan.index.classes})
        if unknown:
            raise BadSample("class-unknown", f"{origin}: its mask has {unknown[:10]}, which {CLASSES} does not list")
        return raw

    @cached_property
    def _scan(self) -> _Scan:
        listing = list_files(self.path)
        shards = [path for path in listing.files if path.endswith(".tar")]
        if not shards:
            raise ConfigError(f"{self.path}: expected {self.looks_for}, not compressed")
        classes: tuple[ClassInfo, ...] = ()
        if (self.path / CLASSES).is_file():
            text = decode_text(read_table(self.path / CLASSES, self.path, 1 << 20), CLASSES)
            classes = parse_classes(text, CLASSES)
        samples: dict[str, _Sample] = {}
        members: dict[str, list[Member]] = {}
        findings = list(listing.findings)
        unknown: dict[str, int] = defaultdict(int)
        for shard in shards:
            members[shard] = list_members(self.path, shard)
            for key, found in _group(members[shard]).items():
                image = next((found[s] for s in _IMAGE_ORDER if s in found), None)
                if image is None:
                    name = f"{_folder(shard)}/{key}"
                    findings.append(Finding("image-missing", name, f"no image among .{', .'.join(found)}; not used"))
                    continue
                samples[f"{_folder(shard)}/{key}.{image.extension}"] = _Sample(shard, image, found)
                for extension in found:
                    unknown[extension] += extension not in _KNOWN and extension != image.extension
        if not samples:
            raise ConfigError(f"{self.path}: no images in its {len(shards)} shard(s)")
        held_back, told = columns_held_back(self._plain_rows(samples.values()), self.columns)
        findings += told
        message = "member(s) of unknown content; released only with names: keep"
        findings += [Finding("file-not-released", f".{e}", f"{n} {message}") for e, n in sorted(unknown.items()) if n]
        findings += not_released(path for path in listing.files if path not in members and path != CLASSES)
        items = tuple(
            Item(item_id, self.path / sample.shard, None, file_split(sample.shard))
            for item_id, sample in sorted(samples.items())
        )
        return _Scan(SourceIndex(items, classes, (*findings, *name_clashes(samples))), samples, members, held_back)

    def _plain_rows(self, samples: Iterable[_Sample]) -> Iterator[dict[str, Any]]:
        """The plain values of every JSON member."""
        return map(plain_values, self._json_members(samples))

    def _json_members(self, samples: Iterable[_Sample]) -> Iterator[dict[str, Any]]:
        """Every JSON member; what can't be read is quarantined later."""
        for sample in samples:
            if "json" in sample.members:
                with suppress(BadSample):
                    data = read_member(self.path, sample.shard, sample.members["json"])
                    yield _parse_json(data, sample.image.info.name)


_IMAGE_ORDER = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")


def _group(members: Iterable[Member]) -> dict[str, dict[str, Member]]:
    """Members by key, then by extension; the first of an extension counts."""
    samples: dict[str, dict[str, Member]] = defaultdict(dict)
    for member in members:
        samples[member.key].setdefault(member.extension, member)
    return samples


def _folder(shard: str) -> str:
    return shard.removesuffix(".tar")


def _released(data: bytes, origin: str, without: frozenset[str]) -> bytes:
    """A JSON member as it may leave."""
    return json.dumps(released_json(_parse_json(data, origin), without), ensure_ascii=False).encode()


def _parse_json(data: bytes, origin: str) -> dict[str, Any]:
    try:
        value = parse_json(data, origin) if len(data) <= MAX_JSON_BYTES else None
    except ConfigError as error:
        raise BadSample("label-invalid", str(error)) from error
    if not isinstance(value, dict):
        raise BadSample("label-invalid", f"{origin}: its .json must be an object of at most {MAX_JSON_BYTES} bytes")
    return value
