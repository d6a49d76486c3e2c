"""Permutation of scenes, intervals by scene, and corrections for many tests.

If synthetic scenes are drawn like real ones, the labels "real" and "synthetic" are exchangeable between scenes. So a
statistic under permuted scene labels has the distribution it has by chance, whatever its form (Good, 2005), and
p = (1 + #{permuted ≥ observed}) / (1 + permutations) is valid at any size (Phipson & Smyth, 2010, arXiv 1603.05766).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Statistic = Callable[[Array, Array], Array]
"""(sums of the synthetic, sums of the real), each (draws, features) means → one value a draw."""


@dataclass(frozen=True, eq=False)
class LabelDraws:
    """The labels of pooled rows, as they are and permuted.

    Attributes:
        unit: (n,) unit number of each pooled row.
        synthetic: (units, 1 + permutations) bool; column 0 holds the true labels.
    """

    unit: NDArray[np.int64]
    synthetic: NDArray[np.bool_]

    @property
    def draws(self) -> int:
        """Columns: the truth and the permutations."""
        return self.synthetic.shape[1]

    def synthetic_counts(self) -> NDArray[np.float64]:
        """(draws,) how many rows are called synthetic."""
        return np.bincount(self.unit, minlength=len(self.synthetic)).astype(np.float64) @ self.synthetic

    def rows(self, index: NDArray[np.int64] | slice = slice(None)) -> NDArray[np.float32]:
        """(rows, 1 + permutations) of 0 and 1: whether a row is called synthetic."""
        return self.synthetic[self.unit[index]].astype(np.float32)


def draw_labels(
    real_units: NDArray[np.int64], synthetic_units: NDArray[np.int64], permutations: int, seed: int
) -> LabelDraws:
    """Labels of the pooled rows (real first) and their permutations over units; units of the two sets are distinct."""
    _, real = np.unique(real_units, return_inverse=True)
    _, fake = np.unique(synthetic_units, return_inverse=True)
    first = int(real.max(initial=-1)) + 1
    unit = np.concatenate([real.reshape(-1), fake.reshape(-1) + first]).astype(np.int64)
    total = int(unit.max(initial=-1)) + 1
    truth = np.arange(total) >= first
    labels = np.repeat(truth[:, None], permutations + 1, axis=1)
    labels[:, 1:] = np.random.default_rng(seed).permuted(labels[:, 1:], axis=0)
    return LabelDraws(unit, labels)


def permutation_p(values: Array, tail: str = "greater") -> float:
    """p of `values[0]` among `values[1:]`; `tail` is `greater`, `less` or `both` (around the permutations' mean)."""
    permuted = np.asarray(values[1:], dtype=np.float64)
    observed = float(values[0])
    if tail == "less":
        observed, permuted = -observed, -permuted
    elif tail == "both":
        centre = float(permuted.mean())
        observed, permuted = abs(observed - centre), np.abs(permuted - centre)
    margin = 1e-9 * max(abs(observed), 1e-12)
    return float((1 + (permuted >= observed - margin).sum()) / (1 + len(permuted)))


def unit_sums(values: Array, unit: NDArray[np.int64], units: int) -> NDArray[np.float64]:
    """(units, k) sums over the rows of each unit; `values` is (n, k)."""
    out = np.zeros((units, values.shape[1]))
    np.add.at(out, unit, values)
    return out


def mean_draws(values: Array, draws: LabelDraws) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means of (n, k) per-row values over the synthetic and over the real rows, each (draws, k)."""
    units = len(draws.synthetic)
    sums = unit_sums(values, draws.unit, units)
    sizes = np.bincount(draws.unit, minlength=units).astype(np.float64)
    parts = range(0, draws.draws, 128)
    fake = np.concatenate([draws.synthetic[:, start : start + 128].T.astype(np.float64) @ sums for start in parts])
    count = draws.synthetic_counts()
    return fake / count[:, None], (sums.sum(0) - fake) / (sizes.sum() - count)[:, None]


def bootstrap_interval(
    values: Array,
    units: tuple[NDArray[np.int64], NDArray[np.int64]],
    statistic: Statistic,
    level: float = 0.95,
    repeats: int = 300,
    seed: int = 0,
) -> tuple[float, float]:
    """How far a statistic of means strays from its value here, resampling scenes within each set (cluster bootstrap).

    A distance is biased upward, and resampling adds as much bias again. So the percentiles are moved by the bootstrap's
    estimate of the bias, mean of the draws − value (Efron & Tibshirani 1993, 10.6): the interval is of the statistic at
    this size, about its value, and to be read beside its floor, which has the same bias. It may go below 0.

    Args:
        values: (n, k) per-row values, real rows first.
        units: unit numbers of the real and of the synthetic rows.
        statistic: from (repeats, k) means of synthetic and of real to (repeats,).
    """
    rng = np.random.default_rng(seed)
    means = []
    start = 0
    for unit in units:
        _, number = np.unique(unit, return_inverse=True)
        count = int(number.max(initial=-1)) + 1
        part = values[start : start + len(unit)]
        sums = unit_sums(np.column_stack([part, np.ones(len(part))]), number.reshape(-1), count)
        counts = (np.bincount(rng.integers(0, count, count), minlength=count) for _ in range(repeats))
        total = np.stack([sums.sum(axis=0), *(drawn @ sums for drawn in counts)])
        means.append(total[:, :-1] / total[:, -1:])
        start += len(unit)
    value, found = np.split(statistic(means[1], means[0]), [1])
    low, high = np.quantile(found - found.mean(), [(1 - level) / 2, (1 + level) / 2]) + value
    return float(low), float(high)


def holm(p_values: Sequence[float], level: float) -> list[float]:
    """The level each test had to reach (its p must not exceed it), after Holm (1979): α/m, α/(m−1) … in order of p.

    After the first test that misses its level, the later ones keep that level: they can't pass it either.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    levels = [0.0] * len(p_values)
    stopped: float | None = None
    for rank, index in enumerate(order):
        levels[index] = stopped if stopped is not None else level / (len(p_values) - rank)
        if stopped is None and p_values[index] > levels[index]:
            stopped = levels[index]
    return levels


def benjamini_hochberg(p_values: Sequence[float], level: float) -> list[float]:
    """The level all tests share, after Benjamini & Hochberg (1995): the largest α·i/m with p₍ᵢ₎ ≤ α·i/m, else α/m."""
    count = len(p_values)
    reached = [level * rank / count for rank, p in enumerate(sorted(p_values), start=1) if p <= level * rank / count]
    return [max(reached, default=level / max(count, 1))] * count
