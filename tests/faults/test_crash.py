"""Killed, or out of disk, between any two steps of a run: the same command goes on and ends with the same bytes."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from synthgen.launch import Rank, Resolved, launch, resolve
from synthgen.types import Row
from tests.datasets_for_tests import parsed, tree, write_streets
from tests.faults.crash import SimulatedCrash, Steps, watched
from tests.faults.lab import Lab

NAMES = ("images/train/a.png", "images/train/b.png", "images/val/c.png")


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> Resolved:
    """Three images in two shards, redacted: no model, so that a run takes milliseconds."""
    root = tmp_path_factory.mktemp("crash")
    source = write_streets(root / "source", bad=False, names=NAMES)
    value = Lab(root, root).redact(source, execution={"shard_size": 2})
    return resolve(parsed(value))


def go(resolved: Resolved, out: Path) -> None:
    def on_start(total: int, rank: Rank) -> None:
        pass

    def on_row(row: Row) -> None:
        pass

    launch(resolved, out, on_start, on_row)


def what_matters(out: Path) -> dict[str, bytes]:
    """Everything that a run leaves, less the lock and the notes of progress; control maps, shards and ledgers too."""
    return {
        name: data
        for name, data in tree(out).items()
        if name != "private/lock" and not name.startswith("private/progress/")
    }


@pytest.fixture(scope="module")
def whole(resolved: Resolved, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], Steps]:
    """What the uninterrupted run leaves, and its steps."""
    out = tmp_path_factory.mktemp("whole") / "run"
    with watched(Steps(out)) as steps:
        go(resolved, out)
    return what_matters(out), steps


def same(left: dict[str, bytes], right: dict[str, bytes]) -> str:
    """What differs, without the bytes."""
    names = sorted(name for name in left.keys() | right.keys() if left.get(name) != right.get(name))
    return ", ".join(f"{name} ({len(left.get(name, b'')) if name in left else 'absent'})" for name in names)


def key_apart(found: dict[str, bytes]) -> dict[str, bytes]:
    """The key is random, and with kept names nothing else depends on it."""
    return {name: data if name != "private/key" else b"" for name, data in found.items()}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_run_that_dies_before_any_step_is_made_up_for(
    resolved: Resolved, whole: tuple[dict[str, bytes], Steps], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed, and, where something was not synced yet, with the power gone as well."""
    expected, uninterrupted = whole
    assert len(uninterrupted.done) > 60, "commit, ledger, release and report are steps"
    wrong, cuts = [], 0
    for at in range(1, len(uninterrupted.done) + 1):
        killed, cut = tmp_path / "killed", tmp_path / "cut"
        with monkeypatch.context() as patch, watched(Steps(killed, at)) as steps, pytest.raises(SimulatedCrash):
            patch.setattr(os, "getpid", lambda: 99_999)  # what it leaves has another process's name
            go(resolved, killed)
        ends = [killed]
        if steps.unsynced and killed.exists():
            shutil.copytree(killed, cut)
            steps.lose_unsynced(cut)
            ends, cuts = [killed, cut], cuts + 1
        for out in ends:
            go(resolved, out)
            if difference := same(key_apart(what_matters(out)), key_apart(expected)):
                wrong.append(f"{at} {uninterrupted.done[at - 1]}, {out.name}: {difference}")
            shutil.rmtree(out)
    assert wrong == [] and cuts > 20


def test_nothing_of_a_finished_run_is_left_unsynced(whole: tuple[dict[str, bytes], Steps]) -> None:
    _, steps = whole
    assert steps.unsynced == set()


def test_files_are_synced_then_renamed_and_the_ledger_comes_last(whole: tuple[dict[str, bytes], Steps]) -> None:
    _, steps = whole
    renames = [(place, path) for place, (name, path) in enumerate(steps.done) if name == "rename"]
    for place, path in renames:
        last = max((at for at, (name, _) in enumerate(steps.done[:place]) if name in {"open", "table", "close"}))
        assert "sync" in {name for name, _ in steps.done[last:place]}, f"{path}: written after the last sync"
        assert ("sync", path.parent) in steps.done[place:], f"the folder of {path} is not synced after the rename"
    private = [path for _, path in renames if path.parts[:2] in {("private", kind) for kind in FOLDERS}]
    assert [path.parts[1] for path in private] == list(FOLDERS) * 2, "images, maps, then the ledger; shard after shard"
    order = [path.parts[0] if path.parts[0] != "private" else path.parts[1] for _, path in renames]
    assert order.index("ledger.parquet") < order.index("release") < order.index("report")


FOLDERS = ("shards", "controls", "ledger")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_disk_that_fills_at_any_write_stops_cleanly_and_the_run_goes_on(
    resolved: Resolved, tmp_path: Path, whole: tuple[dict[str, bytes], Steps]
) -> None:
    expected, _ = whole
    with watched(Steps(tmp_path / "count", full=True)) as steps:
        go(resolved, tmp_path / "count")
    wrong = []
    for at in range(1, len(steps.done) + 1):
        out = tmp_path / "run"
        try:
            with watched(Steps(out, at, full=True)):
                go(resolved, out)
            wrong.append(f"{at} {steps.done[at - 1]}: nobody noticed")
        except Exception as error:
            number = getattr(error, "errno", None) or getattr(error.__cause__, "errno", None)
            if number != errno.ENOSPC:
                wrong.append(f"{at} {steps.done[at - 1]}: {error!r}")
        go(resolved, out)
        if difference := same(key_apart(what_matters(out)), key_apart(expected)):
            wrong.append(f"{at} {steps.done[at - 1]}: {difference}")
        shutil.rmtree(out)
    assert wrong == []
