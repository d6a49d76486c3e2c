"""What checks have to know of the whole source set: read once a run, on one rank, and kept in the run's folder.

A check that compares every output with every source would otherwise read the source once on every rank and once more
after every kill. The files are private: they hold digests and features of the sources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from synthgen.checks.base import Check, Learned
from synthgen.datasets.base import Dataset
from synthgen.shards import write_atomic
from synthgen.types import BadSample, ConfigError, Item, Sample


class LearnedStore:
    """`folder/<run id>-<place>.safetensors` for each check of a config that learns."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._folder = folder
        self._run_id = run_id

    def fill(self, checks: Iterable[Check], source: Dataset, items: Sequence[Item], device: str) -> None:
        """Let every check learn that has not done so in this run; a source that can't be read is left out."""
        from safetensors.numpy import save

        for place, check in enumerate(checks):
            if check.learns and not self._path(place).is_file():
                self._folder.mkdir(mode=0o700, exist_ok=True)
                shown = spread(items, check.learns_from)
                write_atomic(self._path(place), save(dict(check.learn(_readable(source, shown), device))))

    def read(self, place: int, check: Check) -> Learned:
        """What the check at `place` of the config learned; nothing if it does not learn.

        Raises:
            ConfigError: the file is damaged or gone.
        """
        if not check.learns:
            return {}
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return load_file(self._path(place))
        except (SafetensorError, OSError) as error:
            raise ConfigError(f"{self._path(place)}: can't be read ({error}); delete it, it is made anew") from error

    def _path(self, place: int) -> Path:
        return self._folder / f"{self._run_id}-{place}.safetensors"


def spread(items: Sequence[Item], most: int | None) -> Sequence[Item]:
    """At most so many items, at even distances; all of them for None."""
    return items if most is None or len(items) <= most else [items[place * len(items) // most] for place in range(most)]


def _readable(source: Dataset, items: Iterable[Item]) -> Iterator[Sample]:
    for item in items:
        try:
            yield source.read(item)
        except BadSample:
            continue
