"""Bars 3 and 4: what the denoising loop leaves out, counted forward by forward, and whether the pixels stay.

Counts hold for any model of the classes, so one batch of the starter will do; only the seconds of bar 4 are measured.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from record import Result, judged, ratios, take_turns
from workload import Batches, Options, equal, load, make_photos

from synthgen.cli import compose
from synthgen.generators.base import GeneratorRun
from synthgen.types import Image

EMBEDDING, CONTROLNET, UNET = "ControlNetConditioningEmbedding", "ControlNetModel", "UNet2DConditionModel"


@dataclass
class Forwards:
    """Forward passes by class of module, and the rows of the batches that they were given by position."""

    calls: Counter[str] = field(default_factory=Counter)
    rows: Counter[str] = field(default_factory=Counter)


@contextmanager
def count_forwards() -> Iterator[Forwards]:
    """Count them for as long as the context lasts, in whatever pipeline or loop they happen."""
    found = Forwards()

    def count(module: torch.nn.Module, arguments: tuple[Any, ...]) -> None:
        name = type(module).__name__
        if name in {EMBEDDING, CONTROLNET, UNET}:
            found.calls[name] += 1
            found.rows[name] += len(arguments[0]) if arguments else 0

    handle = torch.nn.modules.module.register_module_forward_pre_hook(count)
    try:
        yield found
    finally:
        handle.remove()


class Variants:
    """One batch through the starter's generator in several configs."""

    def __init__(self, options: Options) -> None:
        self.source = make_photos(options.folder / "photos", 4, (256, 192))
        self.settings = [*options.settings(10), "detect=[]"]
        job = load(None, self.source, self.settings, options.folder / "run")
        self.spec, self.batches = job.config.generate, Batches.of(job)

    def generator(self, *changes: str) -> GeneratorRun:
        """The generator with `changes` under `generate`."""
        settings = [*self.settings, *(f"generate.{change}" for change in changes)]
        return compose(None, self.source, settings).generate.load("cpu")

    def paint(self, *changes: str) -> tuple[list[Image], Forwards]:
        """The images of the batch, and the forwards that they took."""
        generate = self.generator(*changes)
        with count_forwards() as forwards:
            images = self.batches.generate(generate)
        return images, forwards


def bar_3(options: Options) -> Result:
    """The conditioning embedding: once a net and batch, not once a step; without and with guidance."""
    variants, met, figures = Variants(options), True, []
    nets = len(variants.spec.controlnets)
    for guidance, name in ((1.0, "without guidance"), (7.5, "guided")):
        images, own = variants.paint("loop=own", f"guidance={guidance}")
        expected, library = variants.paint("loop=library", f"guidance={guidance}")
        same = equal(images, expected)
        met = met and same and own.calls[EMBEDDING] == nets
        figures.append(
            f"{name}: {own.calls[EMBEDDING] / nets:g} forward(s) a net and batch, the library "
            f"{library.calls[EMBEDDING] / nets:g}; {own.rows[EMBEDDING] / nets / len(images):g} row(s) a net and "
            f"image, the library {library.rows[EMBEDDING] / nets / len(images):g}; pixels "
            f"{'bit-equal' if same else 'DIFFER'}"
        )
    return judged(
        "3",
        f"forwards of the conditioning embeddings of {nets} ControlNets by hooks, starter, one batch of 4 (guidance "
        "doubles its rows, since the last digits depend on how many are computed at once)",
        ". ".join(figures),
        "once a net and image, and pixels bit-equal",
        met,
    )


def bar_4(options: Options) -> Result:
    """ControlNets off after half of the steps (exact), and guidance off after half of them (changes pixels)."""
    variants = Variants(options)
    ends = [f"controlnets.{at}.end=0.5" for at in range(len(variants.spec.controlnets))]
    images, own = variants.paint("loop=own", "guidance=7.5", *ends)
    expected, library = variants.paint("loop=library", "guidance=7.5", *ends)
    same, nets = equal(images, expected), own.calls[CONTROLNET] / library.calls[CONTROLNET]
    _, whole = variants.paint("loop=own", "guidance=7.5")
    _, half = variants.paint("loop=own", "guidance=7.5", "guidance_end=0.5")
    rows = half.rows[UNET] / whole.rows[UNET]
    guided, cut = (variants.generator("loop=own", "guidance=7.5", f"guidance_end={end}") for end in (1.0, 0.5))
    for generate in (guided, cut):
        variants.batches.generate(generate)
    wall = ratios(
        take_turns(options.rounds, lambda: variants.batches.seconds(cut), lambda: variants.batches.seconds(guided))
    )
    return judged(
        "4",
        f"starter, one batch of 4, {variants.spec.steps} steps, guidance 7.5, by hooks and by the clock of "
        f"the generator alone, {options.threads} torch thread(s)",
        f"ControlNets with end: 0.5: {nets:.2f} of the library's forwards, pixels "
        f"{'bit-equal' if same else 'DIFFER'}; guidance_end: 0.5: {rows:.2f} of the UNet's rows, wall time {wall}",
        "half the forwards, same output; 0.75 of the rows, wall time ≤ 0.85",
        same and nets == 0.5 and rows == 0.75 and wall.median <= 0.85,
    )
