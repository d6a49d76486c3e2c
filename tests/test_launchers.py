"""Runs on a real local Ray cluster, and jobs of several ranks of which one fails, dies or sees another source."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthgen.launchers import cluster
from synthgen.types import ConfigError
from tests.datasets_for_tests import GOOD, config_value, environment, parsed, rows, tree, write_streets
from tests.processes import command_line, ranks, started

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: synthgen[ray]")


def write_config(path: Path, value: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump(value))
    return path


def progress(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in out.glob("private/progress/*.json")]


@needs_ray
def test_a_ray_run_survives_a_killed_worker(finished: Path, street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """SIGKILL as soon as a worker has a shard in hand; the others go on, and the bytes are those of one process."""
    value = config_value(street_set, tiny_sd)
    value["execution"] |= {"launcher": "ray", "ray": {"workers": 2}}
    config, out = write_config(tmp_path / "c.yaml", value), tmp_path / "run"
    command = [sys.executable, "-m", "synthgen", "run", str(config), "--out", str(out)]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        victim = None
        while process.poll() is None and victim is None:
            victim = next((one for one in progress(out) if one["state"] == "working"), None)
            time.sleep(0.005)
        if victim is not None:
            os.kill(victim["pid"], signal.SIGKILL)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 0 and victim is not None, errors
    assert f"shard {victim['shard']}: " in errors and "handed out again" in errors
    assert tree(out / "release") == tree(finished / "release")
    assert tree(out / "private/ledger") == tree(finished / "private/ledger")
    assert rows(out) == rows(finished)
    assert not list(out.rglob(".*.tmp"))
    assert len(progress(out)) > 1, "the killed worker was not the only one"


def test_without_ray_the_config_says_what_to_install(
    street_set: Path, tiny_sd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    config = parsed(config_value(street_set, tiny_sd, execution={"launcher": "ray"}))
    with pytest.raises(ConfigError, match=r"synthgen\[ray\]"):
        cluster.connect(config.execution.ray)


@pytest.mark.parametrize(
    ("device", "spec", "there", "wanted"),
    [
        ("cpu", {}, {"CPU": 8.0, "GPU": 1.0}, {"num_cpus": 1, "num_gpus": 0.0}),
        ("auto", {}, {"CPU": 8.0, "GPU": 1.0}, {"num_cpus": 1, "num_gpus": 1.0}),
        ("auto", {}, {"CPU": 8.0}, {"num_cpus": 1, "num_gpus": 0.0}),
        ("cuda", {"num_cpus": 4, "num_gpus": 0.5}, {"CPU": 8.0}, {"num_cpus": 4, "num_gpus": 0.5}),
    ],
)
def test_what_a_worker_takes(
    street_set: Path, tiny_sd: Path, device: str, spec: dict[str, Any], there: dict[str, float], wanted: dict[str, Any]
) -> None:
    config = parsed(config_value(street_set, tiny_sd, device=device, execution={"launcher": "ray", "ray": spec}))
    assert cluster.resources(config, there) == wanted


def test_a_bad_config_on_one_machine_ends_the_others(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    good = write_config(tmp_path / "good.yaml", config_value(street_set, tiny_sd))
    bad = write_config(tmp_path / "bad.yaml", config_value(tmp_path / "not-mounted", tiny_sd))
    out = ["--out", str(tmp_path / "run")]
    with ranks(["run", str(good), *out], ["run", str(bad), *out]) as both:
        errors = [rank.wait() for rank in both]
    assert [rank.returncode for rank in both] == [2, 2], errors
    assert "rank 1 on " in errors[0] and "not-mounted" in errors[0] and "not-mounted" in errors[1]


def test_another_source_on_one_machine_is_refused(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """It would put outputs of another run into this one."""
    fewer = write_streets(tmp_path / "source", names=GOOD[:3])
    configs = [
        write_config(tmp_path / f"{number}.yaml", config_value(source, tiny_sd))
        for number, source in enumerate((street_set, fewer))
    ]
    out = tmp_path / "run"
    with ranks(*[["run", str(config), "--out", str(out)] for config in configs]) as both:
        errors = [rank.wait() for rank in both]
    assert [rank.returncode for rank in both] == [2, 2], errors
    assert "another run than rank 0" in errors[1] and "inputs.source" in errors[1]
    assert "rank 1 on " in errors[0] and not list(out.glob("private/ledger/*"))


def test_a_killed_rank_ends_the_others_and_the_command_goes_on(
    finished: Path, street_set: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    value = config_value(street_set, tiny_sd)
    value["execution"] |= {"rank_timeout": 5}
    config, out = write_config(tmp_path / "c.yaml", value), tmp_path / "run"
    command = ["run", str(config), "--out", str(out)]
    with ranks(command, command) as both:
        while both[1].running() and not [one for one in progress(out) if one["worker"] == "rank 1"]:
            time.sleep(0.005)
        both[1].send(signal.SIGKILL)
        errors = [rank.wait() for rank in both]
    assert [rank.returncode for rank in both] == [2, -signal.SIGKILL], errors
    assert "rank 1 has not been heard of" in errors[0] and not (out / "release").exists()
    with started(command_line, *command) as again:
        errors = again.wait()
        assert again.returncode == 0, errors
    assert tree(out / "release") == tree(finished / "release")
