"""Controls and recipes in, images out, each sample as if it were alone: by our own loop or by the library's pipeline.

Where memory runs out the batch is painted anew with less of it; see `_backoff`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from synthgen.generators._backoff import Footprint, free_memory, ran_out_of_memory, tiles
from synthgen.generators._batch import Batch, hole_of, make_batch
from synthgen.generators._diffusion import DiffusionGenerator
from synthgen.generators._load import control_argument
from synthgen.generators._loop import DenoisingLoop
from synthgen.generators._options import StableDiffusionFamily
from synthgen.generators.base import Painted, Size
from synthgen.types import ConfigError, Controls, Image, Recipe

DEFAULTS = {"use_resolution_binning": False, "strength": 1.0}
"""Where a pipeline takes them: paint at the bucket's size and no other, and start from noise alone."""
OWN = frozenset(
    {"prompt", "negative_prompt", "image", "control_image", "mask_image", "height", "width", "num_inference_steps"}
    | {"guidance_scale", "generator", "latents", "num_images_per_prompt", "output_type", "return_dict", "kwargs"}
    | {"controlnet_conditioning_scale", "control_guidance_start", "control_guidance_end", "callback_on_step_end"}
)
"""Arguments that other keys of the config decide, or that would break the shape of a batch."""
log = logging.getLogger("synthgen")


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
        self.device = self._placed = (scene or people).device
        self._footprints: dict[Size, Footprint] = {}
        self._loops: dict[tuple[int, bool], DenoisingLoop] = {}
        for pipe in (scene, people):
            if pipe is not None:
                _check_options(spec, pipe)

    def __call__(self, size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]) -> Painted:
        """See `GeneratorRun`. A NaN, and an image that a safety checker flags, come out black.

        Raises:
            ConfigError: controls without a map that a ControlNet reads or of another size than the bucket, a canvas
                that no pipeline of this spec can paint, a bucket that the pipeline rounds to another size, no memory
                left for one image.
        """
        count = len(controls)
        if not 1 <= count <= self.spec.batch_size or len(recipes) != count:
            raise ConfigError(f"batch_size is {self.spec.batch_size}, got {count} controls and {len(recipes)} recipes")
        _check_controls(self.spec, size, controls)
        pipe = self._pipeline(controls)
        if any(recipe.control != recipes[0].control for recipe in recipes):
            raise ConfigError("a batch mixes recipes with different control scales; it has one scale a ControlNet")
        images, footprint = self._paint_in_memory(pipe, size, controls, recipes)
        if images.shape[1:3] != (size[1], size[0]):
            raise ConfigError(
                f"generate.sizes: {type(pipe).__name__} paints {images.shape[2]}x{images.shape[1]} for the bucket "
                f"{size[0]}x{size[1]}; give sides that it keeps (multiples of 16 or 32)"
            )
        kept = [_keep_canvas(image, control) for image, control in zip(images, controls, strict=True)]
        whole = footprint == Footprint(self.spec.batch_size)
        return Painted(kept, "" if whole else f"out of memory: painted {footprint}")

    def _paint_in_memory(
        self, pipe: Any, size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]
    ) -> tuple[NDArray[np.uint8], Footprint]:
        """The images, and how they could be painted: as this bucket's last ones were, or with less memory.

        The CPU is for the batch at hand alone; the next one is tried on the device again.
        """
        footprint = self._footprints.get(size, Footprint(self.spec.batch_size))
        while True:
            failure = None
            try:
                return self._paint(footprint, pipe, size, controls, recipes), footprint
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error):
                    raise
                failure = f"{type(error).__name__}: {error}".splitlines()[0]
            smaller = footprint.smaller(self.device.type)
            if smaller is None:
                raise ConfigError(
                    f"generate: no memory for one image of {size[0]}x{size[1]}, painted {footprint} ({failure}); give "
                    "smaller generate.sizes or a smaller model"
                )
            footprint = smaller
            if not footprint.on_cpu:
                self._footprints[size] = footprint
            log.warning(
                "out of memory at %dx%d (%s); from here on painted %s. A smaller generate.batch_size, smaller "
                "generate.sizes or dtype: bfloat16 avoids it",
                *(*size, failure, footprint),
            )
            free_memory()

    def _paint(
        self,
        footprint: Footprint,
        pipe: Any,
        size: Size,
        controls: Sequence[Controls],
        recipes: Sequence[Recipe],
    ) -> NDArray[np.uint8]:
        self._place(pipe, torch.device("cpu") if footprint.on_cpu else self.device)
        paint = self._painter(pipe, footprint.on_cpu)
        rows, cell = footprint.rows, pipe.vae_scale_factor
        with tiles(pipe.vae, size, cell) if footprint.tiled else nullcontext():
            parts = []
            for first in range(0, len(controls), rows):
                some = slice(first, first + rows)
                batch = make_batch(self.spec, size, rows, controls[some], recipes[some], cell)
                parts.append(paint(batch)[: len(controls[some])])
        return np.concatenate(parts)

    def _place(self, pipe: Any, device: torch.device) -> None:
        """Move the weights if they are elsewhere; both pipelines share them."""
        if device != self._placed:
            pipe.to(device)
            self._placed = device

    def _painter(self, pipe: Any, on_cpu: bool) -> Callable[[Batch], NDArray[np.uint8]]:
        if not isinstance(self.spec, StableDiffusionFamily) or self.spec.loop == "library":
            return lambda batch: self._call_library(pipe, batch)
        key = id(pipe), on_cpu
        if key not in self._loops:
            spec = self.spec.model_copy(update={"compile": False}) if on_cpu else self.spec
            self._loops[key] = DenoisingLoop(spec, pipe)
        return self._loops[key]

    def _call_library(self, pipe: Any, batch: Batch) -> NDArray[np.uint8]:
        try:
            with torch.inference_mode():
                return _to_uint8(np.asarray(pipe(**self.arguments(pipe, batch)).images))
        except ValueError as error:
            raise ConfigError(f"generate: {type(pipe).__name__} refuses its arguments: {error}") from error

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

    def arguments(self, pipe: Any, batch: Batch) -> dict[str, Any]:
        """A batch as the arguments of the library's call, those that it takes."""
        call = inspect.signature(type(pipe).__call__).parameters
        nets = self.spec.controlnets
        alone = len(nets) == 1 and "Union" not in type(pipe).__name__
        arguments: dict[str, Any] = {
            "prompt": batch.prompts,
            "negative_prompt": batch.negative_prompts,
            control_argument(type(pipe)): batch.maps[0] if alone else batch.maps,
            "width": batch.size[0],
            "height": batch.size[1],
            "num_inference_steps": self.spec.steps,
            "controlnet_conditioning_scale": batch.scales[0] if alone else batch.scales,
            "control_guidance_start": nets[0].start if alone else [net.start for net in nets],
            "control_guidance_end": nets[0].end if alone else [net.end for net in nets],
            "generator": batch.generators,
            "output_type": "np",
            **DEFAULTS,
        }
        if self.spec.guidance is not None:
            arguments["guidance_scale"] = self.spec.guidance
        if "mask_image" in call:
            arguments |= {"image": batch.canvas, "mask_image": batch.holes}
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


def _keep_canvas(image: Image, control: Controls) -> Image:
    """The painted pixels inside the hole, the canvas's own everywhere else."""
    return image if control.canvas is None else np.where(hole_of(control)[..., None], image, control.canvas)


def _to_uint8(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """0..1 → 0..255, rounded; NaN (an overflow in half precision) → 0."""
    return np.rint(np.nan_to_num(images, nan=0.0).clip(0, 1) * 255).astype(np.uint8)
