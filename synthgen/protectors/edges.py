"""Edges and depth inside the protected mask are taken out: an edge or depth map of a face names its owner.

(arXiv 2504.05849 identifies people from such maps.) Inside the mask an edge map becomes black, which tells a ControlNet
"no outline given here"; depth becomes flat. Both results depend only on the mask and on what is outside it.

`maps: auto` takes every map that is neither a segmentation nor depth for an edge map, so a new kind of extractor is
protected before anyone thinks of it.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from synthgen.protectors._figures import far_to_near, head_ellipse
from synthgen.protectors.base import STRENGTHS, Protector, ProtectorRun
from synthgen.types import ControlMap, Image, Mask, Region, SourceMaps

DEPTH = "depth"
RING = 3
"""Pixels around a hole from whose depth its own is taken."""
WHITE = (255, 255, 255)


class EdgesProtector(Protector):
    """Edge maps: black inside the mask, or a coarse ellipse for each head. Depth: flat inside each part of the mask."""

    kind: Literal["edges"] = "edges"
    maps: Literal["auto"] | tuple[str, ...] = "auto"
    """The kinds of map that are edges; `auto`: all but segmentation (maps with class ids) and depth."""
    shape: Literal["auto", "none", "ellipse"] = "auto"
    """`ellipse` draws an upright ellipse into each `head` region: it says that a head is there, of nobody's shape.
    `auto`: by `strength`."""
    depth: Literal["auto", "flatten", "drop"] = "auto"
    """`flatten`: each part of the mask gets the median depth of the ring around it; `drop`: 0 (black, far). `auto`: by
    `strength`."""

    def load(self, device: str) -> ProtectorRun:
        """Nothing to load."""
        strict = self.step == STRENGTHS.index("strict")
        ellipses = self.shape == "ellipse" or (self.shape == "auto" and self.step == 0)
        drops_depth = self.depth == "drop" or (self.depth == "auto" and strict)

        def protect(maps: SourceMaps, regions: tuple[Region, ...], mask: Mask) -> SourceMaps:
            heads = [region for region in regions if region.kind == "head"] if ellipses else []
            for control in maps.maps.values():
                if control.kind == DEPTH:
                    image = drop_inside(control.image, mask) if drops_depth else flatten_depth(control.image, mask)
                elif self._is_edge_map(control):
                    dropped = drop_inside(control.image, np.ones_like(mask) if strict else mask)
                    image = draw_heads(dropped, heads, mask)
                else:
                    continue
                maps = maps.with_map(ControlMap(control.kind, image, control.ids, control.names))
            return maps

        return protect

    def _is_edge_map(self, control: ControlMap) -> bool:
        return control.ids is None if self.maps == "auto" else control.kind in self.maps


def drop_inside(image: Image, mask: Mask) -> Image:
    """A copy of a map that is black inside the mask."""
    dropped = image.copy()
    dropped[mask] = 0
    return dropped


def flatten_depth(image: Image, mask: Mask) -> Image:
    """A copy of a depth map in which each connected part of the mask has one value.

    It is the median of the unmasked pixels at most `RING` px away from the part; 0 where there are none (the mask is
    the whole image), so it never comes from inside.
    """
    flat = drop_inside(image, mask)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * RING + 1, 2 * RING + 1))
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    for label in range(1, count):
        part = labels == label
        ring = cv2.dilate(part.astype(np.uint8), kernel).astype(bool) & ~mask
        if ring.any():
            flat[part] = np.median(image[ring], axis=0).astype(np.uint8)
    return flat


def draw_heads(image: Image, heads: list[Region], mask: Mask) -> Image:
    """A copy of an edge map with a white ellipse, one pixel wide, inscribed upright into each head's box, inside the
    mask; a nearer head covers the outline of a farther one."""
    if not heads:
        return image
    outline = np.zeros(mask.shape, dtype=np.uint8)
    for head in far_to_near(heads):
        ellipse = head_ellipse(head.box)
        cv2.ellipse(outline, *ellipse, 0, 0, 360, 0, thickness=cv2.FILLED)
        cv2.ellipse(outline, *ellipse, 0, 0, 360, 255, thickness=1)
    drawn = image.copy()
    drawn[(outline > 0) & mask] = WHITE
    return drawn
