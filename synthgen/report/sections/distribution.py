"""Is the synthetic set distributed like the real one? From the record of `synthgen compare`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthgen.report.findings import Column, Line, Plot, Section, Table

TITLE = "Distribution"
QUESTION = "Is the released set distributed like the real one?"
UNITS = {
    "lab_histogram": "Lab units",
    "luminance": "of 100",
    "edge_density": "share of pixels",
    "spectral_slope": "slope",
    "object_size": "bits",
    "object_position": "bits",
    "class_shares": "0–1",
    "modes": "standard errors",
    "precision": "share",
    "coverage": "share",
    "duplicates": "share",
}
COLUMNS = (
    Column("synthetic – real"),
    Column("real – real"),
    Column("95 % from"),
    Column("95 % to"),
    Column("p", kind="p"),
    Column("flagged below", kind="p"),
)
PLOT = Plot(
    "intervals",
    "distance, each row on its own axis",
    value=0,
    low=2,
    high=3,
    reference=1,
    own_scale=True,
    whisker="95 % interval",
)
EXPECTED = (
    "A generator that is small, or was not trained on pictures like these, is expected to fail here; it says nothing "
    "of who could be recognised, and what the set is worth for training is for utility to tell."
)
"""After what sets the sets apart: tests see small differences, so what a failure means must be said."""
MARKS = {"pass": "pass", "fail": "fail", "insufficient": "–"}


def distribution_section(record: Mapping[str, Any] | None, command: str) -> Section:
    """`record` is `Comparison.record()`, None where nothing was compared."""
    if record is None:
        return Section(
            "distribution", TITLE, QUESTION, "not measured", "The released set was not compared.", command=command
        )
    measured = record["measurements"]
    whole = [one for one in measured if one["subset"] == "all"]
    parts = [one for one in measured if one["subset"] != "all"]
    lines = tuple(_line(one, {}) for one in whole)
    empty = all(one["value"] is None for one in measured)
    tables = [Table("whole", "The whole sets", "metric", COLUMNS, lines, _about(record), PLOT, folded=empty)]
    if parts and not empty:
        tables += [_verdicts_by_subset(parts), _all_of_subsets(parts)]
    notes = tuple(f"{one['subject']}: {one['message']}" for one in record["findings"])
    return Section("distribution", TITLE, QUESTION, record["verdict"], _summary(record, whole), tuple(tables), notes)


def _summary(record: Mapping[str, Any], whole: Sequence[Mapping[str, Any]]) -> str:
    sizes = record["sets"]
    sets = f"{sizes['real']['images']} real and {sizes['synthetic']['images']} synthetic images"
    tested = [one for one in whole if one["p"] is not None]
    if record["verdict"] == "insufficient":
        reasons = sorted({one["reason"] for one in whole if one["reason"]})
        return f"Too little to say with {sets}: {'; '.join(reasons) or 'nothing could be tested'}."
    flagged = [short_title(one) for one in tested if one["verdict"] == "fail"]
    if not flagged:
        return f"Nothing sets them apart in {len(tested)} tests on {sets}."
    return f"They differ in {len(flagged)} of {len(tested)} tests on {sets}: {', '.join(flagged)}. {EXPECTED}"


def short_title(one: Mapping[str, Any]) -> str:
    """A metric's name without the network or the kind of distance, which stand beside it."""
    return str(one["title"]).partition(" (")[0].partition(", ")[0]


def _about(record: Mapping[str, Any]) -> str:
    features = record["features"].get("title")
    seen = f"Network features: {features}." if features else "No network features: descriptors alone."
    return (
        "“Real – real” is the same number between two halves of the real set: what no generator can beat. "
        f"{seen} A metric is flagged where p is at most its level, corrected for all tests (Holm)."
    )


def _line(one: Mapping[str, Any], rows: Mapping[str, str] | None, label: str = "") -> Line:
    unit = UNITS.get(one["metric"])
    interval = one["interval"] if one["interval"] and one["interval_of"] == "value" else (None, None)
    title = label + short_title(one)
    lost = one["details"].get("lost")
    gone = f"lost: {', '.join(lost)}" if one["metric"] == "lost_classes" and lost else ""
    return Line(
        id=f"{one['subset']}/{one['metric']}",
        label=f"{title} ({unit})" if unit else title,
        values=(one["value"], one["floor"], interval[0], interval[1], one["p"], one["level"]),
        verdict=one["verdict"],
        reason=one["reason"] or gone,
        rows={"verdict": "accepted", **(rows or {})},
        formula=one["metric"],
    )


def _rows_of(subset: str) -> dict[str, str]:
    column, _, value = subset.partition("=")
    return {"class" if column == "class" else f"group {column}": value}


def _verdicts_by_subset(parts: Sequence[Mapping[str, Any]]) -> Table:
    metrics = list(dict.fromkeys(one["metric"] for one in parts))
    titles = {one["metric"]: short_title(one) for one in parts}
    lines = []
    for subset in dict.fromkeys(one["subset"] for one in parts):
        here = {one["metric"]: one for one in parts if one["subset"] == subset}
        sizes = next(iter(here.values()))
        verdicts = [one["verdict"] for one in here.values() if one["p"] is not None]
        lines.append(
            Line(
                id=subset,
                label=subset.replace("=", ": "),
                values=(
                    sizes["n_real"],
                    sizes["n_synthetic"],
                    *(MARKS[here[metric]["verdict"]] for metric in metrics),
                ),
                verdict="fail" if "fail" in verdicts else "pass" if "pass" in verdicts else "insufficient",
                rows={"verdict": "accepted", **_rows_of(subset)},
                formula=metrics[0],
            )
        )
    columns = (
        Column("real", "images", "count"),
        Column("synthetic", "images", "count"),
        *(Column(titles[metric], kind="verdict") for metric in metrics),
    )
    text = "Explored, not a gate: flags are corrected for all classes and groups together (Benjamini–Hochberg, 5 %)."
    return Table("subsets", "By class and group", "images with", columns, tuple(lines), text)


def _all_of_subsets(parts: Sequence[Mapping[str, Any]]) -> Table:
    lines = tuple(_line(one, _rows_of(one["subset"]), f"{one['subset'].replace('=', ': ')} · ") for one in parts)
    return Table("subset-numbers", "Every number by class and group", "metric", COLUMNS, lines, folded=True)
