"""A solid mask: one colour over the region. No pixel of the region is left, its outline and surroundings are."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from synthgen.protectors.base import Redactor
from synthgen.types import Image, Mask

Channel = Annotated[int, Field(ge=0, le=255)]


class SolidRedactor(Redactor):
    """One colour. Its intensity is the size of the region: see `dilate`."""

    kind: Literal["solid"] = "solid"
    color: tuple[Channel, Channel, Channel] = (0, 0, 0)
    """[r, g, b], 0..255."""

    def treat(self, image: Image, where: Mask, stream: np.random.Generator) -> Image:
        """An image of nothing but the colour."""
        return np.full_like(image, self.color)
