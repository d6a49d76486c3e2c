"""A region's bounding box cut into equal square tiles, and put together again.

Tiles at its border hold pixels from outside the region as well. They may be carried in, which tells nothing new; what
would be carried out is dropped, since only the region is written.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from synthgen.protectors.base import parts_of
from synthgen.types import Image, Mask

Tiles = np.ndarray
"""(number of tiles, side, side, 3), row by row."""


def treat_tiles(image: Image, where: Mask, side: int, treat: Callable[[Tiles], Tiles], least: int = 1) -> Image:
    """A copy of the image in which the tiles of each part of `where` were treated, part by part in raster order.

    Tiles have the given side (pixels), or less in a part that would not hold `least` of them along its shorter side;
    what a part lacks to whole tiles is mirrored.
    """
    result = image.copy()
    for rows, columns in parts_of(where):
        crop = image[rows, columns]
        height, width = crop.shape[:2]
        fitting = max(1, min(side, min(height, width) // least))
        padded = cv2.copyMakeBorder(crop, 0, -height % fitting, 0, -width % fitting, cv2.BORDER_REFLECT)
        down, across = padded.shape[0] // fitting, padded.shape[1] // fitting
        tiles = padded.reshape(down, fitting, across, fitting, 3).swapaxes(1, 2).reshape(-1, fitting, fitting, 3)
        joined = treat(tiles).reshape(down, across, fitting, fitting, 3).swapaxes(1, 2).reshape(padded.shape)
        result[rows, columns] = joined[:height, :width]
    return result
