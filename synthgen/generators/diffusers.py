"""Any other image ControlNet pipeline of diffusers, by the name of its class: Flux, SD3, Qwen-Image, Z-Image, Sana …

What differs from class to class (the name of the control argument, which options it takes) is read from the class's own
signature when it is loaded; what no signature tells, a config gives under `arguments`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from synthgen.generators._diffusion import DiffusionGenerator

MIXES_BATCHES = {
    "QwenImage": "pads prompts to the longest of a batch",
    "ZImage": "pads prompts to the longest of a batch",
    "ControlNetUnion": "lets the samples of a batch attend to each other (its MultiheadAttention has no batch_first)",
}
"""Families (by a part of the class's name) in which a sample's neighbours change its pixels, and why."""


class DiffusersPipeline(DiffusionGenerator):
    """`kind: diffusers`. A `…InpaintPipeline` serves `mode: people`, any other `mode: scene`.

    Several entries of `controlnets` with one model are several maps of one ControlNet-Union; its `control_mode` goes
    under `arguments`.
    """

    kind: Literal["diffusers"] = "diffusers"
    pipeline: str = Field(pattern=r"^[A-Za-z0-9]*ControlNet[A-Za-z0-9]*Pipeline$")
    arguments: Mapping[str, Any] = Field(default_factory=dict)
    """Arguments of the pipeline's call that no other key sets, for example `true_cfg_scale` or `control_mode`."""

    @model_validator(mode="after")
    def _one_at_a_time(self) -> DiffusersPipeline:
        for part, reason in MIXES_BATCHES.items():
            if part in self.pipeline and self.batch_size > 1:
                raise ValueError(
                    f"batch_size: {self.pipeline} {reason}, so a sample's neighbours would change its pixels; set 1"
                )
        return self

    def pipelines(self) -> tuple[str | None, str | None]:
        """The class, as a scene pipeline or as an inpainting one."""
        return (None, self.pipeline) if "Inpaint" in self.pipeline else (self.pipeline, None)

    def pipeline_arguments(self) -> Mapping[str, Any]:
        """`arguments`."""
        return self.arguments
