"""Rows of arrays on disk, written once and memory-mapped: what is decoded, cropped and encoded before training.

A pack is a folder: `<name>.raw` for each array (row after row), `pack.json` with their types, shapes and one note a
row. Rows are appended, so writing holds one row; reading maps the files, so memory is the page cache's. The folder's
name is a digest of all that made it: other data, other settings or other weights make another pack.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import NDArray

from synthgen.training.checkpoint import replace_folder
from synthgen.types import ConfigError

In = TypeVar("In")
Out = TypeVar("Out")


class PackWriter:
    """Appends rows; every row must have the arrays of the first, of one type and shape each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, BinaryIO] = {}
        self.arrays: dict[str, dict[str, Any]] = {}
        self.notes: list[Any] = []
        self.stack = ExitStack()

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stack.close()
        if kind is None:
            text = json.dumps({"rows": len(self.notes), "arrays": self.arrays, "notes": self.notes})
            (self.folder / "pack.json").write_text(text, encoding="utf-8")

    def append(self, row: Mapping[str, NDArray[Any]], note: Any) -> None:
        """Add one row and its note (anything JSON holds).

        Raises:
            ValueError: an array of another type or shape than in the first row.
        """
        if not self.notes:
            for name, value in row.items():
                self.arrays[name] = {"dtype": value.dtype.str, "shape": list(value.shape)}
                self.files[name] = self.stack.enter_context((self.folder / f"{name}.raw").open("wb"))
        for name, array in self.arrays.items():
            value = row[name]
            if value.dtype.str != array["dtype"] or list(value.shape) != array["shape"]:
                raise ValueError(f"{name}: {value.dtype.str} {value.shape}, the first row had {array}")
            self.files[name].write(np.ascontiguousarray(value).tobytes())
        self.notes.append(note)


class Pack:
    """`pack[name]` is (rows, ...), mapped read-only; `notes` has one entry a row."""

    def __init__(self, folder: Path) -> None:
        value = json.loads((folder / "pack.json").read_text(encoding="utf-8"))
        self.folder = folder
        self.notes: list[Any] = value["notes"]
        self.arrays: dict[str, NDArray[Any]] = {
            name: np.memmap(folder / f"{name}.raw", array["dtype"], "r", shape=(value["rows"], *array["shape"]))
            for name, array in value["arrays"].items()
        }

    def __len__(self) -> int:
        return len(self.notes)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    @property
    def digest(self) -> str:
        """The name of its folder: a digest of what made it."""
        return self.folder.name


def open_pack(cache: Path, what: str, made_from: Mapping[str, Any], build: Callable[[PackWriter], None]) -> Pack:
    """The pack that `made_from` (all that decides its content, as JSON) names, built if it is not there yet.

    Raises:
        ConfigError: `build` found no row.
    """
    canonical = json.dumps({"what": what, **made_from}, sort_keys=True)
    folder = cache / f"{what}-{hashlib.sha256(canonical.encode()).hexdigest()[:16]}"

    def write(target: Path) -> None:
        with PackWriter(target) as writer:
            build(writer)
        if not writer.notes:
            raise ConfigError(
                f"{what}: not one usable sample in {made_from.get('dataset', 'the source')}; see the messages"
            )

    if not folder.is_dir():
        replace_folder(folder, write)
    return Pack(folder)


def map_ahead(function: Callable[[In], Out], items: Iterable[In], workers: int) -> Iterator[Out]:
    """`map` by threads, in the order of the items and at most two results a thread ahead."""
    pending: deque[Future[Out]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="pack") as pool:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= 2 * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
