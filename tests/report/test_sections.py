"""Sections: what the other verbs measured, as tables; what nobody measured, as that; and the verdict over all."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from synthgen.auditing.report import audit_record, private_record
from synthgen.metrics.factors import factor_report
from synthgen.quotas import Target
from synthgen.report.findings import Section, State
from synthgen.report.formulas import used_formulas
from synthgen.report.sections.bias import bias_section
from synthgen.report.sections.distribution import distribution_section
from synthgen.report.sections.factors import factors_section
from synthgen.report.sections.labels import labels_section
from synthgen.report.sections.outcome import outcome_section
from synthgen.report.sections.privacy import privacy_section
from synthgen.report.sections.utility import utility_section
from synthgen.report.verdict import judge_sections
from synthgen.types import Row
from tests.report.records import audit, bias_report


def row(number: int, verdict: str = "accepted", **changes: Any) -> Row:
    values: dict[str, Any] = {
        "sample_id": f"images/s{number}.jpg",
        "variant": 0,
        "verdict": verdict,
        "code": "" if verdict == "accepted" else "check-quality",
        "message": "",
        "source_digest": "",
        "output_digest": "",
        "split": None,
        "width": 8,
        "height": 8,
        "attempts": 1 + number % 2,
        "seed": number,
        "prompt": "",
        "factors": {"time": ("day", "night")[number % 2]},
        "scores": {"quality": float(number), "measured:luminance": 50.0 - 30 * (number % 2)},
    }
    return Row(**(values | changes))


def measurement(metric: str, subset: str = "all", **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "title": metric, "metric": metric, "subset": subset, "n_real": 60, "n_synthetic": 50, "verdict": "pass",
        "value": 0.5, "floor": 0.1, "matched": None, "interval": [0.4, 0.6], "interval_of": "value", "p": 0.3,
        "level": 0.01, "reason": "", "details": {},
    }  # fmt: skip
    return values | changes


def comparison(*measurements: dict[str, Any], verdict: str = "pass") -> dict[str, Any]:
    sets = {name: {"images": 60, "skipped": {}, "scenes": 60} for name in ("real", "synthetic")}
    return {
        "verdict": verdict,
        "sets": sets,
        "features": {"kind": "none"},
        "findings": [],
        "measurements": measurements,
    }


@pytest.mark.parametrize(
    "section",
    [
        privacy_section(None, "synthgen audit RUN"),
        bias_section(None, "synthgen bias RUN"),
        distribution_section(None, "synthgen report RUN"),
        labels_section(()),
        utility_section(None, "synthgen utility CONFIG"),
    ],
    ids=lambda section: section.id,
)
def test_what_nobody_measured_says_so(section: Section) -> None:
    assert section.state == "not measured" and section.summary and not section.tables


def test_labels_count_released_outputs_that_a_model_could_read() -> None:
    objects = {"label-objects:survived": 3.0, "label-objects:lost": 1.0, "label-objects:small-unread": 2.0}
    rows = [
        row(0, scores={"labels": 0.8, "labels:Road": 0.9, "labels:Car": 0.5, **objects, "ignored": 0.1}),
        row(0, scores={"labels": 0.6, "labels:Road": 0.7, "labels:Car": None, **objects, "ignored": 0.0}),
        row(0, scores={"labels": None}),
        row(0, "quarantined", scores={"labels": 0.0, "labels:Road": 0.0}),
        row(0, scores={"quality": 1.0}),
    ]
    section = labels_section(rows)
    classes, things, ignored = section.tables
    assert section.state == "told" and "2 of 3 released outputs" in section.summary and "70%" in section.summary
    assert {line.label: line.values[:2] for line in classes.lines} == {
        "all classes": (2, pytest.approx(0.7)),
        "Car": (1, 0.5),
        "Road": (2, pytest.approx(0.8)),
    }
    assert [line.values for line in things.lines] == [(6, 2, 0, 0.75), (0, 0, 4, None)]
    assert ignored.lines[0].values[1] == pytest.approx(0.05)


def test_distribution_shows_real_against_real_beside_it() -> None:
    flagged = measurement("luminance", verdict="fail", p=0.001, interval_of="mean difference")
    unknown = measurement("frechet", verdict="insufficient", value=None, floor=None, p=None, reason="under 500 images")
    by_class = measurement("kid", "class=Car", verdict="fail")
    section = distribution_section(comparison(flagged, unknown, by_class, verdict="fail"), "")
    whole, subsets, numbers = section.tables
    assert section.state == "fail" and "1 of 1 tests" in section.summary and "luminance" in section.summary
    assert whole.lines[0].values == (0.5, 0.1, None, None, 0.001, 0.01), "an interval of something else is not shown"
    assert whole.lines[1].values[:2] == (None, None) and whole.lines[1].reason == "under 500 images"
    assert subsets.lines[0].rows == {"verdict": "accepted", "class": "Car"} and subsets.lines[0].verdict == "fail"
    assert numbers.folded and numbers.lines[0].values[2:4] == (0.4, 0.6)


def test_too_few_images_are_no_pass() -> None:
    reason = "under 30 images in a set"
    unknown = measurement("kid", verdict="insufficient", value=None, floor=None, interval=None, p=None, reason=reason)
    section = distribution_section(comparison(unknown, verdict="insufficient"), "")
    assert section.state == "insufficient" and reason in section.summary


@pytest.mark.parametrize(("hits", "state"), [(0, "pass"), (100, "fail")])
def test_privacy_tells_attacks_bounds_and_groups(hits: int, state: State) -> None:
    record = audit_record(audit(hits))
    section = privacy_section(record, "")
    gates, further, groups = section.tables
    assert section.state == state and f"{hits} of 300" in section.summary
    assert gates.lines[0].values[:2] == (hits, 300) and gates.lines[0].values[5] == record["attacks"][0]["bound"]
    assert further.lines[1].verdict == "insufficient" and further.lines[1].reason == "no plates"
    assert {line.id for line in groups.lines} == {"dark", "light"}
    assert any("Not run: membership" in note for note in section.notes)


def test_privacy_names_people_in_the_private_edition_alone() -> None:
    section = privacy_section(private_record(audit(3)), "")
    assert section.tables[-1].lines[0].values[:2] == (3, "person-0, person-1, person-2")
    assert "person-0" not in str(privacy_section(audit_record(audit(3)), ""))


def test_one_attacker_proves_nothing() -> None:
    section = privacy_section(audit_record(audit(0, attackers=("one",))), "")
    assert section.state == "insufficient" and any("at least two must" in note for note in section.notes)


@pytest.mark.parametrize("edition", ["private", "release"])
def test_bias_tells_groups_transitions_and_gates(edition: str) -> None:
    report = bias_report("fail")
    section = bias_section(report.record() if edition == "private" else report.release_record(30), "")
    groups, transition, gates, explored = section.tables
    assert section.state == "fail" and "acceptance" in section.summary and section.notes
    assert groups.lines[0].values[2] == 40
    assert transition.lines[0].values == ((18, 2, 0) if edition == "private" else (None, None, 0))
    assert gates.lines[0].verdict == "fail" and gates.lines[0].values[3] == -0.4
    assert explored.folded and explored.lines[0].values[0] == (12 if edition == "private" else None)
    if edition == "release":
        assert groups.lines[0].values[1] is None, "a hidden count gives no share"


def test_factors_tell_asked_for_against_released_and_measured() -> None:
    rows = [row(number, "accepted" if number % 4 else "quarantined") for number in range(40)]
    target = Target(("time",), {("day",): 0.5, ("night",): 0.5})
    section = factors_section(factor_report(rows, [target]), [target], 0.02)
    tables = {table.id: table for table in section.tables}
    day = tables["shares-time"].lines[0]
    assert section.state == "fail" and "time" in section.summary
    assert day.values == (0.5, 0.5, pytest.approx(1 / 3), 20, 10) and day.rows == {"factor time": "day"}
    assert tables["measured-luminance"].lines[0].values[0] == 50 and tables["steering"].lines[0].values == (1.0,)
    assert factors_section(factor_report(rows), [], 0.02).state == "told"
    assert factors_section(factor_report([replace(row(0), factors={})]), [], 0.02).state == "not measured"


def test_outputs_are_counted_by_reason_and_attempt() -> None:
    section = outcome_section([row(0), row(1), row(2, "quarantined"), row(3, "quarantined", attempts=0, scores={})])
    reasons, attempts, checks = section.tables
    assert [(line.label, line.values) for line in reasons.lines] == [
        ("accepted", (2, 0.5)),
        ("check-quality", (2, 0.5)),
    ]
    assert [line.values[0] for line in attempts.lines] == [2, 1]
    assert checks.lines[0].values == (2, 0.0, 0.5, 1.0) and checks.lines[1].values == (1, 2.0, 2.0, 2.0)
    assert outcome_section([]).tables


def test_every_line_links_to_a_formula_that_is_told() -> None:
    rows = [row(number) for number in range(40)]
    sections = [
        privacy_section(private_record(audit(3)), ""),
        bias_section(bias_report().record(), ""),
        distribution_section(comparison(measurement("kid"), measurement("kid", "class=Car")), ""),
        factors_section(factor_report(rows, groups={"class": {one.sample_id: "a" for one in rows}}), [], 0.02),
        outcome_section(rows),
    ]
    assert used_formulas(sections)
    lines = [line for section in sections for table in section.tables for line in table.lines]
    assert lines and all(line.formula for line in lines)


def sections_of(privacy: State, other: State) -> list[Section]:
    return [Section("privacy", "Privacy", "", privacy, "…"), Section("bias", "Bias", "", other, "…")]


STATES: tuple[State, ...] = ("pass", "fail", "insufficient", "not measured")


@pytest.mark.parametrize(("privacy", "other"), list(itertools.product(STATES, (*STATES, "told"))))
def test_a_pass_takes_a_privacy_audit_and_nothing_that_failed(privacy: State, other: State) -> None:
    verdict, reason = judge_sections(sections_of(privacy, other))
    expected = "fail" if "fail" in (privacy, other) else "pass" if privacy == "pass" else "insufficient"
    assert verdict == expected and reason
    if privacy == "not measured":
        assert "audit has not run" in reason or "recognised is unknown" in reason
    assert "anonymous" not in reason
