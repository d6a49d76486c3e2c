"""Canny edges (Canny 1986, through OpenCV): white on black, as every public canny ControlNet expects.

What counts as an edge should not depend on how many pixels a picture has. So the picture is smoothed first by a
Gaussian whose width grows with the picture's side: `sigma` is its width in pixels where sqrt(width × height) is 222
(256×192), and it is never under 0.5. The starter's canny ControlNet was trained on exactly the defaults.

A wider Gaussian also flattens gradients. At the starter's sizes fixed thresholds are right; for SD's and SDXL's set
`scale_thresholds`, which lowers both by as much as the Sobel response to a step edge falls, erf(1 / (sigma √2)) under a
Gaussian of sigma: then the same contrast makes an edge at every size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from synthgen.extractors.base import Extractor, ExtractorRun
from synthgen.types import ControlMap, Image, Sample

REFERENCE_SIDE = 222
"""Pixels: the geometric mean of the sides at which `sigma` holds as it is."""
MIN_SIGMA = 0.5


def canny_edges(
    image: Image, low: float = 60, high: float = 150, sigma: float = 0.8, scale_thresholds: bool = False
) -> NDArray[np.uint8]:
    """Edges of an RGB picture (height, width, 3): (height, width), 255 on an edge, 0 elsewhere.

    Args:
        low, high: hysteresis thresholds on the Euclidean norm of the 3×3 Sobel gradient of the gray picture (0..255).
        sigma: width of the Gaussian in pixels where sqrt(width × height) is `REFERENCE_SIDE`.
        scale_thresholds: lower both thresholds as the Gaussian widens.
    """
    height, width = image.shape[:2]
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    wide = max(MIN_SIGMA, sigma * math.sqrt(width * height) / REFERENCE_SIDE)
    blurred = cv2.GaussianBlur(gray, (0, 0), wide)
    factor = _step_response(wide) / _step_response(sigma) if scale_thresholds else 1.0
    edges: NDArray[np.uint8] = cv2.Canny(blurred, low * factor, high * factor, L2gradient=True).astype(np.uint8)
    return edges


def _step_response(sigma: float) -> float:
    """Height of the 3×3 Sobel response to a unit step under a Gaussian of `sigma`, over that to a sharp step."""
    return math.erf(1 / (sigma * math.sqrt(2)))


class Canny(Extractor):
    """White edges on black."""

    kind: Literal["canny"] = "canny"
    low: float = Field(default=60, gt=0)
    high: float = Field(default=150, gt=0)
    """Gradient norms (gray levels × the Sobel gain of 4): an edge starts at `high` and is followed down to `low`."""
    sigma: float = Field(default=0.8, gt=0)
    """Smoothing in pixels at 256×192; it follows the size."""
    scale_thresholds: bool = False
    """Lower the thresholds as the smoothing grows; for pictures well above 256×192."""

    @model_validator(mode="after")
    def _ordered(self) -> Canny:
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) must not exceed high ({self.high})")
        return self

    def load(self, device: str) -> ExtractorRun:
        """Nothing to load; runs on the CPU."""

        def run(samples: Sequence[Sample]) -> list[ControlMap]:
            return [self._map(sample.image) for sample in samples]

        return run

    def _map(self, image: Image) -> ControlMap:
        edges = canny_edges(image, self.low, self.high, self.sigma, self.scale_thresholds)
        return ControlMap(self.kind, np.repeat(edges[:, :, None], 3, axis=2))
