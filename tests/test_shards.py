"""Shards: one cut, whole or not there after a crash at any step, and everything comes back as it went in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthgen.shards import ROWS_PER_GROUP, Shard, ShardStore, ShardWriter, StoredImage, cut_shards, write_atomic
from synthgen.types import ConfigError, Row

ROW = Row(
    sample_id="images/a.png",
    variant=0,
    verdict="accepted",
    code="",
    message="",
    source_digest="ab" * 32,
    output_digest="cd" * 32,
    split=None,
    width=64,
    height=48,
    attempts=2,
    seed=2**63 - 1,
    prompt='a "street", ünïcode\n',
    factors={"time": "night", "haze": 0.25},
    scores={"quality": 12.5, "identity": None},
    regions={"face": 1, "person": 2},
    stage=2,
)
IDS = tuple(f"images/{number:02}.png" for number in range(20))
ROWS = [replace(ROW, sample_id=name, variant=variant) for name in IDS for variant in (0, 1)]
IMAGES = [StoredImage(name, variant, f"{name} {variant}".encode() * 50) for name in IDS for variant in (0, 1)]


class Crash(BaseException):
    """The process ends here: nothing that follows may run."""


@contextmanager
def crash_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Raise before the `step`-th call (from 1) of os.fsync or os.replace; yields the names of those made."""
    calls: list[str] = []

    def patched(name: str, real):  # type: ignore[no-untyped-def]
        def call(*arguments):  # type: ignore[no-untyped-def]
            calls.append(name)
            if len(calls) == step:
                raise Crash
            return real(*arguments)

        return call

    with monkeypatch.context() as patch:
        for name in ("fsync", "replace"):
            patch.setattr(os, name, patched(name, getattr(os, name)))
        yield calls


def fill(store: ShardStore, shard: Shard) -> ShardWriter:
    """A writer that holds everything of the shard, in an order of its own."""
    writer = ShardWriter(store, shard)
    for row in reversed(ROWS):
        writer.add_row(row)
    for image in reversed(IMAGES):
        writer.add_image(image)
    for name in IDS:
        writer.add_control(name, "canny", 1, name.encode())
    return writer


def assert_whole(store: ShardStore, shard: Shard) -> None:
    assert list(store.rows()) == ROWS
    assert list(store.stored_images(shard)) == IMAGES
    controls = pq.read_table(store.controls / f"{shard.name}.parquet").to_pylist()
    assert controls == [{"sample_id": name, "kind": "canny", "stage": 1, "image": name.encode()} for name in IDS]


def open_store(tmp_path: Path) -> tuple[ShardStore, Shard]:
    store = ShardStore(tmp_path / "private")
    (shard,) = store.plan(IDS, 100)
    return store, shard


def test_round_trip(tmp_path: Path) -> None:
    assert len(IMAGES) > 2 * ROWS_PER_GROUP and len(IMAGES) % ROWS_PER_GROUP, "full groups and a partial one"
    store, shard = open_store(tmp_path)
    fill(store, shard).commit()
    assert_whole(store, shard)
    assert store.pending() == []
    assert list(pq.read_table(store.write_whole_ledger())["sample_id"].to_pylist()) == [row.sample_id for row in ROWS]


def test_empty_shard_is_done_too(tmp_path: Path) -> None:
    store, shard = open_store(tmp_path)
    writer = ShardWriter(store, shard)
    writer.add_row(ROW)
    writer.commit()
    assert list(store.rows()) == [ROW]
    assert list(store.stored_images(shard)) == []


CRASH_POINTS = 10
"""Images and control maps: sync, rename, sync the folder; the ledger the same; one more means that none is hit."""


@pytest.mark.parametrize("step", range(1, CRASH_POINTS + 1))
def test_crash_at_any_step_leaves_the_shard_whole_or_pending(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, shard = open_store(tmp_path)
    writer = fill(store, shard)
    with crash_at(step, monkeypatch) as calls:
        try:
            writer.commit()
        except Crash:
            pass
        else:
            assert step == CRASH_POINTS, "a step that no case covers"
    assert len(calls) == min(step, CRASH_POINTS - 1)
    later = ShardStore(tmp_path / "private")
    if later.done(shard):
        assert step >= CRASH_POINTS - 1, "the ledger comes last"
        assert_whole(later, shard)
    else:
        assert later.pending() == [shard] and list(later.rows()) == []
    later.remove_partials()
    leftovers = [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert leftovers == []
    fill(later, shard).commit()
    assert_whole(later, shard)


def test_discard_leaves_nothing(tmp_path: Path) -> None:
    store, shard = open_store(tmp_path)
    fill(store, shard).discard()
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["shards.json"]
    assert store.pending() == [shard]


def test_stored_cut_wins_over_a_new_one(tmp_path: Path) -> None:
    store = ShardStore(tmp_path / "private")
    first = store.plan(IDS, 8)
    assert [len(shard.ids) for shard in first] == [8, 8, 4]
    assert store.plan(IDS, 3) == first == store.shards()


def test_no_run_here(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"shards\.json"):
        ShardStore(tmp_path / "private").shards()


@given(st.sets(st.text(max_size=8), max_size=40), st.integers(1, 12), st.randoms())
def test_cut_holds_every_id_once_in_order_whatever_the_listing(ids: set[str], size: int, random) -> None:  # type: ignore[no-untyped-def]
    shuffled = sorted(ids)
    random.shuffle(shuffled)
    shards = cut_shards(shuffled, size)
    assert [name for shard in shards for name in shard.ids] == sorted(ids)
    assert all(len(shard.ids) == size for shard in shards[:-1]) and all(shards[-1].ids for _ in shards[:1])
    assert len({shard.name for shard in shards}) == len(shards)


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_write_atomic_keeps_the_old_file_until_the_new_one_is_whole(
    tmp_path: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with crash_at(step, monkeypatch):
        try:
            write_atomic(path, b"new")
        except Crash:
            assert step < 4
    assert path.read_bytes() == (b"old" if step < 3 else b"new")
