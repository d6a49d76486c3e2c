"""Whole runs as processes: killed half way, on two ranks, and what stops before work starts."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthgen.launch import Rank, pick_device, resolve
from synthgen.rundir import RunDir
from synthgen.types import ConfigError
from tests.datasets_for_tests import (
    BAD,
    CLASSES,
    GOOD,
    REPOSITORY,
    config_value,
    parsed,
    python,
    rows,
    run,
    street,
    tree,
    write_image,
    write_streets,
)
from tests.processes import command_line, ranks, started

PLAIN = ["--main_process_port", "0", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]


def write_config(path: Path, value: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(value))
    return path


def test_kill_and_rerun_equals_the_uninterrupted_run(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """SIGKILL as soon as one of ten shards is done; then the same command again."""
    value = config_value(street_set, tiny_sd, execution={"shard_size": 1})
    value["generate"]["steps"] = 20
    config, out = write_config(tmp_path / "c.yaml", value), tmp_path / "killed"
    with started(command_line, "run", str(config), "--out", str(out)) as process:
        while process.running() and not list(out.glob("private/ledger/*.parquet")):
            time.sleep(0.005)
        process.send(signal.SIGKILL)
        errors = process.wait()
        assert process.returncode == -signal.SIGKILL, errors
    store = RunDir(out).store
    done = [shard for shard in store.shards() if store.done(shard)]
    assert 0 < len(done) < len(store.shards()) == len(GOOD) + len(BAD)
    assert not (out / "release").exists()
    stamps = [(store.ledgers / f"{shard.name}.parquet").stat().st_mtime_ns for shard in done]
    assert run(value, out).accepted == len(GOOD)
    assert [(store.ledgers / f"{shard.name}.parquet").stat().st_mtime_ns for shard in done] == stamps
    run(value, tmp_path / "whole")
    assert tree(out / "release") == tree(tmp_path / "whole/release")
    assert tree(out / "private/ledger") == tree(tmp_path / "whole/private/ledger")
    assert not list(out.rglob(".*.tmp"))


def test_two_ranks_give_the_bytes_of_one(finished: Path, street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """Without a GPU `--multi_gpu` is what makes accelerate start several processes at all."""
    import torch

    if torch.cuda.device_count() == 1:
        pytest.skip("two ranks need two GPUs or none")
    value = config_value(street_set, tiny_sd)
    config, out = write_config(tmp_path / "c.yaml", value), tmp_path / "run"
    start = ["accelerate.commands.accelerate_cli", "launch", "--multi_gpu", "--num_processes", "2", *PLAIN]
    done = python("-m", *start, "-m", "synthgen", "run", str(config), "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert "rank 0: " in done.stderr and "rank 1: " in done.stderr, "both must have worked"
    assert tree(out / "release") == tree(finished / "release")
    assert tree(out / "private/ledger") == tree(finished / "private/ledger")
    assert rows(out) == rows(finished)


def test_a_wrong_folder_stops_every_rank(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / "thesis.doc").write_text("mine")
    config = write_config(tmp_path / "c.yaml", config_value(street_set, tiny_sd))
    command = ["run", str(config), "--out", str(out)]
    with ranks(command, command) as both:
        errors = [rank.wait() for rank in both]
    assert [rank.returncode for rank in both] == [2, 2] and "thesis.doc" in errors[0], errors
    assert [path.name for path in out.iterdir()] == ["thesis.doc"]


def test_a_killed_end_is_made_up_for(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """Killed between the release and the report: the report comes with the next run."""
    value = config_value(street_set, tiny_sd)
    run(value, tmp_path / "run")
    before = tree(tmp_path / "run/report")
    assert before
    for name in before:
        (tmp_path / "run/report" / name).unlink()
    run(value, tmp_path / "run")
    assert tree(tmp_path / "run/report") == before


def empty(root: Path, value: dict[str, Any]) -> None:
    for name in (*GOOD, *BAD):
        (root / name).unlink(missing_ok=True)


def no_palette_entry(root: Path, value: dict[str, Any]) -> None:
    (root / "classes.csv").write_text((root / "classes.csv").read_text().replace("Car", "Zeppelin"))


def missing_model(root: Path, value: dict[str, Any]) -> None:
    value["generate"]["model"] = str(root / "no-such-model")


def unpinned_model(root: Path, value: dict[str, Any]) -> None:
    value["generate"]["model"] = "someone/some-model"


def unknown_split(root: Path, value: dict[str, Any]) -> None:
    value["source"]["splits"] = ["test"]


def unknown_class(root: Path, value: dict[str, Any]) -> None:
    value["detect"] = [{"kind": "labels", "classes": ["Astronaut"]}]


def wrong_level(root: Path, value: dict[str, Any]) -> None:
    value["plan"] = {"prompts": "street", "fix": {"time": "noon"}}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (empty, ["source.path", "no images"]),
        (no_palette_entry, ["Zeppelin", "class_map"]),
        (missing_model, ["no-such-model"]),
        (unpinned_model, ["someone/some-model", "pin"]),
        (unknown_split, ["source.splits", "train", "val"]),
        (unknown_class, ["Astronaut", CLASSES[0]]),
        (wrong_level, ["plan.fix.time", "noon"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_cannot_work_stops_before_anything_is_written(
    tiny_sd: Path, tmp_path: Path, spoil: Callable[[Path, dict[str, Any]], None], words: list[str]
) -> None:
    root = write_streets(tmp_path / "source", bad=False, names=GOOD[:5])
    value = config_value(root, tiny_sd)
    spoil(root, value)
    with pytest.raises(ConfigError) as raised:
        run(value, tmp_path / "run")
    assert all(word in str(raised.value) for word in words), raised.value
    assert not (tmp_path / "run").exists()


def test_classes_of_whole_images_need_no_place_in_a_palette(tiny_sd: Path, tmp_path: Path) -> None:
    """Class folders say what an image shows, not where: a segmenter paints the map, whatever the folders are called."""
    for name in ("Zeppelin", "Gondola"):
        write_image(tmp_path / "source" / name / "1.png", street(0)[0])
    value = config_value(tmp_path / "source", tiny_sd, source={"path": str(tmp_path / "source")})
    value["extract"][1]["model"] = "starter/segmenter"
    assert [info.name for info in resolve(parsed(value)).index.classes] == ["Gondola", "Zeppelin"]


def test_an_image_lost_since_the_start_is_named(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """The index is digested, so a run that goes on never meets it; a file that goes while it runs becomes a row."""
    source = write_streets(tmp_path / "source", bad=False)
    resolved = resolve(parsed(config_value(source, tiny_sd)))
    (source / GOOD[0]).unlink()
    from synthgen.launch import launch

    summary = launch(resolved, tmp_path / "run", lambda total, rank: None, lambda row: None)
    assert summary is not None and summary.quarantined == {"file-missing": 1}
    assert summary.accepted == len(GOOD) - 1


@pytest.mark.parametrize("wanted", ["cpu", "auto"])
def test_device(wanted: str) -> None:
    import torch

    expected = "cuda:0" if wanted == "auto" and torch.cuda.is_available() else "cpu"
    assert pick_device(wanted, Rank()) in {expected, "mps"}


def test_a_device_that_is_not_there() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ConfigError, match="device: cuda"):
        pick_device("cuda", Rank())


def test_importing_the_command_line_does_not_import_torch() -> None:
    code = "import sys, synthgen.cli; print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    done = python("-c", code)
    assert done.stdout.strip() == "[]", done.stderr
    assert REPOSITORY.is_dir()
