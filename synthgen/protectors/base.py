"""What a protector must do, of either sort, and the one scale of how much of a region is left.

A **`Protector`** takes the identity out of control maps, before a generator sees them. A **`Redactor`** is a classic
method (blur, pixelation …) and changes pixels. The two never meet: what redactors make of a protected region's own
pixels is a `Redacted`, the output of a run whose generator is `none`, and no `Controls` are made of it. In a run
with a generator, redactors see the picture only after the protected pixels were removed from it.

**`strength`**, mildest first. At every step the pixels of the regions are removed before any map is extracted, so no
edge, no shade and no garment of a person is in any map; what differs is the coarse shape that takes their place:

|          | regions  | edge maps                         | depth | labelled masks       | found class maps         |
|----------|----------|-----------------------------------|-------|----------------------|--------------------------|
| light    | outlines | black inside, an ellipse per head | flat  | as labelled          | the region's, smoothed   |
| standard | outlines | black inside                      | flat  | as labelled          | figures                  |
| strong   | boxes    | black inside                      | flat  | no parts, smoothed   | figures                  |
| strict   | boxes    | black throughout                  | black | figures              | figures                  |

*Outlines*: a region's mask where it has one; *boxes*: even the hole has nobody's outline. *Flat*: the median depth
around the region. *Figure*: an upright ellipse for a head, a rounded box below it for a body, of the same proportions
for everyone. A labelled mask is kept at first since it is released with the outputs. `strict` leaves the class map
alone to say what is where; a run without one loses its layout.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar, Literal, TypeVar, get_args

import cv2
import numpy as np

from synthgen.component import Component
from synthgen.types import Image, Mask, Region, SourceMaps

Strength = Literal["light", "standard", "strong", "strict"]
STRENGTHS: tuple[Strength, ...] = get_args(Strength)
"""The steps of the scale, mildest first."""
ProtectorRun = Callable[[SourceMaps, tuple[Region, ...], Mask], SourceMaps]
"""(maps, regions, union of the dilated regions (height, width)) → maps; the input is never changed in place.

Maps, regions and mask are of one size. What a protector writes inside the mask is a function of the regions, the mask
and what lies outside the mask, never of the map's or the canvas's own values inside it. (A segmentation painted from
labels is the exception that `silhouette` explains.) What lies outside the mask it leaves as it is, or (at `strict`)
drops: that this holds nothing of a region either is the work of `synthgen.regions.remove_pixels`, before the
extractors.
"""
RedactorRun = Callable[[Image, Mask, np.random.Generator], Image]
"""(image (height, width, 3), union of the dilated regions, the sample's own stream) → image of the same shape.

Pixels that are not treated come back byte for byte; the input is never changed in place.
"""
ProtectorT = TypeVar("ProtectorT", bound="Protector")


class Protection(Component):
    """What may stand under `protect`, in the order in which it is done."""

    kind: str


class Protector(Protection):
    """Maps → maps with less in them. Protectors run in the order of the config; `seal` follows the last."""

    strength: Strength | None = None
    """A step of the scale above for this protector alone; null: the stage's, or the run's."""

    @abstractmethod
    def load(self, device: str) -> ProtectorRun:
        """Make it ready for `device`; where `strength` is null, as at `standard`."""

    def at(self: ProtectorT, strength: Strength) -> ProtectorT:
        """This protector with `strength` filled in where it names none."""
        return self if self.strength is not None else self.model_copy(update={"strength": strength})

    @property
    def step(self) -> int:
        """The place of its strength on the scale, 0 (light) to 3 (strict)."""
        return STRENGTHS.index(self.strength or "standard")


class Redactor(Protection):
    """Pixels → pixels: a classic method, alone (`generate: {kind: none}`) or under a generator.

    Alone it treats the regions' own pixels; that is all the privacy it gives. Under a generator it treats the picture
    that the extractors read, and the canvas, after the regions' pixels were removed: with `region: all` the maps lose
    detail everywhere; in the regions it has the fill to work on and nothing else.
    """

    moves_pixels: ClassVar[bool] = False
    """Whether it carries pixels elsewhere, so that labels no longer fit where it is applied."""
    region: Literal["regions", "all"] = "regions"
    """Where: the dilated regions, or the whole picture."""

    @abstractmethod
    def treat(self, image: Image, where: Mask, stream: np.random.Generator) -> Image:
        """The image treated at least where `where` is True; it may write anything elsewhere, that is dropped.

        `where` (height, width) holds at least one pixel; `stream` belongs to this sample and this redactor.
        """

    def load(self, device: str) -> RedactorRun:
        """Nothing to load."""

        def redact(image: Image, mask: Mask, stream: np.random.Generator) -> Image:
            where = np.ones_like(mask) if self.region == "all" else mask
            if not where.any():
                return image
            return np.where(where[..., None], self.treat(image, where, stream), image)

        return redact


def coarse_regions(regions: tuple[Region, ...], strength: Strength) -> tuple[Region, ...]:
    """The regions as they are protected at `strength`: from `strong` on every one is its box."""
    if STRENGTHS.index(strength) < STRENGTHS.index("strong"):
        return regions
    return tuple(replace(region, mask=None) for region in regions)


def parts_of(mask: Mask) -> list[tuple[slice, slice]]:
    """(rows, columns) of the bounding box of each 8-connected part of a mask, in raster order."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    boxes = [tuple(int(value) for value in stats[label][:4]) for label in range(1, count)]
    return [(slice(y, y + height), slice(x, x + width)) for x, y, width, height in boxes]
