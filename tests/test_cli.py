"""The command line: what it prints, on which stream, and its exit status."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthgen.cli import main
from synthgen.rundir import RunDir
from tests.datasets_for_tests import BAD, GOOD, config_value, python, tree, write_streets


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def record(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Result]


@pytest.fixture
def synthgen(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run the command line in this process."""

    def call(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["synthgen", *map(str, arguments)])
        capsys.readouterr()
        try:
            main()
            status = 0
        except SystemExit as done:
            status = done.code if isinstance(done.code, int) else int(done.code is not None)
        return Result(status, *capsys.readouterr())

    return call


@pytest.fixture
def config(tmp_path: Path, street_set: Path, tiny_sd: Path) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config_value(street_set, tiny_sd)))
    return path


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "finished")


def test_run_prints_a_summary_and_a_rerun_the_same(
    synthgen: Command, config: Path, tmp_path: Path, finished: Path
) -> None:
    out = tmp_path / "run"
    first = synthgen("run", config, "--out", out, "--json")
    assert first.status == 0, first.err
    quarantined = dict.fromkeys(BAD.values(), 1)
    assert first.record["accepted"] == len(GOOD) and first.record["quarantined"] == quarantined
    assert first.record["run_id"] == RunDir(finished).run_id()
    assert tree(Path(first.record["release"])) == tree(finished / "release")
    text = synthgen("run", config, "--out", out)
    assert text.status == 0
    assert f"{len(GOOD)} accepted, {len(BAD)} quarantined" in text.out and "1 × image-corrupt" in text.out


def test_source_and_set_override_the_file(synthgen: Command, config: Path, tmp_path: Path) -> None:
    source = write_streets(tmp_path / "other", bad=False, names=GOOD[:2])
    assignments = ["--set", "name=renamed", "--set", "generate.steps=1", "--set", "seed=9"]
    result = synthgen("run", config, "--source", source, "--out", tmp_path / "run", *assignments, "--json")
    assert result.status == 0, result.err
    assert result.record["accepted"] == 2
    written = RunDir(tmp_path / "run").config()
    assert (written.name, written.seed, written.source.path) == ("renamed", 9, source)


def test_without_out_the_folder_is_named_by_name_and_id(
    synthgen: Command, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = synthgen("run", config, "--set", "source.limit=1", "--json")
    assert result.status == 0, result.err
    assert result.record["run"] == f"runs/test-{result.record['run_id']}" and Path(result.record["run"]).is_dir()


def test_the_starter_runs_without_a_config(synthgen: Command, tmp_path: Path) -> None:
    """The shipped weights, on a folder of which nothing is said but where it lies; fewer steps than by default."""
    source = write_streets(tmp_path / "source", bad=False, names=(GOOD[0],))
    small = ["--set", "generate.steps=1", "--set", "generate.sizes=[[64, 64]]", "--set", "generate.batch_size=1"]
    small += ["--set", "detect=[labels]", "--set", "check=[]"]
    result = synthgen("run", "--source", source, "--out", tmp_path / "run", *small, "--json")
    assert result.status == 0, result.err
    assert result.record["accepted"] == 1
    (image,) = (tmp_path / "run/release/images/train").iterdir()
    assert image.name != Path(GOOD[0]).name, "pseudonyms by default"
    assert RunDir(tmp_path / "run").config().source.format == "masks"


def test_check_resolves_and_writes_nothing(synthgen: Command, config: Path, tmp_path: Path, finished: Path) -> None:
    before = sorted(tmp_path.iterdir())
    result = synthgen("check", config, "--json")
    assert result.status == 0, result.err
    assert result.record["run_id"] == RunDir(finished).run_id()
    assert yaml.safe_load(result.record["config"])["generate"]["steps"] == 2
    assert [weights["ref"] for weights in result.record["weights"]]
    text = synthgen("check", config)
    assert text.status == 0 and result.record["run_id"] in text.out and "10 images" in text.out
    assert sorted(tmp_path.iterdir()) == before


def test_check_offline_needs_no_source(synthgen: Command) -> None:
    result = synthgen("check", "--offline")
    assert result.status == 0, result.err
    assert "--source" in result.out


def test_status(synthgen: Command, folder: Path) -> None:
    record = synthgen("status", folder, "--json").record
    assert (record["shards"], record["shards_done"], record["accepted"], record["released"]) == (4, 4, len(GOOD), True)
    (folder / "private/ledger" / sorted(os.listdir(folder / "private/ledger"))[0]).unlink()
    shutil.rmtree(folder / "release")
    result = synthgen("status", folder)
    assert result.status == 0 and "3 of 4 shards done" in result.out and "not written yet" in result.out


def test_show_prints_where_the_sheet_lies(synthgen: Command, folder: Path, tmp_path: Path) -> None:
    result = synthgen("show", folder, "--rows", 2)
    assert result.status == 0, result.err
    assert Path(result.out.strip()).is_relative_to(folder / "private")
    out = tmp_path / "sheet.png"
    assert synthgen("show", folder, "--release", "--out", out).out.strip() == str(out) and out.is_file()


def test_export_writes_the_release_elsewhere(synthgen: Command, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "dataset"
    result = synthgen("export", folder, "--out", out, "--json")
    assert result.status == 0, result.err
    assert result.record == {"images": len(GOOD), "labels": len(GOOD)}
    assert tree(out) == tree(folder / "release")
    again = synthgen("export", folder, "--out", out)
    assert again.status == 2 and "exists already" in again.err and tree(out) == tree(folder / "release")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "CONFIG", "--set", "bogus=1"], "bogus: unknown key"),
        (["run", "CONFIG", "--set", "bogus"], "--set bogus"),
        (["run", "CONFIG", "--set", "generate.model=no/such"], "no/such"),
        (["run", "nowhere.yaml"], "nowhere.yaml"),
        (["run", "CONFIG", "--source", "nowhere"], "nowhere"),
        (["run", "CONFIG", "--out", "CONFIG"], "can't be written"),
        (["run"], "--source"),
        (["check", "CONFIG", "--set", "plan.prompts=nowhere"], "plan.prompts"),
        (["status", "TMP"], "not a run folder"),
        (["show", "TMP"], "not a run folder"),
        (["export", "TMP", "--out", "TMP/out"], "not a run folder"),
        (["bogus"], "bogus"),
        (["run", "CONFIG", "--bogus"], "--bogus"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_the_user_can_mend_is_a_message_and_status_2(
    synthgen: Command, config: Path, tmp_path: Path, arguments: list[str], words: str
) -> None:
    filled = [word.replace("CONFIG", str(config)).replace("TMP", str(tmp_path)) for word in arguments]
    result = synthgen(*filled)
    assert result.status == 2
    assert words in result.err and "Traceback" not in result.err
    assert result.out == ""


def test_help_is_no_error(synthgen: Command) -> None:
    for verb in ("check", "run", "status", "show", "export", "train"):
        assert synthgen(verb, "--help").status == 0
        assert verb in synthgen("--help").out


def test_a_full_disk_is_told_and_resumable(
    synthgen: Command, config: Path, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = tmp_path / "run", os.replace

    def full(source: Any, target: Any, **options: Any) -> None:
        if str(target).endswith(".parquet") and "ledger" in str(target):
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        real(source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        result = synthgen("run", config, "--out", out)
    assert result.status == 1 and "No space left" in result.err and "Traceback" not in result.err
    assert not (out / "release").exists()
    assert synthgen("run", config, "--out", out).status == 0
    assert tree(out / "release") == tree(finished / "release")


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = python("-m", "synthgen", "status", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stdout == ""
