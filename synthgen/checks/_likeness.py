"""How near two pictures are: a perceptual hash, and the correlation of what is neither the layout nor grain.

The hash (Zauner 2010) holds the signs of the 8×8 lowest DCT frequencies of a 32×32 grey picture. The correlation is
taken between the pictures less their local mean (Gaussian, `COARSE` of the longer side: that is the layout, which an
output shares with its source on purpose) and after a light blur (`FINE`: compression, grain).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.types import Image, Mask

HASH_BITS = 64
COARSE, FINE = 0.04, 0.01


def perceptual_hash(image: Image) -> int:
    """64 bits; pictures of one composition differ in few of them."""
    gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(gray.astype(np.float32))[:8, :8].ravel()
    return int.from_bytes(np.packbits(low > np.median(low)).tobytes(), "big")


def hash_gaps(hashes: NDArray[np.uint64], one: int) -> NDArray[np.int64]:
    """(n,) bits in which each hash differs from one."""
    return np.bitwise_count(hashes ^ np.uint64(one)).astype(np.int64)


def correlation(first: Image, second: Image, where: Mask | None) -> float:
    """−1..1 over the pixels of `where` (all if None), between two pictures of one size; 0 where either is flat there.

    The local mean, too, is that of the pixels of `where` alone.
    """
    a, b = _detail(first, where), _detail(second, where)
    if where is not None:
        a, b = a[where], b[where]
    a, b = a - a.mean(), b - b.mean()
    norm = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum() / norm) if norm > 1e-6 else 0.0


def _detail(image: Image, where: Mask | None) -> NDArray[np.float32]:
    luma = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    weight = np.ones_like(luma) if where is None else where.astype(np.float32)
    longer = max(luma.shape)
    return _mean(luma, weight, FINE * longer) - _mean(luma, weight, COARSE * longer)


def _mean(luma: NDArray[np.float32], weight: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    """The Gaussian mean of the pixels with a weight."""
    total = cv2.GaussianBlur(luma * weight, (0, 0), sigma)
    return (total / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-3)).astype(np.float32)
