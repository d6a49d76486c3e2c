"""The run folder: who may begin or resume a run in it, and a release that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from synthgen.report.documents import write_documents
from synthgen.rundir import RunDir, differences, open_run
from synthgen.types import ConfigError, SynthgenError
from tests.datasets_for_tests import config_value, run, tree


@pytest.fixture
def copy_of_finished(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": 5}, ["seed: 0 → 5"]),
        ({"generate.steps": 3}, ["generate.steps: 2 → 3"]),
        ({"protect": ["edges"]}, ["protect", "silhouette"]),
        ({"source.limit": 3}, ["source.limit: null → 3", "inputs.source"]),
        ({"plan.prompts": "plain"}, ["plan.prompts: street → plain", "inputs.prompts"]),
    ],
    ids=str,
)
def test_resume_with_another_config_tells_the_difference(
    copy_of_finished: Path, street_set: Path, tiny_sd: Path, changes: dict[str, Any], words: list[str]
) -> None:
    from synthgen.config import set_key

    value = config_value(street_set, tiny_sd)
    for key, new in changes.items():
        value = set_key(value, f"{key}={new}")
    before = tree(copy_of_finished)
    with pytest.raises(ConfigError) as raised:
        run(value, copy_of_finished)
    assert all(word in str(raised.value) for word in words), raised.value
    assert tree(copy_of_finished) == before, "what lies there stays as it is"


def test_resume_with_another_source_tells_the_difference(
    copy_of_finished: Path, street_set: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(street_set, tmp_path / "source")
    (source / "images/train/s1.png").unlink()
    with pytest.raises(ConfigError, match=r"inputs\.source"):
        run(config_value(source, tiny_sd), copy_of_finished)


def test_a_run_that_has_made_nothing_yet_may_change(copy_of_finished: Path, street_set: Path, tiny_sd: Path) -> None:
    for path in (copy_of_finished / "private/ledger").iterdir():
        path.unlink()
    shutil.rmtree(copy_of_finished / "release")
    summary = run(config_value(street_set, tiny_sd, seed=5, execution={"shard_size": 4}), copy_of_finished)
    assert summary.accepted == 7
    assert RunDir(copy_of_finished).config().seed == 5
    assert len(RunDir(copy_of_finished).store.shards()) == 3


def test_a_rerun_touches_nothing(copy_of_finished: Path, street_set: Path, tiny_sd: Path) -> None:
    def stamps() -> dict[str, int]:
        return {
            str(path): path.stat().st_mtime_ns
            for path in copy_of_finished.rglob("*")
            if path.name not in {"private", "lock"}
        }

    before = stamps()
    seen: list[object] = []
    summary = run(config_value(street_set, tiny_sd, execution={"shard_size": 99}), copy_of_finished, seen.append)
    assert summary.accepted == 7 and sum(summary.quarantined.values()) == 3
    assert seen == [] and stamps() == before


def test_a_release_that_was_lost_is_written_again(copy_of_finished: Path, street_set: Path, tiny_sd: Path) -> None:
    before = tree(copy_of_finished / "release")
    shutil.rmtree(copy_of_finished / "release")
    run(config_value(street_set, tiny_sd), copy_of_finished)
    assert tree(copy_of_finished / "release") == before


def test_lost_shards_are_redone_and_the_same(copy_of_finished: Path, street_set: Path, tiny_sd: Path) -> None:
    before, ledger = tree(copy_of_finished / "release"), tree(copy_of_finished / "private/ledger")
    (copy_of_finished / "private/ledger" / sorted(ledger)[1]).unlink()
    seen: list[Any] = []
    run(config_value(street_set, tiny_sd), copy_of_finished, seen.append)
    assert len(seen) == 3, "one shard of three"
    assert tree(copy_of_finished / "release") == before and tree(copy_of_finished / "private/ledger") == ledger


class Crash(BaseException):
    pass


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_a_crash_while_the_release_is_replaced_leaves_a_whole_one_or_none(
    copy_of_finished: Path, street_set: Path, tiny_sd: Path, step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps 1 and 2 write its documents, 3 moves the old release away, 4 the new one in; a fifth is never made."""
    value, folder = config_value(street_set, tiny_sd), RunDir(copy_of_finished)
    config = folder.config()
    items = {item.id: item for item in config.source.index().items}
    before, calls, finish = tree(folder.release), [], partial(write_documents, folder)
    real = os.replace

    def replace(*arguments: Any) -> None:
        calls.append(arguments)
        if len(calls) == step:
            raise Crash
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace)
        try:
            folder.export(config.source, items, folder.release, folder.names(config), finish)
        except Crash:
            assert step < 5
    assert not folder.release.exists() or tree(folder.release) == before
    run(value, copy_of_finished)
    assert tree(folder.release) == before
    folder.export(config.source, items, folder.release, folder.names(config), finish)
    assert [path.name for path in copy_of_finished.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda out: out.write_text("a file"), "can't be written"),
        (lambda out: out.parent.joinpath("file").write_text(""), "can't be written"),
        (lambda out: (out.mkdir(), (out / "thesis.doc").write_text("mine")), "thesis.doc"),
        (lambda out: (out.mkdir(), (out / "run.yaml").write_text("name: x")), "run.yaml"),
    ],
    ids=["a file", "below a file", "foreign files", "half a run"],
)
def test_folders_that_cannot_hold_a_run(
    street_set: Path, tiny_sd: Path, tmp_path: Path, make: Callable[[Path], object], words: str
) -> None:
    out = tmp_path / "out"
    make(out)
    if (tmp_path / "file").exists():
        out = tmp_path / "file" / "out"
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=words):
        run(config_value(street_set, tiny_sd), out)
    assert tree(tmp_path) == before and not (out / "private").exists(), "nothing is left in somebody's folder"


def test_an_empty_folder_and_missing_parents_are_fine(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    value = config_value(street_set, tiny_sd, source={"format": "masks", "path": str(street_set), "limit": 2})
    assert run(value, tmp_path / "empty").run_id == run(value, tmp_path / "a/b/c").run_id


def test_one_run_at_a_time(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with RunDir(out).lock(0), pytest.raises(ConfigError, match="another process"):
        run(config_value(street_set, tiny_sd), out)
    with RunDir(out).lock(0):
        pass


def test_the_stored_config_is_the_run_s(finished: Path, street_set: Path, tiny_sd: Path) -> None:
    from synthgen.launch import resolve

    assert resolve(open_run(finished).config()).run_id == open_run(finished).run_id()


def test_what_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(SynthgenError, match="not a run folder"):
        open_run(tmp_path)
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        RunDir(tmp_path).config()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b: 1 → 2"]),
        ({"a": 1}, {}, ["a: 1 → null"]),
        ({}, {"a": [1, 2]}, ["a: null → [1, 2]"]),
        ({"a": "x" * 200}, {"a": 1}, ["a: " + "x" * 117 + "… → 1"]),
    ],
)
def test_differences(before: Any, after: Any, expected: list[str]) -> None:
    assert differences(before, after, "") == expected
