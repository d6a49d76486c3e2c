"""All bias metrics on one table: what is measured of which attribute, and what of it gates.

Gates, corrected together after Holm: the transition of each attribute that is read off pixels and its mean's shift,
shares against a target, acceptance and label survival of each group. A leak bound that the audit gave by group gates
with the audit's own verdict, so the worst group decides. All else is exploration, under Benjamini-Hochberg.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np

from synthgen.metrics.bias import AttributeSummary, BiasMeasurement, Transition, judge
from synthgen.metrics.bias_association import association_measurements
from synthgen.metrics.bias_parity import parity_measurements
from synthgen.metrics.bias_shares import share_measurements
from synthgen.metrics.bias_table import UNKNOWN, AttributeColumn, BiasSettings, BiasTable, to_codes
from synthgen.metrics.shares import entropy
from synthgen.metrics.transitions import transition_counts

Intersections = tuple[tuple[str, ...], ...]


def measure_bias(
    table: BiasTable,
    settings: BiasSettings,
    intersections: Intersections | None = None,
    leaks: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
) -> list[BiasMeasurement]:
    """Every measurement of a table, judged.

    Args:
        intersections: names of attributes to cross; None crosses each pair.
        leaks: attribute → group → `k`, `n`, `bound`, `verdict` of the audit.
    """
    found: list[BiasMeasurement] = []
    for attribute in table.attributes:
        found += share_measurements(table, attribute, settings)
        found += parity_measurements(table, attribute, settings)
        found += association_measurements(table, attribute, settings)
    for names in _crossings(table) if intersections is None else intersections:
        crossed = cross([one for name in names for one in table.attributes if one.name == name])
        found += parity_measurements(table, crossed, settings, intersection=True)
    found += leak_measurements(leaks or {})
    return judge(found, settings.level, settings.explore)


def summarize(table: BiasTable, attribute: AttributeColumn) -> AttributeSummary:
    """Counts by group in the source and in the release.

    The source counts each subject once; an image with several outputs still has one.
    """
    rows = table.rows(attribute)
    groups = len(attribute.groups)
    once = rows & _first_output(table)
    counts = [
        np.bincount(np.where(codes < 0, groups, codes), minlength=groups + 1)
        for codes in (attribute.source[once], attribute.output[rows & table.accepted])
    ]
    names = (*attribute.groups, UNKNOWN)
    before, after = (dict(zip(names, part.tolist(), strict=True)) for part in counts)
    return AttributeSummary(
        attribute.name,
        attribute.kind,
        "image" if attribute.per_image else "face",
        attribute.measured,
        attribute.groups,
        before,
        after,
        entropy(counts[0][:-1]),
        entropy(counts[1][:-1]),
    )


def transition_of(table: BiasTable, attribute: AttributeColumn) -> Transition:
    """The matrix of accepted outputs."""
    use = table.rows(attribute) & table.accepted
    counts = transition_counts(attribute.source[use], attribute.output[use], len(attribute.groups))
    return Transition(attribute.name, (*attribute.groups, UNKNOWN), tuple(tuple(row) for row in counts.tolist()))


def leak_measurements(leaks: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[BiasMeasurement]:
    """What the audit found by group, with its own verdicts."""
    for attribute, groups in leaks.items():
        for name, one in groups.items():
            yield BiasMeasurement(
                "leak",
                attribute,
                name,
                int(one["n"]),
                value=one["bound"],
                gate=True,
                verdict=one["verdict"],
                reason="verdict of the audit",
                details={"k": one["k"], "attack": one.get("attack")},
            )


def cross(attributes: list[AttributeColumn]) -> AttributeColumn:
    """The attribute whose groups are the combinations that there are, known where all parts are."""
    names = [
        None if any(one.source[row] < 0 for one in attributes) else _joined(attributes, row)
        for row in range(len(attributes[0].source))
    ]
    groups = tuple(sorted({name for name in names if name is not None}))
    codes = to_codes(names, groups)
    return AttributeColumn(
        " × ".join(one.name for one in attributes),
        "intersection",
        groups,
        codes,
        codes,
        per_image=all(one.per_image for one in attributes),
    )


def _joined(attributes: list[AttributeColumn], row: int) -> str:
    return " × ".join(one.groups[int(one.source[row])] for one in attributes)


def _crossings(table: BiasTable) -> Intersections:
    return tuple(combinations([one.name for one in table.attributes], 2))


def _first_output(table: BiasTable) -> np.ndarray:
    """Rows of the first output of each sample: one for each subject of the source."""
    outputs = np.cumsum(table.first)
    first = {int(sample): int(output) for sample, output in zip(table.sample[::-1], outputs[::-1], strict=True)}
    return outputs == np.array([first[int(sample)] for sample in table.sample], dtype=np.int64)
