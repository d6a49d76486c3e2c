"""For whom is the release not like the source? From the record of `synthgen bias` (see metrics/bias.py)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from synthgen.report.findings import Column, Line, Plot, Section, Table

TITLE = "Bias"
QUESTION = "For whom is the released set not like the source?"
COLUMNS = (
    Column("n", kind="count"),
    Column("value"),
    Column("reference"),
    Column("difference"),
    Column("95 % from"),
    Column("95 % to"),
    Column("p", kind="p"),
    Column("flagged below", kind="p"),
    Column("detectable"),
)


def bias_section(record: Mapping[str, Any] | None, command: str) -> Section:
    """`record` is one edition of `bias.json`, None where nothing was measured."""
    if record is None:
        return Section("bias", TITLE, QUESTION, "not measured", "No group was looked at.", command=command)
    measured = record["measurements"]
    gates, others = ([one for one in measured if bool(one["gate"]) is gate] for gate in (True, False))
    tables = [_shares(attribute) for attribute in record["attributes"]]
    tables += [_transition(one) for one in record["transitions"]]
    if gates:
        text = (
            "These decide the verdict, corrected together (Holm). “Detectable” is the smallest difference that would "
            "have been flagged with 80 % power: a pass says nothing of smaller ones."
        )
        plot = Plot(
            "intervals",
            "difference, each row on its own axis",
            value=3,
            low=4,
            high=5,
            own_scale=True,
            whisker="95 % interval",
        )
        tables.append(_measurements("gates", "What decides", gates, text, plot))
    if others:
        tables.append(_measurements("explored", "What was explored", others, "Corrected by Benjamini–Hochberg.", None))
    notes = tuple(f"{one['subject']}: {one['message']}" for one in record["findings"])
    return Section("bias", TITLE, QUESTION, record["verdict"], _summary(record, gates), tuple(tables), notes)


def _summary(record: Mapping[str, Any], gates: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(one["name"] for one in record["attributes"]) or "no attribute"
    counts = Counter(one["verdict"] for one in gates)
    if not gates:
        return f"Looked at {names}; nothing could be tested."
    flagged = [_label(one) for one in gates if one["verdict"] == "fail"]
    told = (
        f"Looked at {names}: {counts['pass']} tests pass, {counts['fail']} fail, {counts['insufficient']} can't tell."
    )
    return f"{told} Flagged: {'; '.join(flagged)}." if flagged else told


def _label(one: Mapping[str, Any]) -> str:
    parts = [str(part) for part in (one["attribute"], one["group"], one["label"]) if part is not None]
    return f"{one['title']} · {' · '.join(parts)}"


def _shares(attribute: Mapping[str, Any]) -> Table:
    sides = (attribute["source"], attribute["released"])
    wholes = [None if None in side.values() else sum(side.values()) for side in sides]
    lines = []
    for group in dict.fromkeys([*attribute["source"], *attribute["released"]]):
        counts = [side.get(group, 0) for side in sides]
        shares = [count / whole if whole else None for count, whole in zip(counts, wholes, strict=True)]
        lines.append(
            Line(group, group, (*shares, *counts), rows={f"group {attribute['name']}": group}, formula="group")
        )
    subject = f"{attribute['subject']}s"
    columns = (
        Column("source", kind="share"),
        Column("released", kind="share"),
        Column("source", subject, "count"),
        Column("released", subject, "count"),
    )
    plot = Plot("bars", f"share of {subject}, %", bars=(0, 1))
    name = attribute["name"]
    return Table(
        f"groups-{name}", f"Groups of {name}", name, columns, tuple(lines), f"Read by: {attribute['kind']}.", plot
    )


def _transition(one: Mapping[str, Any]) -> Table:
    groups = [*one["groups"], "unknown"][: len(one["counts"])]
    columns = tuple(Column(f"→ {group}", kind="count") for group in groups)
    lines = tuple(
        Line(group, group, tuple(counts), formula="transition")
        for group, counts in zip(groups, one["counts"], strict=True)
    )
    text = "Subjects of each group of the source (rows), by the group that their output reads as (columns)."
    name = one["attribute"]
    return Table(f"transition-{name}", f"{name}, source to output", "source", columns, lines, text)


def _measurements(name: str, title: str, measured: Sequence[Mapping[str, Any]], text: str, plot: Plot | None) -> Table:
    lines = tuple(_line(place, one) for place, one in enumerate(measured))
    return Table(name, title, "measurement", COLUMNS, lines, text, plot, folded=plot is None)


def _line(place: int, one: Mapping[str, Any]) -> Line:
    interval = one["interval"] if one["interval"] and one["interval_of"] == "difference" else (None, None)
    numbers = (one["n"], one["value"], one["reference"], one["difference"], *interval)
    return Line(
        id=f"{place}",
        label=_label(one),
        values=(*numbers, one["p"], one["level"], one["detectable"]),
        verdict=one["verdict"],
        reason=one["reason"],
        rows={f"group {one['attribute']}": one["group"]} if one["group"] is not None else {},
        formula=f"bias:{one['metric']}",
    )
