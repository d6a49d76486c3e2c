from __future__ import annotations

import hashlib
import json
import signal
import time
from pathlib import Path

import pytest
import torch
import yaml

from synthgen.training.checkpoint import Checkpoint, load_newest, replace_folder, save_checkpoint
from synthgen.training.run import train
from synthgen.types import ConfigError
from tests.processes import started
from tests.training.conftest import autoencoder_config, run_config

STEPS = 60


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def losses(out: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines]


def start_and_kill(config: Path, out: Path) -> None:
    """Train in another process and SIGKILL it as soon as it has a whole checkpoint."""
    with started(train, config, []) as process:
        while process.running() and not list((out / "checkpoints").glob("step-*")):
            time.sleep(0.002)
        process.send(signal.SIGKILL)
        errors = process.wait()
        assert process.returncode == -signal.SIGKILL, errors


def test_killed_and_resumed_equals_uninterrupted(street: Path, tmp_path: Path) -> None:
    execution = {"log_steps": 5, "checkpoint_steps": 7, "keep": 2, "workers": 2}
    whole, killed = (
        autoencoder_config(street, tmp_path / name, STEPS, execution=execution) for name in ("whole", "killed")
    )
    path = tmp_path / "killed.yaml"
    path.write_text(yaml.safe_dump(killed))
    start_and_kill(path, tmp_path / "killed")
    found = sorted((tmp_path / "killed" / "checkpoints").glob("step-*"))
    assert 0 < int(found[-1].name[5:]) < STEPS and not (tmp_path / "killed" / "weights").exists()
    resumed = run_config(tmp_path, "killed", killed)
    assert digests(resumed) == digests(run_config(tmp_path, "whole", whole))
    assert losses(tmp_path / "killed")[-1] == losses(tmp_path / "whole")[-1]
    steps = [step for step, _ in losses(tmp_path / "killed")]
    assert steps == sorted(set(steps)) and steps[-1] == STEPS
    left = sorted(path.name for path in (tmp_path / "killed" / "checkpoints").iterdir())
    assert left == ["step-00000056", "step-00000060"]


def test_loss_goes_down_and_a_finished_training_is_not_redone(street: Path, tmp_path: Path) -> None:
    config = autoencoder_config(street, tmp_path / "out", 60)
    weights = run_config(tmp_path, "a", config)
    values = [loss for _, loss in losses(tmp_path / "out")]
    assert values[-1] < 0.85 * values[0]
    before = digests(weights)
    assert digests(run_config(tmp_path, "a", config)) == before
    assert len(losses(tmp_path / "out")) == len(values)


def test_max_minutes_stops_and_a_higher_limit_goes_on(street: Path, tmp_path: Path) -> None:
    config = autoencoder_config(street, tmp_path / "out", 8, execution={"log_steps": 1, "max_minutes": 1e-6})
    run_config(tmp_path, "a", config)
    assert len(losses(tmp_path / "out")) < 8
    run_config(tmp_path, "a", config, "execution.max_minutes=10")
    assert losses(tmp_path / "out")[-1][0] == 8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimisation.learning_rate=0.5", r"optimisation.learning_rate: was 0.005, is 0.5"),
        ("seed=3", r"seed: was 0, is 3"),
        ("sources.0.size=[48, 48]", r"sources.0.size.0: was 64, is 48"),
    ],
)
def test_a_changed_config_is_refused_with_the_difference(
    trained_autoencoder: Path, street: Path, tmp_path: Path, override: str, message: str
) -> None:
    config = autoencoder_config(street, trained_autoencoder.parent, 30)
    with pytest.raises(ConfigError, match=message):
        run_config(tmp_path, "changed", config, override)


def test_a_folder_in_use_is_refused(street: Path, tmp_path: Path) -> None:
    from filelock import FileLock

    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(ConfigError, match="in use by another training"):
        run_config(tmp_path, "a", autoencoder_config(street, tmp_path / "out", 1))


@pytest.mark.parametrize("more", [{"precision": "bf16"}, {"accumulate": 2}, {"schedule": "stable-cosine"}, {"ema": 0}])
def test_every_way_of_optimising_runs(street: Path, tmp_path: Path, more: dict) -> None:
    config = autoencoder_config(street, tmp_path / "out", 3)
    config["optimisation"].update(more)
    assert (run_config(tmp_path, "a", config) / "diffusion_pytorch_model.safetensors").is_file()


def test_accumulated_batches_are_other_samples(street: Path, tmp_path: Path) -> None:
    """Two batches of 4 see what one batch of 8 sees: the same slots, so nearly the same first loss."""
    values = []
    for name, size, accumulate in (("one", 8, 1), ("two", 4, 2)):
        config = autoencoder_config(street, tmp_path / name, 1, kl=0, execution={"log_steps": 1})
        config["optimisation"].update(batch_size=size, accumulate=accumulate)
        run_config(tmp_path, name, config)
        values.append(losses(tmp_path / name)[0][1])
    assert values[0] == pytest.approx(values[1], rel=0.02)


def checkpoint(step: int) -> Checkpoint:
    tensor = {"w": torch.full((2,), float(step))}
    return Checkpoint(step, 0.5, {"seed": 1}, tensor, tensor, {"optimizer": {"state": {}}, "scaler": {}})


def test_checkpoints_keep_the_newest_and_ignore_what_is_not_whole(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        save_checkpoint(tmp_path / "checkpoints", checkpoint(step), keep=2)
    (tmp_path / "checkpoints" / ".unfinished-step-00000011").mkdir()
    found = load_newest(tmp_path / "checkpoints", {"seed": 1})
    assert found is not None and found.step == 10 and float(found.model["w"][0]) == 10
    assert sorted(path.name for path in (tmp_path / "checkpoints").glob("step-*")) == ["step-00000002", "step-00000010"]


def test_a_folder_that_fails_to_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "a").write_text("new")
        raise RuntimeError("disk full")

    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "a").write_text("old")
    with pytest.raises(RuntimeError):
        replace_folder(tmp_path / "w", write)
    assert (tmp_path / "w" / "a").read_text() == "old"
