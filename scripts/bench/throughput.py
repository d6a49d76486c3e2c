"""Bars 1, 2 and 7: how much of the bare loop's speed a run keeps, what it gains on the naive script, what it hides.

All on the starter at 256x192: bars 1 and 2 at 20 steps, as larger models take, bar 7 at few: there is much to hide.
Real weights take 100 times as long a step and the same time to read, find faces and write, so a starter shows every
overhead larger than a real model would.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import naive
import torch
from bare import BareLoop
from record import Ratios, Result, judged, ratios, take_turns
from workload import CANNY, Batches, Folders, Options, equal, load, run_seconds

from synthgen.generators.base import Size
from synthgen.pipeline import Job, Task, finish
from synthgen.rundir import RunDir
from synthgen.shards import Shard, ShardWriter
from synthgen.types import Controls, Image, Recipe
from synthgen.weights import resolve_weights

SHORTCUTS_OFF = ("generate.loop=own", "generate.cache_conditioning=false", "generate.skip_controlnet=false")


@dataclass(eq=False)
class Recorder:
    """A generator that keeps what it made, by sample."""

    job: Job
    images: dict[str, Image] = field(default_factory=dict)

    def __call__(self, size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]) -> list[Image]:
        images = self.job.generate(size, controls, recipes)
        self.images |= {recipe.sample_id: image for recipe, image in zip(recipes, images, strict=True)}
        return images


def bar_1(options: Options) -> Result:
    """Shortcuts off, against the bare loop: speed and every pixel."""
    source = options.photos(16)
    job = load(None, source, [*options.settings(20), *SHORTCUTS_OFF], options.folder / "run")
    batches, bare, folders = Batches.of(job), BareLoop(job.config.generate), Folders(options.folder / "runs")
    recorder = Recorder(job)
    recorded = replace(job, generate=recorder)
    painted = bare(batches.size, batches.controls, batches.recipes)
    run_seconds(recorded, folders.new())
    same = equal(painted, [recorder.images[recipe.sample_id] for recipe in batches.recipes])

    def bare_seconds() -> float:
        began = time.perf_counter()
        bare(batches.size, batches.controls, batches.recipes)
        return time.perf_counter() - began

    rounds = take_turns(options.rounds, bare_seconds, lambda: run_seconds(job, folders.new()))
    found = ratios(rounds)
    rates = [len(painted) / min(seconds) for seconds in zip(*rounds, strict=True)]
    return judged(
        "1",
        f"run without shortcuts (read, find faces, extract, protect, generate, check, encode, commit) against the bare "
        f"batched loop, {_shape(job, batches)}",
        f"speed of the run / bare loop = {found}; at best {rates[1]:.2f} and {rates[0]:.2f} img/s; pixels "
        f"{'bit-equal' if same else 'DIFFER'}",
        "≥ 0.97, and pixels bit-equal",
        found.median >= 0.97 and same,
    )


def bar_2(options: Options) -> Result:
    """The exact levers, against the naive script: the same photographs, ControlNet, steps and torch threads."""
    source = options.photos(16)
    job = load(None, source, [*options.settings(20), *CANNY], options.folder / "run")
    spec, batches, folders = job.config.generate, Batches.of(job), Folders(options.folder / "runs")
    pipe = naive.load(
        resolve_weights(spec.model), resolve_weights(spec.controlnets[0].model), "cpu", getattr(torch, spec.dtype)
    )
    photos = sorted(source.iterdir())
    arguments = {"num_inference_steps": spec.steps, "guidance_scale": spec.guidance}

    def naive_seconds(some: list[Path] = photos) -> float:
        began = time.perf_counter()
        naive.regenerate(pipe, some, folders.new(), batches.recipes[0].prompt, batches.size, **arguments)
        return time.perf_counter() - began

    naive_seconds(photos[:1])
    batches.generate(job.generate, 1)
    found = ratios(take_turns(options.rounds, naive_seconds, lambda: run_seconds(job, folders.new())))
    return judged(
        "2",
        f"run with the exact shortcuts (and it finds faces, protects, checks and commits) against the naive per-image "
        f"script, one ControlNet, {_shape(job, batches)}",
        f"speed of the run / naive script = {found}",
        "≥ 1.6",
        found.median >= 1.6,
    )


def bar_7(options: Options) -> Result:
    """What of the work around the generator is hidden behind it: 1 - (run - generate) / (prepare + finish)."""
    source = options.photos(24)
    job = load(None, source, options.settings(4), options.folder / "run")
    batches, folders = Batches.of(job), Folders(options.folder / "runs")
    images = batches.generate(job.generate)
    rounds = take_turns(
        options.rounds,
        lambda: run_seconds(job, folders.new()),
        lambda: batches.seconds(job.generate),
        lambda: around_seconds(job, batches.recipes, images, folders.new()),
    )
    hidden = Ratios(tuple(1 - (run - generate) / around for run, generate, around in rounds))
    share = Ratios(tuple(around / generate for _, generate, around in rounds))
    return judged(
        "7",
        f"time of a run, of its generator alone, and of preparing, finishing and committing alone in one thread, "
        f"{_shape(job, batches)}",
        f"hidden share = {hidden}; the work around takes {share.median:.2f} of the generator's time",
        "≥ 0.80",
        hidden.median >= 0.80,
    )


def around_seconds(job: Job, recipes: Sequence[Recipe], images: Sequence[Image], folder: Path) -> float:
    """Everything of a run but the generator, one after the other: read to seal, restore to encode, commit."""
    shard = Shard("bench", tuple(job.items))
    began = time.perf_counter()
    writer = ShardWriter(RunDir(folder).store, shard)
    for item, recipe, image in zip(job.items.values(), recipes, images, strict=True):
        task = Task(job.preparer.prepare(job.config.source.read(item)), recipe)
        outcome = finish(job, task, image)
        if outcome.image is not None:
            writer.add_image(outcome.image)
        if outcome.row is not None:
            writer.add_row(outcome.row)
    writer.commit()
    return time.perf_counter() - began


def _shape(job: Job, batches: Batches) -> str:
    spec, execution = job.config.generate, job.config.execution
    return (
        f"starter, {len(batches.recipes)} images, {batches.size[0]}x{batches.size[1]}, {spec.steps} steps, batch "
        f"{spec.batch_size}, {execution.workers} workers a pool, {job.config.threads} torch thread(s)"
    )
