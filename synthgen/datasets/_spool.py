"""Encoded images on disk between the moment they come and the moment their place in a shard is known.

Outputs arrive in the order of a run, shards are written in the order of the source: holding the images in memory would
make it grow with the dataset. The file has no name, so nothing is left behind if the process dies.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType


@dataclass(frozen=True)
class Slot:
    """Where some bytes lie in a spool."""

    offset: int
    length: int


class Spool:
    """Bytes, appended and read again, in a temporary file below `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._end = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def put(self, data: bytes) -> Slot:
        """Append."""
        self._file.seek(self._end)
        self._file.write(data)
        slot = Slot(self._end, len(data))
        self._end += len(data)
        return slot

    def get(self, slot: Slot) -> bytes:
        """Read again."""
        self._file.seek(slot.offset)
        return self._file.read(slot.length)
