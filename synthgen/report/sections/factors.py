"""Did the release get the shares that were asked for, and does it show them? From the ledger and the plan."""

from __future__ import annotations

from collections.abc import Sequence

from synthgen.metrics.factors import FactorReport, LevelSummary
from synthgen.quotas import Target
from synthgen.report.findings import Column, Line, Plot, Section, State, Table

TITLE = "Factors"
QUESTION = "Did the release get the shares that were asked for, and do its pictures show them?"
ALPHA = 0.05
UNITS = {
    "luminance": "CIELAB L*, 0–100",
    "contrast": "standard deviation of L*",
    "saturation": "chroma C*ab",
    "temperature": "kelvin",
    "sharpness": "variance of the Laplacian, grey levels²",
}
STRONG = 0.05
"""A factor that explains less of a measured value is not drawn."""


def factors_section(report: FactorReport, targets: Sequence[Target], tolerance: float) -> Section:
    """`targets` are the plan's; a share holds where its total variation is at most `tolerance`."""
    if not report.levels and not report.steering:
        return Section(
            "factors", TITLE, QUESTION, "not measured", "The plan of this run names no factors: nothing was asked for."
        )
    tables = []
    if report.targets:
        tables.append(_targets(report, tolerance))
    shares = [_shares(report, factor, targets) for factor in _factors(report)]
    tables += sorted(shares, key=lambda table: table.folded)
    tables += _measured(report)
    if report.steering:
        tables.append(_steering(report))
    if report.dependences:
        tables.append(_dependences(report))
    missed = [one.target for one in report.targets if one.released > tolerance]
    state: State = "told" if not report.targets else "fail" if missed else "pass"
    if report.levels and not any(level.accepted for level in report.levels):
        state, missed = "insufficient", []
    return Section("factors", TITLE, QUESTION, state, _summary(report, state, missed, tolerance), tuple(tables))


def _summary(report: FactorReport, state: State, missed: Sequence[str], tolerance: float) -> str:
    if state == "insufficient":
        return "No output with factors was released, so there are no shares to hold to what was asked for."
    if not report.targets:
        return "The plan sets no target shares, so there is nothing to hold the release to; below is what it drew."
    if missed:
        return f"{len(missed)} of {len(report.targets)} targets missed by more than {tolerance:g}: {', '.join(missed)}."
    return f"What was released is within {tolerance:g} total variation of every target ({len(report.targets)})."


def _factors(report: FactorReport) -> list[str]:
    return list(dict.fromkeys(level.factor for level in report.levels))


def _targets(report: FactorReport, tolerance: float) -> Table:
    columns = (Column("as planned"), Column("as checks left it"), Column("released"), Column("allowed"))
    lines = tuple(
        Line(
            id=one.target,
            label=one.target,
            values=(one.planned, one.left, one.released, tolerance),
            verdict="pass" if one.released <= tolerance else "fail",
            rows={},
            formula="tv",
        )
        for one in report.targets
    )
    text = "Total variation to the target, 0 to 1: before checks, after them, and after refilling what they rejected."
    return Table("targets", "Distance to the targets", "target", columns, lines, text)


def _shares(report: FactorReport, factor: str, targets: Sequence[Target]) -> Table:
    levels = [level for level in report.levels if level.factor == factor]
    asked = _asked(factor, targets)
    tried, accepted = sum(level.tried for level in levels), sum(level.accepted for level in levels)

    def line(level: LevelSummary) -> Line:
        wanted = (asked.get(level.level, 0.0),) if asked else ()
        released = level.accepted / accepted if accepted else None
        return Line(
            id=level.level,
            label=level.level,
            values=(*wanted, level.tried / tried, released, level.tried, level.accepted),
            rows={f"factor {factor}": level.level},
            formula="share",
        )

    wanted = (Column("asked for", kind="share"),) if asked else ()
    columns = (
        *wanted,
        Column("tried", kind="share"),
        Column("released", kind="share"),
        Column("tried", "outputs", "count"),
        Column("released", "outputs", "count"),
    )
    plot = Plot("bars", "share of outputs, %", bars=tuple(range(len(wanted) + 2)))
    lines = tuple(map(line, levels))
    folded = bool(targets) and not asked
    return Table(f"shares-{factor}", f"Shares of {factor}", factor, columns, lines, plot=plot, folded=folded)


def _asked(factor: str, targets: Sequence[Target]) -> dict[str, float]:
    """The share of each level in the first target that names the factor; empty where none does."""
    for target in targets:
        if factor in target.factors:
            place = target.factors.index(factor)
            shares: dict[str, float] = {}
            for levels, share in target.shares.items():
                shares[levels[place]] = shares.get(levels[place], 0.0) + share
            return shares
    return {}


def _measured(report: FactorReport) -> list[Table]:
    """What was measured, by level, for the factor that explains most of each value."""
    tables = []
    discrete = set(_factors(report))
    for measure in dict.fromkeys(one.measured for one in report.steering):
        found = [
            (one.explained, one.factor)
            for one in report.steering
            if one.measured == measure and one.factor in discrete and one.explained is not None
        ]
        if not found or max(found)[0] < STRONG:
            continue
        factor = max(found)[1]
        lines = tuple(_mean_line(level, measure) for level in report.levels if level.factor == factor)
        unit = UNITS.get(measure, "")
        columns = (
            Column("mean", unit),
            Column("mean − sd", unit),
            Column("mean + sd", unit),
            Column("outputs", kind="count"),
        )
        plot = Plot(
            "intervals",
            f"{measure}: {unit}" if unit else measure,
            value=0,
            low=1,
            high=2,
            whisker="± one standard deviation",
        )
        tables.append(
            Table(f"measured-{measure}", f"Measured {measure} by {factor}", factor, columns, lines, plot=plot)
        )
    return tables


def _mean_line(level: LevelSummary, measure: str) -> Line:
    mean, deviation = level.measured.get(measure, (None, None))
    values = (None, None, None) if mean is None or deviation is None else (mean, mean - deviation, mean + deviation)
    return Line(
        id=level.level,
        label=level.level,
        values=(*values, level.accepted),
        rows={"verdict": "accepted", f"factor {level.factor}": level.level},
        formula="mean",
    )


def _steering(report: FactorReport) -> Table:
    measures = list(dict.fromkeys(one.measured for one in report.steering))
    explained = {(one.factor, one.measured): one.explained for one in report.steering}
    lines = tuple(
        Line(factor, factor, tuple(explained.get((factor, name)) for name in measures), rows={}, formula="explained")
        for factor in dict.fromkeys(one.factor for one in report.steering)
    )
    columns = tuple(Column(name, kind="share") for name in measures)
    text = (
        "How much of what was measured on the pixels follows from what was asked for. A factor that moves nothing was "
        "asked for in vain, or acts on something that is not measured here."
    )
    return Table("steering", "Variance explained by each factor", "factor", columns, lines, text)


def _dependences(report: FactorReport) -> Table:
    columns = (
        Column("mutual information", "nats"),
        Column("by chance", "nats"),
        Column("p", kind="p"),
    )
    lines = tuple(
        Line(
            id=f"{one.factor}/{one.group}",
            label=f"{one.factor} with {one.group}",
            values=(one.information, one.chance, one.p),
            verdict=None if one.p is not None else "insufficient",
            reason="" if one.p is None else "leans on it" if one.p <= ALPHA else "",
            rows={"verdict": "accepted"},
            formula="information",
        )
        for one in report.dependences
    )
    text = f"Whether a factor leans on a class or a scene in what was released; told, not gated, at p ≤ {ALPHA:g}."
    return Table("dependence", "Dependence of factors", "factor and grouping", columns, lines, text)
