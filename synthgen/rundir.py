"""A run's folder: what is in it, whether it may be resumed, and the release that leaves it.

run.yaml   the resolved config          release/  the replacement dataset, in the source's layout
private/   shards, ledger, key, maps    report/   what may be read by everyone who gets the release
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from synthgen.config import RunConfig, config_identity, dump_config, load_yaml, parse_config
from synthgen.datasets.base import Dataset, ReleasedImage, resolve_source
from synthgen.names import Names, load_or_create_key
from synthgen.shards import ShardStore, sync_file, sync_folder, write_atomic
from synthgen.types import ConfigError, Item, SynthgenError

RELEASED = 315_532_800.0
"""1980-01-01 UTC, the earliest date that archives can hold."""


@dataclass(frozen=True)
class RunDir:
    """Paths of one run."""

    root: Path

    @property
    def private(self) -> Path:
        """What never leaves: shards, ledger, key, control maps."""
        return self.root / "private"

    @property
    def release(self) -> Path:
        """The replacement dataset."""
        return self.root / "release"

    @property
    def report(self) -> Path:
        """What may be read by everyone who gets the release."""
        return self.root / "report"

    @property
    def config_file(self) -> Path:
        """The resolved config that made the run."""
        return self.root / "run.yaml"

    @property
    def progress(self) -> Path:
        """What workers note of themselves."""
        return self.private / "progress"

    @property
    def store(self) -> ShardStore:
        """The shards of the run."""
        return ShardStore(self.private)

    def config(self) -> RunConfig:
        """The config that made this run.

        Raises:
            ConfigError: this is no run folder.
        """
        if not self.config_file.is_file():
            raise ConfigError(f"{self.root}: not a run folder (there is no run.yaml)")
        return parse_config(load_yaml(self.config_file), str(self.config_file))

    def run_id(self) -> str:
        """The id of the run that lies here.

        Raises:
            ConfigError: its record is missing or damaged.
        """
        path = self.private / "run.json"
        try:
            return str(json.loads(path.read_text())["run_id"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: can't be read as the record of a run: {error!r}") from error

    @contextmanager
    def lock(self, timeout: float) -> Iterator[None]:
        """Hold the folder against other runs.

        Raises:
            ConfigError: another process holds it.
        """
        self.make_folders()
        lock = FileLock(self.private / "lock", timeout=timeout, mode=0o600)
        try:
            lock.acquire()
        except Timeout as error:
            raise ConfigError(
                f"{self.root}: another process is writing this run; wait for it, or choose another --out"
            ) from error
        try:
            yield
        finally:
            lock.release()

    def make_folders(self) -> None:
        """Make the folder and its private part (mode 0700).

        Raises:
            ConfigError: it can't be written, or it holds other files and no run.
        """
        if self.root.is_dir() and not (self.private / "run.json").exists():
            others = [entry.name for entry in self.root.iterdir() if entry.name != "private"]
            if others:
                listed = ", ".join(sorted(others)[:3])
                raise ConfigError(f"{self.root}: holds other files ({listed}); choose an empty --out")
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self.private.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.root}: can't be written ({error.strerror}); choose another --out") from error

    def claim(self, config: RunConfig, run_id: str, digests: Mapping[str, str]) -> None:
        """Begin a run here, or see that the one that lies here is the same; nothing done yet may be begun anew.

        Raises:
            ConfigError: another config or other inputs made what lies here; the message lists the differences.
        """
        record = {"run_id": run_id, "config": config_identity(config), "digests": dict(digests)}
        path = self.private / "run.json"
        before = json.loads(path.read_text()) if path.exists() else None
        if before is None or not any(self.store.ledgers.glob("*.parquet")):
            for cut in ("shards.json", "further.json", "round-*.json"):
                for stale in self.private.glob(cut):
                    stale.unlink()
            write_atomic(path, json.dumps(record, indent=1, sort_keys=True).encode())
            write_atomic(self.config_file, dump_config(config).encode())
            return
        if before["run_id"] == run_id and before["digests"] == record["digests"]:
            stored = self.config()
            if stored.card != config.card:
                write_atomic(self.config_file, dump_config(stored.model_copy(update={"card": config.card})).encode())
            return
        changes = [*differences(before["config"], json.loads(json.dumps(record["config"])), "")]
        changes += differences(before["digests"], record["digests"], "inputs")
        listed = "\n  ".join(changes[:20])
        raise ConfigError(
            f"{self.root}: was begun as run {before['run_id']}, this config is run {run_id}:\n  {listed}\n"
            "Take the change back to resume it, or choose another --out."
        )

    def export(
        self,
        dataset: Dataset,
        items: Mapping[str, Item],
        out: Path,
        names: Names,
        finish: Callable[[Path], object] = lambda folder: None,
    ) -> dict[str, int]:
        """Write the replacement dataset to `out` from the committed shards; `out` appears whole or not at all.

        Args:
            finish: adds to the folder before it appears.
        """
        partial = out.with_name(f".{out.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        counts = dict(dataset.write_release(self.released(items, names), names, partial))
        finish(partial)
        forget_times(partial)
        sync_tree(partial)
        old = out.with_name(f".{out.name}.old")
        shutil.rmtree(old, ignore_errors=True)
        if out.exists():
            os.replace(out, old)
        os.replace(partial, out)
        shutil.rmtree(old, ignore_errors=True)
        sync_folder(out.parent)
        return counts

    def dataset(self, folder: Path) -> Dataset:
        """A folder in the layout of this run's source, such as its release: read as the source is, but whole."""
        return resolve_source(self.config().source.model_dump() | {"path": folder, "splits": None, "limit": None})

    def names(self, config: RunConfig) -> Names:
        """The names of this run's release; makes the key if there is none yet."""
        key = load_or_create_key(self.private / "key")
        sync_folder(self.private)
        return Names(config.names, key)

    def remove_partials(self) -> None:
        """Delete what killed processes left half-written. Call it only while holding the run's lock."""
        self.store.remove_partials()
        for folder in (self.root, self.private, self.report):
            for partial in folder.glob(".*.tmp"):
                partial.unlink(missing_ok=True)

    def released(self, items: Mapping[str, Item], names: Names) -> Iterator[ReleasedImage]:
        """The accepted outputs under their new names, shard by shard."""
        store = self.store
        for shard in store.shards():
            if not store.done(shard):
                continue
            for image in store.stored_images(shard):
                item = items[image.sample_id]
                name = names.image(item, image.variant)
                yield ReleasedImage(item, image.variant, name, image.data, image.unlabelled)


def forget_times(folder: Path) -> None:
    """Give every file and folder one date: theirs tell when, and in which order, pictures were made."""
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, (RELEASED, RELEASED))


def sync_tree(folder: Path) -> None:
    """Make everything below a folder durable, so that a rename after it never shows an empty file."""
    for path in [*folder.rglob("*"), folder]:
        sync_file(path) if path.is_file() else sync_folder(path)


def differences(before: Any, after: Any, path: str) -> list[str]:
    """The keys at which two JSON values differ, as `key: before → after`."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted(before.keys() | after.keys())
        return [
            line for key in keys for line in differences(before.get(key), after.get(key), f"{path}.{key}".strip("."))
        ]
    if before == after:
        return []
    return [f"{path}: {_short(before)} → {_short(after)}"]


def _short(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
    return text if len(text) <= 120 else text[:117] + "…"


def open_run(path: Path) -> RunDir:
    """An existing run folder.

    Raises:
        SynthgenError: it is none.
    """
    run = RunDir(path)
    if not run.config_file.is_file() or not (run.private / "run.json").is_file():
        raise SynthgenError(f"{path}: not a run folder (it should hold run.yaml and private/run.json)")
    return run
