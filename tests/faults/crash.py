"""A process that dies, or a disk that fills, before any chosen step that changes what is on the disk.

`Steps` counts every such step below a folder: opening for writing, writing a table, fsync, rename, unlink, making and
removing folders, setting times. At the chosen step a `SimulatedCrash` is raised, and again at every later one: a dead
process cleans nothing up. `lose_unsynced` takes what was written and never synced, as a power cut does, so a
rename that came before its fsync leaves an empty file behind.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest


class SimulatedCrash(BaseException):
    """The process ends here."""


def disk_full(name: str, path: Path) -> OSError:
    return OSError(errno.ENOSPC, "No space left on device", str(path))


class Steps:
    """What was done below `root`, in order, as (name, path); `at` (from 1) is the step that fails, 0 none."""

    GROWS = frozenset({"open", "table", "sync", "mkdir", "close"})
    """Steps that a full disk fails; names can be changed and removed on it."""

    def __init__(self, root: Path, at: int = 0, full: bool = False) -> None:
        self.root = root
        self.at = at
        self.full = full
        self.done: list[tuple[str, Path]] = []
        self.unsynced: set[Path] = set()
        self.failed = False

    def step(self, name: str, path: Path) -> bool:
        """Count a step, and fail if its turn has come; False if it isn't below the root, or is the lock's or a note's.

        Workers note their progress by the clock, unsynced; the next call throws the notes away.
        """
        notes = self.root / "private" / "progress"
        if not path.is_relative_to(self.root) or path.name == "lock" or path.is_relative_to(notes):
            return False
        if self.full and name not in self.GROWS:
            return True
        if self.failed or len(self.done) + 1 == self.at:
            self.failed = True
            raise disk_full(name, path) if self.full else SimulatedCrash(f"{name} {path}")
        self.done.append((name, path.relative_to(self.root)))
        return True

    def lose_unsynced(self, copy: Path) -> None:
        """The power went: in `copy`, which is one of the root, what was not synced is gone from the files."""
        for path in self.unsynced:
            if (lost := copy / path.relative_to(self.root)).is_file():
                os.truncate(lost, 0)

    def moved(self, source: Path, target: Path) -> None:
        """A rename takes what is not synced along."""
        below = {path for path in self.unsynced if path.is_relative_to(source)}
        self.unsynced -= below | {path for path in self.unsynced if path.is_relative_to(target)}
        self.unsynced |= {target / path.relative_to(source) if path != source else target for path in below}


def _path(value: Any, folder: int | None = None) -> Path:
    if isinstance(value, int):
        return Path(os.readlink(f"/proc/self/fd/{value}"))
    base = Path(os.readlink(f"/proc/self/fd/{folder}")) if folder is not None else Path.cwd()
    return base / os.fsdecode(value)


@contextmanager
def watched(steps: Steps) -> Iterator[Steps]:
    """Every step below the root goes through `steps` meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("unlink", "remove", "rmdir", "mkdir", "utime"):
            patch.setattr(os, name, _before(steps, name, getattr(os, name)))
        for name in ("replace", "rename"):
            patch.setattr(os, name, _renaming(steps, getattr(os, name)))
        patch.setattr(os, "fsync", _syncing(steps, os.fsync))
        patch.setattr(os, "open", _opening(steps, os.open))
        patched = _opening_file(steps, io.open)
        patch.setattr(io, "open", patched)
        patch.setattr(builtins, "open", patched)
        for name in ("__init__", "write_table", "close"):
            patch.setattr(pq.ParquetWriter, name, _table(steps, name, getattr(pq.ParquetWriter, name)))
        yield steps


def _before(steps: Steps, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, *arguments: Any, **options: Any) -> Any:
        steps.step(name, _path(path, options.get("dir_fd")))
        return real(path, *arguments, **options)

    return call


def _renaming(steps: Steps, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(source: Any, target: Any, **options: Any) -> Any:
        counted = steps.step("rename", _path(target))
        real(source, target, **options)
        if counted:
            steps.moved(_path(source), _path(target))

    return call


def _syncing(steps: Steps, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(descriptor: int) -> Any:
        path = _path(descriptor)
        steps.step("sync", path)
        real(descriptor)
        steps.unsynced.discard(path)

    return call


def _opening(steps: Steps, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, flags: int, *arguments: Any, **options: Any) -> Any:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes and steps.step("open", _path(path, options.get("dir_fd"))):
            steps.unsynced.add(_path(path, options.get("dir_fd")))
        return real(path, flags, *arguments, **options)

    return call


def _opening_file(steps: Steps, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not isinstance(path, int) and set(mode) & set("wax+") and steps.step("open", _path(path)):
            steps.unsynced.add(_path(path))
        return real(path, mode, *arguments, **options)

    return call


def _table(steps: Steps, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        if name == "__init__":
            self.is_open = False
            if isinstance(arguments[0], str | Path) and steps.step("open", Path(arguments[0])):
                steps.unsynced.add(Path(arguments[0]))
                self.watched = Path(arguments[0])
        elif (path := getattr(self, "watched", None)) is not None:
            steps.step("table" if name == "write_table" else "close", path)
        return real(self, *arguments, **options)

    return call
