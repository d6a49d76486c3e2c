"""Near-identical images within a set: a generator that repeats itself looks diverse image by image.

Two images are near-identical where their unit features lie closer than `NEAR` times the median distance of two real
images: a bound that holds for any features. A copy counts once: an image repeats where a twin stands *earlier* in the
(shuffled) set; counting both of a pair would make one event two and chance look smaller than it is. Some real sets
repeat too (frames of a film), so shares are compared at equal size. At most `QUERIES` rows ask, all rows answer: the
cost is linear in n.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
NEAR = 0.1
QUERIES = 2000


def unit_rows(features: Array) -> NDArray[np.float32]:
    """(n, d) rows scaled to length 1."""
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return (features / np.maximum(norms, 1e-12)).astype(np.float32)


def median_distance(unit: NDArray[np.float32], rng: np.random.Generator) -> float:
    """Median Euclidean distance of random pairs of rows."""
    pairs = rng.integers(0, len(unit), (2, 4000))
    pairs = pairs[:, pairs[0] != pairs[1]]
    return float(np.median(np.linalg.norm(unit[pairs[0]] - unit[pairs[1]], axis=1)))


def repeats_earlier(unit: NDArray[np.float32], queries: NDArray[np.int64], distance: float) -> NDArray[np.bool_]:
    """Whether each queried row of (n, d) unit rows has a row before it within `distance`.

    Candidates come from float32 inner products with room to spare and are measured again as differences, which stay
    exact for close rows.
    """
    bound = np.float32(1 - distance**2 / 2 - 1e-5)
    found = np.zeros(len(queries), dtype=bool)
    for start in range(0, len(queries), 250):
        rows = queries[start : start + 250]
        near = unit[rows] @ unit.T >= bound
        near &= np.arange(len(unit)) < rows[:, None]
        for position in np.flatnonzero(near.any(1)):
            others = np.flatnonzero(near[position])
            gaps = np.linalg.norm(unit[others] - unit[rows[position]], axis=1)
            found[start + position] = bool((gaps <= distance).any())
    return found
