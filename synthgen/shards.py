"""Work units and what they leave behind: the crash-safe part of a run.

Work is cut by sample id once, at the start, and the cut is stored: the number of ranks never changes it. A shard writes
its images and control maps to temporary names, syncs and renames them, and writes its ledger last; a shard with a
ledger is done, one without is redone, and redoing one is harmless.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from synthgen.redaction import redact
from synthgen.types import ConfigError, Extra, Row, SynthgenError

_JSON_FIELDS = ("factors", "scores", "regions")
LEDGER_SCHEMA = pa.schema([(field.name, pa.int64() if field.type == "int" else pa.string()) for field in fields(Row)])
IMAGES_SCHEMA = pa.schema(
    [("sample_id", pa.string()), ("variant", pa.int64()), ("image", pa.binary()), ("unlabelled", pa.binary())]
)
CONTROLS_SCHEMA = pa.schema(
    [("sample_id", pa.string()), ("kind", pa.string()), ("stage", pa.int64()), ("image", pa.binary())]
)
ROWS_PER_GROUP = 16


@dataclass(frozen=True)
class Shard:
    """A unit of work: some sample ids, under a name made of its place and its content.

    `extras` are the outputs to make of them in a round of refilling; without any, all variants of each. `further` are
    those outputs of all ids together that the plan adds to the config's number of variants.
    """

    name: str
    ids: tuple[str, ...]
    extras: tuple[Extra, ...] = ()
    further: int = 0

    def count(self, variants: int) -> int:
        """How many outputs it makes; `variants` is the config's number for a sample."""
        return len(self.extras) or len(self.ids) * variants + self.further


@dataclass(frozen=True)
class StoredImage:
    """An accepted output as it lies in a shard: the encoded file's bytes.

    `unlabelled` is a PNG of the picture's size, white where the label does not hold; empty where it holds everywhere.
    """

    sample_id: str
    variant: int
    data: bytes
    unlabelled: bytes = b""


def cut_shards(ids: Sequence[str], size: int) -> list[Shard]:
    """Cut sorted sample ids into shards of at most `size`."""
    ordered = sorted(ids)
    shards = []
    for start in range(0, len(ordered), size):
        part = tuple(ordered[start : start + size])
        digest = hashlib.sha256("\n".join(part).encode()).hexdigest()[:10]
        shards.append(Shard(f"{start // size:05d}-{digest}", part))
    return shards


def cut_round(extras: Sequence[Extra], number: int, size: int) -> list[Shard]:
    """Cut the extras of round `number` (1, 2, …) into shards of at most `size` outputs, in order of sample id."""
    ordered = sorted(extras, key=lambda extra: (extra.sample_id, extra.variant))
    shards = []
    for start in range(0, len(ordered), size):
        part = tuple(ordered[start : start + size])
        ids = tuple(dict.fromkeys(extra.sample_id for extra in part))
        digest = hashlib.sha256(json.dumps([astuple(extra) for extra in part]).encode()).hexdigest()[:10]
        shards.append(Shard(f"r{number:02d}-{start // size:05d}-{digest}", ids, part))
    return shards


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is either whole or not there, also after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    sync_folder(path.parent)


def sync_file(path: Path) -> None:
    """Make what a closed file holds durable."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ShardStore:
    """The `private/` folder of a run as far as shards go."""

    def __init__(self, private: Path) -> None:
        self.private = private
        self.images = private / "shards"
        self.controls = private / "controls"
        self.ledgers = private / "ledger"

    def plan(self, ids: Sequence[str], size: int, further: Mapping[str, int] | None = None) -> list[Shard]:
        """The cut of this run: the stored one if there is one, else a new one, stored.

        `further` says of which samples more outputs are planned than the config's number of variants.
        """
        path = self.private / "shards.json"
        if not path.exists():
            shards = cut_shards(ids, size)
            more = {sample_id: count for sample_id, count in sorted((further or {}).items()) if count}
            if more:
                write_atomic(self.private / "further.json", json.dumps(more, indent=0).encode())
            write_atomic(path, json.dumps({shard.name: shard.ids for shard in shards}, indent=0).encode())
        return self.shards()

    def shards(self) -> list[Shard]:
        """The stored cut, in order, and after it the rounds of refilling.

        Raises:
            ConfigError: this folder holds no run.
        """
        path = self.private / "shards.json"
        if not path.exists():
            raise ConfigError(f"{self.private.parent}: no run here (there is no private/shards.json)")
        more_of = self.private / "further.json"
        further = json.loads(more_of.read_text()) if more_of.exists() else {}
        first = [
            Shard(name, tuple(ids), further=sum(further.get(sample_id, 0) for sample_id in ids))
            for name, ids in json.loads(path.read_text()).items()
        ]
        return [*first, *(shard for shards in self.rounds() for shard in shards)]

    def rounds(self) -> list[list[Shard]]:
        """The shards of each round of refilling, in order."""
        found: list[list[Shard]] = []
        while (path := self._round_file(len(found) + 1)).exists():
            shards = []
            for name, records in json.loads(path.read_text()).items():
                extras = tuple(Extra(*record) for record in records)
                shards.append(Shard(name, tuple(dict.fromkeys(extra.sample_id for extra in extras)), extras))
            found.append(shards)
        return found

    def add_round(self, extras: Sequence[Extra], size: int) -> None:
        """Store a further round; it is part of the work from now on."""
        number = len(self.rounds()) + 1
        shards = cut_round(extras, number, size)
        content = {shard.name: [list(astuple(extra)) for extra in shard.extras] for shard in shards}
        write_atomic(self._round_file(number), json.dumps(content, indent=0).encode())

    def _round_file(self, number: int) -> Path:
        return self.private / f"round-{number:02d}.json"

    def done(self, shard: Shard) -> bool:
        """Whether the shard's ledger is there; it is written last."""
        return (self.ledgers / f"{shard.name}.parquet").exists()

    def pending(self) -> list[Shard]:
        """What is left, in order."""
        return [shard for shard in self.shards() if not self.done(shard)]

    def remove_partials(self) -> None:
        """Delete what killed processes left half-written. Call it only while holding the run's lock."""
        for folder in (self.images, self.controls, self.ledgers):
            for partial in folder.glob(".*.tmp"):
                partial.unlink(missing_ok=True)

    def rows(self) -> Iterator[Row]:
        """All ledger rows of the shards that are done, in order of shard, sample and variant.

        An accepted output that was withdrawn since is quarantined here, with the code of its withdrawal.
        """
        for shard in self.shards():
            if self.done(shard):
                yield from self.rows_of(shard)

    def rows_of(self, shard: Shard) -> Iterator[Row]:
        """The rows of one finished shard, as `rows`."""
        withdrawn = self.withdrawn()
        for row in read_ledger(self.ledgers / f"{shard.name}.parquet"):
            code = withdrawn.get((row.sample_id, row.variant))
            yield row if code is None else replace(row, verdict="quarantined", code=code)

    def withdrawn(self) -> dict[tuple[str, int], str]:
        """(sample, variant) → code of the outputs that were accepted and left the release since."""
        path = self.private / "withdrawn.json"
        records = json.loads(path.read_text()) if path.exists() else []
        return {(sample_id, variant): code for sample_id, variant, code in records}

    def withdraw(self, outputs: Iterable[tuple[str, int]], code: str) -> None:
        """Take accepted outputs out of the release for good; the ledgers of their shards stay as they are."""
        known = {**dict.fromkeys(outputs, code), **self.withdrawn()}
        records = [[*output, code] for output, code in sorted(known.items())]
        write_atomic(self.private / "withdrawn.json", json.dumps(records, indent=0).encode())

    def stored_images(self, shard: Shard) -> Iterator[StoredImage]:
        """The accepted outputs of a finished shard in order of sample and variant, less those withdrawn."""
        withdrawn = self.withdrawn()
        table = pq.read_table(self.images / f"{shard.name}.parquet", memory_map=True)
        order = pc.sort_indices(table, sort_keys=[("sample_id", "ascending"), ("variant", "ascending")])
        for place in order.to_pylist():
            row = table.slice(place, 1).to_pylist()[0]
            if (row["sample_id"], row["variant"]) in withdrawn:
                continue
            yield StoredImage(row["sample_id"], row["variant"], row["image"], row.get("unlabelled") or b"")

    def write_whole_ledger(self) -> Path:
        """Join the ledgers of all shards into `private/ledger.parquet`."""
        path = self.private / "ledger.parquet"
        partial = path.with_name(f".{path.name}.tmp")
        with pq.ParquetWriter(partial, LEDGER_SCHEMA) as writer:
            for shard in self.shards():
                writer.write_table(ledger_table(list(self.rows_of(shard))))
        sync_file(partial)
        os.replace(partial, path)
        sync_folder(self.private)
        return path


class ShardWriter:
    """Streams one shard to disk; nothing is visible before `commit`."""

    def __init__(self, store: ShardStore, shard: Shard) -> None:
        self._rows: list[Row] = []
        self._final: list[tuple[Path, Path]] = []
        self._buffers: dict[str, list[Mapping[str, Any]]] = {"images": [], "controls": []}
        self._store = store
        self._shard = shard
        self._writers = {
            "images": self._open(store.images, IMAGES_SCHEMA),
            "controls": self._open(store.controls, CONTROLS_SCHEMA),
        }

    def _open(self, folder: Path, schema: pa.Schema) -> pq.ParquetWriter:
        folder.mkdir(parents=True, exist_ok=True)
        final = folder / f"{self._shard.name}.parquet"
        partial = folder / f".{self._shard.name}.{os.getpid()}.tmp"
        self._final.append((partial, final))
        return pq.ParquetWriter(partial, schema, compression="none")

    def add_row(self, row: Row) -> None:
        """Note what became of one (sample, variant)."""
        self._rows.append(row)

    def add_image(self, image: StoredImage) -> None:
        """Store one accepted output."""
        record = {"sample_id": image.sample_id, "variant": image.variant, "image": image.data}
        self._add("images", record | {"unlabelled": image.unlabelled})

    def add_control(self, sample_id: str, kind: str, stage: int, png: bytes) -> None:
        """Store one protected control map (PNG) as it was in a stage. Private."""
        self._add("controls", {"sample_id": sample_id, "kind": kind, "stage": stage, "image": png})

    def _add(self, name: str, record: Mapping[str, Any]) -> None:
        self._buffers[name].append(record)
        if len(self._buffers[name]) >= ROWS_PER_GROUP:
            self._flush(name)

    def _flush(self, name: str) -> None:
        if self._buffers[name]:
            writer = self._writers[name]
            writer.write_table(pa.Table.from_pylist(self._buffers[name], schema=writer.schema))
            self._buffers[name] = []

    def commit(self) -> None:
        """Make the shard visible: images and maps first, the ledger last."""
        for name, writer in self._writers.items():
            self._flush(name)
            writer.close()
        for partial, final in self._final:
            sync_file(partial)
            os.replace(partial, final)
            sync_folder(final.parent)
        write_ledger(self._store.ledgers / f"{self._shard.name}.parquet", self._rows)

    def discard(self) -> None:
        """Drop everything that has not been committed; a full disk, on which no writer can end its file, is no reason
        to leave it."""
        for writer in self._writers.values():
            with suppress(OSError):
                writer.close()
        for partial, _ in self._final:
            partial.unlink(missing_ok=True)


def write_ledger(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as Parquet, atomically, in order of sample and variant."""
    sink = pa.BufferOutputStream()
    pq.write_table(ledger_table(rows), sink)
    write_atomic(path, sink.getvalue().to_pybytes())


def ledger_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table of `LEDGER_SCHEMA`, in order of sample and variant."""
    records = []
    for row in sorted(rows, key=lambda row: (row.sample_id, row.variant)):
        record = row.to_record()
        record["message"] = redact(row.message)
        records.append(record | {name: json.dumps(dict(record[name]), sort_keys=True) for name in _JSON_FIELDS})
    return pa.Table.from_pylist(records, schema=LEDGER_SCHEMA)


def read_ledger(path: Path) -> Iterator[Row]:
    """The rows of one ledger file.

    Raises:
        SynthgenError: it is damaged.
    """
    try:
        records = pq.read_table(path).to_pylist()
        rows = [Row(**(one | {name: json.loads(one[name]) for name in _JSON_FIELDS})) for one in records]
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise SynthgenError(f"{path}: damaged ({error}); delete it, and synthgen run makes its shard again") from error
    yield from rows
