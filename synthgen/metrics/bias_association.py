"""Labels that lean on groups, and whether the release exaggerates it: nPMI of each pair, bias amplification over all.

Labels are taken in blocks, so that memory does not grow with their number; every block draws the same null.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synthgen.metrics.amplification import DIRECTIONS, amplification
from synthgen.metrics.bias import BiasMeasurement
from synthgen.metrics.bias_table import AttributeColumn, BiasSettings, BiasTable, Bools, Floats
from synthgen.metrics.npmi import Cooccurrences, Marginals, cooccurrences, marginals, npmi
from synthgen.metrics.permutation import permutation_p

LEAST_EXPECTED = 5.0
"""Of a label and a group together, in the source, if they were independent: below it an association says nothing."""
MOST_DRAWS = 19999
MANY = 2000
"""With more units the normal distribution, its mean and spread drawn, stands for the permutations."""
MANY_DRAWS = 499
CELLS = 192
"""Pairs of label and group that are counted at once."""


def association_measurements(
    table: BiasTable, attribute: AttributeColumn, settings: BiasSettings
) -> Iterator[BiasMeasurement]:
    """nPMI of each label with each group and its shift; bias amplification in both directions."""
    sums = marginals(table, attribute)
    if sums is None:
        return
    use = _large_enough(sums, settings)
    labels = np.flatnonzero(use.any(axis=1))
    if not len(labels):
        return
    many = sums.units > MANY
    draws = MANY_DRAWS if many else int(np.clip(4 * use.sum() / settings.explore, settings.draws, MOST_DRAWS))
    grown = dict.fromkeys(DIRECTIONS, np.zeros(1 + draws))
    size = max(1, CELLS // len(attribute.groups))
    for block in (labels[start : start + size] for start in range(0, len(labels), size)):
        counts = cooccurrences(table, attribute, block, draws, settings.seed)
        names = [table.label_names[i] for i in block]
        yield from _associations(counts, use[block], names, attribute, settings, many)
        for direction in DIRECTIONS:
            grown[direction] = grown[direction] + amplification(counts, use[block], direction) * use[block].sum()
    released = int((table.rows(attribute) & table.accepted & (attribute.output >= 0) & (attribute.source >= 0)).sum())
    for direction, total in grown.items():
        one = _amplified(total / use.sum(), attribute, direction, settings, many)
        yield replace(one, n=released, details={"pairs": int(use.sum())})


def _large_enough(sums: Marginals, settings: BiasSettings) -> Bools:
    """(labels, groups): pairs of which something can be said. A label that every subject has leans on nobody."""
    label, group, total = sums.label, sums.group, sums.total
    use = label[:, None] * group[None, :] / total >= LEAST_EXPECTED
    use &= (label >= settings.min_n)[:, None] & (group >= settings.min_n)[None, :]
    return use & (label < total)[:, None]


def _associations(
    counts: Cooccurrences,
    use: Bools,
    names: list[str],
    attribute: AttributeColumn,
    settings: BiasSettings,
    many: bool,
) -> Iterator[BiasMeasurement]:
    before = npmi(counts.source, counts.label_source, counts.group_source, counts.total_source)
    after = npmi(counts.released, counts.label_released, counts.group_released, counts.total_released)
    shift = after - before
    for i, j in zip(*np.nonzero(use), strict=True):
        difference = float(shift[0, i, j])
        yield BiasMeasurement(
            "association",
            attribute.name,
            attribute.groups[j],
            int(counts.total_released[0]),
            label=names[i],
            value=float(after[0, i, j]),
            reference=float(before[0, i, j]),
            difference=difference,
            p=_p(shift[:, i, j], many),
            error=float(shift[1:, i, j].std()),
            verdict="fail" if abs(difference) >= settings.tolerance else "pass",
            cell=int(min(counts.source[0, i, j], counts.released[0, i, j])),
            details={"together_source": float(counts.source[0, i, j]), "together": float(counts.released[0, i, j])},
        )


def _amplified(
    values: Floats, attribute: AttributeColumn, direction: str, settings: BiasSettings, many: bool
) -> BiasMeasurement:
    value, chance = float(values[0]), float(values[1:].mean())
    return BiasMeasurement(
        "amplification",
        attribute.name,
        None,
        0,
        label=direction,
        value=value,
        reference=chance,
        difference=value - chance,
        p=_p(values, many),
        error=float(values[1:].std()),
        verdict="fail" if value - chance >= settings.tolerance else "pass",
        reason="reference is its mean if nothing changed; positive amplifies",
    )


def _p(values: NDArray[np.float64], many: bool) -> float:
    """Two-sided p of `values[0]` among those drawn."""
    if not many:
        return permutation_p(values, "both")
    spread = float(values[1:].std())
    away = abs(float(values[0] - values[1:].mean()))
    return float(2 * stats.norm.sf(away / spread)) if spread else float(away == 0)
