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

from synthgen.protectors.base import Protector, ProtectorRun
from synthgen.types import ControlMap, Image, Mask, Region, SourceMaps

DEPTH = "depth"
HEAD_ASPECT = 0.75
"""Width by height of the coarse head: the same for everyone, so the outline tells no one's proportions."""
RING = 3
"""Pixels around a hole from whose depth its own is taken."""
WHITE = (255, 255, 255)


class EdgesProtector(Protector):
    """Edge maps: black inside the mask, or a coarse ellipse for each head. Depth: flat inside each part of the mask."""

    kind: Literal["edges"] = "edges"
    maps: Literal["auto"] | tuple[str, ...] = "auto"
    """The kinds of map that are edges; `auto`: all but segmentation (maps with class ids) and depth."""
    shape: Literal["none", "ellipse"] = "none"
    """`ellipse` draws an upright ellipse into each `head` region: it says that a head is there, of nobody's shape."""
    depth: Literal["flatten", "drop"] = "flatten"
    """`flatten`: each part of the mask gets the median depth of the ring around it; `drop`: 0 (black, far)."""

    def load(self, device: str) -> ProtectorRun:
        """Nothing to load."""

        def protect(maps: SourceMaps, regions: tuple[Region, ...], mask: Mask) -> SourceMaps:
            heads = [region for region in regions if region.kind == "head"] if self.shape == "ellipse" else []
            for control in maps.maps.values():
                if control.kind == DEPTH:
                    image = (
                        flatten_depth(control.image, mask)
                        if self.depth == "flatten"
                        else drop_inside(control.image, mask)
                    )
                elif self._is_edge_map(control):
                    image = draw_heads(drop_inside(control.image, mask), heads, mask)
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
    mask."""
    if not heads:
        return image
    outline = np.zeros(mask.shape, dtype=np.uint8)
    for head in heads:
        box = head.box
        half_height = min(box.height, box.width / HEAD_ASPECT) / 2
        centre = (round((box.x0 + box.x1) / 2), round((box.y0 + box.y1) / 2))
        axes = (max(round(half_height * HEAD_ASPECT) - 1, 1), max(round(half_height) - 1, 1))
        cv2.ellipse(outline, centre, axes, 0, 0, 360, 255, thickness=1)
    drawn = image.copy()
    drawn[(outline > 0) & mask] = WHITE
    return drawn
