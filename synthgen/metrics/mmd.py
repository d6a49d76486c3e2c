"""Maximum mean discrepancy, unbiased: KID and CMMD, with a permutation p over scenes, at a cost linear in n.

MMD² = mean k(x, x′) + mean k(y, y′) − 2 mean k(x, y), without the diagonal: the U-statistic (Gretton et al. 2012, JMLR
13:723). KID is its value with k = (xᵀy/d + 1)³ (arXiv 1801.01401); CMMD with a Gaussian of σ = 10 on unit CLIP
embeddings, times 1000 (arXiv 2401.09603; their port is the biased V-statistic).

The pooled rows are dealt at random, whatever their label, into blocks; the estimate is the mean over the blocks (the
B-test, Zaremba et al., arXiv 1307.1954). Blocks are disjoint and use every row once, unlike random subsets, so nothing
is counted twice, and they are fixed by the seed. A kernel matrix is made once a block and serves all permutations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.permutation import LabelDraws, permutation_p

Array = NDArray[np.floating]
Kernel = Callable[[NDArray[np.float32]], NDArray[np.float32]]
BLOCK = 2000
"""Pooled rows a block at most: 1,000 of each set where both are equally large, the usual subset of KID."""


@dataclass(frozen=True)
class MMD:
    """Squared MMD (may be below 0), a 95 % interval (normal, from scene-wise influence), permutation p or None."""

    value: float
    interval: tuple[float, float]
    p: float | None


def kid_kernel(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """(xᵀy/d + 1)³ between all rows of (n, d)."""
    gram = rows @ rows.T
    gram /= np.float32(rows.shape[1])
    gram += np.float32(1)
    return gram**3


def gaussian_kernel(rows: NDArray[np.float32], sigma: float = 10.0) -> NDArray[np.float32]:
    """exp(−‖x − y‖² / 2σ²) − 1 between the unit vectors of all rows of (n, d).

    The constant leaves MMD unchanged and keeps float32 precise: with σ = 10 the kernel differs from 1 by 0.02 at most.
    """
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    gram = unit @ unit.T
    return np.expm1((gram - np.float32(1)) / np.float32(sigma**2))


def kid(features: Array, draws: LabelDraws, seed: int) -> MMD:
    """KID of pooled (n, d) features (real first)."""
    return block_mmd(features, draws, kid_kernel, seed)


def cmmd(features: Array, draws: LabelDraws, seed: int) -> MMD:
    """Gaussian MMD² × 1000 of pooled (n, d) features; it is CMMD where they are CLIP's."""
    return block_mmd(features, draws, gaussian_kernel, seed, scale=1000.0)


def block_mmd(features: Array, draws: LabelDraws, kernel: Kernel, seed: int, scale: float = 1.0) -> MMD:
    """Unbiased MMD² of pooled features, its interval and its permutation p (None where there were no permutations).

    Args:
        features: (n, d), rows as in `draws`; at least two of each label.
        kernel: from (m, d) float32 to its (m, m) kernel matrix.
        scale: factor on value and interval.
    """
    count = len(features)
    blocks = np.array_split(np.random.default_rng(seed).permutation(count), -(-count // BLOCK))
    sums, valid = np.zeros(draws.draws), np.zeros(draws.draws)
    influence = np.zeros(len(draws.synthetic))
    for rows in blocks:
        found, rowwise = _one_block(kernel(features[rows].astype(np.float32)), draws.rows(rows))
        usable = np.isfinite(found)
        sums[usable] += found[usable]
        valid += usable
        np.add.at(influence, draws.unit[rows], rowwise / len(blocks))
    values = np.divide(sums, valid, out=np.zeros_like(sums), where=valid > 0) * scale
    spread = 1.96 * _spread(influence, draws) * scale
    p = permutation_p(values) if draws.draws > 1 else None
    return MMD(float(values[0]), (float(values[0] - spread), float(values[0] + spread)), p)


def _one_block(kernel: NDArray[np.float32], labels: NDArray[np.float32]) -> tuple[Array, Array]:
    """MMD² a draw (nan where a label has under two rows) and each row's influence on that of the true labels."""
    diagonal = np.diagonal(kernel).astype(np.float64)
    towards = kernel @ labels
    fakes = labels.sum(0, dtype=np.float64)
    reals = len(kernel) - fakes
    fake_fake = np.einsum("np,np->p", towards, labels, dtype=np.float64)
    row_sums = kernel.sum(1, dtype=np.float64)
    with_fake = row_sums @ labels
    fake_real = with_fake - fake_fake
    real_real = row_sums.sum() - fake_fake - 2 * fake_real
    fake_diagonal = diagonal @ labels
    with np.errstate(divide="ignore", invalid="ignore"):
        values = (
            (fake_fake - fake_diagonal) / (fakes * (fakes - 1))
            + (real_real - (diagonal.sum() - fake_diagonal)) / (reals * (reals - 1))
            - 2 * fake_real / (fakes * reals)
        )
    values[(fakes < 2) | (reals < 2)] = np.nan
    is_fake = labels[:, 0] > 0
    n_fake, n_real = fakes[0], reals[0]
    if min(n_fake, n_real) < 2:
        return values, np.zeros(len(kernel))
    to_fake = towards[:, 0].astype(np.float64)
    to_real = row_sums - to_fake
    own_fake = (to_fake - diagonal) / (n_fake - 1) - to_real / n_real
    own_real = (to_real - diagonal) / (n_real - 1) - to_fake / n_fake
    influence = np.where(is_fake, own_fake, own_real)
    for label in (True, False):
        influence[is_fake == label] -= influence[is_fake == label].mean()
    return values, 2 * influence / np.where(is_fake, n_fake, n_real)


def _spread(influence: NDArray[np.float64], draws: LabelDraws) -> float:
    """Standard error from the units' summed influence, each label's units apart (cluster-robust)."""
    variance = 0.0
    for label in (True, False):
        part = influence[draws.synthetic[:, 0] == label]
        if len(part) > 1:
            variance += float((part**2).sum()) * len(part) / (len(part) - 1)
    return float(np.sqrt(variance))
