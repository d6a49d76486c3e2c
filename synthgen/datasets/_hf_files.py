"""Parquet files of a Hugging Face dataset: opened inside the source, listed by name alone, read by row group."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from synthgen.datasets._files import safe_relative
from synthgen.datasets._opaque import is_encoded
from synthgen.images import SUFFIXES, open_file
from synthgen.types import BadSample, ConfigError

MAX_GROUP_BYTES = 1 << 32
_ELSEWHERE = re.compile(r"/(?!/)[^\\]+")
EMBED = (
    "embed them: ds.with_format('arrow').map(datasets.table.embed_table_storage, batched=True).with_format(None)"
    ".to_parquet(…), or give the folder of the images as the source"
)
"""How image files get into a parquet file that names them only."""


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
    """Every row of a file under a name that is safe and unique in it: its image's own where that is.

    An absolute path of an image names a file on the machine where the set was made: its last part is the name.

    Raises:
        ConfigError: a path that leaves the source, or no row has the bytes of its image.
    """
    taken: set[str] = set()
    embedded = _has_bytes(source, image)
    for group in range(source.num_row_groups):
        paths = source.read_row_group(group, columns=[f"{image}.path"]).to_pylist()
        for row, value in enumerate(paths):
            name = (value.get(image) or {}).get("path")
            if not embedded:
                where = f", only paths such as {name!r}" if name else ""
                raise ConfigError(f"{file}: the bytes of its images are not in the file{where}; {EMBED}")
            if name and _ELSEWHERE.fullmatch(name) and _suffix(name):
                name = PurePosixPath(name).name
            name = safe_relative(name, f"{file}, row {row} of group {group}") if name else ""
            if not name or not _suffix(name) or name in taken:
                name = f"row-{group:05}-{row:05}{_suffix(name) or '.png'}"
            taken.add(name)
            yield Place(file, group, row, name)


def _has_bytes(source: pq.ParquetFile, image: str) -> bool:
    """Whether any image of a file may have bytes, by the counts of nulls in its footer."""
    for group in range(source.num_row_groups):
        rows = source.metadata.row_group(group)
        columns = [rows.column(number) for number in range(rows.num_columns)]
        told = next(column.statistics for column in columns if column.path_in_schema == f"{image}.bytes")
        if told is None or not told.has_null_count or told.null_count < rows.num_rows:
            return True
    return source.metadata.num_rows == 0


def read_plain(source: pq.ParquetFile, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """All rows of some columns."""
    return source.read(columns=list(columns)).to_pylist() if columns else []


def encoded_nested(source: pq.ParquetFile, columns: Iterable[str]) -> frozenset[str]:
    """Those of some nested columns in which a text has binary content written out."""
    found = set()
    for name in columns:
        groups = (source.read_row_group(group, columns=[name]).to_pylist() for group in range(source.num_row_groups))
        if any(is_encoded(repr(rows)) for rows in groups):
            found.add(name)
    return frozenset(found)


def _suffix(name: str) -> str:
    """The suffix of an image's name, or nothing where it has none that can be written."""
    suffix = PurePosixPath(name).suffix
    return suffix if suffix.lower() in SUFFIXES else ""


def item_folder(file: str) -> str:
    """The folder of item ids of a parquet file: its path without the suffix."""
    return file.removesuffix(".parquet")


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
