"""Parquet files of a Hugging Face dataset: opened inside the source, listed by name alone, read by row group."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synthgen.datasets._files import safe_relative
from synthgen.images import SUFFIXES, open_file
from synthgen.types import BadSample, ConfigError

MAX_GROUP_BYTES = 1 << 32
_SPLIT = re.compile(r"(train|validation|valid|val|test|dev|eval)(?=[-_.\d]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where a row lies."""

    file: str
    group: int
    row: int
    name: str


def open_parquet(root: Path, file: str) -> pq.ParquetFile:
    """An open parquet file inside the root.

    Raises:
        ConfigError: no parquet file, or one that leads out of the source.
    """
    try:
        return pq.ParquetFile(open_file(root / file, root))
    except (BadSample, pa.ArrowException, OSError) as error:
        raise ConfigError(f"{file}: can't be read as parquet: {error}") from error


def read_group(root: Path, file: str, group: int) -> pa.Table:
    """The rows of one group.

    Raises:
        BadSample: `file-unreadable`.
        ConfigError: a group too large to hold.
    """
    with open_parquet(root, file) as source:
        if source.metadata.row_group(group).total_byte_size > MAX_GROUP_BYTES:
            raise ConfigError(
                f"{file}: row group {group} has over {MAX_GROUP_BYTES} bytes; write it with smaller groups"
            )
        try:
            return source.read_row_group(group)
        except (pa.ArrowException, OSError) as error:
            raise BadSample("file-unreadable", f"{file}, row group {group}: {error}") from error


def list_places(source: pq.ParquetFile, file: str, image: str) -> Iterator[Place]:
    """Every row of a file under a name that is safe and unique in it: its image's own where that is."""
    taken: set[str] = set()
    for group in range(source.num_row_groups):
        paths = source.read_row_group(group, columns=[f"{image}.path"]).to_pylist()
        for row, value in enumerate(paths):
            name = (value.get(image) or {}).get("path")
            name = safe_relative(name, f"{file}, row {row} of group {group}") if name else ""
            if not name or not _suffix(name) or name in taken:
                name = f"row-{group:05}-{row:05}{_suffix(name) or '.png'}"
            taken.add(name)
            yield Place(file, group, row, name)


def read_plain(source: pq.ParquetFile, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """All rows of some columns."""
    return source.read(columns=list(columns)).to_pylist() if columns else []


def _suffix(name: str) -> str:
    """The suffix of an image's name, or nothing where it has none that can be written."""
    suffix = PurePosixPath(name).suffix
    return suffix if suffix.lower() in SUFFIXES else ""


def item_folder(file: str) -> str:
    """The folder of item ids of a parquet file: its path without the suffix."""
    return file.removesuffix(".parquet")


def file_split(file: str) -> str | None:
    """The split that a file's name, or else its folder, begins with."""
    for text in reversed(PurePosixPath(file).parts):
        if found := _SPLIT.match(text):
            return found.group().lower()
    return None


def download(hub: str, path: Path) -> None:
    """Parquet files and class table of a pinned dataset of the hub."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    name, _, commit = hub.partition("@")
    patterns = ["*.parquet", "classes.csv"]
    try:
        snapshot_download(name, repo_type="dataset", revision=commit, local_dir=path, allow_patterns=patterns)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise ConfigError(f"source.hub: {hub} can't be downloaded: {type(error).__name__}") from error
