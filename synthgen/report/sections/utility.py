"""What is a model worth that was trained on the release? From the record of `synthgen utility` (utility/report.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from synthgen.report.findings import Column, Line, Plot, Section, Table

TITLE = "Utility"
QUESTION = "What is a model worth that was trained on the released set?"
REAL = "real"
SCORES = (
    Column("score on real"),
    Column("95 % from"),
    Column("95 % to"),
    Column("− real"),
    Column("from"),
    Column("to"),
    Column("÷ real"),
    Column("calibration error"),
)


def utility_section(record: Mapping[str, Any] | None, command: str) -> Section:
    """`record` is `utility.json`, None where nothing was trained."""
    if record is None:
        text = "No model has been trained on this release and tested on real images."
        return Section("utility", TITLE, QUESTION, "not measured", text, command=command)
    arm = record["arm"]
    own = next(one for one in record["arms"] if one["arm"] == arm)
    tables = [_scores(record)]
    tables += [_classes(record, place, model, arm) for place, model in enumerate(record["models"])]
    if record["mixtures"]:
        tables.append(_mixtures(record["mixtures"]))
    if record["cross"]:
        tables.append(_cross(record["cross"]))
    return Section(
        "utility", TITLE, QUESTION, own["verdict"], _summary(record, arm, own), tuple(tables), _notes(record)
    )


def _summary(record: Mapping[str, Any], arm: str, own: Mapping[str, Any]) -> str:
    ratios = [
        f"{one['model']} reaches {one['ratio']['value']:.0%}"
        for one in record["outcomes"]
        if one["arm"] == arm and one["ratio"]["value"] is not None
    ]
    told = (
        f"Trained on this release (“{arm}”) and tested on real pictures: {', '.join(ratios)}" if ratios else "Trained"
    )
    margin = record["rules"]["margin"]
    return f"{told} of what training on real pictures reaches. Margin {margin:g}, fixed beforehand: {own['reason']}."


def _notes(record: Mapping[str, Any]) -> tuple[str, ...]:
    rules = record["rules"]
    notes = [
        f"Every set has {record['trained_on']} pictures of the same scenes, {rules['steps']} steps of "
        f"{rules['batch_size']} and {len(rules['seeds'])} seeds; the test has {record['tested_on']} real pictures of "
        f"{record['scenes']} scenes, at {rules['size'][0]}×{rules['size'][1]}.",
    ]
    if record["cut"]:
        notes.append(f"So few scenes were cut into {record['units']} stretches: the intervals are too narrow.")
    return tuple(notes)


def _three(one: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return one["value"], one["low"], one["high"]


def _scores(record: Mapping[str, Any]) -> Table:
    lines = []
    for place, one in enumerate(record["outcomes"]):
        real = one["arm"] == REAL
        apart = (None,) * 4 if real else (*_three(one["difference"]), one["ratio"]["value"])
        lines.append(
            Line(
                f"{place}",
                f"{one['model']} · {one['arm']}",
                (*_three(one["score"]), *apart, one["calibration_error"]["value"]),
                verdict=None if real else one["verdict"],
                reason="" if real else one["reason"],
                formula=f"utility:{one['task']}",
            )
        )
    plot = Plot("intervals", "score on real pictures", value=0, low=1, high=2, whisker="95 % interval")
    text = "Differences are paired: the same test scenes, the same seeds."
    return Table(
        "utility-scores", "Trained on it, tested on real", "model · trained on", SCORES, tuple(lines), text, plot
    )


def _classes(record: Mapping[str, Any], place: int, model: str, arm: str) -> Table:
    sides = {one["arm"]: one for one in record["outcomes"] if one["model"] == model and one["arm"] in (REAL, arm)}
    lines = []
    for real, own in zip(sides[REAL]["classes"], sides[arm]["classes"], strict=True):
        values = (real["score"]["value"], own["score"]["value"], *_three(own["difference"]))
        lines.append(Line(own["name"], own["name"], values, formula=f"utility:{sides[arm]['task']}"))
    columns = (Column(REAL), Column(arm), Column("difference"), Column("95 % from"), Column("95 % to"))
    plot = Plot("bars", "score on real pictures", bars=(0, 1))
    return Table(
        f"utility-classes-{place}", f"By class: {model}", "class", columns, tuple(lines), plot=plot, folded=True
    )


def _mixtures(curves: Sequence[Mapping[str, Any]]) -> Table:
    lines = []
    for curve in curves:
        for share, score in zip(curve["shares"], curve["scores"], strict=True):
            best = curve["support"] if share == curve["best"] else None
            name = f"{curve['model']} · {share:.0%} {curve['of']}"
            lines.append(Line(name, name, (*_three(score), best), formula="utility:mixture"))
    columns = (Column("score on real"), Column("95 % from"), Column("95 % to"), Column("best in", kind="share"))
    text = "“Best in”: the share of replicates in which the best mixture is the best; shares that are not it have none."
    return Table("utility-mixtures", "Mixtures", "model · share", columns, tuple(lines), text, folded=True)


def _cross(tests: Sequence[Mapping[str, Any]]) -> Table:
    lines = []
    for place, one in enumerate(tests):
        label = f"{one['model']} · trained on {one['arm']}, tested on {one['tested']}"
        values = (one["score"]["value"], *_three(one["gap"]), one["accuracy_gap"]["value"])
        lines.append(Line(f"{place}", label, values, formula="utility:gap"))
    columns = (
        Column("score there"),
        Column("− on real"),
        Column("95 % from"),
        Column("95 % to"),
        Column("accuracy − on real"),
    )
    text = "Above zero, and above what was trained on real pictures: cues are trusted that only the outputs have."
    return Table("utility-cross", "Tested on outputs", "model", columns, tuple(lines), text, folded=True)
