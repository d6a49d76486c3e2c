"""Shares corrected for the errors of the classifier that counted them.

If a classifier calls a person of group t a member of group g with probability C[t, g], the shares it counts are
q = Cᵀ p of the true ones. The estimate is the p on the simplex that comes nearest to that (Rogan & Gladen 1978 for two
groups; adjusted count, Forman 2008). Its interval carries both uncertainties: of the counts, and of C itself, which was
measured on finitely many.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from synthgen.metrics.bias_table import Codes, Floats

WORST_CONDITION = 20.0
"""Of C: beyond it errors grow so much that a corrected share means nothing."""


@dataclass(frozen=True)
class CorrectedShares:
    """(groups,) shares, and their 95 % bounds."""

    shares: Floats
    low: Floats
    high: Floats


def confusion_counts(truth: Codes, read: Codes, groups: int) -> Floats:
    """(groups, groups) counts, rows the truth; rows of the table where either is unknown are left out."""
    known = (truth >= 0) & (read >= 0)
    counts = np.bincount(truth[known] * groups + read[known], minlength=groups * groups)
    return counts.reshape(groups, groups).astype(np.float64)


def usable(confusion: Floats, least: int) -> str:
    """Why a confusion matrix can't correct anything; empty if it can."""
    if (confusion.sum(axis=1) < least).any():
        return f"a group has fewer than {least} known subjects in the confusion matrix"
    rates = confusion / confusion.sum(axis=1, keepdims=True)
    if np.linalg.cond(rates) > WORST_CONDITION:
        return "the classifier hardly tells the groups apart: its confusion matrix can't be inverted"
    return ""


def correct_shares(
    counts: NDArray[np.int64], effective: float, confusion: Floats, draws: int, seed: int
) -> CorrectedShares:
    """Shares behind counted ones.

    Args:
        counts: (groups,) as the classifier counted.
        effective: how many independent subjects that amounts to.
        confusion: (groups, groups) counts on known truth, rows the truth.
        draws: of the parametric bootstrap (multinomial counts, multinomial rows of the confusion matrix).
    """
    random = np.random.default_rng(seed)
    shares = counts / counts.sum()
    size = max(round(effective), 1)
    drawn = random.multinomial(size, shares, draws) / size
    sizes = confusion.sum(axis=1)
    rates = (confusion + 0.5) / (sizes + 0.5 * len(counts))[:, None]
    matrices = np.stack(
        [random.multinomial(int(n), row, draws) / n for n, row in zip(sizes, rates, strict=True)], axis=1
    )
    found = np.stack([_solve(matrix, q) for matrix, q in zip(matrices, drawn, strict=True)])
    low, high = np.quantile(found, [0.025, 0.975], axis=0)
    return CorrectedShares(_solve(confusion / sizes[:, None], shares), low, high)


def _solve(rates: Floats, shares: Floats) -> Floats:
    """The non-negative p with the least |Cᵀ p − q|, its sum held to 1 by a heavy further equation."""
    heavy = 1e3
    matrix = np.vstack([rates.T, np.full((1, len(shares)), heavy)])
    found = optimize.nnls(matrix, np.append(shares, heavy))[0]
    return found / found.sum()
