"""Shares of groups against a target: total variation, smoothed Kullback-Leibler divergence, entropy, and a test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.bias_table import Floats

SMOOTHING = 0.5
"""Added to each count (Jeffreys' prior), so that an empty group gives a finite divergence."""


def total_variation(first: Floats, second: Floats) -> float:
    """½ Σ |p − q| of two sets of shares, 0..1."""
    return float(np.abs(first - second).sum() / 2)


def smoothed_divergence(counts: NDArray[np.int64], target: Floats) -> float:
    """KL(p ‖ target) in nats, p and target both smoothed by `SMOOTHING` a group at the size of the sample."""
    size = counts.sum()
    p = (counts + SMOOTHING) / (size + SMOOTHING * len(counts))
    q = (target * size + SMOOTHING) / (size + SMOOTHING * len(counts))
    return float((p * np.log(p / q)).sum())


def entropy(counts: NDArray[np.int64]) -> float | None:
    """−Σ p log p over log k: 0 is one group alone, 1 is all groups alike. None without counts or with one group."""
    if counts.sum() == 0 or len(counts) < 2:
        return None
    p = counts[counts > 0] / counts.sum()
    return float(max(0.0, -(p * np.log(p)).sum()) / np.log(len(counts)))


def effective_size(unit: NDArray[np.int64]) -> float:
    """n divided by the design effect of units whose rows are all alike, Σ m² / Σ m (Kish 1965): the careful case."""
    sizes = np.unique(unit, return_counts=True)[1]
    return float(sizes.sum() ** 2 / (sizes**2).sum()) if len(sizes) else 0.0


def target_test(counts: NDArray[np.int64], target: Floats, effective: float, draws: int, seed: int) -> float:
    """p of Pearson's χ² of shares against a target, by drawn multinomial samples of `effective` size.

    A group whose target is zero must be empty: one that is not gives the smallest p there is.
    """
    shares, size = counts / counts.sum(), max(round(effective), 1)
    if (shares[target == 0] > 0).any():
        return 1 / (1 + draws)
    wanted = target > 0

    def distance(found: Floats) -> Floats:
        return ((found[:, wanted] - target[wanted]) ** 2 / target[wanted]).sum(axis=1)

    drawn = np.random.default_rng(seed).multinomial(size, target, draws) / size
    observed = float(distance(shares[None])[0])
    return float((1 + (distance(drawn) >= observed * (1 - 1e-9)).sum()) / (1 + draws))
