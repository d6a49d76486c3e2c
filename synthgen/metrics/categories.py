"""Categories: classes an image shows, or modes of its features; whether their shares differ and which were lost.

Each image is in any number of categories: `member` is (n, categories) of 0 and 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.permutation import LabelDraws, mean_draws, permutation_p

Array = NDArray[np.floating]
LOST_SHARE = 0.1
"""A category is lost where its share fell below a tenth of the real one."""


@dataclass(frozen=True)
class Shares:
    """How far shares differ. `v` is Cramér's V in 0..1; `p` for the chi-square statistic."""

    chi_square: float
    v: float
    p: float


@dataclass(frozen=True)
class Loss:
    """The largest drop of a category's share in standard errors, its p over all categories, and the lost ones."""

    drop: float
    p: float
    worst: str
    lost: tuple[str, ...]


def chi_square_shares(member: Array, draws: LabelDraws) -> Shares:
    """Chi-square of homogeneity of the categories' counts, its p by permuted scenes, and Cramér's V.

    χ² = Σ (observed − expected)² / expected over the table (set × category) of counts; V = √(χ² / N) for two rows,
    where N is the table's total (Cramér 1946). Scenes are permuted, as counts within a scene depend on each other, so
    χ²'s own table of p values does not hold.
    """
    counts = member.sum(0)
    used = counts > 0
    fake, real = mean_draws(member[:, used], draws)
    sizes = draws.synthetic_counts()
    table = np.stack([fake * sizes[:, None], real * (len(member) - sizes)[:, None]], axis=1)
    total = table.sum((1, 2))
    expected = table.sum(2, keepdims=True) * table.sum(1, keepdims=True) / total[:, None, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.nan_to_num((table - expected) ** 2 / expected).sum((1, 2))
    return Shares(float(statistic[0]), float(np.sqrt(statistic[0] / total[0])), permutation_p(statistic))


def category_loss(member: Array, draws: LabelDraws, names: tuple[str, ...], only_lost: bool) -> Loss:
    """The category that lost most, against the largest loss by chance (max-T, Westfall & Young 1993).

    T = max over categories of (real share − synthetic share) / √(p(1 − p)(1/n + 1/m)).

    Args:
        only_lost: count a drop only where the share fell below `LOST_SHARE` of the real one.
    """
    fake, real = mean_draws(member, draws)
    sizes = draws.synthetic_counts()[:, None]
    share = member.mean(0)
    error = np.sqrt(np.maximum(share * (1 - share), 0.25 / len(member)) * (1 / sizes + 1 / (len(member) - sizes)))
    drop = (real - fake) / error
    gone = (real > 0) & (fake < LOST_SHARE * real)
    counted = np.where(gone, drop, 0.0) if only_lost else drop
    p = permutation_p(counted.max(1))
    lost = tuple(name for name, is_gone in zip(names, gone[0], strict=True) if is_gone)
    return Loss(float(counted[0].max()), p, names[int(counted[0].argmax())], lost)


def feature_modes(reference: Array, rows: Array, seed: int, limit: int = 4000) -> NDArray[np.float64]:
    """Membership (m, modes) of `rows` in modes of `reference`: k-means clusters, one per about 25 rows, 4 to 20.

    Clusters are made of at most `limit` reference rows, which must be none of `rows`, so neither set shapes them.
    """
    from sklearn.cluster import KMeans

    fitted = reference[np.random.default_rng(seed).permutation(len(reference))[:limit]].astype(np.float32)
    count = int(np.clip(len(fitted) // 25, 4, 20))
    centres = KMeans(count, n_init=3, random_state=seed % 2**32).fit(fitted).cluster_centers_
    member = np.zeros((len(rows), count))
    lengths = (centres**2).sum(1)
    for start in range(0, len(rows), 8192):
        nearest = (lengths - 2 * rows[start : start + 8192].astype(np.float32) @ centres.T).argmin(1)
        member[start + np.arange(len(nearest)), nearest] = 1
    return member
