"""Is an output a copy of an original? Told by two unlike measures, both beyond what unrelated pictures reach.

Features of a network see the same content after a change of colour or crop; a perceptual hash (the signs of the 8×8
lowest DCT frequencies of a 32×32 grey picture, Zauner 2010) sees the same composition. Each alone has false alarms,
since a replacement keeps the layout on purpose; a copy has both. The thresholds are set on the very set: no pair of
unrelated originals comes so near. What counts is the number of copies and the maximum, never a mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synthgen.types import Image

HASH_BITS = 64
MIN_PAIRS = 45
"""Pairs of unrelated originals for a threshold: ten pictures."""


@dataclass(frozen=True, eq=False)
class Copies:
    """`copied`: (m,) outputs that copy an original; `cosine_limit` and `hash_limit` are the thresholds.

    `max_cosine` and `min_hash` are the nearest that any output comes to any original; `unrelated` is the number of
    pairs behind the thresholds.
    """

    copied: NDArray[np.bool_]
    above_cosine: int
    within_hash: int
    cosine_limit: float
    hash_limit: float
    max_cosine: float
    min_hash: int
    unrelated: int


def perceptual_hash(image: Image) -> NDArray[np.bool_]:
    """(64,) bits of an RGB picture of any size; pictures of one composition differ in few."""
    gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (32, 32), interpolation=cv2.INTER_AREA)
    low = cv2.dct(gray.astype(np.float32))[:8, :8].ravel()
    bits: NDArray[np.bool_] = low > np.median(low)
    return bits


def find_copies(
    real: tuple[NDArray[np.floating], NDArray[np.bool_]],
    output: tuple[NDArray[np.floating], NDArray[np.bool_]],
    scene: NDArray[np.int64],
    alpha: float,
) -> Copies | None:
    """Compare every output with every original; None where there are too few unrelated originals.

    Args:
        real, output: features (n, d) and hashes (n, 64).
        scene: (n,) the scene or person of each original; originals of different ones are unrelated.
        alpha: how likely any output is called a copy where there is none, if distances are normal.
    """
    cosines, gaps = _compare(real, real)
    apart = np.triu(scene[:, None] != scene[None], 1)
    if apart.sum() < MIN_PAIRS or not len(output[0]):
        return None
    comparisons = len(output[0]) * len(real[0])
    reach = float(stats.norm.isf(alpha / comparisons))
    cosine_limit = max(float(cosines[apart].max()), _reach(cosines[apart], reach))
    hash_limit = min(float(gaps[apart].min()), _reach(gaps[apart], -reach))
    made_cosines, made_gaps = _compare(output, real)
    alike, near = made_cosines > cosine_limit, made_gaps < hash_limit
    copied: NDArray[np.bool_] = np.any(alike & near, axis=1)
    return Copies(
        copied,
        int(alike.any(axis=1).sum()),
        int(near.any(axis=1).sum()),
        cosine_limit,
        hash_limit,
        float(made_cosines.max()),
        int(made_gaps.min()),
        int(apart.sum()),
    )


def _reach(values: NDArray[np.floating], deviations: float) -> float:
    """The normal quantile; a cosine has its end at 1, so it is reached on the scale of its Fisher transform."""
    if values.max() <= 1:
        bounded = np.arctanh(np.clip(values, -0.999999, 0.999999))
        return float(np.tanh(bounded.mean() + deviations * bounded.std()))
    return float(values.mean() + deviations * values.std())


def _compare(
    first: tuple[NDArray[np.floating], NDArray[np.bool_]], second: tuple[NDArray[np.floating], NDArray[np.bool_]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    units = [one / np.maximum(np.linalg.norm(one, axis=1, keepdims=True), 1e-12) for one in (first[0], second[0])]
    a, b = first[1].astype(np.float64), second[1].astype(np.float64)
    gaps = a.sum(1)[:, None] + b.sum(1)[None] - 2 * a @ b.T
    return (units[0] @ units[1].T).astype(np.float64), gaps
