"""Pixel replacement: the region is filled from what surrounds it (Telea 2004).

No pixel of the region has a say in the result (see `synthgen.regions.remove_pixels`), so of the people nothing is left
but where they were; the fill looks like a smear.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from synthgen.protectors.base import Redactor
from synthgen.regions import remove_pixels
from synthgen.types import Image, Mask


class InpaintRedactor(Redactor):
    """A fill from outside; with `region: all` there is no outside, and the image becomes an even grey."""

    kind: Literal["inpaint"] = "inpaint"

    def treat(self, image: Image, where: Mask, stream: np.random.Generator) -> Image:
        """The image with the pixels in `where` replaced."""
        return remove_pixels(image, where)
