"""One sample of a tar shard: which of its members is the image, which are labels, and which must not leave."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from synthgen.datasets._files import parse_json
from synthgen.datasets._opaque import MAX_TEXT_BYTES, is_picture_name
from synthgen.datasets._sample_json import released_json
from synthgen.datasets._surrogates import may_have_surrogates, without_surrogates
from synthgen.datasets._tar_files import Member, group_members
from synthgen.datasets._tar_write import MASKS
from synthgen.types import BadSample, ConfigError

MAX_JSON_BYTES = 1 << 26
_IMAGE_ORDER = ("jpg", "jpeg", "png", "webp", "bmp", "tif", "tiff")
_KNOWN = frozenset({"cls", "json", *MASKS})


@dataclass(frozen=True, eq=False)
class TarSample:
    """One sample: its shard, its image, and all its members by extension."""

    shard: str
    image: Member
    members: Mapping[str, Member]

    @property
    def labels(self) -> dict[str, Member]:
        """The members that are read as labels: of two masks the first."""
        mask = next((extension for extension in MASKS if extension in self.members), None)
        return {extension: found for extension, found in self.members.items() if extension in ("cls", "json", mask)}

    @property
    def unread(self) -> dict[str, Member]:
        """The members that are neither the image nor a label that is read."""
        labels = self.labels
        return {name: found for name, found in self.members.items() if found is not self.image and name not in labels}

    def is_opaque(self, member: Member) -> bool:
        """Whether an unread member stays behind whatever is in it: an image, a label of which there are two, no text
        by its length."""
        twice = self.members[member.extension] is not member or member.extension in _KNOWN
        return twice or is_picture_name(member.extension) or member.info.size > MAX_TEXT_BYTES


def shard_samples(shard: str, members: Iterable[Member]) -> dict[str, TarSample | str]:
    """The samples of a shard by key; where one has no image, what it has instead."""
    samples: dict[str, TarSample | str] = {}
    for key, found in group_members(members).items():
        image = next((found[extension] for extension in _IMAGE_ORDER if extension in found), None)
        samples[key] = f".{', .'.join(found)}" if image is None else TarSample(shard, image, found)
    return samples


def parse_member(data: bytes, origin: str) -> dict[str, Any]:
    """A JSON member.

    Raises:
        BadSample: `label-invalid`.
    """
    try:
        value = parse_json(data, origin) if len(data) <= MAX_JSON_BYTES else None
    except ConfigError as error:
        raise BadSample("label-invalid", str(error)) from error
    if not isinstance(value, dict):
        raise BadSample("label-invalid", f"{origin}: its .json must be an object of at most {MAX_JSON_BYTES} bytes")
    if may_have_surrogates(data.decode("utf-8", "replace")) and without_surrogates(value) != value:
        raise BadSample("label-invalid", f"{origin}: its .json has half a character (a lone surrogate)")
    return value


def released_member(data: bytes, origin: str, without: frozenset[str]) -> bytes:
    """A JSON member as it may leave: objects, and plain values but for some."""
    return json.dumps(released_json(parse_member(data, origin), without, origin), ensure_ascii=False).encode()
