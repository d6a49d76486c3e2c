"""The geometry of regions, and the removal of what is in them: the ground that the privacy boundary stands on.

Every rounding here goes outwards. A pixel that a region touches, however little, belongs to it; scaling a mask down
never loses a pixel; nothing is too small to protect.

**The guarantee, and on what it rests.** `remove_pixels` blanks the masked pixels before it computes anything, so its
result is a function of the mask and of the pixels outside it: proved by construction, not by the size of a filter.
Whatever is computed from that result (edges, depth, soft edges of a network with any receptive field) has the same
property. So the strong form of the boundary is:

1. at the source's size, `mask = dilate_regions(regions, size, share)` and `image = remove_pixels(image, mask)`;
2. scale the image (any interpolation), the mask by `scale_mask`, the regions by `scale_regions`;
3. extract from that image, protect with that mask.

Then no map and no canvas has ever seen a protected pixel, and an edge map holds nothing of a region even outside it.
Removing after scaling gives the same only if each scaled pixel averages its own footprint and nothing else
(`cv2.INTER_AREA`, downwards): bicubic and Lanczos filters carry pixels across the border of the mask, as do Canny's
hysteresis and every network if they run before the removal; no finite dilation covers those.

What remains is the place and the coarse outline of each region, which the labels of the release tell anyway.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np

from synthgen.types import Box, ClassIds, Image, Mask, Region, RegionKind

Size = tuple[int, int]
"""(width, height) in pixels."""
MIN_GROWTH = 2
"""Pixels a region grows at least: covers the blur of a scaled outline and a label that is one pixel off."""
SMALL_SIDE = 8
"""A component no larger than this (pixels) becomes a box: it covers a little more and spares a mask of the full
size."""
FILL_RADIUS = 3
"""Neighbourhood (pixels) from which a removed pixel is filled (Telea 2004)."""
NOTHING_KNOWN = 128
"""The grey of an image of which every pixel was removed."""


def clip_box(box: Box, size: Size) -> Box | None:
    """The part of a box inside the frame, or None where there is none."""
    width, height = size
    x0, y0, x1, y1 = max(box.x0, 0.0), max(box.y0, 0.0), min(box.x1, float(width)), min(box.y1, float(height))
    return Box(x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def mask_to_regions(
    ids: ClassIds,
    class_ids: Collection[int],
    kind: RegionKind,
    origin: Literal["label", "detector"] = "label",
    score: float = 1.0,
) -> list[Region]:
    """The 8-connected components of the pixels whose class is in `class_ids`, one pixel being enough, in raster order.

    Together they cover at least those pixels. A component that fills its box, or whose box is at most `SMALL_SIDE`
    pixels long, is given by its box alone.
    """
    wanted = np.isin(ids, np.fromiter(class_ids, dtype=np.int64)).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(wanted, connectivity=8)
    regions = []
    for label in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[label])
        box = Box(float(x), float(y), float(x + width), float(y + height))
        mask = None
        if area < width * height and max(width, height) > SMALL_SIDE:
            mask = np.zeros(ids.shape, dtype=np.bool_)
            mask[y : y + height, x : x + width] = labels[y : y + height, x : x + width] == label
        regions.append(Region(kind=kind, box=box, score=score, origin=origin, mask=mask))
    return regions


def covered_share(region: Region, mask: Mask) -> float:
    """The share, 0..1, of a region's pixels (of its box, where it has no mask) that lie under `mask`."""
    if region.mask is not None and region.mask.any():
        return float(mask[region.mask].mean())
    box = region.box
    inside = mask[max(math.floor(box.y0), 0) : math.ceil(box.y1), max(math.floor(box.x0), 0) : math.ceil(box.x1)]
    return float(inside.mean()) if inside.size else 1.0


def scale_mask(mask: Mask, to_size: Size) -> Mask:
    """Scale a mask so that a pixel is True where any source pixel that it touches is True; (height, width) of
    `to_size`."""
    width, height = to_size
    return _touched(_touched(mask, height, axis=0), width, axis=1)


def _touched(mask: Mask, length: int, axis: int) -> Mask:
    """Along one axis: target pixel t touches the source pixels floor(t·n/length) … ceil((t+1)·n/length)."""
    source = mask.shape[axis]
    if source == length:
        return mask
    target = np.arange(length, dtype=np.int64)
    edges = np.stack([target * source // length, -(-(target + 1) * source // length)], axis=1).ravel()
    padding = [(0, 1) if side == axis else (0, 0) for side in range(mask.ndim)]
    spans: Mask = np.logical_or.reduceat(np.pad(mask, padding), edges, axis=axis)
    return spans[::2] if axis == 0 else spans[:, ::2]


def scale_regions(regions: Iterable[Region], from_size: Size, to_size: Size) -> list[Region]:
    """Regions of an image of `from_size` as regions of the same image at `to_size`; masks by `scale_mask`."""
    sx, sy = to_size[0] / from_size[0], to_size[1] / from_size[1]
    return [
        replace(
            region,
            box=Box(region.box.x0 * sx, region.box.y0 * sy, region.box.x1 * sx, region.box.y1 * sy),
            mask=None if region.mask is None else scale_mask(region.mask, to_size),
        )
        for region in regions
    ]


def dilate_regions(regions: Iterable[Region], size: Size, share: float) -> Mask:
    """The union of the regions, each grown by `share` of its box's longer side (at least `MIN_GROWTH` px).

    A mask grows by a disc, a box as a box; a mask with nothing in it counts as its box. What lies outside the frame
    is cut off after growing, so a box just outside still covers its share inside.

    Args:
        size: (width, height) of the image; every mask has that shape.

    Returns:
        (height, width), True where something must be protected.

    Raises:
        ValueError: a region's mask has another shape than the image.
    """
    width, height = size
    union: Mask = np.zeros((height, width), dtype=np.bool_)
    for region in regions:
        box = region.box
        radius = max(MIN_GROWTH, math.ceil(share * max(box.width, box.height)))
        if region.mask is not None and region.mask.shape != (height, width):
            raise ValueError(f"a region's mask is {region.mask.shape[::-1]}, its image is {size} (width, height)")
        if region.mask is not None and region.mask.any():
            _add_dilated(union, region.mask, radius)
        else:
            rows = slice(max(math.floor(box.y0) - radius, 0), max(math.ceil(box.y1) + radius, 0))
            columns = slice(max(math.floor(box.x0) - radius, 0), max(math.ceil(box.x1) + radius, 0))
            union[rows, columns] = True
    return union


def _add_dilated(union: Mask, mask: Mask, radius: int) -> None:
    """Add to `union` every pixel within `radius` of `mask`, by its distance transform: the cost is that of the area
    alone."""
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    rows = slice(max(int(ys[0]) - radius, 0), int(ys[-1]) + radius + 1)
    columns = slice(max(int(xs[0]) - radius, 0), int(xs[-1]) + radius + 1)
    outside = np.logical_not(mask[rows, columns]).astype(np.uint8)
    union[rows, columns] |= cv2.distanceTransform(outside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= radius


def remove_pixels(image: Image, mask: Mask) -> Image:
    """The image with the masked pixels replaced by a fill from the pixels outside (Telea 2004, `cv2.INPAINT_TELEA`).

    Masked pixels are blanked first, so the result does not depend on them (OpenCV's inpainting by itself does read
    them: its gradients reach into the hole). The others are returned bit for bit. Where all are masked the result is an
    even grey.

    Args:
        image: (height, width, 3), left as it is.
        mask: (height, width).

    Raises:
        ValueError: image and mask differ in size.
    """
    if mask.shape != image.shape[:2]:
        raise ValueError(f"the mask is {mask.shape[::-1]}, the image is {image.shape[1::-1]} (width, height)")
    if not mask.any():
        return image.copy()
    if mask.all():
        return np.full_like(image, NOTHING_KNOWN)
    blanked = image.copy()
    blanked[mask] = 0
    blanked[mask] = cv2.inpaint(blanked, mask.astype(np.uint8), FILL_RADIUS, cv2.INPAINT_TELEA)[mask]
    return blanked
