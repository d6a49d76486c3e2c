"""Colour-space perturbation: the colours of each region are turned, scaled and shifted in CIE L*a*b*.

Shape and texture stay, so it hides no face from a recogniser; it takes away the colour of skin, hair and clothes.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from synthgen.protectors.base import Redactor, parts_of
from synthgen.types import Image, Mask

MAX_TURN = np.pi
MAX_CHROMA = 0.75
MAX_LIGHTNESS = 40.0


class ColorRedactor(Redactor):
    """For each part of the region a turn of hue, a factor on chroma and a shift of lightness, from the sample's stream.

    Each is at least half of the largest that `amount` allows: 180°, ±75 % and ±40 units of L* at 1.
    """

    kind: Literal["color"] = "color"
    amount: float = Field(default=0.5, gt=0, le=1)
    """0 (nothing) to 1."""

    def treat(self, image: Image, where: Mask, stream: np.random.Generator) -> Image:
        """The image with each part of `where` in other colours."""
        result = image.copy()
        for rows, columns in parts_of(where):
            turn, chroma, shift = stream.choice((-1.0, 1.0), 3) * stream.uniform(0.5, 1.0, 3) * self.amount
            lab = cv2.cvtColor(np.ascontiguousarray(image[rows, columns], dtype=np.float32) / 255, cv2.COLOR_RGB2LAB)
            cos, sin = np.cos(turn * MAX_TURN), np.sin(turn * MAX_TURN)
            turned = lab[..., 1:] @ np.array([[cos, sin], [-sin, cos]], dtype=np.float32)
            lab[..., 1:] = turned * np.float32(1 + chroma * MAX_CHROMA)
            lab[..., 0] = np.clip(lab[..., 0] + np.float32(shift * MAX_LIGHTNESS), 0, 100)
            rgb = cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)
            result[rows, columns] = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
        return result
