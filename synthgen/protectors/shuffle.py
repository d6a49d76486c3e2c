"""Patch shuffle: the pixels of each small patch change places within it (Kang et al., arXiv 1707.07103).

**No privacy control:** every patch keeps its colours, so the region keeps its coarse look, as under a noisy mosaic, and
averaging brings the mosaic back.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from synthgen.protectors._grid import Tiles, treat_tiles
from synthgen.protectors.base import Redactor
from synthgen.types import Image, Mask


class ShuffleRedactor(Redactor):
    """Pixels in an order drawn for each patch from the sample's own stream."""

    moves_pixels: ClassVar[bool] = True
    kind: Literal["shuffle"] = "shuffle"
    size: int = Field(default=8, ge=2, le=4096)
    """Side of a patch, pixels of the image that is treated; the larger, the less can be seen."""

    def treat(self, image: Image, where: Mask, stream: np.random.Generator) -> Image:
        """The image with the pixels of each patch of each part of `where` in another order."""

        def shuffle(patches: Tiles) -> Tiles:
            pixels = patches.reshape(len(patches), -1, 3)
            order = stream.random(pixels.shape[:2]).argsort(axis=1, kind="stable")
            return np.take_along_axis(pixels, order[..., None], axis=1).reshape(patches.shape)

        return treat_tiles(image, where, self.size, shuffle)
