"""Checkpoints that a kill can't harm: written under another name, flushed to the disk, then renamed.

    checkpoints/step-00001500/
        model.safetensors       every trained parameter and every buffer
        average.safetensors     the exponential moving average of the parameters
        optimizer.pt            optimizer and gradient scaler; read with weights_only, so it can hold no code
        state.json              step, minutes, the training's identity

There is no state of random generators and no position in the data: both are functions of (seed, step), see loop.py. A
folder that bears its final name is whole, so resuming takes the highest number and removes what was being written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from synthgen.types import ConfigError

_UNFINISHED = ".unfinished-"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What must be kept to go on after `step` optimizer steps as if nothing had happened."""

    step: int
    minutes: float
    identity: Mapping[str, Any]
    model: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimizer: Mapping[str, Any]


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder that appears under its name only when it is whole and on the disk.

    An older folder of that name is moved aside first and removed last.
    """
    unfinished = folder.with_name(f"{_UNFINISHED}{folder.name}")
    old = folder.with_name(f"{_UNFINISHED}old-{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    write(unfinished)
    for path in (*sorted(unfinished.rglob("*")), unfinished):
        _flush(path)
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    unfinished.rename(folder)
    _flush(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace a small file as a whole."""
    unfinished = path.with_name(f"{_UNFINISHED}{path.name}")
    unfinished.write_text(text, encoding="utf-8")
    _flush(unfinished)
    unfinished.replace(path)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, keep: int) -> None:
    """Write below `folder` and leave the newest `keep`."""

    def write(target: Path) -> None:
        save_file(_plain(checkpoint.model), target / "model.safetensors")
        save_file(_plain(checkpoint.average), target / "average.safetensors")
        torch.save(dict(checkpoint.optimizer), target / "optimizer.pt")
        state = {"step": checkpoint.step, "minutes": checkpoint.minutes, "identity": dict(checkpoint.identity)}
        (target / "state.json").write_text(json.dumps(state, indent=1, sort_keys=True), encoding="utf-8")

    replace_folder(folder / f"step-{checkpoint.step:08d}", write)
    for old in _whole(folder)[:-keep]:
        shutil.rmtree(old)


def load_newest(folder: Path, identity: Mapping[str, Any]) -> Checkpoint | None:
    """The newest whole checkpoint, on the CPU, or None.

    Raises:
        ConfigError: it belongs to another config; the message lists every key that differs.
    """
    whole = _whole(folder)
    if not whole:
        return None
    state = json.loads((whole[-1] / "state.json").read_text(encoding="utf-8"))
    refuse_changed(state["identity"], identity, folder.parent)
    return Checkpoint(
        step=state["step"],
        minutes=state["minutes"],
        identity=state["identity"],
        model=load_file(whole[-1] / "model.safetensors"),
        average=load_file(whole[-1] / "average.safetensors"),
        optimizer=torch.load(whole[-1] / "optimizer.pt", map_location="cpu", weights_only=True),
    )


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed training was writing below `folder`."""
    for path in sorted(folder.glob(f"**/{_UNFINISHED}*")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def refuse_changed(before: Mapping[str, Any], now: Mapping[str, Any], out: Path) -> None:
    """Raise ConfigError with the difference where two identities are not equal."""
    now = json.loads(json.dumps(dict(now)))
    keys = sorted(key for key in {*before, *now} if before.get(key, ...) != now.get(key, ...))
    if keys:
        lines = [f"  {key}: was {_shown(before, key)}, is {_shown(now, key)}" for key in keys]
        raise ConfigError(
            f"{out} holds a training with another config; change these keys back, or choose another `out`:\n"
            + "\n".join(lines)
        )


def _shown(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key]) if key in values else "absent"


def _whole(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*")) if folder.is_dir() else []


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
