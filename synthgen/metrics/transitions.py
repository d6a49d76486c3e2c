"""Paired change of an attribute: who was what in the source, and as what does the output read?

Source and output of one subject are a pair, and subjects of one scene depend on each other. If regeneration changes no
share, the two readings of a scene can be swapped: the sums over a scene of (output − source) are as likely with either
sign. For one pair a scene the statistics are Stuart's (1955) with Maxwell's (1970) and McNemar's (1947); summed by
scene they are those of Obuchowski (1998) for clustered pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synthgen.metrics.bias_table import Codes, Floats

MANY = 1000
"""With more scenes that changed, the limiting distribution stands for the draws."""


@dataclass(frozen=True)
class PairedTest:
    """`statistic` is χ² with `freedom` degrees of freedom; `p` is exact (binomial or drawn signs) for few scenes."""

    statistic: float
    freedom: int
    p: float


def transition_counts(source: Codes, output: Codes, groups: int) -> NDArray[np.int64]:
    """(groups + 1, groups + 1) pairs by source (rows) and output (columns); the last of each is unknown."""
    rows, columns = (np.where(codes < 0, groups, codes) for codes in (source, output))
    side = groups + 1
    return np.bincount(rows * side + columns, minlength=side * side).reshape(side, side)


def changes_by_unit(source: Codes, output: Codes, unit: NDArray[np.int64], groups: int) -> Floats:
    """(units, groups): how many more of a unit's subjects are in a group in the output than in the source.

    Subjects that are unknown on either side are left out.
    """
    known = (source >= 0) & (output >= 0)
    _, number = np.unique(unit[known], return_inverse=True)
    number = number.reshape(-1)
    size = int(number.max(initial=-1)) + 1
    counts = [
        np.bincount(number * groups + codes[known], minlength=size * groups).reshape(size, groups)
        for codes in (output, source)
    ]
    return (counts[0] - counts[1]).astype(np.float64)


def sign_test(sums: Floats, draws: int, seed: int) -> PairedTest:
    """Do sums by unit, (units, k), centre on zero? χ² = dᵀ S⁺ d with d their total and S = Σ dᵤdᵤᵀ.

    S does not change when signs do, so χ² over drawn signs is its distribution under the null, at any size. One column
    of −1, 0 and 1 is McNemar's exact binomial test. With nothing changed p is 1.
    """
    moved = sums[(sums != 0).any(axis=1)]
    if not len(moved):
        return PairedTest(0.0, max(sums.shape[1] - 1, 1), 1.0)
    spread = moved.T @ moved
    inverse = np.linalg.pinv(spread, hermitian=True, rcond=1e-10)
    freedom = int(np.linalg.matrix_rank(spread, hermitian=True, tol=1e-9 * np.abs(spread).max()))
    total = moved.sum(axis=0)
    statistic = float(total @ inverse @ total)
    if moved.shape[1] == 1 and (np.abs(moved) == 1).all():
        p = float(stats.binomtest(int((moved > 0).sum()), len(moved)).pvalue)
    elif len(moved) > MANY:
        p = float(stats.chi2.sf(statistic, freedom))
    else:
        signs = np.random.default_rng(seed).integers(0, 2, (draws, len(moved)), dtype=np.int8) * 2.0 - 1
        drawn = signs @ moved
        found = np.einsum("ij,jk,ik->i", drawn, inverse, drawn)
        p = float((1 + (found >= statistic * (1 - 1e-9)).sum()) / (1 + draws))
    return PairedTest(statistic, freedom, p)


@dataclass(frozen=True)
class MeanChange:
    """Mean of a difference, its 95 % interval over units (Student's t), and its standard error."""

    mean: float
    interval: tuple[float, float] | None
    error: float


def mean_change(sums: Floats, sizes: Floats) -> MeanChange:
    """The mean over rows of a difference given as sums by unit, (units,); `sizes` is the number of rows of each.

    The error is that of a ratio of sums over independent units (linearised; Cochran 1977, 6.4).
    """
    count = len(sums)
    mean = float(sums.sum() / sizes.sum())
    if count < 2:
        return MeanChange(mean, None, 0.0)
    error = float(np.sqrt(count / (count - 1) * ((sums - mean * sizes) ** 2).sum()) / sizes.sum())
    wide = float(stats.t.ppf(0.975, count - 1)) * error
    return MeanChange(mean, (mean - wide, mean + wide), error)


def sums_by_unit(values: Floats, unit: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """(units,) sums of row values, and (units,) numbers of rows."""
    _, number = np.unique(unit, return_inverse=True)
    number = number.reshape(-1)
    return np.bincount(number, values).astype(np.float64), np.bincount(number).astype(np.float64)
