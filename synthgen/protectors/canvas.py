"""The canvas of `mode: people` loses its people: the pixels under the mask are filled from outside, the rest stays.

The mask becomes the hole that the generator paints. `remove_pixels` blanks before it fills, so not one byte of the
result depends on a pixel inside the mask.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from synthgen.protectors.base import Protector, ProtectorRun
from synthgen.regions import remove_pixels
from synthgen.types import Mask, Region, SourceMaps


class CanvasProtector(Protector):
    """Fills the canvas inside the mask and sets the hole; without a canvas (`mode: scene`) it does nothing."""

    kind: Literal["canvas"] = "canvas"

    def load(self, device: str) -> ProtectorRun:
        """Nothing to load."""

        def protect(maps: SourceMaps, regions: tuple[Region, ...], mask: Mask) -> SourceMaps:
            if maps.canvas is None:
                return maps
            hole = mask if maps.hole is None else mask | maps.hole
            return replace(maps, canvas=remove_pixels(maps.canvas, hole), hole=hole.copy())

        return protect
