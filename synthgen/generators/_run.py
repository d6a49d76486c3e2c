"""One batch through a pipeline: controls and recipes in, images out, each sample as if it were alone.

A batch always has the spec's shape: a short one is padded by repeating its last sample. Noise comes from one CPU
generator a sample, seeded by its recipe. So neither neighbours nor slot nor what ran before changes a pixel.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage

from synthgen.generators._diffusion import DiffusionGenerator
from synthgen.generators._load import control_argument
from synthgen.generators.base import Size
from synthgen.types import ConfigError, Controls, Image, Mask, Recipe

DEFAULTS = {"use_resolution_binning": False, "strength": 1.0}
"""Where a pipeline takes them: paint at the bucket's size and no other, and start from noise alone."""
OWN = frozenset(
    {"prompt", "negative_prompt", "image", "control_image", "mask_image", "height", "width", "num_inference_steps"}
    | {"guidance_scale", "generator", "latents", "num_images_per_prompt", "output_type", "return_dict", "kwargs"}
    | {"controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end", "callback_on_step_end"}
)
"""Arguments that other keys of the config decide, or that would break the shape of a batch."""


class PipelineRun:
    """The `GeneratorRun` of a diffusion generator."""

    def __init__(self, spec: DiffusionGenerator, scene: Any, people: Any) -> None:
        """Check the spec's options against the calls of the pipelines; either pipeline may be None, not both.

        Raises:
            ConfigError: an argument that the call does not take or that another key sets.
        """
        self.spec = spec
        self.scene = scene
        self.people = people
        for pipe in (scene, people):
            if pipe is not None:
                _check_options(spec, pipe)

    def __call__(self, size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]) -> list[Image]:
        """See `GeneratorRun`. A NaN, and an image that a safety checker flags, come out black.

        Raises:
            ConfigError: controls without a map that a ControlNet reads or of another size than the bucket, a canvas
                that no pipeline of this spec can paint, a bucket that the pipeline rounds to another size.
        """
        count = len(controls)
        if not 1 <= count <= self.spec.batch_size or len(recipes) != count:
            raise ConfigError(f"batch_size is {self.spec.batch_size}, got {count} controls and {len(recipes)} recipes")
        _check_controls(self.spec, size, controls)
        pipe = self._pipeline(controls)
        if any(recipe.control != recipes[0].control for recipe in recipes):
            raise ConfigError("a batch mixes recipes with different control scales; it has one scale a ControlNet")
        padding = self.spec.batch_size - count
        batch = [*controls, *[controls[-1]] * padding]
        arguments = self._arguments(pipe, size, batch, [*recipes, *[recipes[-1]] * padding])
        try:
            with torch.inference_mode():
                images = np.asarray(pipe(**arguments).images)
        except ValueError as error:
            raise ConfigError(f"generate: {type(pipe).__name__} refuses its arguments: {error}") from error
        if images.shape[1:3] != (size[1], size[0]):
            raise ConfigError(
                f"generate.sizes: {type(pipe).__name__} paints {images.shape[2]}x{images.shape[1]} for the bucket "
                f"{size[0]}x{size[1]}; give sides that it keeps (multiples of 16 or 32)"
            )
        return [_keep_canvas(image, control) for image, control in zip(_to_uint8(images), controls, strict=False)]

    def _pipeline(self, controls: Sequence[Controls]) -> Any:
        canvases = {control.canvas is not None for control in controls}
        if len(canvases) > 1:
            raise ConfigError("a batch mixes controls with and without a canvas; a run has one mode")
        pipe, mode = (self.people, "people") if canvases.pop() else (self.scene, "scene")
        if pipe is None:
            raise ConfigError(
                f"mode: {mode} is nothing that generate.kind {self.spec.kind} with these keys can paint; it does: "
                f"{', '.join(self.spec.modes())} (kind diffusers: an Inpaint pipeline paints people, any other scenes)"
            )
        return pipe

    def _arguments(
        self, pipe: Any, size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]
    ) -> dict[str, Any]:
        call = inspect.signature(type(pipe).__call__).parameters
        nets = self.spec.controlnets
        alone = len(nets) == 1 and "Union" not in type(pipe).__name__
        maps = [_stack([control.maps[net.map].image for control in controls]) for net in nets]
        scales = [net.scale * recipes[0].control.get(net.map, 1.0) for net in nets]
        arguments: dict[str, Any] = {
            "prompt": [recipe.prompt for recipe in recipes],
            "negative_prompt": [recipe.negative_prompt for recipe in recipes],
            control_argument(type(pipe)): maps[0] if alone else maps,
            "width": size[0],
            "height": size[1],
            "num_inference_steps": self.spec.steps,
            "controlnet_conditioning_scale": scales[0] if alone else scales,
            "control_guidance_start": nets[0].start if alone else [net.start for net in nets],
            "control_guidance_end": nets[0].end if alone else [net.end for net in nets],
            "generator": [torch.Generator("cpu").manual_seed(recipe.seed) for recipe in recipes],
            "output_type": "np",
            **DEFAULTS,
        }
        if self.spec.guidance is not None:
            arguments["guidance_scale"] = self.spec.guidance
        if "mask_image" in call:
            arguments["image"] = _stack([control.canvas for control in controls if control.canvas is not None])
            arguments["mask_image"] = [_whole_cells(_hole(control), pipe.vae_scale_factor) for control in controls]
        arguments |= self.spec.pipeline_arguments()
        return {name: value for name, value in arguments.items() if name in call}


def _check_options(spec: DiffusionGenerator, pipe: Any) -> None:
    name = type(pipe).__name__
    call = inspect.signature(type(pipe).__call__).parameters
    for key in spec.pipeline_arguments():
        if key in OWN:
            raise ConfigError(f"generate.arguments.{key}: other keys of generate decide it; remove it")
        if key not in call:
            known = sorted(set(call) - OWN - {"self"})
            raise ConfigError(f"generate.arguments.{key}: not an argument of {name}; it takes {', '.join(known)}")
    timed = any((net.start, net.end) != (0.0, 1.0) for net in spec.controlnets)
    if timed and "control_guidance_start" not in call:
        raise ConfigError(f"generate.controlnets: {name} knows no start and end; remove them")


def _check_controls(spec: DiffusionGenerator, size: Size, controls: Sequence[Controls]) -> None:
    for at, net in enumerate(spec.controlnets):
        for control in controls:
            if net.map not in control.maps:
                raise ConfigError(
                    f"generate.controlnets.{at}.map: the controls have no {net.map!r} map (there: "
                    f"{', '.join(sorted(control.maps)) or 'none'}); add it under extract"
                )
            height, width = control.maps[net.map].image.shape[:2]
            if (width, height) != size:
                raise ConfigError(f"the {net.map} map is {width}x{height}, the bucket is {size[0]}x{size[1]}")


def _stack(images: Sequence[Image]) -> NDArray[np.float32]:
    """(batch, height, width, 3) in 0..1. Arrays and not tensors: the processors of all families scale arrays alike."""
    stacked: NDArray[np.float32] = np.stack(images).astype(np.float32) / np.float32(255)
    return stacked


def _hole(control: Controls) -> Mask:
    return np.zeros(control.size[::-1], np.bool_) if control.hole is None else control.hole


def _whole_cells(hole: Mask, cell: int) -> PillowImage.Image:
    """The hole grown to whole cells of the latent grid, so that none keeps pixels that were removed."""
    height, width = hole.shape
    cells = hole.reshape(height // cell, cell, width // cell, cell).any(axis=(1, 3))
    return PillowImage.fromarray(np.where(cells.repeat(cell, 0).repeat(cell, 1), 255, 0).astype(np.uint8))


def _keep_canvas(image: Image, control: Controls) -> Image:
    """The painted pixels inside the hole, the canvas's own everywhere else."""
    return image if control.canvas is None else np.where(_hole(control)[..., None], image, control.canvas)


def _to_uint8(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0..1 → 0..255, rounded; NaN (an overflow in half precision) → 0."""
    return np.rint(np.nan_to_num(images, nan=0.0).clip(0, 1) * 255).astype(np.uint8)
