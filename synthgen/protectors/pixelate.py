"""Pixelation (mosaic): every block of a fixed grid gets one colour, the mean of its treated pixels.

A mosaic is a small picture of the face. Recognisers read it where the face spans many blocks.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from synthgen.protectors.base import Redactor
from synthgen.types import Image, Mask


class PixelateRedactor(Redactor):
    """Blocks of a grid that begins in the image's corner; what lies outside the region has no part in their means."""

    kind: Literal["pixelate"] = "pixelate"
    block: int = Field(default=16, ge=2, le=4096)
    """Side of a block, pixels of the image that is treated."""

    def treat(self, image: Image, where: Mask, stream: np.random.Generator) -> Image:
        """Each block the mean of its pixels in `where`, rounded; blocks without any are black."""
        height, width = where.shape
        rows, columns = np.arange(0, height, self.block), np.arange(0, width, self.block)

        def sums(values: np.ndarray) -> np.ndarray:
            return np.add.reduceat(np.add.reduceat(values, rows, axis=0), columns, axis=1)

        counts = sums(where.astype(np.int64))[..., None]
        means = sums(np.where(where[..., None], image, 0).astype(np.int64)) / np.maximum(counts, 1)
        blocks = np.rint(means).astype(np.uint8).repeat(self.block, axis=0).repeat(self.block, axis=1)
        return blocks[:height, :width]
