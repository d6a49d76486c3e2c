"""How much of each class's labels the outputs still show, by what the check `labels` left in the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from synthgen.report.findings import Column, Line, Plot, Section, Table
from synthgen.types import Row

CHECK, OBJECTS, IGNORED = "labels", "label-objects:", "ignored"
OBJECT_COLUMNS = ("survived", "lost", "unread", "small-survived", "small-lost", "small-unread")
TITLE = "Labels"
QUESTION = "Does each picture still show what its label says?"


def labels_section(rows: Sequence[Row]) -> Section:
    """Agreement by class, objects that survived, and labels that became ignore, over the released outputs."""
    judged = [row.scores for row in rows if row.verdict == "accepted" and CHECK in row.scores]
    if not judged:
        return Section(
            "labels", TITLE, QUESTION, "not measured",
            "Labels are carried over from the source. No independent model has read the outputs and compared: "
            "give the run a check of the kind labels.",
        )  # fmt: skip
    values = _known(judged, CHECK)
    summary = f"An independent model read {len(values)} of {len(judged)} released outputs against their labels."
    if values:
        summary += f" On average they reach {np.mean(values):.0%} of what it reads on the source."
    tables = [_classes(judged, CHECK, "agreement", "Agreement by class", "label-agreement")]
    if any(name.startswith(OBJECTS) for scores in judged for name in scores):
        tables.append(_objects(judged))
    if any(IGNORED in scores for scores in judged):
        tables.append(_classes(judged, IGNORED, "ignored", "Share of labelled pixels that became ignore", "ignored"))
    return Section("labels", TITLE, QUESTION, "told", summary, tuple(tables))


def _known(judged: Sequence[Mapping[str, float | None]], name: str) -> list[float]:
    return [value for scores in judged if (value := scores.get(name)) is not None]


def _classes(judged: Sequence[Mapping[str, float | None]], column: str, table: str, title: str, formula: str) -> Table:
    """A line for all classes together and one for each; an output counts where its value is known."""
    prefix = f"{column}:"
    names = sorted({name for scores in judged for name in scores if name.startswith(prefix)})
    lines = []
    for name in (column, *names):
        known = _known(judged, name)
        tenth, half = (float(value) for value in np.quantile(known, [0.1, 0.5])) if known else (None, None)
        mean = float(np.mean(known)) if known else None
        label = "all classes" if name == column else name.removeprefix(prefix)
        lines.append(Line(name, label, (len(known), mean, tenth, half), rows=None, formula=formula))
    columns = (
        Column("read", "outputs", "count"),
        Column("mean", kind="share"),
        Column("lowest tenth", kind="share"),
        Column("median", kind="share"),
    )
    return Table(f"labels-{table}", title, "class", columns, tuple(lines), plot=Plot("bars", f"{table}, %", bars=(1,)))


def _objects(judged: Sequence[Mapping[str, float | None]]) -> Table:
    """Objects over all released outputs; small ones apart."""
    totals = {name: int(sum(_known(judged, OBJECTS + name))) for name in OBJECT_COLUMNS}
    lines = []
    for label, prefix in (("objects", ""), ("small objects", "small-")):
        survived, lost, unread = (totals[f"{prefix}{fate}"] for fate in ("survived", "lost", "unread"))
        read = survived + lost
        values = (survived, lost, unread, survived / read if read else None)
        lines.append(Line(label.replace(" ", "-"), label, values, rows=None, formula="label-objects"))
    columns = (
        Column("survived", kind="count"),
        Column("lost", kind="count"),
        Column("unread", kind="count"),
        Column("survived of those read", kind="share"),
    )
    text = "Unread: the model did not find it on the source either, so its label stays unjudged."
    return Table("labels-objects", "Objects", "object", columns, tuple(lines), text)
