"""`synthgen train CONFIG`: read a YAML, train, leave the weights in its output folder.

Also under `accelerate launch -m synthgen train CONFIG`: the first process makes the caches, the others open them.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthgen.config import load_yaml, set_key
from synthgen.training.kinds import (
    AutoencoderSpec,
    ControlnetSpec,
    SegmenterSpec,
    StarterSpec,
    parse_train_spec,
)
from synthgen.training.spec import TrainSpec, dump_train_spec, identity
from synthgen.types import ConfigError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from synthgen.training.loop import Task


def load_train_spec(config_path: Path, overrides: list[str]) -> TrainSpec:
    """The validated config with `key=value` overrides applied.

    Raises:
        ConfigError: unreadable, unknown keys, wrong values.
    """
    value = load_yaml(config_path)
    for override in overrides:
        value = set_key(value, override)
    return parse_train_spec(value, str(config_path))


def train(config_path: Path, overrides: list[str]) -> Path:
    """Train, or go on where a killed training stopped.

    Returns:
        The folder with the trained weights.

    Raises:
        ConfigError: a wrong config, an output folder that can't be written, is in use, or holds another training.
    """
    spec = load_train_spec(config_path, overrides)
    import torch
    from accelerate import Accelerator

    from synthgen.training.checkpoint import remove_unfinished, write_text
    from synthgen.training.loop import fit

    torch.set_num_threads(spec.threads)
    # Without an accelerator accelerate must be told so, or it takes every rank for the only one.
    on_cpu = spec.device == "cpu" or not torch.accelerator.is_available()
    accelerator = Accelerator(mixed_precision=spec.optimisation.precision, cpu=on_cpu)
    with ExitStack() as stack:
        if accelerator.is_main_process:
            stack.enter_context(_lock(spec.out))
            remove_unfinished(spec.out)
        with accelerator.main_process_first():
            task = make_task(spec, accelerator)
        if accelerator.is_main_process:
            write_text(spec.out / "train.yaml", dump_train_spec(spec))
        return fit(task, spec, accelerator, identity(spec))


def make_task(spec: TrainSpec, accelerator: Accelerator) -> Task:
    """The task behind a spec, its data packed and its models made."""
    match spec:
        case AutoencoderSpec():
            from synthgen.training.autoencoder import AutoencoderTask

            return AutoencoderTask(spec, accelerator)
        case SegmenterSpec():
            from synthgen.training.pyramid import PyramidTask
            from synthgen.training.segmenter import SegmenterTask

            return (SegmenterTask if spec.architecture == "segformer" else PyramidTask)(spec, accelerator)
        case StarterSpec():
            from synthgen.training.starter import StarterTask

            return StarterTask(spec, accelerator)
        case ControlnetSpec():
            from synthgen.training.controlnet import ControlnetTask

            return ControlnetTask(spec, accelerator)
    raise ConfigError(f"kind: no training of kind {spec.kind!r}")


def _lock(out: Path) -> Any:
    """Hold the output folder alone."""
    from filelock import FileLock, Timeout

    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / ".lock", timeout=0)
        lock.acquire()
    except Timeout as error:
        raise ConfigError(f"out: {out} is in use by another training; wait for it, or choose another folder") from error
    except OSError as error:
        raise ConfigError(f"out: {out} can't be written: {error}") from error
    return lock
