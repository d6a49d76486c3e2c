"""Parity by group of what the pipeline did: accepted, scored, labels kept, and whether the output can be read at all.

A rate is compared with that of all others, and flagged by its ratio to the best group that is large enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from synthgen.metrics.bias import BiasMeasurement
from synthgen.metrics.bias_table import AttributeColumn, BiasSettings, BiasTable, Bools, Floats
from synthgen.metrics.parity import Parity, parity

LARGE = 0.2
"""Standard deviations by which a score differs that is flagged (small, after Cohen 1988)."""


def parity_measurements(
    table: BiasTable, attribute: AttributeColumn, settings: BiasSettings, intersection: bool = False
) -> Iterator[BiasMeasurement]:
    """Acceptance of each group; and, but for an intersection, scores of checks, label survival and readability."""
    rows = table.rows(attribute)
    accepted = table.accepted.astype(np.float64)
    if intersection:
        yield from _rates(table, attribute, settings, "intersection", accepted, rows, gate=False)
        return
    yield from _rates(table, attribute, settings, "acceptance", accepted, rows, gate=True)
    if attribute.measured:
        known = (attribute.output >= 0).astype(np.float64)
        yield from _rates(table, attribute, settings, "readable", known, rows & table.accepted, gate=False)
    for check, scores in table.scores.items():
        there = rows & ~np.isnan(scores)
        if check.partition(":")[0] in settings.label_checks:
            found = _rates(table, attribute, settings, "label_survival", scores, there, gate=True)
        else:
            found = list(_scores(table, attribute, settings, scores, there))
        yield from (replace(one, label=check) for one in found)


def _groups(
    table: BiasTable, attribute: AttributeColumn, settings: BiasSettings, values: Floats, rows: Bools
) -> Iterator[tuple[str, int, Parity | None]]:
    """(group, n, its parity) of the rows whose group is known; None where it or the rest is too small or one scene."""
    known = rows & (attribute.source >= 0)
    codes, y, unit = attribute.source[known], values[known], table.unit[known]
    for number, name in enumerate(attribute.groups):
        member = codes == number
        n = int(member.sum())
        scenes = min(len(np.unique(unit[which])) for which in (member, ~member))
        if n < settings.min_n or len(codes) - n < settings.min_n or scenes < 2:
            yield name, n, None
        else:
            yield name, n, parity(y, member, unit, settings.draws, settings.seed)


def _rates(
    table: BiasTable,
    attribute: AttributeColumn,
    settings: BiasSettings,
    metric: str,
    values: Floats,
    rows: Bools,
    gate: bool,
) -> list[BiasMeasurement]:
    found = list(_groups(table, attribute, settings, values, rows))
    best = max((one.value for _, _, one in found if one is not None), default=0.0)
    measured = []
    for name, n, one in found:
        if one is None:
            measured.append(_too_small(metric, attribute, name, n, settings, gate))
            continue
        if best == 0:
            measured.append(BiasMeasurement(metric, attribute.name, name, n, gate=gate, reason="the rate is 0 for all"))
            continue
        ratio = one.value / best
        measured.append(
            BiasMeasurement(
                metric,
                attribute.name,
                name,
                n,
                value=one.value,
                reference=one.rest,
                difference=one.difference,
                ratio=ratio,
                interval=one.interval,
                p=one.p,
                error=one.error,
                gate=gate,
                verdict="fail" if ratio < settings.ratio else "pass",
                reason="reference is the rate of all others; ratio is to the best group",
                details={"best": best},
            )
        )
    return measured


def _scores(
    table: BiasTable, attribute: AttributeColumn, settings: BiasSettings, values: Floats, rows: Bools
) -> Iterator[BiasMeasurement]:
    for name, n, one in _groups(table, attribute, settings, values, rows):
        if one is None:
            yield _too_small("quality", attribute, name, n, settings, False)
            continue
        outside = one.ratio is not None and one.ratio > 0 and not settings.ratio <= one.ratio <= 1 / settings.ratio
        standard = one.difference / one.spread if one.spread else 0.0
        yield BiasMeasurement(
            "quality",
            attribute.name,
            name,
            n,
            value=one.value,
            reference=one.rest,
            difference=one.difference,
            ratio=one.ratio,
            interval=one.interval,
            p=one.p,
            error=one.error,
            verdict="fail" if outside or abs(standard) >= LARGE else "pass",
            reason="reference is the mean of all others",
            details={"standard_deviations": standard},
        )


def _too_small(
    metric: str, attribute: AttributeColumn, name: str, n: int, settings: BiasSettings, gate: bool
) -> BiasMeasurement:
    reason = f"{n} in the group, {settings.min_n} needed" if n < settings.min_n else "too few others, or scenes"
    return BiasMeasurement(metric, attribute.name, name, n, gate=gate, reason=reason)
