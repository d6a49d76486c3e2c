"""The training loop: one for every kind, on accelerate.

Everything random is a function of (seed, step): slot s of step t gets its own generator for the data, and torch is
seeded anew at each step. So a training that is killed and resumed makes the very batches that it would have made, the
data's order does not depend on the number of ranks (rank r takes every N-th slot), and batches can be made ahead by
threads.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from diffusers.training_utils import EMAModel
from torch import Tensor, nn
from transformers import get_scheduler

from synthgen.images import encode_image
from synthgen.seeds import derive_seed
from synthgen.training.checkpoint import Checkpoint, load_newest, save_checkpoint, write_text
from synthgen.training.export import write_weights
from synthgen.training.progress import Progress
from synthgen.training.spec import Optimisation, TrainSpec
from synthgen.types import Image

Batch = dict[str, Tensor]


class Task(ABC):
    """One kind of training, ready: data cached, models made.

    `module(batch)` gives (loss, {name: scalar}) for a batch on its device; it holds all that is trained as submodules
    and nothing that is frozen.
    """

    module: nn.Module

    @abstractmethod
    def slots(self, step: int) -> int:
        """How many samples a micro-batch of this step has, over all ranks."""

    @abstractmethod
    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """The samples of the slots, on the CPU: a function of its arguments and the seed alone, called by threads."""

    @abstractmethod
    def picture(self) -> Image:
        """What the module, as it stands, makes of a few samples."""

    @abstractmethod
    def export(self, folder: Path) -> None:
        """Write the module, as it stands, in its library's own layout."""

    def digests(self) -> dict[str, str]:
        """What the data and the frozen weights are, by content; a change refuses to resume."""
        return {}


def slot_rng(seed: int, step: int, slot: int) -> np.random.Generator:
    """The generator of one sample of one step."""
    return np.random.default_rng((seed, step, slot))


def fit(task: Task, spec: TrainSpec, accelerator: Accelerator, identity: Mapping[str, Any]) -> Path:
    """Train until `max_steps` or `max_minutes`, resuming from the newest whole checkpoint.

    Returns:
        The folder with the result, `out/weights`.

    Raises:
        ConfigError: the output folder holds a training with another config or other data.
    """
    return _Fit(task, spec, accelerator, {**identity, **{f"digest.{k}": v for k, v in task.digests().items()}}).run()


class _Fit:
    def __init__(self, task: Task, spec: TrainSpec, accelerator: Accelerator, identity: Mapping[str, Any]) -> None:
        self.task, self.spec, self.accelerator, self.identity = task, spec, accelerator, identity
        self.made, self.total = 0, spec.optimisation.max_steps
        self.minutes_before, self.started, self.saved_at, self.saved_step = 0.0, time.monotonic(), time.monotonic(), -1
        module = task.module
        if spec.channels_last:
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        module.to(accelerator.device)
        self.trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
        fused = accelerator.device.type == "cuda"
        optimizer = _optimizer(self.trained.values(), spec.optimisation, fused)
        self.schedule = _schedule(optimizer, spec.optimisation)
        self.average = EMAModel(list(self.trained.values()), decay=spec.optimisation.ema, foreach=True)
        self.average.to(accelerator.device)
        self.optimizer: Any = accelerator.prepare_optimizer(optimizer)
        self._resume()
        self.wrapped: Any = accelerator.prepare_model(module)

    def run(self) -> Path:
        module, out, execution = self.task.module, self.spec.out, self.spec.execution
        leader = self.accelerator.is_main_process
        progress = Progress(self.total, self.made, out / "metrics.jsonl", execution.log_steps, enabled=leader)
        with progress, self._batches() as batches:
            module.train()
            while self.made < self.total and not self._out_of_time():
                metrics = self._step(batches)
                self.made += 1
                progress.advance(self.made, metrics)
                if leader and self._checkpoint_due():
                    self._save()
                if leader and self.made % execution.validate_steps == 0:
                    with self._averaged():
                        picture = self.task.picture()
                    _write_picture(out / "validation" / f"step-{self.made:08d}.png", picture)
        if leader:
            if self.saved_step != self.made:
                self._save()
            with self._averaged():
                write_weights(out / "weights", self.task.export)
        self.accelerator.wait_for_everyone()
        return out / "weights"

    def _step(self, batches: Iterator[Batch]) -> dict[str, Tensor | float]:
        """One optimizer step; returns the mean of each metric over its micro-batches, on this rank.

        They stay on the device: reading a number there and then would hold the next step back.
        """
        accelerator, optimisation = self.accelerator, self.spec.optimisation
        rank_seed = derive_seed(self.spec.seed, f"rank-{accelerator.process_index}", 0, self.made, "torch")
        torch.manual_seed(rank_seed)
        sums: dict[str, Tensor] = {}
        for micro in range(optimisation.accumulate):
            batch = {name: value.to(accelerator.device, non_blocking=True) for name, value in next(batches).items()}
            last = micro == optimisation.accumulate - 1
            with nullcontext() if last else accelerator.no_sync(self.wrapped):
                loss, parts = self.wrapped(batch)
                accelerator.backward(loss / optimisation.accumulate)
            for name, value in {"loss": loss, **parts}.items():
                sums[name] = sums.get(name, torch.zeros((), device=loss.device)) + value.detach().float()
        norm = accelerator.clip_grad_norm_(list(self.trained.values()), optimisation.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        self.average.step(list(self.trained.values()))
        metrics = {name: value / optimisation.accumulate for name, value in sums.items()}
        return {**metrics, "norm": 0.0 if norm is None else norm.detach(), "rate": self.schedule.get_last_lr()[0]}

    @contextmanager
    def _batches(self) -> Iterator[Iterator[Batch]]:
        """This rank's batches from here on, made ahead by threads, in order."""
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        accumulate, execution = self.spec.optimisation.accumulate, self.spec.execution

        def made() -> Iterator[tuple[int, range]]:
            for step in range(self.made, self.total):
                size = max(self.task.slots(step), ranks)
                size -= size % ranks
                for micro in range(accumulate):
                    yield step, range(micro * size + rank, (micro + 1) * size, ranks)

        def ahead() -> Iterator[Batch]:
            pending: deque[Future[Batch]] = deque()
            for step, slots in made():
                pending.append(pool.submit(self.task.batch, step, slots))
                if len(pending) >= execution.queue:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()

        with ThreadPoolExecutor(execution.workers, thread_name_prefix="batches") as pool:
            try:
                yield ahead()
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """The module in eval mode with the averaged weights."""
        parameters, module = list(self.trained.values()), self.task.module
        if self.spec.optimisation.ema:
            self.average.store(parameters)
            self.average.copy_to(parameters)
        module.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            module.train()
            if self.spec.optimisation.ema:
                self.average.restore(parameters)

    def _minutes(self) -> float:
        return self.minutes_before + (time.monotonic() - self.started) / 60

    def _out_of_time(self) -> bool:
        """The same on every rank: the first one's clock counts."""
        limit = self.spec.execution.max_minutes
        if limit is None:
            return False
        over = torch.tensor([float(self._minutes() >= limit)], device=self.accelerator.device)
        return bool(broadcast(over).item()) if self.accelerator.num_processes > 1 else bool(over.item())

    def _checkpoint_due(self) -> bool:
        execution = self.spec.execution
        minutes = (time.monotonic() - self.saved_at) / 60
        return self.made % execution.checkpoint_steps == 0 or minutes >= execution.checkpoint_minutes

    def _save(self) -> None:
        scaler = self.accelerator.scaler
        state = {"optimizer": self.optimizer.state_dict(), "scaler": scaler.state_dict() if scaler else {}}
        model = {**self.trained, **dict(self.task.module.named_buffers())}
        average = dict(zip(self.trained, self.average.shadow_params, strict=True))
        checkpoint = Checkpoint(self.made, self._minutes(), self.identity, model, average, state)
        save_checkpoint(self.spec.out / "checkpoints", checkpoint, self.spec.execution.keep)
        self.saved_at, self.saved_step = time.monotonic(), self.made

    def _resume(self) -> None:
        checkpoint = load_newest(self.spec.out / "checkpoints", self.identity)
        if checkpoint is None:
            return
        self.made, self.saved_step, self.minutes_before = checkpoint.step, checkpoint.step, checkpoint.minutes
        with torch.no_grad():
            for name, value in {**self.trained, **dict(self.task.module.named_buffers())}.items():
                value.copy_(checkpoint.model[name])
            for name, shadow in zip(self.trained, self.average.shadow_params, strict=True):
                shadow.copy_(checkpoint.average[name])
        self.average.optimization_step = checkpoint.step
        self.optimizer.load_state_dict(checkpoint.optimizer["optimizer"])
        if self.accelerator.scaler and checkpoint.optimizer["scaler"]:
            self.accelerator.scaler.load_state_dict(checkpoint.optimizer["scaler"])
        self.schedule.last_epoch = checkpoint.step
        self.schedule._last_lr = [group["lr"] for group in self.optimizer.param_groups]
        if self.accelerator.is_main_process:
            _cut_metrics(self.spec.out / "metrics.jsonl", checkpoint.step)


def _optimizer(parameters: Any, spec: Optimisation, fused: bool) -> torch.optim.Optimizer:
    values = list(parameters)
    groups = [
        {"params": [value for value in values if value.ndim > 1], "weight_decay": spec.weight_decay},
        {"params": [value for value in values if value.ndim <= 1], "weight_decay": 0.0},
    ]
    filled = [group for group in groups if group["params"]]
    return torch.optim.AdamW(filled, lr=spec.learning_rate, betas=spec.betas, fused=fused)


def _schedule(optimizer: torch.optim.Optimizer, spec: Optimisation) -> Any:
    """The learning rate as a function of the step, from transformers."""
    stable = int(spec.stable * spec.max_steps)
    falling = {"num_stable_steps": max(stable - spec.warmup, 0), "num_decay_steps": max(spec.max_steps - stable, 1)}
    names: dict[str, tuple[str, dict[str, Any]]] = {
        "constant": ("constant_with_warmup", {}),
        "linear": ("linear", {}),
        "cosine": ("cosine_with_min_lr", {"min_lr_rate": spec.floor}),
        "stable-cosine": ("warmup_stable_decay", {**falling, "min_lr_ratio": spec.floor}),
        "polynomial": ("polynomial", {"power": 0.9, "lr_end": spec.floor * spec.learning_rate}),
    }
    name, details = names[spec.schedule]
    total = None if spec.schedule == "stable-cosine" else spec.max_steps
    return get_scheduler(name, optimizer, spec.warmup, total, scheduler_specific_kwargs=details)


def _cut_metrics(path: Path, step: int) -> None:
    """Forget what was measured after the checkpoint: those steps are made again."""
    if path.exists():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
        kept = [line for line in lines if json.loads(line)["step"] <= step]
        write_text(path, "".join(f"{line}\n" for line in kept))


def _write_picture(path: Path, picture: Image) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(picture, ".png"))
