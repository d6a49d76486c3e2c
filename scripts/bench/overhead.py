"""How much of the bare diffusers loop's speed a whole run keeps.

A: the bare batched loop: `StableDiffusionControlNetPipeline` on ready-made control maps, nothing read, nothing written.
B: `process_shard`: read, detect, extract, protect, generate, check, encode and commit the same images.
Same weights, steps, batch size and torch threads; models are loaded before the clock starts; A and B take turns and the
median of the paired ratios is quoted. Run it on an otherwise idle machine:

    python scripts/bench/overhead.py [--source DIR] [--images 32] [--rounds 5]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image as PILImage

from synthgen.cli import compose
from synthgen.launch import Rank, load_job, resolve
from synthgen.pipeline import process_shard
from synthgen.rundir import RunDir
from synthgen.shards import Shard
from synthgen.types import Controls, Recipe
from synthgen.weights import STARTER


def make_photos(folder: Path, count: int) -> None:
    """Crops of scikit-image's photographs at 480x360."""
    from skimage import data

    photos = [data.astronaut(), data.chelsea(), data.coffee(), data.rocket()]
    rng = np.random.default_rng(0)
    folder.mkdir()
    for index in range(count):
        photo = PILImage.fromarray(photos[index % len(photos)])
        side = int(rng.integers(200, 300))
        x, y = rng.integers(0, photo.width - side), rng.integers(0, photo.height - side * 3 // 4)
        crop = photo.crop((int(x), int(y), int(x) + side, int(y) + side * 3 // 4))
        crop.resize((480, 360)).save(folder / f"{index:04d}.jpg", quality=92)


class BareLoop:
    """What a user would write with diffusers alone."""

    def __init__(self, steps: int, guidance: float) -> None:
        kinds = ("canny", "segmentation")
        nets = [
            ControlNetModel.from_pretrained(STARTER / f"controlnet-{kind}", torch_dtype=torch.float32) for kind in kinds
        ]
        options = {
            "torch_dtype": torch.float32,
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
        self.pipe = StableDiffusionControlNetPipeline.from_pretrained(STARTER, controlnet=nets, **options)
        self.pipe.set_progress_bar_config(disable=True)
        self.steps, self.guidance = steps, guidance

    @torch.inference_mode()
    def __call__(self, controls: list[Controls], recipes: list[Recipe], size: tuple[int, int], batch: int) -> None:
        for start in range(0, len(controls), batch):
            part, chosen = controls[start : start + batch], recipes[start : start + batch]
            maps = [
                torch.stack([torch.from_numpy(control.maps[kind].image) for control in part]).permute(0, 3, 1, 2) / 255
                for kind in ("canny", "segmentation")
            ]
            self.pipe(
                prompt=[recipe.prompt for recipe in chosen],
                image=maps,
                width=size[0],
                height=size[1],
                num_inference_steps=self.steps,
                guidance_scale=self.guidance,
                generator=[torch.Generator("cpu").manual_seed(recipe.seed) for recipe in chosen],
                output_type="np",
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source
        if source is None:
            source = Path(folder) / "photos"
            make_photos(source, arguments.images)
        settings = [f"generate.steps={arguments.steps}", f"source.limit={arguments.images}"]
        resolved = resolve(compose(None, source, settings))
        run = RunDir(Path(folder) / "run")
        run.make_folders()
        job = load_job(resolved, run, Rank(), lambda row: None)
        generate = resolved.config.generate
        prepared = [job.preparer.prepare(resolved.config.source.read(item)) for item in resolved.items.values()]
        buckets = {sample.bucket for sample in prepared}
        if len(buckets) != 1:
            raise SystemExit(f"the images fall into {len(buckets)} buckets; give images of one aspect ratio")
        recipes = [job.plan.recipe(sample_id, 0, 0) for sample_id in resolved.items]
        controls = [sample.controls for sample in prepared]
        bare = BareLoop(arguments.steps, getattr(generate, "guidance", 1.0))
        size = prepared[0].bucket
        bare(controls[: generate.batch_size], recipes[: generate.batch_size], size, generate.batch_size)
        ratios = []
        for round_index in range(arguments.rounds):
            began = time.perf_counter()
            bare(controls, recipes, size, generate.batch_size)
            bare_seconds = time.perf_counter() - began
            store = RunDir(Path(folder) / f"round-{round_index}").store
            began = time.perf_counter()
            process_shard(replace(job, store=store), Shard("bench", tuple(resolved.items)))
            run_seconds = time.perf_counter() - began
            ratios.append(bare_seconds / run_seconds)
            rates = len(controls) / bare_seconds, len(controls) / run_seconds
            print(f"round {round_index}: bare {rates[0]:.3f} img/s, run {rates[1]:.3f} img/s, ratio {ratios[-1]:.3f}")
        spread = f"min {min(ratios):.3f}, max {max(ratios):.3f}"
        shape = f"{len(controls)} images, {size[0]}x{size[1]}, {arguments.steps} steps, batch {generate.batch_size}"
        threads = f"{torch.get_num_threads()} torch thread(s)"
        print(
            f"{shape}, {threads}: run / bare loop = {statistics.median(ratios):.3f} (median of {len(ratios)}; {spread})"
        )


if __name__ == "__main__":
    main()
