"""The head around a face: what hair, ears, hat and collar add to what a face detector frames."""

from __future__ import annotations

from dataclasses import replace

from synthgen.regions import clip_box
from synthgen.types import Box, Region

HEAD_SIDE, HEAD_UP, HEAD_DOWN = 0.4, 0.6, 0.3
"""A face's box spans the forehead to the chin and ear to ear. The head with its hair reaches 0.4 of the face's width
beyond it on either side, 0.6 of its height above (crown, hair or hat) and 0.3 below (beard, collar)."""


def head_around_face(face: Region, size: tuple[int, int]) -> Region:
    """The `head` region of a `face` region, clipped to the frame of (width, height)."""
    box = face.box
    side, up, down = box.width * HEAD_SIDE, box.height * HEAD_UP, box.height * HEAD_DOWN
    head = clip_box(Box(box.x0 - side, box.y0 - up, box.x1 + side, box.y1 + down), size)
    return replace(face, kind="head", box=head or box, mask=None)
