"""Plots as inline SVG, drawn by hand: colours are CSS variables, so one drawing serves both colour schemes and print.

A plotting library would fix the colours, add its version and time to the file, and weigh more than these two forms:
intervals on an axis, and groups of bars. Coordinates are rounded, so the same table gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup, escape

from synthgen.report.findings import Kind, Line, Plot, Table, Value, show

WIDTH = 760
LABEL = 210
RIGHT = 70
ROW = 30
BAR = 12
HEAD = 30
FOOT = 44
MAX_LABEL = 34
"""Characters of a label; the whole of it is in the table."""
PLOT = WIDTH - LABEL - RIGHT


def draw(table: Table) -> Markup | None:
    """The table's plot; None where it has none, or no number to draw."""
    if table.plot is None:
        return None
    if table.plot.kind == "bars":
        return _bars(table, table.plot)
    return _intervals(table, table.plot)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten) that span low..high, about `count` of them; low < high."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _number(line: Line, column: int | None, scale: float = 1.0) -> float | None:
    value: Value = None if column is None else line.values[column]
    return scale * value if isinstance(value, int | float) and math.isfinite(value) else None


def _intervals(table: Table, plot: Plot) -> Markup | None:
    lines = [line for line in table.lines if _number(line, plot.value) is not None]
    if not lines:
        return None
    parts = [_legend(_interval_legend(table, plot, lines))]
    kind = table.columns[plot.value].kind
    scale = 100.0 if kind == "share" else 1.0
    spans = (
        [_span([line], plot, scale) for line in lines] if plot.own_scale else [_span(lines, plot, scale)] * len(lines)
    )
    bottom = HEAD + ROW * len(lines)
    if not plot.own_scale:
        parts.append(_axis(ticks(*spans[0]), HEAD, bottom))
    for place, (line, span) in enumerate(zip(lines, spans, strict=True)):
        marks = ticks(*span, 2 if plot.own_scale else 5)
        parts.append(_interval(line, plot, (marks[0], marks[-1]), HEAD + ROW * place + ROW / 2, kind))
    parts.append(_axis_title(plot.axis, bottom))
    return _svg(table.title, _described(table, lines, plot), bottom + FOOT, parts)


def _interval_legend(table: Table, plot: Plot, lines: Sequence[Line]) -> list[tuple[str, str]]:
    entries = [("dot", table.columns[plot.value].name)]
    if any(_number(line, plot.low) is not None for line in lines):
        entries.append(("whisker", plot.whisker))
    if plot.reference is not None:
        entries.append(("hollow", table.columns[plot.reference].name))
    if any(line.verdict == "fail" for line in lines):
        entries.append(("dot flagged", "flagged"))
    return entries


def _span(lines: Sequence[Line], plot: Plot, scale: float) -> tuple[float, float]:
    columns = (plot.value, plot.low, plot.high, plot.reference)
    values = [value for line in lines for column in columns if (value := _number(line, column, scale)) is not None]
    low, high = min(0.0, *values), max(0.0, *values)
    return (low, high) if high > low else (low, low + 1.0)


def _interval(line: Line, plot: Plot, span: tuple[float, float], y: float, kind: Kind) -> Markup:
    def x(value: float) -> float:
        return LABEL + PLOT * (value - span[0]) / (span[1] - span[0])

    scale = 100.0 if kind == "share" else 1.0
    value, low, high, reference = (
        _number(line, column, scale) for column in (plot.value, plot.low, plot.high, plot.reference)
    )
    assert value is not None
    parts = [_text(LABEL - 12, y + 4, line.label, "end", "lab")]
    if plot.own_scale:
        parts += [_line(x(span[0]), y, x(span[1]), y, "grid")]
        parts += [
            _text(x(end), y + 14, show(end), anchor, "tick") for end, anchor in zip(span, ("start", "end"), strict=True)
        ]
    if low is not None and high is not None:
        parts += [_line(x(low), y, x(high), y, "whisker")]
        parts += [_line(x(end), y - 4, x(end), y + 4, "whisker") for end in (low, high)]
    if reference is not None:
        cx = _r(x(reference))
        parts.append(Markup('<path class="hollow" d="M{} {}l5 5l-5 5l-5 -5z"/>').format(cx, _r(y - 5)))
    css = "dot flagged" if line.verdict == "fail" else "dot"
    parts.append(Markup('<circle class="{}" cx="{}" cy="{}" r="4.5"/>').format(css, _r(x(value)), _r(y)))
    parts.append(_text(WIDTH - RIGHT + 10, y + 4, show(line.values[plot.value], kind), "start", "val"))
    return Markup("").join(parts)


def _bars(table: Table, plot: Plot) -> Markup | None:
    """Shares 0..1, drawn in percent from 0."""
    lines = [line for line in table.lines if any(_number(line, column) is not None for column in plot.bars)]
    if not lines:
        return None
    top = max(_number(line, column) or 0.0 for line in lines for column in plot.bars)
    marks = ticks(0, max(100 * top, 1))
    group = BAR * len(plot.bars) + 14
    head = HEAD if len(plot.bars) > 1 else 8
    bottom = head + group * len(lines)
    names = [table.columns[column].name for column in plot.bars]
    parts = [
        _legend([(f"bar {_shade(place, len(names))}", name) for place, name in enumerate(names)])
        if len(names) > 1
        else Markup("")
    ]
    parts.append(_axis(marks, head, bottom))
    for place, line in enumerate(lines):
        y = head + group * place + 7
        parts.append(_text(LABEL - 12, y + BAR * len(plot.bars) / 2 + 4, line.label, "end", "lab"))
        for number, column in enumerate(plot.bars):
            share = _number(line, column)
            if share is None:
                continue
            width = PLOT * 100 * share / marks[-1]
            top_edge = y + BAR * number
            parts.append(
                Markup('<rect class="bar {}" x="{}" y="{}" width="{}" height="{}"/>').format(
                    _shade(number, len(names)), LABEL, _r(top_edge), _r(width), BAR - 2
                )
            )
            parts.append(_text(LABEL + width + 6, top_edge + 9, show(share, "share"), "start", "val"))
    parts.append(_axis_title(plot.axis, bottom))
    told = "; ".join(f"{line.label}: " + _told(table, line, plot.bars) for line in lines)
    return _svg(table.title, told, bottom + FOOT, parts)


def _shade(place: int, count: int) -> str:
    """The last bar, what came out, is the strongest; those before it lead up to it."""
    return ("before", "between", "result")[place - count]


def _told(table: Table, line: Line, columns: Sequence[int]) -> str:
    return ", ".join(f"{table.columns[one].name} {show(line.values[one], table.columns[one].kind)}" for one in columns)


def _described(table: Table, lines: Sequence[Line], plot: Plot) -> str:
    columns = [column for column in (plot.value, plot.reference) if column is not None]
    return "; ".join(f"{line.label}: {_told(table, line, columns)}" for line in lines)


def _axis(marks: Sequence[float], top: float, bottom: float) -> Markup:
    parts = []
    for mark in marks:
        x = LABEL + PLOT * (mark - marks[0]) / (marks[-1] - marks[0])
        parts.append(_line(x, top, x, bottom, "zero" if mark == 0 else "grid"))
        parts.append(_text(x, bottom + 16, show(mark), "middle", "tick"))
    return Markup("").join(parts)


def _axis_title(text: str, bottom: float) -> Markup:
    return _text(LABEL + PLOT / 2, bottom + 36, text, "middle", "axis")


def _legend(entries: Sequence[tuple[str, str]]) -> Markup:
    parts, x = [], float(LABEL)
    for css, text in entries:
        if css.startswith("bar"):
            parts.append(Markup('<rect class="{}" x="{}" y="6" width="12" height="10"/>').format(css, _r(x)))
        elif css == "whisker":
            parts.append(_line(x, 11, x + 14, 11, "whisker"))
        elif css == "hollow":
            parts.append(Markup('<path class="hollow" d="M{} 6l5 5l-5 5l-5 -5z"/>').format(_r(x + 6)))
        else:
            parts.append(Markup('<circle class="{}" cx="{}" cy="11" r="4.5"/>').format(css, _r(x + 6)))
        parts.append(_text(x + 19, 15, text, "start", "key"))
        x += 19 + 6.4 * len(text) + 22
    return Markup("").join(parts)


def _svg(title: str, told: str, height: float, parts: Sequence[Markup]) -> Markup:
    return Markup('<svg role="img" viewBox="0 0 {} {}"><title>{}</title><desc>{}</desc>{}</svg>').format(
        WIDTH, _r(height), title, told, Markup("").join(parts)
    )


def _text(x: float, y: float, text: str, anchor: str, css: str) -> Markup:
    if css == "lab" and len(text) > MAX_LABEL:
        text = text[: MAX_LABEL - 1] + "…"
    form = Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>')
    return form.format(css, _r(x), _r(y), anchor, escape(text))


def _line(x0: float, y0: float, x1: float, y1: float, css: str) -> Markup:
    form = Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>')
    return form.format(css, _r(x0), _r(y0), _r(x1), _r(y1))


def _r(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
