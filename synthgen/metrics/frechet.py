"""Fréchet distance between Gaussians fitted to two sets of features, streamed, and its value at infinite size.

‖μ₁ − μ₂‖² + Tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) (Dowson & Landau 1982; Heusel et al., arXiv 1706.08500, who call it FID on
Inception's features; on any other features it has another scale and another name). It is biased upwards by about 1/N,
so sets of unequal size can't be compared; FD∞ is the intercept of a line through distances at growing N against 1/N
(Chong & Forsyth, arXiv 1911.07023; there the reference stays whole, here both sets grow, as the real one is small too).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Matrix = NDArray[np.float64]
CHUNK = 8192


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean (d,) and scatter Σ(x − μ)(x − μ)ᵀ (d, d) of a set, in float64."""

    count: int
    mean: Matrix
    scatter: Matrix

    @property
    def covariance(self) -> Matrix:
        """Unbiased: scatter / (count − 1)."""
        return self.scatter / (self.count - 1)


def moments(features: Array) -> Moments:
    """Moments of (n, d) features, in chunks."""
    total = Moments(0, np.zeros(features.shape[1]), np.zeros((features.shape[1],) * 2))
    for start in range(0, len(features), CHUNK):
        part = features[start : start + CHUNK].astype(np.float64)
        mean = part.mean(0)
        part -= mean
        total = merge(total, Moments(len(part), mean, part.T @ part))
    return total


def merge(first: Moments, second: Moments) -> Moments:
    """Moments of the union of two disjoint sets (Chan, Golub & LeVeque 1983)."""
    if not first.count:
        return second
    count = first.count + second.count
    step = second.mean - first.mean
    mean = first.mean + step * (second.count / count)
    between = np.outer(step, step) * (first.count * second.count / count)
    return Moments(count, mean, first.scatter + second.scatter + between)


def frechet_distance(first: Moments, second: Moments) -> float:
    """Fréchet distance ≥ 0 from the moments of two sets of at least two rows.

    Tr (Σ₁Σ₂)^½ = Σᵢ √λᵢ(FᵀΣ₂F) for any F with FFᵀ = Σ₁, so one Cholesky factor and the eigenvalues of a symmetric
    matrix do, without a square root of a matrix that is not symmetric.
    """
    covariance = first.covariance
    try:
        factor = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(covariance)
        factor = vectors * np.sqrt(np.maximum(values, 0))
    values = np.linalg.eigvalsh(factor.T @ second.covariance @ factor)
    root = np.sqrt(np.maximum(values, 0)).sum()
    apart = float(((first.mean - second.mean) ** 2).sum())
    return max(0.0, apart + float(np.trace(covariance) + np.trace(second.covariance) - 2 * root))


def frechet_distance_small(first: Array, second: Array) -> float:
    """The same distance from (n, d) and (m, d) features, cheap where n, m < d.

    With centred rows X, Y: Tr (Σ₁Σ₂)^½ is the sum of the singular values of XYᵀ / √((n − 1)(m − 1)).
    """
    if max(len(first), len(second)) >= first.shape[1]:
        return frechet_distance(moments(first), moments(second))
    one, two = first.astype(np.float64), second.astype(np.float64)
    mean_one, mean_two = one.mean(0), two.mean(0)
    one, two = (one - mean_one) / np.sqrt(len(one) - 1), (two - mean_two) / np.sqrt(len(two) - 1)
    root = np.linalg.svd(one @ two.T, compute_uv=False).sum()
    apart = float(((mean_one - mean_two) ** 2).sum())
    return max(0.0, apart + float((one**2).sum() + (two**2).sum() - 2 * root))


def frechet_infinity(first: Array, second: Array, rng: np.random.Generator, points: int = 15) -> float | None:
    """FD∞: the intercept at 1/N = 0; may be slightly below 0 for equal distributions.

    `points` sizes run from a tenth (at least 50) of the smaller set to all of it, evenly in N; each set is shuffled
    once and the sizes are its beginnings, so every row is read once. None below 100 rows.
    """
    size = min(len(first), len(second))
    if size < 100:
        return None
    one, two = (features[rng.permutation(len(features))[:size]] for features in (first, second))
    sizes = np.unique(np.linspace(max(50, size // 10), size, points).astype(int))
    distances = []
    total = [Moments(0, np.zeros(one.shape[1]), np.zeros((one.shape[1],) * 2))] * 2
    before = 0
    for upto in sizes:
        if upto < one.shape[1]:
            distances.append(frechet_distance_small(one[:upto], two[:upto]))
            continue
        total = [merge(sofar, moments(part[before:upto])) for sofar, part in zip(total, (one, two), strict=True)]
        before = upto
        distances.append(frechet_distance(total[0], total[1]))
    return float(np.polyfit(1 / sizes, distances, 1)[1])
