"""Precision, recall, density and coverage by k-nearest-neighbour balls (arXiv 1904.06991 and 2002.09797), k = 5.

Two sets of the same distribution do not score 1: so real-A is the reference, and real-B and the synthetic set are
scored against it. Precision and coverage are means of what each row, or each reference ball, sees of the scored set, so
one matrix of "row lies in ball" serves every permutation of the labels B and synthetic. Recall and density have no test
of their own: recall needs balls around the scored set, which change with every permutation, and coverage asks the same
question; density has no upper end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.permutation import LabelDraws, permutation_p

Array = NDArray[np.floating]
NEIGHBOURS = 5
CHUNK = 1000
REFERENCE = 4000
"""Rows of the reference and of each scored set at most: the cost of distances stops growing there."""


@dataclass(frozen=True)
class PRDC:
    """Each in 0..1, but density, which may be above 1."""

    precision: float
    recall: float
    density: float
    coverage: float


def squared_distances(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m) squared Euclidean distances between the rows of (n, d) and (m, d), ≥ 0."""
    gram = first @ second.T
    gram *= -2
    gram += (first**2).sum(1)[:, None]
    gram += (second**2).sum(1)[None, :]
    return np.maximum(gram, 0, out=gram)


def squared_radii(rows: NDArray[np.float64], k: int = NEIGHBOURS) -> NDArray[np.float64]:
    """(n,) squared distance of each row to its k-th nearest other row."""
    found = np.empty(len(rows))
    for start in range(0, len(rows), CHUNK):
        distances = squared_distances(rows[start : start + CHUNK], rows)
        here = np.arange(len(distances))
        distances[here, start + here] = 0.0
        found[start : start + CHUNK] = np.partition(distances, k, axis=1)[:, k]
    return found


def prdc(real: Array, fake: Array, k: int = NEIGHBOURS) -> PRDC:
    """PRDC of (m, d) `fake` rows against (n, d) `real` rows; both need more than k rows. Equals the package `prdc`."""
    centre = real.mean(0, dtype=np.float64)
    one, two = real.astype(np.float64) - centre, fake.astype(np.float64) - centre
    radii_real, radii_fake = squared_radii(one, k), squared_radii(two, k)
    in_real_balls = np.zeros(len(two))
    recalled = covered = 0
    for start in range(0, len(one), CHUNK):
        distances = squared_distances(one[start : start + CHUNK], two)
        inside = distances < radii_real[start : start + CHUNK, None]
        in_real_balls += inside.sum(0)
        covered += int(inside.any(1).sum())
        recalled += int((distances < radii_fake).any(1).sum())
    return PRDC(
        float((in_real_balls > 0).mean()), recalled / len(one), float(in_real_balls.mean() / k), covered / len(one)
    )


def precision_coverage_p(
    reference: Array, pooled: Array, draws: LabelDraws, k: int = NEIGHBOURS
) -> tuple[float, float]:
    """Permutation p of "precision (coverage) of the synthetic rows is below that of the real ones".

    Args:
        reference: (n, d) rows that are in neither scored set.
        pooled: (m, d) scored rows, real first, equally many of each.
        draws: labels of `pooled`.
    """
    centre = reference.mean(0, dtype=np.float64)
    balls, rows = reference.astype(np.float64) - centre, pooled.astype(np.float64) - centre
    radii = squared_radii(balls, k)
    labels = draws.rows()
    lies_inside = np.zeros(len(rows), dtype=bool)
    fake_cover, real_cover = np.zeros(draws.draws), np.zeros(draws.draws)
    for start in range(0, len(balls), CHUNK):
        inside = squared_distances(balls[start : start + CHUNK], rows) < radii[start : start + CHUNK, None]
        lies_inside |= inside.any(0)
        weights = inside.astype(np.float32)
        hits = weights @ labels
        fake_cover += (hits > 0.5).sum(0)
        real_cover += (weights.sum(1)[:, None] - hits > 0.5).sum(0)
    fakes = labels.sum(0)
    fake_precision = lies_inside @ labels / fakes
    real_precision = (lies_inside.sum() - lies_inside @ labels) / (len(rows) - fakes)
    return (
        permutation_p(fake_precision - real_precision, "less"),
        permutation_p((fake_cover - real_cover) / len(balls), "less"),
    )
