"""Is the output an image at all? Rejects what a broken or censored generation leaves.

NaN latents become black or a constant when they are cast to `uint8`, and a pipeline's safety filter returns black:
both show as an image without contrast. A diverged sampler shows as an image whose pixels sit at the ends of the
range. So two numbers suffice, and both are of the output alone.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from synthgen.checks.base import Candidate, Check, CheckRun, Learned
from synthgen.types import Image, Score

CLIP_MARGIN = 2
"""A pixel within this of 0, or of 255, in all its channels counts as clipped."""


class QualityCheck(Check):
    """The score's value is the standard deviation of the luma (Rec. 601), 0..127.5."""

    kind: Literal["quality"] = "quality"
    min_std: float = Field(default=4.0, ge=0, le=127.5)
    """Less is rejected as constant (grain of σ = 5 in every channel on an even grey gives 3.3)."""
    max_clipped: float = Field(default=0.8, gt=0, le=1)
    """More than this share of black or white pixels is rejected as black or saturated."""

    def load(self, device: str, learned: Learned) -> CheckRun:
        """Nothing to load."""

        def check(candidate: Candidate) -> Score:
            image = candidate.generated.image
            fault = shape_fault(image, candidate.sample.size)
            if fault:
                return Score("quality", None, False, fault)
            std, clipped = luma_std(image), clipped_share(image)
            faults = []
            if std < self.min_std:
                faults.append(f"standard deviation {std:.2f} below min_std {self.min_std}")
            if clipped > self.max_clipped:
                faults.append(f"{clipped:.1%} of the pixels black or white, above max_clipped {self.max_clipped:.1%}")
            return Score("quality", std, not faults, "; ".join(faults))

        return check


def shape_fault(image: Image, size: tuple[int, int]) -> str:
    """What is wrong with the form of an output for a source of `size` (width, height); empty if nothing is."""
    expected = (size[1], size[0], 3)
    if image.shape != expected or image.dtype != np.uint8:
        return f"expected {expected} of uint8, got {image.shape} of {image.dtype}"
    return ""


def luma_std(image: Image) -> float:
    """Standard deviation of the Rec. 601 luma, in units of 0..255."""
    return float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).std(dtype=np.float64))


def clipped_share(image: Image) -> float:
    """Share of the pixels that are black or white to within `CLIP_MARGIN` in every channel, 0..1."""
    black = (image <= CLIP_MARGIN).all(axis=2)
    white = (image >= 255 - CLIP_MARGIN).all(axis=2)
    return float((black | white).mean())
