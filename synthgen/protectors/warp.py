"""Geometric perturbation: a smooth random displacement of the pixels (elastic deformation, Simard et al. 2003).

It bends the proportions of a face. Texture and colour stay, and small bends mislead no recogniser.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from synthgen.protectors.base import Redactor
from synthgen.types import Image, Mask


class WarpRedactor(Redactor):
    """Displacements from the sample's stream, as white noise smoothed to waves, fading to none at a region's border."""

    moves_pixels: ClassVar[bool] = True
    kind: Literal["warp"] = "warp"
    amount: float = Field(default=8.0, gt=0, le=1000)
    """The largest displacement, pixels of the image that is treated; the waves are about four times as long."""

    def treat(self, image: Image, where: Mask, stream: np.random.Generator) -> Image:
        """The image, bent where `where` is True."""
        ys, xs = np.flatnonzero(where.any(axis=1)), np.flatnonzero(where.any(axis=0))
        rows, columns = slice(int(ys[0]), int(ys[-1]) + 1), slice(int(xs[0]), int(xs[-1]) + 1)
        inside = where[rows, columns]
        framed = np.pad(inside, 1).astype(np.uint8)
        fade = np.minimum(cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1] / self.amount, 1)
        noise = stream.standard_normal((2, *inside.shape), dtype=np.float32)
        waves = [cv2.GaussianBlur(layer, (0, 0), self.amount, borderType=cv2.BORDER_REFLECT) for layer in noise]
        field = np.stack(waves) * fade
        field *= self.amount / max(float(np.hypot(*field).max()), 1e-6)
        y, x = np.mgrid[rows, columns].astype(np.float32)
        map_x, map_y = (x + field[0]).astype(np.float32), (y + field[1]).astype(np.float32)
        bent = image.copy()
        bent[rows, columns] = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return bent
