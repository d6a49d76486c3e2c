"""Plots: where marks stand, that nothing is drawn of nothing, and that any text is safe in them."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import pytest

from synthgen.report.charts import LABEL, PLOT, draw, ticks
from synthgen.report.findings import Column, Line, Plot, Table, Value

INTERVALS = Plot("intervals", "metres", value=0, low=1, high=2, reference=3, whisker="95 %")


def table(lines: list[tuple[Value, ...]], plot: Plot, kind: str = "number", label: str = "a line") -> Table:
    columns = tuple(Column(f"column {place}", kind=kind) for place in range(4))  # type: ignore[arg-type]
    return Table(
        "t", "The plot", "h", columns, tuple(Line(str(i), label, one) for i, one in enumerate(lines)), plot=plot
    )


def parsed(one: Table) -> ElementTree.Element:
    drawing = draw(one)
    assert drawing is not None
    return ElementTree.fromstring(str(drawing))


def marks(svg: ElementTree.Element, css: str) -> list[ElementTree.Element]:
    return [element for element in svg.iter() if element.get("class", "").split()[:1] == [css]]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 0.0037), (-3, 12), (0, 98765), (1e-9, 2e-9), (-0.2, 0), (0, 4.999), (0, 100)]
)
@pytest.mark.parametrize("count", [2, 5])
def test_ticks_are_round_and_span_the_values(low: float, high: float, count: int) -> None:
    found = ticks(low, high, count)
    step = found[1] - found[0]
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert found[0] <= low + 1e-9 and found[-1] >= high - 1e-9 and 2 <= len(found) <= count + 3
    assert min(abs(mantissa - round_one) for round_one in (1, 2, 5, 10)) < 1e-6


def test_a_dot_stands_where_its_value_is() -> None:
    svg = parsed(table([(5, 2, 10, 0), (10, None, None, None)], INTERVALS))
    dots = [one for one in marks(svg, "dot") if one.get("cy") != "11"]
    assert [float(one.get("cx", "")) for one in dots] == pytest.approx([LABEL + PLOT / 2, LABEL + PLOT], abs=0.1)
    assert len([one for one in marks(svg, "hollow") if "l5 5" in one.get("d", "")]) == 2, "one mark and its key"
    assert "metres" in [element.text for element in svg.iter()]


def test_shares_are_drawn_in_percent() -> None:
    texts = [element.text for element in parsed(table([(0.5, 0.2, 0.9, 0.1)], INTERVALS, "share")).iter()]
    assert "100" in texts and "50.0\u202f%" in texts


def test_bars_are_as_long_as_their_shares() -> None:
    svg = parsed(table([(0.25, 0.5, 1, 1), (0, None, 0, 0)], Plot("bars", "share, %", bars=(0, 1)), "share"))
    bars = [one for one in marks(svg, "bar") if one.get("y") != "6"]
    assert [float(one.get("width", "")) for one in bars] == pytest.approx([PLOT / 2, PLOT, 0], abs=0.1)


@pytest.mark.parametrize("plot", [INTERVALS, Plot("bars", "%", bars=(0,))])
def test_nothing_is_drawn_of_nothing(plot: Plot) -> None:
    assert draw(table([(None,) * 4, (float("nan"),) * 4], plot)) is None
    assert draw(table([], plot)) is None


@pytest.mark.parametrize("own_scale", [False, True])
@pytest.mark.parametrize("value", [0.0, -3.0, 1e-12, 1e12])
def test_any_number_can_be_drawn(value: float, own_scale: bool) -> None:
    plot = Plot("intervals", "", value=0, low=1, high=2, reference=3, own_scale=own_scale)
    assert "nan" not in str(draw(table([(value, None, None, None)], plot)))


@pytest.mark.parametrize("plot", [INTERVALS, Plot("bars", "%", bars=(0,))])
def test_labels_are_text_and_the_same_table_gives_the_same_bytes(plot: Plot) -> None:
    hostile = table([(0.5, 0.1, 0.9, 0.2)], plot, label='</svg><script>"&')
    assert "<script" not in str(draw(hostile)) and '</svg><script>"&' in "".join(parsed(hostile).itertext())
    assert draw(hostile) == draw(hostile)
