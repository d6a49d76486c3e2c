"""Factors of a run: asked for against measured, shares against targets, and whether a factor leans on a class or scene.

All of it is read off the ledger's rows: `factors` holds what was asked for, `scores` what was measured on the output
(`measured:…`). Shares are compared three times: as planned, as checks left them, and as released after refilling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import random_table

from synthgen.quotas import Target
from synthgen.types import Row

MEASURED = "measured:"
"""Before the name of what was measured on an output, among the scores of a ledger row; other scores are checks'."""
CELLS = 1 << 22
"""Of tables drawn at once."""
MIN_ROWS = 30
"""Fewer accepted outputs say nothing of a dependence."""


@dataclass(frozen=True)
class LevelSummary:
    """One level of a factor: outputs tried and accepted, and (mean, standard deviation) of each measured value of the
    accepted ones."""

    factor: str
    level: str
    tried: int
    accepted: int
    measured: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Steering:
    """How much of a measured value's variance a factor explains, 0..1: η² (the correlation ratio) over the levels, or
    the squared correlation for a continuous factor. None where nothing varies."""

    factor: str
    measured: str
    explained: float | None


@dataclass(frozen=True)
class TargetSummary:
    """Total variation to a target, 0..1: of the first round as planned, of what checks left of it, and of the release.

    1 where nothing is left to compare.
    """

    target: str
    planned: float
    left: float
    released: float


@dataclass(frozen=True)
class Dependence:
    """Mutual information (nats, plug-in estimate) of a factor and a grouping of the accepted outputs.

    `chance` is its mean under permutation of the levels, `p` = (1 + #{permuted ≥ observed}) / (1 + permutations)
    (Phipson & Smyth 2010); both are None with fewer than `MIN_ROWS` outputs.
    """

    factor: str
    group: str
    information: float
    chance: float | None
    p: float | None


@dataclass(frozen=True)
class FactorReport:
    """Everything that `factor_report` finds."""

    levels: tuple[LevelSummary, ...]
    steering: tuple[Steering, ...]
    targets: tuple[TargetSummary, ...]
    dependences: tuple[Dependence, ...]


def factor_report(
    rows: Iterable[Row],
    targets: Sequence[Target] = (),
    groups: Mapping[str, Mapping[str, str]] | None = None,
    variants: int = 1,
    permutations: int = 999,
    seed: int = 0,
) -> FactorReport:
    """Asked-for against measured values, shares against targets, and dependence on groups.

    Args:
        rows: the ledger; rows without factors (unreadable samples) are left out.
        targets: the plan's targets; one that is per class is compared as a joint share of class and levels.
        groups: name of a grouping (`class`, `scene`) → sample id → group.
        variants: the config's `plan.variants`; rows of a higher variant come from rounds of refilling.
    """
    made = [row for row in rows if row.factors]
    accepted = [row for row in made if row.verdict == "accepted"]
    names = list(dict.fromkeys(name for row in made for name in row.factors))
    discrete = [name for name in names if all(isinstance(row.factors.get(name, ""), str) for row in made)]
    measures = sorted({key.removeprefix(MEASURED) for row in accepted for key in row.scores if MEASURED in key})
    first = [row for row in made if row.variant < variants]
    left = [row for row in first if row.verdict == "accepted"]
    class_of = (groups or {}).get("class", {})
    return FactorReport(
        levels=tuple(_level_summaries(made, discrete, measures)),
        steering=tuple(
            Steering(name, measure, _explained(accepted, name, measure, name in discrete))
            for name in names
            for measure in measures
        ),
        targets=tuple(
            TargetSummary(target.name, *(_distance(part, target, made, class_of) for part in (first, left, accepted)))
            for target in targets
        ),
        dependences=tuple(
            _dependence(accepted, name, group, members, permutations, seed)
            for name in discrete
            for group, members in (groups or {}).items()
        ),
    )


def _level_summaries(made: Sequence[Row], discrete: Sequence[str], measures: Sequence[str]) -> Iterable[LevelSummary]:
    for name in discrete:
        for level in sorted({str(row.factors[name]) for row in made if name in row.factors}):
            tried = [row for row in made if row.factors.get(name) == level]
            accepted = [row for row in tried if row.verdict == "accepted"]
            measured = {}
            for measure in measures:
                values = _values(accepted, measure)
                values = values[~np.isnan(values)]
                if len(values):
                    measured[measure] = (float(values.mean()), float(values.std()))
            yield LevelSummary(name, level, len(tried), len(accepted), measured)


def _values(rows: Sequence[Row], measure: str) -> NDArray[np.float64]:
    """One value a row, NaN where it could not be measured."""
    found = [row.scores.get(MEASURED + measure) for row in rows]
    return np.array([np.nan if value is None else value for value in found], dtype=np.float64)


def _explained(rows: Sequence[Row], name: str, measure: str, discrete: bool) -> float | None:
    rows = [row for row in rows if name in row.factors]
    values = _values(rows, measure)
    there = ~np.isnan(values)
    values = values[there]
    if len(values) < 2 or values.var() == 0:
        return None
    asked = np.array([str(row.factors[name]) if discrete else float(row.factors[name]) for row in rows])[there]
    if not discrete:
        return None if asked.std() == 0 else float(np.corrcoef(asked, values)[0, 1] ** 2)
    levels, at = np.unique(asked, return_inverse=True)
    if len(levels) < 2:
        return None
    counts = np.bincount(at)
    means = np.bincount(at, weights=values) / counts
    return float((counts * (means - values.mean()) ** 2).sum() / len(values) / values.var())


def _distance(rows: Sequence[Row], target: Target, made: Sequence[Row], class_of: Mapping[str, str]) -> float:
    """Total variation of the shares of `rows` to the target; classes should have their share of all samples."""
    if not rows:
        return 1.0

    def key(row: Row) -> tuple[str, ...]:
        levels = tuple(str(row.factors.get(name)) for name in target.factors)
        return (class_of.get(row.sample_id, ""), *levels) if target.per_class else levels

    wanted: dict[tuple[str, ...], float] = dict(target.shares)
    if target.per_class:
        samples = Counter(class_of.get(sample_id, "") for sample_id in {row.sample_id for row in made})
        whole = sum(samples.values())
        wanted = {
            (name, *levels): share * count / whole
            for name, count in samples.items()
            for levels, share in target.shares.items()
        }
    found = Counter(key(row) for row in rows)
    keys = wanted.keys() | found.keys()
    return sum(abs(found[one] / len(rows) - wanted.get(one, 0.0)) for one in keys) / 2


def _dependence(
    rows: Sequence[Row], name: str, group: str, members: Mapping[str, str], permutations: int, seed: int
) -> Dependence:
    rows = [row for row in rows if row.sample_id in members and name in row.factors]
    if not rows:
        return Dependence(name, group, 0.0, None, None)
    levels, level_at = np.unique([str(row.factors[name]) for row in rows], return_inverse=True)
    names, group_at = np.unique([members[row.sample_id] for row in rows], return_inverse=True)
    joint = np.bincount(level_at * len(names) + group_at, minlength=len(levels) * len(names))
    joint = joint.reshape(1, len(levels), len(names))
    observed = float(mutual_information(joint)[0])
    if len(rows) < MIN_ROWS:
        return Dependence(name, group, observed, None, None)
    if min(len(levels), len(names)) < 2:
        return Dependence(name, group, observed, 0.0, 1.0)
    # Permuted levels give a random table with these margins: it is drawn as such, whatever the number of rows.
    tables = random_table(joint[0].sum(axis=1), joint[0].sum(axis=0), seed=np.random.default_rng(seed))
    at_once = max(1, CELLS // joint.size)
    sizes = [min(at_once, permutations - start) for start in range(0, permutations, at_once)]
    drawn = np.concatenate([mutual_information(tables.rvs(size=size)) for size in sizes])
    p = (1 + int((drawn >= observed - 1e-9).sum())) / (1 + permutations)
    return Dependence(name, group, observed, float(drawn.mean()), p)


def mutual_information(tables: NDArray[np.integer]) -> NDArray[np.float64]:
    """(tables,) Σ p(a, b) log(p(a, b) / p(a) p(b)) in nats, of (tables, levels, groups) counts of one total ≥ 1."""
    total = int(tables[0].sum())
    weight = np.arange(total + 1, dtype=np.float64)
    weight[1:] *= np.log(weight[1:])
    both = weight[tables].sum(axis=(1, 2))
    apart = weight[tables.sum(axis=2)].sum(axis=1) + weight[tables.sum(axis=1)].sum(axis=1)
    return (both - apart + weight[total]) / total
