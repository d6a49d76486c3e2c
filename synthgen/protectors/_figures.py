"""Coarse shapes in place of people: the same proportions for everyone, placed by a region's box alone.

Where people overlap, the nearer one covers the farther. Distance is not known; of two people the one whose box is
taller counts as nearer.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np

from synthgen.regions import clip_box
from synthgen.types import Box, Mask, Region

HEAD_ASPECT = 0.75
"""Width by height of the coarse head."""
HEADS_TALL = 6.5
"""Heights of the head in a standing figure."""
HEAD_KINDS = ("face", "head")


def far_to_near(regions: Iterable[Region]) -> list[Region]:
    """The regions in the order of painting: by the height of their boxes, then by their place."""
    return sorted(regions, key=lambda region: (region.box.height, region.box.y1, region.box.x0))


def head_ellipse(box: Box) -> tuple[tuple[int, int], tuple[int, int]]:
    """Centre and half axes (pixels) of the upright ellipse of `HEAD_ASPECT` inscribed in a box, a pixel inside it."""
    half_height = min(box.height, box.width / HEAD_ASPECT) / 2
    centre = (round((box.x0 + box.x1) / 2), round((box.y0 + box.y1) / 2))
    return centre, (max(round(half_height * HEAD_ASPECT) - 1, 1), max(round(half_height) - 1, 1))


def figure_of(region: Region, shape: tuple[int, int]) -> Mask:
    """The coarse figure of a face, a head or a person in a frame of (height, width).

    Of a box that reaches out of the frame the part inside counts. A face or head is an ellipse. A person is a head
    above a body with round corners; in a box that is wider than half its height (someone who sits, or is cut off) the
    head is as tall as 2/5 of the width.
    """
    canvas = np.zeros(shape, dtype=np.uint8)
    box = clip_box(region.box, (shape[1], shape[0]))
    if box is None:
        return canvas.astype(np.bool_)
    if region.kind in HEAD_KINDS:
        cv2.ellipse(canvas, *head_ellipse(box), 0, 0, 360, 1, thickness=cv2.FILLED)
        return canvas.astype(np.bool_)
    head_height = max(box.height / HEADS_TALL, min(box.width * 2 / 5, box.height / 2))
    half = min(head_height * HEAD_ASPECT, box.width) / 2
    middle = (box.x0 + box.x1) / 2
    cv2.ellipse(
        canvas,
        *head_ellipse(Box(middle - half, box.y0, middle + half, box.y0 + head_height)),
        0,
        0,
        360,
        1,
        thickness=cv2.FILLED,
    )
    _fill_rounded(canvas, Box(box.x0, box.y0 + head_height * 0.95, box.x1, box.y1))
    return canvas.astype(np.bool_)


def _fill_rounded(canvas: np.ndarray, box: Box) -> None:
    """Fill a box whose corners are rounded by a third of its shorter side; at least one pixel."""
    x0, y0 = round(box.x0), round(box.y0)
    x1, y1 = max(round(box.x1) - 1, x0), max(round(box.y1) - 1, y0)
    radius = min(x1 - x0, y1 - y0) // 3
    cv2.rectangle(canvas, (x0 + radius, y0), (x1 - radius, y1), 1, thickness=cv2.FILLED)
    cv2.rectangle(canvas, (x0, y0 + radius), (x1, y1 - radius), 1, thickness=cv2.FILLED)
    for x in (x0 + radius, x1 - radius):
        for y in (y0 + radius, y1 - radius):
            cv2.circle(canvas, (x, y), radius, 1, thickness=cv2.FILLED)
