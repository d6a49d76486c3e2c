"""WebDataset: tar shards in which files that share a name up to the first dot are one sample.

`train-000000.tar` holds `a.jpg`, `a.cls` (a class id), `a.seg.png` (a mask of ids), `a.json` (plain values, and
`objects` with `bbox` and `category`, `segmentation` and `keypoints` as COCO has them). `classes.csv` beside the shards
names the classes (see format `masks`). The name of a shard says the split.

Nothing is extracted; shards are read in place, so they may not be compressed. A release has the same shards: with kept
names the members named above and further ones of text (`a.txt`) byte for byte, in their order; under new names the
members named above alone, in the order of the new names, and of `a.json` objects and plain values, but for those that
may tell who, where or when (`_identity.py`). A second image of a sample, and what is no text, is never released.
"""

from __future__ import annotations

import copy
import io
import tarfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
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
    read_table,
    write_new,
)
from synthgen.datasets._identity import columns_held_back
from synthgen.datasets._opaque import OPAQUE, UNKNOWN, is_encoded, is_text
from synthgen.datasets._records import Held, Record, Written
from synthgen.datasets._sample_json import left_out_keys, parse_labels, plain_values
from synthgen.datasets._shard_splits import shard_splits
from synthgen.datasets._spool import Slot, Spool
from synthgen.datasets._tar_files import Member, list_members, read_member
from synthgen.datasets._tar_sample import TarSample, parse_member, released_member, shard_samples
from synthgen.datasets._tar_write import CLASSES, MASKS, add_file, write_shards
from synthgen.datasets._unlabelled import unlabel
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage
from synthgen.images import SUFFIXES, decode, decode_label, encode_label, sha256
from synthgen.types import BadSample, ClassInfo, ConfigError, Finding, Item, Labels, Sample, SourceIndex, ignore_class

MAX_CLASS_BYTES = 64


@dataclass(frozen=True)
class _Output:
    """An output that waits on disk: its name, its bytes, and where its label does not hold."""

    name: str
    image: Slot
    unlabelled: Slot | None


@dataclass(frozen=True, eq=False)
class _Scan:
    index: SourceIndex
    samples: Mapping[str, TarSample]
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
        sample = self._scan.samples[item.id]
        found = {name: read_member(self.path, sample.shard, member) for name, member in sample.labels.items()}
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
        """As `Dataset`: where samples have masks and none has objects, and the table has an ignore class for 8 bits."""
        return self._unlabels

    @cached_property
    def _unlabels(self) -> bool:
        samples = [sample for sample in self._scan.samples.values() if sample.labels]
        ignore = ignore_class(self._scan.index.classes)
        masked = any(extension in MASKS for sample in samples for extension in sample.labels)
        if not masked or ignore is None or ignore.id >= 1 << 8:
            return False
        return not any("objects" in value for one in samples if (value := self._json_of(one)[0]))

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
        """The members that may leave of the samples that are left, in their order, with their headers."""
        left = {self._scan.samples[item_id].image.key: item_id for item_id in ids}
        count = 0
        for member in self._scan.members[shard]:
            if member.key in left:
                item_id = left[member.key]
                image = member is self._scan.samples[item_id].image
                output = ids[item_id][0]
                data = spool.get(output.image) if image else self._kept(item_id, member, output, spool)
                if data is None:
                    continue
                info = copy.copy(member.info)
                info.size = len(data)
                info.pax_headers = {key: value for key, value in info.pax_headers.items() if key != "size"}
                tar.addfile(info, io.BytesIO(data))
                count += not image
        return count

    def _kept(self, item_id: str, member: Member, output: _Output, spool: Spool) -> bytes | None:
        """A member beside an image as it leaves under its own name, or None where it stays behind."""
        sample, name = self._scan.samples[item_id], member.info.name
        if sample.labels.get(member.extension) is not member and sample.is_opaque(member):
            return None
        data = read_member(self.path, sample.shard, member)
        if member.extension not in sample.labels:
            return data if is_text(data) else None
        if member.extension == "json" and (self.columns is not None or is_encoded(data.decode("utf-8", "replace"))):
            return released_member(data, name, self.held_back(keep=True))
        if member.extension in MASKS and output.unlabelled is not None:
            return self._unlabel(data, spool.get(output.unlabelled), name)
        return data

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
            for extension, member in sorted(sample.labels.items()):
                data = read_member(self.path, shard, member)
                if extension in MASKS:
                    data = encode_label(data, 1, item_id)
                    if one.unlabelled is not None:
                        data = self._unlabel(data, spool.get(one.unlabelled), item_id)
                elif extension == "json":
                    data = released_member(data, item_id, self.held_back(keep=False))
                add_file(tar, f"{stem}.{extension}", data)
                count += 1
        return count

    def _unlabel(self, data: bytes, unlabelled: bytes, origin: str) -> bytes:
        return unlabel(data, unlabelled, self._scan.index.classes, origin)

    def _labels(self, found: Mapping[str, bytes], size: tuple[int, int], origin: str) -> Labels:
        classes = self._scan.index.classes
        names = {info.id: info.name for info in classes}
        image_class = None
        if "cls" in found:
            text = found["cls"][:MAX_CLASS_BYTES].decode("utf-8", "replace").strip()
            if not text.lstrip("-").isdecimal() or len(found["cls"]) > MAX_CLASS_BYTES:
                raise BadSample("label-invalid", f"{origin}: its .cls is {text!r}, no number")
            if classes and int(text) not in names:
                raise BadSample("class-unknown", f"{origin}: its .cls is {text}, which {CLASSES} does not list")
            image_class = names.get(int(text), text)
        value = parse_member(found["json"], origin) if "json" in found else {}
        labels = parse_labels(value, classes, size, origin)
        mask = labels.mask
        for extension in found.keys() & MASKS:
            mask = self._mask(found[extension], size, origin)
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
        samples: dict[str, TarSample] = {}
        members: dict[str, list[Member]] = {}
        findings = list(listing.findings)
        for shard in shards:
            members[shard] = list_members(self.path, shard)
            for key, sample in shard_samples(shard, members[shard]).items():
                name = f"{_folder(shard)}/{key}"
                if isinstance(sample, TarSample):
                    samples[f"{name}.{sample.image.extension}"] = sample
                else:
                    findings.append(Finding("image-missing", name, f"no image among {sample}; not used"))
        if not samples:
            raise ConfigError(f"{self.path}: no images in its {len(shards)} shard(s)")
        held_back, told = self._not_released(samples.values())
        findings += [*told, *not_released(path for path in listing.files if path not in members and path != CLASSES)]
        splits = shard_splits(shards)
        items = tuple(
            Item(item_id, self.path / sample.shard, None, splits[sample.shard])
            for item_id, sample in sorted(samples.items())
        )
        return _Scan(SourceIndex(items, classes, (*findings, *name_clashes(samples))), samples, members, held_back)

    def _not_released(self, samples: Iterable[TarSample]) -> tuple[frozenset[str], list[Finding]]:
        """The plain values of JSON members that stay behind, and findings on all that a release lacks."""
        texts, opaque, keys, encoded = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
        rows: list[dict[str, Any]] = []
        for sample in samples:
            for extension, member in sample.unread.items():
                held = sample.is_opaque(member) or not is_text(read_member(self.path, sample.shard, member))
                (opaque if held else texts)[extension] += 1
            value, written_out = self._json_of(sample)
            rows.append(plain_values(value))
            keys.update(set(left_out_keys(value)))
            encoded["json"] += written_out
        held_back, findings = columns_held_back(rows, self.columns)
        message = "member(s) of unknown content; released only with names: keep"
        findings += [Finding("file-not-released", f".{e}", f"{n} {message}") for e, n in sorted(texts.items())]
        findings += [
            Finding("file-not-released", f".{e}", f"{n} member(s): {OPAQUE}") for e, n in sorted(opaque.items())
        ]
        findings += [
            Finding("column-not-released", key, f"{n} member(s): {UNKNOWN}") for key, n in sorted(keys.items())
        ]
        message = "member(s) with binary content written out; with names: keep too, only objects and plain values leave"
        findings += [Finding("column-not-released", f".{e}", f"{n} {message}") for e, n in encoded.items() if n]
        return held_back, findings

    def _json_of(self, sample: TarSample) -> tuple[dict[str, Any], bool]:
        """The JSON beside an image, and whether binary content is written out in it; what can't be read is empty."""
        if "json" not in sample.members:
            return {}, False
        try:
            data = read_member(self.path, sample.shard, sample.members["json"])
            return parse_member(data, sample.image.info.name), is_encoded(data.decode("utf-8", "replace"))
        except BadSample:
            return {}, False


def _folder(shard: str) -> str:
    return shard.removesuffix(".tar")
