"""How values are shown, and that a record is JSON whatever was measured."""

from __future__ import annotations

import json

import pytest

from synthgen.compare import metric_names
from synthgen.metrics.bias import TITLES
from synthgen.report.findings import Column, Kind, LedgerRow, Line, Report, Section, Table, Value, show
from synthgen.report.formulas import all_formulas, used_formulas

NARROW = "\u202f"


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (None, "number", "–"),
        (float("nan"), "number", "–"),
        (float("inf"), "share", "–"),
        (0, "number", "0"),
        (0.0, "number", "0"),
        (0.25, "share", f"25.0{NARROW}%"),
        (1234567, "count", f"1{NARROW}234{NARROW}567"),
        (12990.4, "number", f"12{NARROW}990"),
        (-0.000877, "number", "−0.000877"),
        (0.0000123, "number", "1.2e−05"),
        (3.14159, "number", "3.14"),
        (0.0004, "p", "0.0004"),
        (0.0123, "p", "0.012"),
        (0, "p", "0"),
        ("night", "text", "night"),
    ],
)
def test_show(value: Value, kind: Kind, text: str) -> None:
    assert show(value, kind) == text


def report(values: tuple[Value, ...], rows: tuple[LedgerRow, ...] = ()) -> Report:
    line = Line("x", "x", values, formula="tv")
    table = Table("t", "T", "h", tuple(Column(f"c{place}") for place in range(len(values))), (line,))
    section = Section("s", "S", "?", "told", "…", (table,))
    return Report("release", "0", "n", "pass", "", 0, {}, {}, {}, (), (), (section,), used_formulas([section]), rows)


def test_a_record_is_json_and_has_no_nan() -> None:
    record = report((float("nan"), 1.5, None, float("-inf"))).record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["sections"][0]["tables"][0]["lines"][0]["values"] == [None, 1.5, None, None]


def test_the_release_edition_has_no_place_for_what_is_private() -> None:
    row = LedgerRow("ab", "accepted", "", "", (), {}, {}, {})
    assert "private" not in report((1,), (row,)).record()["rows"][0]


def test_formulas_have_their_sources_and_only_those_used_are_told() -> None:
    assert all(formula.title and formula.text and formula.source for formula in all_formulas())
    assert [formula.key for formula in report((1,)).formulas] == ["verdict", "tv"]
    told = {formula.key for formula in all_formulas()}
    assert set(metric_names(None)) | {f"bias:{metric}" for metric in TITLES} <= told
    line = Line("x", "x", (1,), formula="magic")
    table = Table("t", "T", "h", (Column("c"),), (line,))
    with pytest.raises(KeyError, match="magic"):
        used_formulas([Section("s", "S", "?", "told", "", (table,))])
