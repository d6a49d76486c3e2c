"""Members of a tar shard, by header alone: nothing is extracted, and what could escape or hang stops the run.

A shard of a dataset holds plain files under relative names. Links, devices, pipes, sparse files, absolute names, `..`
and names that stand twice have no place in one, so they are taken for an attack or a broken file, not for a sample.
"""

from __future__ import annotations

import tarfile
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from synthgen.datasets._files import refuse_duplicates, safe_relative
from synthgen.images import MAX_FILE_BYTES, open_file
from synthgen.types import BadSample, ConfigError


@dataclass(frozen=True, eq=False)
class Member:
    """A file in a shard; its name, cut at the first dot of the last part as webdataset does, is `key`.`extension`."""

    info: tarfile.TarInfo
    key: str
    extension: str


def list_members(root: Path, shard: str) -> list[Member]:
    """The files of the shard at `root/shard`, in order.

    Raises:
        ConfigError: no plain tar, cut short, or a member that is refused.
    """
    members = []
    try:
        length = (root / shard).stat().st_size
        with open_file(root / shard, root) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                if info.isdir():
                    continue
                if not info.isreg() or info.issparse():
                    raise ConfigError(
                        f"{shard}: {info.name!r} is a link, a device or a pipe; only plain files may be here"
                    )
                if info.offset_data + info.size > length:
                    raise ConfigError(f"{shard}: {info.name!r} is cut short")
                members.append(_member(info, shard))
    except (BadSample, tarfile.TarError, OSError, UnicodeError, ValueError) as error:
        raise ConfigError(f"{shard}: can't be read as an uncompressed tar: {error}") from error
    refuse_duplicates((member.info.name for member in members), f"{shard}: names that stand twice")
    return members


def _member(info: tarfile.TarInfo, shard: str) -> Member:
    path = PurePosixPath(safe_relative(info.name, f"{shard}: a member"))
    stem, _, extension = path.name.partition(".")
    return Member(info, path.with_name(stem).as_posix() if stem else path.as_posix(), extension.lower())


def group_members(members: Iterable[Member]) -> dict[str, dict[str, Member]]:
    """Members by key, then by extension; the first of an extension counts."""
    samples: dict[str, dict[str, Member]] = defaultdict(dict)
    for member in members:
        samples[member.key].setdefault(member.extension, member)
    return samples


def read_member(root: Path, shard: str, member: Member) -> bytes:
    """The bytes of a member.

    Raises:
        BadSample: `file-too-large`, `file-unreadable`.
    """
    if member.info.size > MAX_FILE_BYTES:
        raise BadSample("file-too-large", f"{shard}: {member.info.name}: more than {MAX_FILE_BYTES} bytes")
    with open_file(root / shard, root) as file:
        file.seek(member.info.offset_data)
        data = file.read(member.info.size)
    if len(data) != member.info.size:
        raise BadSample("file-unreadable", f"{shard}: {member.info.name} is cut short")
    return data
