"""Boxes to pictures of one size: the face laid on the points that ArcFace networks know, or the box as it is."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.types import Box, Image

TEMPLATE = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 79.0]])
"""Where 112×112 pictures for ArcFace (arXiv 1801.07698) have the eyes (InsightFace's `face_align`), and the base of the
nose: between the tip (y 71.7) and the mouth (y 92.3), where dlib's point lies on faces with the eyes in place."""
TEMPLATE_SIDE = 112


def similarity(points: NDArray[np.float64], targets: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3): the turn, scale and shift that bring (n, 2) points nearest to targets (least squares; Umeyama 1991).

    In complex numbers q = a·p + b, with a = Σ conj(p − p̄)(q − q̄) / Σ |p − p̄|².
    """
    p, q = points @ [1, 1j], targets @ [1, 1j]
    spread = p - p.mean()
    a = (spread.conj() * (q - q.mean())).sum() / max(float((np.abs(spread) ** 2).sum()), 1e-9)
    b = q.mean() - a * p.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def aligned_face(image: Image, points: NDArray[np.float64], side: int) -> Image:
    """(side, side, 3) with the (3, 2) points of a face on the template; black outside the frame."""
    matrix = similarity(points, TEMPLATE * (side / TEMPLATE_SIDE))
    warped: Image = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR).astype(np.uint8)
    return warped


def cropped_box(image: Image, box: Box, margin: float, size: tuple[int, int] | None) -> Image:
    """The box, grown by `margin` of each side on every side, at `size` (width, height), or at its own if None.

    Black outside the frame; at least one pixel.
    """
    x, y = margin * box.width, margin * box.height
    x0, y0 = math.floor(box.x0 - x), math.floor(box.y0 - y)
    x1, y1 = max(math.ceil(box.x1 + x), x0 + 1), max(math.ceil(box.y1 + y), y0 + 1)
    part = image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    whole = np.zeros((y1 - y0, x1 - x0, 3), np.uint8)
    top, left = max(-y0, 0), max(-x0, 0)
    whole[top : top + part.shape[0], left : left + part.shape[1]] = part
    if size is None:
        return whole
    shrinks = whole.shape[1] > size[0] or whole.shape[0] > size[1]
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(whole, size, interpolation=interpolation).astype(np.uint8)
