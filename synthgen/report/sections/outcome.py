"""What became of every planned output: counts, reasons, and what the checks scored. From the ledger alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from synthgen.metrics.factors import MEASURED
from synthgen.report.findings import Column, Line, Plot, Section, Table
from synthgen.types import Row

TITLE = "Outputs"
QUESTION = "What became of every output that was planned?"


def outcome_section(rows: Sequence[Row]) -> Section:
    """Counts by verdict, reason and number of attempts; quantiles of the checks' scores."""
    accepted = sum(row.verdict == "accepted" for row in rows)
    lost = len(rows) - accepted
    summary = (
        f"{accepted} of {len(rows)} planned outputs passed their checks and are released; {lost} were quarantined."
    )
    tables = [_reasons(rows), _attempts(rows)]
    if checks := _checks(rows):
        tables.append(checks)
    return Section("outputs", TITLE, QUESTION, "told", summary, tuple(tables))


def _reasons(rows: Sequence[Row]) -> Table:
    codes = Counter(row.code for row in rows)
    lines = [_count_line("accepted", codes.pop("", 0), len(rows), {"verdict": "accepted"})]
    lines += [_count_line(code, count, len(rows), {"reason": code}) for code, count in sorted(codes.items())]
    columns = (Column("outputs", kind="count"), Column("share", kind="share"))
    plot = Plot("bars", "share of planned outputs, %", bars=(1,))
    return Table("reasons", "Accepted, and why not", "outcome", columns, tuple(lines), plot=plot)


def _attempts(rows: Sequence[Row]) -> Table:
    made = [row.attempts for row in rows if row.attempts]
    lines = tuple(
        _count_line(f"{number} attempt{'s' if number > 1 else ''}", count, len(made), None)
        for number, count in sorted(Counter(made).items())
    )
    columns = (Column("outputs", kind="count"), Column("share", kind="share"))
    text = "Attempts at an output, the last included; images that could not be read have none."
    return Table("attempts", "Attempts", "attempts", columns, lines, text)


def _count_line(label: str, count: int, whole: int, rows: dict[str, str] | None) -> Line:
    return Line(label, label, (count, count / whole if whole else None), rows=rows, formula="count")


def _checks(rows: Sequence[Row]) -> Table | None:
    names = sorted({name for row in rows for name in row.scores if not name.startswith(MEASURED)})
    lines = []
    for name in names:
        for verdict in ("accepted", "quarantined"):
            scores = [row.scores.get(name) for row in rows if row.verdict == verdict]
            known = [score for score in scores if score is not None]
            quantiles = [float(value) for value in np.quantile(known, [0, 0.5, 1])] if known else [None] * 3
            rows_behind = {"verdict": verdict}
            lines.append(
                Line(
                    f"{name}/{verdict}", f"{name}, {verdict}", (len(known), *quantiles), None, "", rows_behind, "check"
                )
            )
    if not lines:
        return None
    columns = (Column("scored", "outputs", "count"), Column("least"), Column("median"), Column("largest"))
    return Table("checks", "Scores of the checks", "check", columns, tuple(lines))
