"""Where a run lies: in a folder, or (remote_place.py) in an object store with a folder to work in.

Everything works on the folder. What was committed there is handed to `keep_…` afterwards, which for a plain folder, be
it local or shared by several machines, has nothing to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from synthgen.progress import clear_progress
from synthgen.remote import local_path
from synthgen.rundir import RunDir
from synthgen.shards import Shard


class Place:
    """A run in a folder that all its workers see."""

    def __init__(self, run: RunDir) -> None:
        self.run = run

    @property
    def name(self) -> str:
        """As the user called it."""
        return str(self.run.root)

    @contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        """Hold the run against other writers.

        Raises:
            ConfigError: another one holds it for longer than `timeout` seconds.
        """
        with self.run.lock(timeout):
            yield

    def fetch(self) -> None:
        """See what others have committed."""

    def fetch_plan(self) -> None:
        """See what says what there is to do, and which shards are done, but none of their images."""

    def fetch_progress(self) -> None:
        """See what the workers note of themselves."""

    def fetch_report(self) -> None:
        """See whether the release is whole."""

    def forget_progress(self) -> None:
        """Forget the workers of earlier calls."""
        clear_progress(self.run.progress)

    def keep_plan(self) -> None:
        """Keep what says what the run is and what there is to do."""

    def keep_shard(self, shard: Shard) -> None:
        """Keep a committed shard: images and maps first, its ledger last."""

    def keep_progress(self, notes: Path) -> None:
        """Keep what a worker notes of itself."""

    def keep_release(self) -> None:
        """Keep the finished release and the report, the report last."""


def open_place(root: Path | str, cache: Path | None) -> Place:
    """The place of a run, by folder or by URL; `cache` is where a remote run's working folder lies.

    Raises:
        ConfigError: a URL that can't be used.
    """
    if (folder := local_path(root)) is not None:
        return Place(RunDir(folder))
    from synthgen.remote_place import RemotePlace

    return RemotePlace(str(root), cache)
