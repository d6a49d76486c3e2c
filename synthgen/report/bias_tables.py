"""The bias report as text: the verdict, what failed in words, then a table for each attribute."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from synthgen.metrics.bias import BiasMeasurement, BiasReport, Transition
from synthgen.metrics.bias_table import UNKNOWN

WIDTH = 118
MOST_ROWS = 12
"""Of explored measurements that failed, the rest being counted."""
VERBS = {
    "transition": "the groups' shares change from source to output",
    "shift": "its mean moves from source to output",
    "target": "the released shares miss the target",
    "acceptance": "outputs of {group} are accepted less often",
    "label_survival": "labels of {group} survive less often",
    "leak": "the audit fails for {group}",
}


def format_bias(report: BiasReport) -> str:
    """Plain text of at most `WIDTH` columns."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, legacy_windows=False)
    run = report.run
    console.print(
        f"verdict  {report.verdict}   (run {run['run_id']}: {run['samples']} source images, {run['outputs']} outputs, "
        f"{run['accepted']} accepted, {run['scenes']} scenes)",
        highlight=False,
    )
    for line in _headlines(report):
        console.print(f"  {line}", highlight=False, markup=False)
    for table in _attribute_tables(report):
        console.print("")
        console.print(table)
    _explored(console, report)
    assert isinstance(console.file, io.StringIO)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())


def _headlines(report: BiasReport) -> Iterable[str]:
    """The gates that fail, those that could not be judged, and what the reader must know."""
    for one in (one for one in report.measurements if one.gate):
        if one.verdict == "fail":
            yield f"✗ {_in_words(one)}"
        elif one.verdict == "insufficient" and one.group is None:
            yield f"? {one.attribute}: {one.title}: insufficient, {one.reason}"
    for finding in report.findings:
        yield f"! {finding.subject}: {finding.message} ({finding.code})"


def _in_words(one: BiasMeasurement) -> str:
    what = VERBS[one.metric].format(group=one.group)
    numbers = f"{_text(one.reference)} → {_text(one.value)}" if one.reference is not None else _text(one.value)
    ratio = f", ratio {_text(one.ratio)}" if one.ratio is not None else ""
    return f"{one.attribute}: {what} ({numbers}{ratio}, p {_text(one.p)} ≤ {_text(one.level)}, n {one.n})"


def _attribute_tables(report: BiasReport) -> Iterable[Table]:
    for summary in report.attributes:
        own = [one for one in report.measurements if one.attribute == summary.name]
        yield _groups(report, summary.name, own)
        yield from (_matrix(one) for one in report.transitions if one.attribute == summary.name)
        gates = [one for one in own if one.gate and one.group is None]
        if any(one.level is not None for one in gates):
            header = ("", "source", "output", "difference", "95 %", "p", "level", "detectable", "verdict")
            yield _table(header, [_gate_cells(one) for one in gates])


def _matrix(transition: Transition) -> Table:
    """Groups that no subject has on either side are left out."""
    counts = transition.counts
    kept = [i for i in range(len(counts)) if any(counts[i]) or any(row[i] for row in counts)]
    header = (f"{transition.attribute}: source ↓ output →", *(transition.groups[i] for i in kept))
    return _table(header, [(transition.groups[i], *(str(counts[i][j] or "·") for j in kept)) for i in kept])


def _groups(report: BiasReport, name: str, own: Sequence[BiasMeasurement]) -> Table:
    """A line a group: counts before and after, change, target, acceptance, label survival."""
    summary = next(one for one in report.attributes if one.name == name)
    shown = [metric for metric in ("change", "target_share", "acceptance", "label_survival") if _has(own, metric)]
    titles = {"change": "change", "target_share": "target", "acceptance": "accepted", "label_survival": "labels kept"}
    before = sum(summary.source[group] for group in summary.groups)
    after = sum(summary.released[group] for group in summary.groups)
    rows = []
    for group in (*summary.groups, UNKNOWN):
        counts = summary.source[group], summary.released[group]
        if not any(counts):
            continue
        cells = [group]
        for count, whole in zip(counts, (before, after), strict=True):
            cells.append(f"{count}" + (f" ({count / whole:.1%})" if whole and group != UNKNOWN else ""))
        for metric in shown:
            cells.append(_cell(next((one for one in own if (one.metric, one.group) == (metric, group)), None)))
        rows.append(tuple(cells))
    kind = f"{summary.kind}, {'read off pixels' if summary.measured else 'as the source says'}, per {summary.subject}"
    return _table((f"{name} ({kind})", "source", "released", *(titles[metric] for metric in shown)), rows)


def _explored(console: Console, report: BiasReport) -> None:
    explored = [one for one in report.measurements if not one.gate and one.level is not None]
    failed = [one for one in explored if one.verdict == "fail"]
    small = sum(one.verdict == "insufficient" for one in report.measurements)
    console.print("")
    console.print(
        f"explored: {len(explored)} tests at a false discovery rate of {report.settings['explore']:.0%}, "
        f"{len(failed)} found; {small} of all measurements are insufficient (cells under {report.settings['min_n']})",
        highlight=False,
    )
    if failed:
        failed.sort(key=lambda one: one.p if one.p is not None else 1.0)
        rows = [
            (one.title, " ".join(filter(None, (one.attribute, one.group))), one.label or "", *_numbers(one))
            for one in failed[:MOST_ROWS]
        ]
        console.print(_table(("found", "group", "label or check", "reference", "value", "p"), rows))
        if len(failed) > MOST_ROWS:
            console.print(f"  and {len(failed) - MOST_ROWS} more in private/bias.json", highlight=False)


def _numbers(one: BiasMeasurement) -> tuple[str, ...]:
    return _text(one.reference), _text(one.value), _text(one.p)


def _gate_cells(one: BiasMeasurement) -> tuple[str, ...]:
    interval = "" if one.interval is None else f"{_text(one.interval[0])} .. {_text(one.interval[1])}"
    cells = (one.reference, one.value, one.difference)
    found = (one.p, one.level, one.detectable)
    return (one.title, *map(_text, cells), interval, *map(_text, found), one.verdict)


def _cell(one: BiasMeasurement | None) -> str:
    if one is None:
        return ""
    if one.value is None:
        return "insufficient"
    text = f"{one.difference:+.1%}" if one.metric == "change" and one.difference is not None else f"{one.value:.1%}"
    if one.metric == "target_share" and one.reference is not None:
        text = f"{one.reference:.1%}"
    return text + {"fail": " ✗", "insufficient": " ?", "pass": ""}[one.verdict]


def _has(own: Sequence[BiasMeasurement], metric: str) -> bool:
    return any(one.metric == metric for one in own)


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Table:
    table = Table(*header, box=None, pad_edge=False, header_style="")
    for row in rows:
        table.add_row(*row)
    return table
