"""Stable Diffusion 1.x and 2.x, and everything of their shape (the embedded starter), with one or more ControlNets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from synthgen.generators._options import StableDiffusionFamily


class StableDiffusion(StableDiffusionFamily):
    """`kind: sd`.

    `safety_checker: true` runs the checker of the repository: an image that it flags comes back black, which
    `check: quality` rejects, so the sample is tried again with another seed and then quarantined.
    """

    kind: Literal["sd"] = "sd"
    safety_checker: bool = False

    def pipelines(self) -> tuple[str | None, str | None]:
        """The ControlNet pipeline, and its inpainting form."""
        return "StableDiffusionControlNetPipeline", "StableDiffusionControlNetInpaintPipeline"

    def components(self) -> Mapping[str, Any]:
        """No safety checker unless it is asked for."""
        return {} if self.safety_checker else {"safety_checker": None, "requires_safety_checker": False}
