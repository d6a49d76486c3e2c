"""Parity: does a rate or a score of one group differ from that of all others?

Rows of one scene are no independent draws, so each scene is tested once for the group and once for the rest, with its
mean. Rates of 0 and 1 are tested by Fisher's exact test, others by permuting those means. What is shown is over rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synthgen.metrics.bias_table import Bools, Floats
from synthgen.metrics.transitions import mean_change, sums_by_unit

MANY = 2000
"""With more means Welch's t stands for their permutation."""


@dataclass(frozen=True)
class Parity:
    """Of the group (`value`, over rows) and the rest; `error` is the standard error if both have one rate; `interval`
    is 95 % of the difference, None where one of the two lies in one scene; `spread` the standard deviation of all rows.
    """

    value: float
    rest: float
    interval: tuple[float, float] | None
    error: float
    p: float
    spread: float

    @property
    def difference(self) -> float:
        """Group − rest."""
        return self.value - self.rest

    @property
    def ratio(self) -> float | None:
        """Group / rest; None over zero."""
        return self.value / self.rest if self.rest else None


def parity(values: Floats, member: Bools, unit: NDArray[np.int64], draws: int, seed: int) -> Parity:
    """Compare the rows of `member` with the others; both must have some.

    Args:
        values: (n,) a rate (0 or 1) or a score a row.
        member: (n,) who is of the group.
        unit: (n,) scene of each row.
    """
    group, rest = (unit_means(values[which], unit[which]) for which in (member, ~member))
    pooled = np.concatenate([group, rest])
    sizes = len(group), len(rest)
    error = float(pooled.std() * np.sqrt(1 / sizes[0] + 1 / sizes[1]))
    mean, others = float(values[member].mean()), float(values[~member].mean())
    interval: tuple[float, float] | None
    if np.isin(pooled, (0, 1)).all():
        p, interval = _exact(group, rest)
    else:
        p, interval = _permuted(group, rest, draws, seed), _interval(values, member, unit)
    return Parity(mean, others, interval, error, p, float(values.std()))


def unit_means(values: Floats, unit: NDArray[np.int64]) -> Floats:
    """(units,) means of the rows of each unit."""
    sums, sizes = sums_by_unit(values, unit)
    return sums / sizes


def _interval(values: Floats, member: Bools, unit: NDArray[np.int64]) -> tuple[float, float] | None:
    """Of the difference of two means over rows: their own intervals over scenes, squared and added (Zou & Donner 2008).

    A scene that has rows of both counts as two, which makes it wider where they go together.
    """
    group, rest = (mean_change(*sums_by_unit(values[which], unit[which])) for which in (member, ~member))
    if group.interval is None or rest.interval is None:
        return None
    difference = group.mean - rest.mean
    wide = math.hypot(group.interval[1] - group.mean, rest.interval[1] - rest.mean)
    return difference - wide, difference + wide


def _exact(group: Floats, rest: Floats) -> tuple[float, tuple[float, float]]:
    """Fisher's p, and the interval of Agresti & Caffo (2000): one success and one failure more on either side."""
    yes = [int(part.sum()) for part in (group, rest)]
    table = [[count, len(part) - count] for count, part in zip(yes, (group, rest), strict=True)]
    rates = [(count + 1) / (len(part) + 2) for count, part in zip(yes, (group, rest), strict=True)]
    error = np.sqrt(sum(r * (1 - r) / (len(part) + 2) for r, part in zip(rates, (group, rest), strict=True)))
    middle, wide = rates[0] - rates[1], 1.96 * float(error)
    return float(stats.fisher_exact(table).pvalue), (max(-1.0, middle - wide), min(1.0, middle + wide))


def _permuted(group: Floats, rest: Floats, draws: int, seed: int) -> float:
    pooled = np.concatenate([group, rest])
    if min(len(group), len(rest)) < 2 or pooled.std() == 0:
        return 1.0
    if len(pooled) > MANY:
        return float(stats.ttest_ind(group, rest, equal_var=False).pvalue)
    random = np.random.default_rng(seed)
    drawn = random.permuted(np.repeat(pooled[None], draws + 1, axis=0), axis=1)
    drawn[0] = pooled
    found = np.abs(_studentized(drawn[:, : len(group)], drawn[:, len(group) :]))
    return float((1 + (found[1:] >= found[0] * (1 - 1e-9)).sum()) / (1 + draws))


def _studentized(group: Floats, rest: Floats) -> Floats:
    """(draws,) Welch's t of each row: by it permutation holds for unequal spreads too (Janssen 1997).

    Scenes differ in size, so their means do in spread.
    """
    spread = sum(part.var(axis=1, ddof=1) / part.shape[1] for part in (group, rest))
    difference = group.mean(axis=1) - rest.mean(axis=1)
    return np.where(difference == 0, 0.0, difference / np.sqrt(np.maximum(spread, 1e-24)))
