"""Tiling: a region is cut into tiles and the tiles change places. **No privacy control:** a puzzle can be laid again.

Every pixel of the region is still there; matching the borders of the tiles restores it, and a network learns to. It
is here to be compared with, and as a stage that a check must judge.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from synthgen.protectors._grid import Tiles, treat_tiles
from synthgen.protectors.base import Redactor
from synthgen.types import Image, Mask


class TilesRedactor(Redactor):
    """Tiles in an order drawn from the sample's own stream; no tile keeps its place if there are two or more."""

    moves_pixels: ClassVar[bool] = True
    kind: Literal["tiles"] = "tiles"
    size: int = Field(default=16, ge=1, le=4096)
    """Side of a tile, pixels of the image that is treated; a region has at least two by two, of smaller size if need
    be. The smaller, the less can be seen."""

    def treat(self, image: Image, where: Mask, stream: np.random.Generator) -> Image:
        """The image with the tiles of each part of `where` in another order."""

        def shuffle(tiles: Tiles) -> Tiles:
            return tiles[cyclic_order(len(tiles), stream)]

        return treat_tiles(image, where, self.size, shuffle, least=2)


def cyclic_order(count: int, stream: np.random.Generator) -> np.ndarray:
    """A permutation of 0..count-1 that is one cycle, so nothing keeps its place; each cycle is as likely."""
    circle = stream.permutation(count)
    order = np.empty(count, dtype=np.int64)
    order[circle] = np.roll(circle, 1)
    return order
