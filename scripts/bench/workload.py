"""The runs that are measured: photographs to regenerate, and a run of them with every model loaded."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage

from synthgen.cli import compose
from synthgen.generators.base import GeneratorRun, Size
from synthgen.launch import Rank, load_job, resolve
from synthgen.pipeline import Job, process_shard
from synthgen.prepare import Prepared
from synthgen.rundir import RunDir
from synthgen.shards import Shard
from synthgen.types import Controls, Image, Recipe

CANNY = ("extract=[canny]", "generate.controlnets=[{map: canny, model: starter/controlnet-canny}]")
"""The starter with one ControlNet, as the naive script has it."""


@dataclass(frozen=True)
class Options:
    """How to measure. `folder` is for scratch; `quick` is a trial of the command and no measurement."""

    folder: Path
    rounds: int = 5
    threads: int = 1
    quick: bool = False

    def photos(self, count: int) -> Path:
        """So many photographs to regenerate, small ones if `quick`."""
        return make_photos(self.folder / "photos", self.count(count), (96, 72) if self.quick else (480, 360))

    def settings(self, steps: int, size: Size = (256, 192)) -> list[str]:
        """Of a run that tries every output once: at `steps` and `size`, or as small as can be if `quick`."""
        width, height = (64, 48) if self.quick else size
        return [
            f"threads={self.threads}",
            "attempts=1",
            f"generate.steps={2 if self.quick else steps}",
            f"generate.sizes=[[{width}, {height}]]",
        ]

    def count(self, images: int) -> int:
        """How many images, or two batches of them if `quick`."""
        return 8 if self.quick else images


def make_photos(folder: Path, count: int, size: Size = (480, 360)) -> Path:
    """Crops of scikit-image's photographs as JPEG files of one size."""
    from skimage import data

    photos = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    for index in range(count):
        photo = PillowImage.fromarray(photos[index % len(photos)])
        width = int(rng.integers(200, 300))
        height = width * size[1] // size[0]
        x, y = int(rng.integers(0, photo.width - width)), int(rng.integers(0, photo.height - height))
        photo.crop((x, y, x + width, y + height)).resize(size).save(folder / f"{index:05d}.jpg", quality=92)
    return folder


def load(config: Path | None, source: Path, settings: Sequence[str], folder: Path) -> Job:
    """A run with everything loaded; `folder` is its run folder. Without a config, the starter's."""
    resolved = resolve(compose(config, source, list(settings)))
    run = RunDir(folder)
    run.make_folders()
    return load_job(resolved, run, Rank(), lambda row: None)


class Folders:
    """A new folder for every run."""

    def __init__(self, root: Path) -> None:
        self.root, self.made = root, 0

    def new(self) -> Path:
        """The next; it is not made."""
        self.made += 1
        return self.root / str(self.made)


def run_seconds(job: Job, folder: Path) -> float:
    """How long one shard of all samples takes, from reading to the commit."""
    began = time.perf_counter()
    process_shard(replace(job, store=RunDir(folder).store), Shard("bench", tuple(job.items)))
    return time.perf_counter() - began


@dataclass(frozen=True, eq=False)
class Batches:
    """What the generator of a run is given, ready made: whole batches of one size."""

    size: Size
    rows: int
    prepared: tuple[Prepared, ...]
    recipes: tuple[Recipe, ...]

    @classmethod
    def of(cls, job: Job) -> Batches:
        """Of all samples of a run.

        Raises:
            SystemExit: they don't fall into whole batches of one size.
        """
        rows = job.config.generate.batch_size
        prepared = tuple(job.preparer.prepare(job.config.source.read(item)) for item in job.items.values())
        sizes = {sample.bucket for sample in prepared}
        if len(sizes) != 1 or len(prepared) % rows:
            raise SystemExit(f"{len(prepared)} images in {len(sizes)} sizes; give whole batches of {rows} in one size")
        return cls(sizes.pop(), rows, prepared, tuple(job.plan.recipe(sample_id, 0, 0) for sample_id in job.items))

    @property
    def controls(self) -> list[Controls]:
        """One a sample."""
        return [sample.controls for sample in self.prepared]

    def generate(self, generate: GeneratorRun, count: int | None = None) -> list[Image]:
        """The images of the first `count` batches (of all) by the generator alone."""
        images: list[Image] = []
        for start in range(0, len(self.recipes), self.rows)[:count]:
            part = slice(start, start + self.rows)
            images += generate(self.size, self.controls[part], self.recipes[part])
        return images

    def seconds(self, generate: GeneratorRun) -> float:
        """How long the generator alone takes for all of them."""
        began = time.perf_counter()
        self.generate(generate)
        return time.perf_counter() - began


def equal(first: Sequence[Image], second: Sequence[Image]) -> bool:
    """Whether two lists of images agree in every byte."""
    return len(first) == len(second) and all(np.array_equal(one, two) for one, two in zip(first, second, strict=True))
