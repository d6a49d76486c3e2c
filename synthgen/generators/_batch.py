"""One batch as both loops take it: prompts, maps and noise sources of one fixed shape.

A short batch is padded by repeating its last sample, and each sample's noise comes from a CPU generator seeded by its
recipe. So neither neighbours nor slot nor what ran before changes a pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

from synthgen.generators._diffusion import DiffusionGenerator
from synthgen.generators.base import Size
from synthgen.types import Controls, Image, Mask, Recipe


@dataclass(frozen=True, eq=False)
class Batch:
    """`rows` samples of one size. `maps` and `scales` follow the spec's ControlNets.

    Maps and canvas are (rows, height, width, 3) in 0..1: arrays and not tensors, since the processors of all families
    scale arrays alike. A hole is white where to paint, in whole cells of the latent grid. Canvas and holes are None for
    `mode: scene`.
    """

    size: Size
    prompts: list[str]
    negative_prompts: list[str]
    generators: list[torch.Generator]
    maps: list[NDArray[np.float32]]
    scales: list[float]
    canvas: NDArray[np.float32] | None
    holes: list[PillowImage.Image] | None

    @property
    def rows(self) -> int:
        """How many samples, the padding included."""
        return len(self.prompts)


def make_batch(
    spec: DiffusionGenerator, size: Size, rows: int, controls: Sequence[Controls], recipes: Sequence[Recipe], cell: int
) -> Batch:
    """At most `rows` samples, padded to `rows`. `cell` is the side in pixels of a cell of the latent grid."""
    padding = rows - len(controls)
    controls = [*controls, *[controls[-1]] * padding]
    recipes = [*recipes, *[recipes[-1]] * padding]
    canvases = [control.canvas for control in controls if control.canvas is not None]
    return Batch(
        size=size,
        prompts=[recipe.prompt for recipe in recipes],
        negative_prompts=[recipe.negative_prompt for recipe in recipes],
        generators=[torch.Generator("cpu").manual_seed(recipe.seed) for recipe in recipes],
        maps=[_stack([control.maps[net.map].image for control in controls]) for net in spec.controlnets],
        scales=[net.scale * recipes[0].control.get(net.map, 1.0) for net in spec.controlnets],
        canvas=_stack(canvases) if canvases else None,
        holes=[_whole_cells(hole_of(control), cell) for control in controls] if canvases else None,
    )


def hole_of(control: Controls) -> Mask:
    """(height, width), True where to paint; nowhere if the control has no hole."""
    return np.zeros(control.size[::-1], np.bool_) if control.hole is None else control.hole


def _stack(images: Sequence[Image]) -> NDArray[np.float32]:
    stacked: NDArray[np.float32] = np.stack(images).astype(np.float32) / np.float32(255)
    return stacked


def _whole_cells(hole: Mask, cell: int) -> PillowImage.Image:
    """The hole grown to whole cells of the latent grid, so that none keeps pixels that were removed."""
    height, width = hole.shape
    cells = hole.reshape(height // cell, cell, width // cell, cell).any(axis=(1, 3))
    return PillowImage.fromarray(np.where(cells.repeat(cell, 0).repeat(cell, 1), 255, 0).astype(np.uint8))
