"""The keys of the Stable Diffusion family, which runs on our own denoising loop: what it skips, and how it computes.

A shortcut that gives the same pixels is on by default; one that changes them is off. No other family has these keys,
since the library's pipelines paint it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from synthgen.generators._diffusion import DiffusionGenerator


class StableDiffusionFamily(DiffusionGenerator):
    """Stable Diffusion in any size: a UNet over the latents of one autoencoder, ControlNets beside it."""

    loop: Literal["own", "library"] = "own"
    """Who denoises: `_loop`, or the pipeline of diffusers. With the exact shortcuts both give the same pixels."""
    cache_conditioning: bool = True
    """Embed a control map once a batch and not once a step. Exact."""
    skip_controlnet: bool = True
    """Don't run a ControlNet outside its `start` … `end`, or at scale 0. Exact."""
    guidance_start: float = Field(default=0.0, ge=0, le=1)
    guidance_end: float = Field(default=1.0, ge=0, le=1)
    """Classifier-free guidance from one share of the steps to the other. Outside, the unconditional half of the batch
    is not computed, which changes pixels (Kynkäänniemi et al. 2024, arXiv 2404.07724, for noise levels)."""
    channels_last: bool = False
    """Weights of UNet, ControlNets and autoencoder in NHWC. Changes last digits."""
    compile: bool = False
    """`torch.compile` of UNet and ControlNets, once for each shape. Changes last digits."""
    attention: Literal["sdpa", "eager"] = "sdpa"
    """torch's fused attention, or its formula spelt out."""
    vae_slicing: bool = False
    """Decode one image at a time. Changes last digits."""
    vae_tiling: bool = False
    """Decode a picture larger than the autoencoder was trained on in overlapping tiles. Changes pixels."""

    @model_validator(mode="after")
    def _own_loop(self) -> StableDiffusionFamily:
        if self.guidance_start >= self.guidance_end:
            raise ValueError(
                f"guidance_start ({self.guidance_start}) must be less than guidance_end ({self.guidance_end}); "
                "for no guidance at all set guidance: 1"
            )
        timed = (self.guidance_start, self.guidance_end) != (0.0, 1.0)
        if self.loop == "library" and (timed or self.compile):
            raise ValueError("guidance_start, guidance_end and compile need loop: own; remove them, or loop: library")
        return self
