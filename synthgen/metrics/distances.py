"""Distances of one-dimensional distributions and histograms, for all draws of labels at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.permutation import LabelDraws

Array = NDArray[np.floating]


def histogram_w1(first: Array, second: Array, width: float = 1.0) -> NDArray[np.float64]:
    """Wasserstein-1 distance of histograms (..., bins) of equal bins of `width`: Σ |F − G| · width, in its units.

    Each histogram is scaled to sum 1; empty ones give 0.
    """
    return np.abs(np.cumsum(_scaled(first) - _scaled(second), axis=-1)).sum(-1) * width


def jensen_shannon(first: Array, second: Array) -> NDArray[np.float64]:
    """Jensen-Shannon divergence of histograms (..., bins) in bits, 0..1 (Lin 1991)."""
    one, two = _scaled(first), _scaled(second)
    middle = (one + two) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(one * np.log2(one / middle)) + np.nan_to_num(two * np.log2(two / middle))
    return np.maximum(terms.sum(-1) / 2, 0.0)


def scalar_w1_draws(values: Array, draws: LabelDraws) -> NDArray[np.float64]:
    """Exact Wasserstein-1 distance of (n,) values under each draw of labels, (draws,): ∫ |F − G| dx."""
    order = np.argsort(values, kind="stable")
    gaps = np.diff(values[order].astype(np.float64))
    total = draws.synthetic_counts()
    fakes = np.zeros(draws.draws)
    area = np.zeros(draws.draws)
    for start in range(0, len(gaps), 4096):
        rows = order[start : min(start + 4096, len(gaps))]
        below = fakes + np.cumsum(draws.rows(rows), axis=0, dtype=np.float64)
        position = np.arange(start + 1, start + 1 + len(rows))[:, None]
        apart = np.abs(below / total - (position - below) / (len(values) - total))
        area += gaps[start : start + len(rows)] @ apart
        fakes = below[-1]
    return area


def _scaled(histogram: Array) -> NDArray[np.float64]:
    total = histogram.sum(-1, keepdims=True)
    return np.divide(histogram, total, out=np.zeros(np.shape(histogram)), where=total > 0)
