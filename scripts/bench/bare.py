"""The bare batched loop that a run is held against: diffusers' own pipeline on ready-made control maps.

Nothing is read, looked for, checked or written. It has the weights, the batch, the number format and the seeds of the
run, and on a GPU what is known to make a pipeline of diffusers fast: compiled networks in channels-last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import diffusers
import numpy as np
import torch

from synthgen.generators.base import Size
from synthgen.types import Controls, Image, Recipe
from synthgen.weights import resolve_weights

PIPELINES = {"sd": "StableDiffusionControlNetPipeline", "sdxl": "StableDiffusionXLControlNetPipeline"}
NO_CHECKER = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


class BareLoop:
    """What a user would write with diffusers alone who wants many images."""

    def __init__(self, spec: Any, device: str = "cpu", compiled: bool = False) -> None:
        """`spec` is the run's `generate`, of kind sd or sdxl."""
        dtype = getattr(torch, spec.dtype)
        nets = [
            diffusers.ControlNetModel.from_pretrained(resolve_weights(net.model), torch_dtype=dtype)
            for net in spec.controlnets
        ]
        options = NO_CHECKER if spec.kind == "sd" else {"add_watermarker": False}
        pipeline = getattr(diffusers, PIPELINES[spec.kind])
        alone = len(nets) == 1
        self.pipe = pipeline.from_pretrained(
            resolve_weights(spec.model), controlnet=nets[0] if alone else nets, torch_dtype=dtype, **options
        ).to(device)
        self.pipe.set_progress_bar_config(disable=True)
        if compiled:
            for name in ("unet", "controlnet"):
                module = getattr(self.pipe, name).to(memory_format=torch.channels_last)
                setattr(self.pipe, name, torch.compile(module, dynamic=False))
            self.pipe.vae.to(memory_format=torch.channels_last)
        self.spec, self.alone = spec, alone

    @torch.inference_mode()
    def __call__(self, size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]) -> list[Image]:
        """(bucket, controls, recipes) → images, in batches of the spec's size."""
        images: list[Image] = []
        for start in range(0, len(controls), self.spec.batch_size):
            part = slice(start, start + self.spec.batch_size)
            images += self._batch(size, controls[part], recipes[part])
        return images

    def _batch(self, size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]) -> list[Image]:
        nets = self.spec.controlnets
        maps = [
            torch.stack([torch.from_numpy(control.maps[net.map].image) for control in controls]).permute(0, 3, 1, 2)
            / 255
            for net in nets
        ]
        scales = [net.scale for net in nets]
        guidance = {} if self.spec.guidance is None else {"guidance_scale": self.spec.guidance}
        found = self.pipe(
            prompt=[recipe.prompt for recipe in recipes],
            negative_prompt=[recipe.negative_prompt for recipe in recipes],
            image=maps[0] if self.alone else maps,
            width=size[0],
            height=size[1],
            num_inference_steps=self.spec.steps,
            controlnet_conditioning_scale=scales[0] if self.alone else scales,
            generator=[torch.Generator("cpu").manual_seed(recipe.seed) for recipe in recipes],
            output_type="np",
            **guidance,
        )
        return list(np.rint(np.nan_to_num(found.images).clip(0, 1) * 255).astype(np.uint8))
