"""Every bar that a GPU can be held to, one command:

    python scripts/bench/gpu.py [--bars 1,2,3,4,5] [--models sd15,sdxl] [--rounds 5] [--write] [--dry-run]

Stable Diffusion 1.5 and XL with one ControlNet, in their real shapes with random weights, saved to a scratch folder.
Two ways of doing the same take turns, everything is loaded, compiled and warm before any clock starts, and the median
of the paired ratios is quoted. A line is printed as soon as its bar is measured. Without a GPU every bar is `not run`.
`--dry-run` goes through all of it on a CPU with tiny models, two steps, and dynamo without a compiler behind it: a
trial of the command, no measurement. The bars on speed are those of an H100. The exit status is 1 if a bar was missed.
"""

from __future__ import annotations

import argparse
import functools
import gc
import shutil
import statistics
import subprocess
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import models
import naive
import numpy as np
import torch
from bare import BareLoop
from record import RESULTS, Result, judged, measured_on, not_run, ratios, take_turns, write_section
from torch._dynamo.utils import counters as dynamo_counters
from workload import Batches, Folders, load, make_photos, run_seconds

from synthgen.generators.base import Size
from synthgen.pipeline import Job
from synthgen.types import ControlMap, Controls

CONFIG = """\
name: bench
names: keep
source: {format: imagefolder}
extract: [canny]
protect: [edges]
"""
BARS = {
    "1": "run ≥ 0.97 of the bare compiled loop, no recompiles after warm-up over three buckets",
    "2": "images a second: {least}",
    "3": "≥ 3 times the naive eager script",
    "4": "GPU busy ≥ 95 %",
    "5": "fast mode ≥ 1.3 times the default",
}
GAP = 0.1
"""Seconds between two looks at how busy the GPU is."""


@dataclass(frozen=True)
class Model:
    """A family as it is measured: buckets (the first is the one that is timed), steps, batch, and its bar in img/s."""

    kind: str
    save: Callable[[Path, bool], None]
    buckets: tuple[Size, Size, Size]
    steps: int
    guidance: float
    batch: int
    images: int
    naive_images: int
    least: float


MODELS = {
    "sd15": Model("sd", models.save_sd15, ((512, 512), (640, 448), (448, 640)), 20, 7.5, 16, 128, 8, 7.5),
    "sdxl": Model("sdxl", models.save_sdxl, ((1024, 1024), (1152, 896), (896, 1152)), 30, 5.0, 8, 24, 3, 0.5),
}


def shrunk(model: Model) -> Model:
    """The model as a dry run has it."""
    return replace(model, buckets=((64, 64), (64, 48), (48, 64)), steps=2, batch=2, images=4, naive_images=1)


class Bench:
    """One model on one device: its weights on disk, its photographs, and a run with everything loaded."""

    def __init__(self, name: str, model: Model, folder: Path, device: str, rounds: int, tiny: bool) -> None:
        self.name, self.model, self.device, self.rounds = name, model, device, rounds
        self.weights = folder / "weights"
        model.save(self.weights, tiny)
        self.photos = make_photos(folder / "photos", model.images, model.buckets[0])
        self.config = folder / "bench.yaml"
        self.config.write_text(CONFIG, encoding="utf-8")
        self.folders = Folders(folder / "runs")
        self.dtype = "float32" if tiny else "bfloat16"

    def job(self, *changes: str) -> Job:
        """The run with every lever that is on for a GPU, and `changes` under `generate`."""
        model, (width, height) = self.model, self.model.buckets[0]
        generate = (
            f"{{kind: {model.kind}, model: '{self.weights / 'base'}', batch_size: {model.batch}, steps: {model.steps}, "
            f"controlnets: [{{map: canny, model: '{self.weights / 'controlnet'}'}}], guidance: {model.guidance}, "
            f"sizes: [[{width}, {height}]], dtype: {self.dtype}, compile: true, channels_last: true}}"
        )
        settings = [
            f"device={self.device.partition(':')[0]}",
            f"generate={generate}",
            "attempts=1",
            "execution.workers=4",
            *(f"generate.{change}" for change in changes),
        ]
        return load(self.config, self.photos, settings, self.folders.new())

    @functools.cached_property
    def default(self) -> tuple[Job, Batches]:
        """The run at the timed bucket, compiled and warm."""
        job = self.job()
        batches = Batches.of(job)
        batches.generate(job.generate, 1)
        run_seconds(job, self.folders.new())
        return job, batches

    def synchronized(self, work: Callable[[], object]) -> float:
        """Seconds until the device has done it."""
        began = time.perf_counter()
        work()
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter() - began

    def run(self) -> float:
        """Seconds of a whole run: read, extract, protect, generate, encode, commit."""
        return self.synchronized(lambda: run_seconds(self.default[0], self.folders.new()))

    def how(self) -> str:
        model, (width, height) = self.model, self.model.buckets[0]
        return (
            f"{self.name} with one ControlNet, random weights, {width}x{height}, {model.steps} steps, guidance "
            f"{model.guidance:g}, {self.dtype}, compiled, channels-last, batch {model.batch}, {model.images} images"
        )


def bar_1(bench: Bench) -> Result:
    """The whole run against the compiled pipeline of diffusers, and the graphs that are made after the warm-up."""
    job, batches = bench.default
    bare = BareLoop(job.config.generate, bench.device, compiled=True)

    def loop() -> float:
        return bench.synchronized(lambda: bare(batches.size, batches.controls, batches.recipes))

    loop()
    found = ratios(take_turns(bench.rounds, loop, bench.run))
    warm, later = graphs_over_buckets(bench)
    return judged(
        "1",
        f"{bench.how()}; run against the bare compiled loop",
        f"speed of the run / bare loop = {found}; {warm} graphs compiled in a first pass over "
        f"{len(bench.model.buckets)} buckets, {later} in a second",
        BARS["1"],
        found.median >= 0.97 and later == 0,
    )


def graphs_over_buckets(bench: Bench) -> tuple[int, int]:
    """Graphs that dynamo makes for a generator, warm in one bucket: in a first pass over all, and in a second."""
    job, batches = bench.default
    random = np.random.default_rng(0)
    counts = [dynamo_counters["stats"]["unique_graphs"]]
    for scale in (1.0, 0.8):
        for size in bench.model.buckets:
            edges = np.where(random.random((size[1], size[0], 1)) < 0.1, 255, 0).astype(np.uint8).repeat(3, axis=2)
            controls = [Controls({"canny": ControlMap("canny", edges)}, size)] * batches.rows
            recipes = [replace(recipe, control={"canny": scale}) for recipe in batches.recipes[: batches.rows]]
            job.generate(size, controls, recipes)
        counts.append(dynamo_counters["stats"]["unique_graphs"])
    return counts[1] - counts[0], counts[2] - counts[1]


def bar_2(bench: Bench) -> Result:
    """Images a second of the whole run."""
    seconds = [bench.run() for _ in range(bench.rounds)]
    rates = [bench.model.images / one for one in seconds]
    median = statistics.median(rates)
    return judged(
        "2",
        bench.how(),
        f"{median:.2f} img/s (median of {len(rates)} runs; min {min(rates):.2f}, max {max(rates):.2f})",
        BARS["2"].format(least=f"≥ {bench.model.least}"),
        median >= bench.model.least,
    )


def bar_3(bench: Bench) -> Result:
    """The whole run against the naive script: eager, float16, one image at a time."""
    model = bench.model
    job, batches = bench.default
    dtype = torch.float16 if bench.device.startswith("cuda") else torch.float32
    pipe = naive.load(bench.weights / "base", bench.weights / "controlnet", bench.device, dtype, model.kind == "sdxl")
    photos = sorted(bench.photos.iterdir())[: model.naive_images]
    arguments = {"num_inference_steps": model.steps, "guidance_scale": model.guidance}

    def script() -> float:
        return bench.synchronized(
            lambda: naive.regenerate(
                pipe, photos, bench.folders.new(), batches.recipes[0].prompt, batches.size, **arguments
            )
        )

    script()
    rounds = take_turns(bench.rounds, lambda: script() / len(photos), lambda: bench.run() / len(job.items))
    found = ratios(rounds)
    return judged(
        "3",
        f"{bench.how()}; against the naive script, {str(dtype).removeprefix('torch.')}, eager, {len(photos)} images",
        f"speed of the run / naive script = {found}",
        BARS["3"],
        found.median >= 3,
    )


def bar_4(bench: Bench) -> Result:
    """How busy the GPU is during a whole run, as its driver tells."""
    if not bench.device.startswith("cuda") or shutil.which("nvidia-smi") is None:
        return not_run("4", BARS["4"], f"{bench.name}: it takes a CUDA device and nvidia-smi")
    bench.run()
    with watch_gpu() as samples:
        bench.run()
    if len(samples) < 10:
        return not_run("4", BARS["4"], f"{bench.name}: only {len(samples)} samples; the run is too short")
    mean = statistics.fmean(samples)
    return judged(
        "4",
        f"{bench.how()}; utilization of the GPU every {GAP} s by nvidia-smi, from reading to the commit",
        f"{mean:.1f} % busy (mean of {len(samples)} samples, min {min(samples):.0f})",
        BARS["4"],
        mean >= 95,
    )


@contextmanager
def watch_gpu() -> Iterator[list[float]]:
    """Per cent of the time in which a kernel ran; the list is filled when the context ends."""
    uuid = str(torch.cuda.get_device_properties(0).uuid)
    device = f"--id={uuid if uuid.startswith('GPU-') else f'GPU-{uuid}'}"
    asked = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", f"--loop-ms={GAP * 1000:.0f}"]
    samples: list[float] = []
    with subprocess.Popen(["nvidia-smi", *asked, device], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield samples
        finally:
            process.terminate()
            printed, _ = process.communicate()
    samples += [float(line) for line in printed.split() if line.isdecimal()][1:]  # the first tells of before


def bar_5(bench: Bench) -> Result:
    """Guidance and ControlNet off in the last half of the steps, against the default: the generator alone."""
    job, batches = bench.default
    fast = bench.job("guidance_end=0.5", "controlnets.0.end=0.5")
    batches.generate(fast.generate, 1)
    found = ratios(
        take_turns(
            bench.rounds,
            lambda: bench.synchronized(lambda: batches.generate(job.generate)),
            lambda: bench.synchronized(lambda: batches.generate(fast.generate)),
        )
    )
    return judged(
        "5",
        f"{bench.how()}; guidance_end: 0.5 and end: 0.5 of the ControlNet against neither, the generator alone",
        f"speed fast / default = {found}",
        BARS["5"],
        found.median >= 1.3,
    )


MEASURES = {"1": bar_1, "2": bar_2, "3": bar_3, "4": bar_4, "5": bar_5}


def measure(number: str, bench: Bench) -> Result:
    """One bar; what breaks is told, and does not stop the others."""
    try:
        return MEASURES[number](bench)
    except Exception as error:
        traceback.print_exc()
        return not_run(number, BARS[number], f"{bench.name}: it broke: {type(error).__name__}: {error}")


@contextmanager
def trial() -> Iterator[None]:
    """Dynamo as it is, but what it traces runs as it stands: no compiler is asked for."""
    compiler = torch.compile
    torch.compile = functools.partial(compiler, backend="eager")
    try:
        yield
    finally:
        torch.compile = compiler


def measure_all(numbers: Sequence[str], names: Sequence[str], rounds: int, dry: bool) -> Iterator[Result]:
    """Bar by bar, model by model."""
    # Several pipelines share the code of one class here, and dynamo counts graphs by code; past the limit it would
    # run eagerly without a word.
    torch._dynamo.config.recompile_limit = 64
    for name in names:
        model = shrunk(MODELS[name]) if dry else MODELS[name]
        with tempfile.TemporaryDirectory(prefix="synthgen-bench-") as folder, trial() if dry else nullcontext():
            bench = Bench(name, model, Path(folder), "cpu" if dry else "cuda", rounds, dry)
            for number in numbers:
                yield measure(number, bench)
            del bench
        gc.collect()
        torch._dynamo.reset()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def main(arguments: Sequence[str] | None = None, results: Path = RESULTS) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bars", default=",".join(BARS), help="which, with commas between them")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--dry-run", action="store_true", help="on a CPU with tiny models: a trial of the command")
    chosen = parser.parse_args(arguments)
    numbers, names = chosen.bars.split(","), chosen.models.split(",")
    for option, given, known in (("bars", numbers, BARS), ("models", names, MODELS)):
        if unknown := [one for one in given if one not in known]:
            parser.error(f"--{option}: there is no {', '.join(unknown)}; there are {', '.join(known)}")
    found: list[Result] = []
    if chosen.dry_run or torch.cuda.is_available():
        device = "CPU, --dry-run, which is no measurement" if chosen.dry_run else torch.cuda.get_device_name()
        measured = measured_on(device)
        print(f"measured on: {measured}", flush=True)
        for result in measure_all(numbers, names, 1 if chosen.dry_run else chosen.rounds, chosen.dry_run):
            print(result, flush=True)
            found.append(result)
            if chosen.write:
                write_section("scripts/bench/gpu.py", measured, found, results)
        return int(any(one.verdict == "missed" for one in found))
    print("no GPU here: nothing was measured")
    if chosen.write:
        found = [not_run(number, BARS[number].format(least="sd15 ≥ 7.5, sdxl ≥ 0.5"), "no GPU") for number in BARS]
        write_section("scripts/bench/gpu.py", "no GPU", found, results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
