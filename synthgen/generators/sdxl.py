"""Stable Diffusion XL with one or more ControlNets; its native buckets have about 1024² pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from synthgen.generators._options import StableDiffusionFamily


class StableDiffusionXL(StableDiffusionFamily):
    """`kind: sdxl`. No invisible watermark is written: it would be a pattern that all outputs share."""

    kind: Literal["sdxl"] = "sdxl"

    def pipelines(self) -> tuple[str | None, str | None]:
        """The ControlNet pipeline, and its inpainting form."""
        return "StableDiffusionXLControlNetPipeline", "StableDiffusionXLControlNetInpaintPipeline"

    def components(self) -> Mapping[str, Any]:
        """No watermark."""
        return {"add_watermarker": False}
