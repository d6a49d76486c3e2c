"""What a protector must do: take the identity in the regions out of what the extractors saw."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from synthgen.component import Component
from synthgen.types import Mask, Region, SourceMaps

ProtectorRun = Callable[[SourceMaps, tuple[Region, ...], Mask], SourceMaps]
"""(maps, regions, union of the dilated regions (height, width)) → maps; the input is never changed in place.

Maps, regions and mask are of one size. What a protector writes inside the mask is a function of the regions, the mask
and what lies outside the mask, never of the map's or the canvas's own values inside it. (Segmentation is the
exception that `silhouette` explains.) What lies outside the mask it leaves as it is: that this holds nothing of a
region either is the work of `synthgen.regions.remove_pixels`, before the extractors.
"""


class Protector(Component):
    """Maps → maps with less in them. Protectors run in the order of the config; `seal` follows the last."""

    kind: str

    @abstractmethod
    def load(self, device: str) -> ProtectorRun:
        """Make it ready for `device`."""
