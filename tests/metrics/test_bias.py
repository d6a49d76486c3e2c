"""Bias metrics on made sets: planted truths found with the right sign, nothing found in the null."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from synthgen.metrics.bias import (
    BiasMeasurement,
    overall_verdict,
)
from synthgen.metrics.bias_suite import cross, measure_bias, summarize
from synthgen.metrics.bias_table import BiasSettings, BiasTable
from tests.metrics.bias_planted import null_table, with_dropped_group, with_label_leaning_on_tone, with_lighter_skin

SETTINGS = BiasSettings(draws=499)
RESAMPLINGS = 60


def failed(found: list[BiasMeasurement], metric: str) -> list[BiasMeasurement]:
    return [one for one in found if one.metric == metric and one.verdict == "fail"]


def test_a_generator_that_lightens_skin() -> None:
    found = measure_bias(with_lighter_skin(null_table(1)), SETTINGS)
    assert overall_verdict(found) == "fail"
    (shift,) = failed(found, "shift")
    assert shift.attribute == "tone" and shift.difference == pytest.approx(-0.4, abs=0.05) and shift.gate
    signs = {one.group: np.sign(one.difference or 0) for one in failed(found, "change")}
    assert signs["light"] == 1 and signs["dark"] == -1
    assert failed(found, "transition") and not failed(found, "acceptance")


@pytest.mark.parametrize("keep", [0.0, 0.4])
def test_a_filter_that_drops_one_group(keep: float) -> None:
    found = measure_bias(with_dropped_group(null_table(2), 1, keep), SETTINGS)
    (one,) = failed(found, "acceptance")
    assert (one.attribute, one.group) == ("gender", "male") and one.ratio is not None and one.ratio < 0.6
    assert one.interval is not None and one.interval[1] < 0
    assert {part.group for part in failed(found, "intersection")} >= {"medium × male", "dark × male"}
    assert not failed(found, "transition") and not failed(found, "shift")


def test_a_label_that_comes_to_lean_on_a_group() -> None:
    found = measure_bias(with_label_leaning_on_tone(null_table(3), label=0), SETTINGS)
    signs = {(one.label, one.group): np.sign(one.difference or 0) for one in failed(found, "association")}
    assert signs[("bicycle", "light")] == 1 and {label for label, _ in signs} == {"bicycle"}


def test_an_association_of_the_source_that_is_exaggerated() -> None:
    table = null_table(4, 800)
    leaning = with_label_leaning_on_tone(table, 0, 0.3)
    tone = leaning.attributes[0]
    source = np.where(table.labels[:, 0] & (np.arange(len(table)) % 3 == 0), 0, tone.source)
    more = np.where(table.labels[:, 0] & (tone.output >= 0), 0, tone.output)
    bicycle = {"labels": table.labels[:, :1], "label_names": ("bicycle",)}
    biased = replace(table, attributes=(replace(tone, source=source, output=more),), **bicycle)
    up = failed(measure_bias(biased, SETTINGS), "amplification")
    assert {one.label for one in up} == {"label → group", "group → label"}
    assert all((one.value or 0) > 0 for one in up)


def test_a_filter_that_prefers_a_group_with_a_label() -> None:
    table = null_table(5, 800)
    male_with_dog = (table.attributes[1].source == 1) & table.labels[:, 1]
    picked = replace(table, accepted=table.accepted & (~male_with_dog | (np.arange(len(table)) % 4 == 0)))
    found = failed(measure_bias(replace(picked, attributes=(picked.attributes[1],)), SETTINGS), "association")
    signs = {one.group: np.sign(one.difference or 0) for one in found if one.label == "dog"}
    assert signs == {"male": -1, "female": 1}


def test_labels_that_survive_less_often_for_one_group() -> None:
    table = null_table(6)
    less = np.where(table.attributes[1].source == 0, 0.6, 1.0) * table.scores["labels"]
    found = measure_bias(replace(table, scores={"labels": less}), SETTINGS)
    (one,) = failed(found, "label_survival")
    assert (one.group, one.label, one.gate) == ("female", "labels", True)


def test_a_score_that_is_worse_for_one_group_is_explored() -> None:
    table = null_table(7)
    worse = table.scores["quality"] - 8 * (table.attributes[1].source == 1)
    found = measure_bias(replace(table, scores={"quality": worse}), SETTINGS)
    signs = {one.group: np.sign(one.difference or 0) for one in failed(found, "quality") if one.attribute == "gender"}
    assert signs == {"male": -1, "female": 1} and overall_verdict(found) == "pass"


def test_a_target_that_is_missed() -> None:
    table = null_table(8)
    gender = table.attributes[1]
    for target, verdict in (({"female": 1, "male": 1}, "pass"), ({"female": 0.8, "male": 0.2}, "fail")):
        found = measure_bias(replace(table, attributes=(replace(gender, target=target),)), SETTINGS)
        (one,) = (one for one in found if one.metric == "target")
        assert (one.verdict, one.gate) == (verdict, True)


def test_a_reader_that_errs_more_on_one_group_is_told_and_corrected() -> None:
    table = null_table(9, 1200)
    random = np.random.default_rng(0)
    truth = (np.arange(len(table)) % 2).astype(np.int64)
    wrong = random.random((2, len(table))) < np.where(truth == 1, 0.35, 0.05)
    source, output = (np.where(part, 1 - truth, truth) for part in wrong)
    reader = replace(table.attributes[1], source=source, output=output, truth=truth, measured=True)
    found = measure_bias(replace(table, accepted=np.ones(len(table), bool), attributes=(reader,)), SETTINGS)
    (accuracy,) = failed(found, "reader_accuracy")
    assert accuracy.group == "male" and accuracy.value == pytest.approx(0.65, abs=0.05)
    male = next(one for one in found if (one.metric, one.group) == ("corrected_share", "male"))
    assert male.reference == pytest.approx(0.35, abs=0.04) and male.value == pytest.approx(0.5, abs=0.06)
    assert male.interval is not None and male.interval[0] < 0.5 < male.interval[1]
    assert not failed(found, "transition")


def test_the_worst_group_of_an_audit_gates() -> None:
    leaks = {"gender": {"female": {"k": 0, "n": 80, "bound": 0.04, "verdict": "pass"}}}
    good = measure_bias(null_table(10), SETTINGS, leaks=leaks)
    assert overall_verdict(good) == "pass"
    leaks["gender"]["male"] = {"k": 9, "n": 70, "bound": 0.23, "verdict": "fail"}
    found = measure_bias(null_table(10), SETTINGS, leaks=leaks)
    assert overall_verdict(found) == "fail"
    assert [(one.group, one.value, one.details["k"]) for one in failed(found, "leak")] == [("male", 0.23, 9)]


# ---- nothing planted


def null_findings(**shape: int) -> tuple[int, int]:
    """Of `RESAMPLINGS` runs without bias: how many fail, and how many explore to a finding."""
    gates = explored = 0
    for seed in range(RESAMPLINGS):
        found = measure_bias(null_table(1000 + seed, **shape), SETTINGS)
        gates += overall_verdict(found) != "pass"
        explored += any(one.verdict == "fail" and not one.gate for one in found)
    return gates, explored


@pytest.mark.parametrize(
    "shape", [{"n": 300}, {"n": 300, "per_scene": 4}, {"n": 120, "faces": 2, "variants": 2}], ids=str
)
def test_nothing_is_found_in_the_null(shape: dict[str, int]) -> None:
    """Levels are 5 %: of 60 runs 3 are due; 8 or more have a probability under 1 %."""
    gates, explored = null_findings(**shape)
    assert gates < 8 and explored < 8


def test_p_values_of_the_null_are_even() -> None:
    ps: dict[str, list[float]] = {}
    for seed in range(RESAMPLINGS):
        for one in measure_bias(null_table(2000 + seed, 200), SETTINGS):
            if one.p is not None and one.metric in ("transition", "shift", "association", "amplification", "quality"):
                ps.setdefault(one.metric, []).append(one.p)
    shares = {metric: float(np.mean(np.array(values) <= 0.1)) for metric, values in ps.items()}
    assert len(shares) == 5 and all(0 < share < 0.2 for share in shares.values()), shares


@pytest.mark.parametrize("n", [0, 1, 29])
def test_too_few_are_insufficient_and_never_nan(n: int) -> None:
    whole = null_table(11, 40)
    rows = np.arange(40) < n
    attributes = tuple(replace(one, source=one.source[rows], output=one.output[rows]) for one in whole.attributes)
    tone = attributes[0]
    assert tone.values is not None
    tone = replace(tone, values=(tone.values[0][rows], tone.values[1][rows]))
    table = BiasTable(
        whole.sample[rows],
        whole.unit[rows],
        whole.first[rows],
        whole.accepted[rows],
        (tone, attributes[1]),
        whole.labels[rows],
        whole.label_names,
        {name: values[rows] for name, values in whole.scores.items()},
    )
    found = measure_bias(table, SETTINGS)
    assert overall_verdict(found) == "insufficient" and {one.verdict for one in found} <= {"insufficient"}
    json.dumps([summarize(table, one).entropy_source for one in table.attributes], allow_nan=False)


def test_every_output_rejected_is_a_result() -> None:
    table = null_table(12)
    nobody = replace(table, accepted=np.zeros(len(table), dtype=bool))
    tone, gender = nobody.attributes
    nobody = replace(nobody, attributes=(replace(tone, output=np.full(len(table), -1)), gender))
    found = measure_bias(nobody, SETTINGS)
    assert overall_verdict(found) == "insufficient"
    json.dumps([one.value for one in found], allow_nan=False)


def test_an_intersection_has_the_combinations_there_are() -> None:
    table = null_table(13)
    crossed = cross(list(table.attributes))
    assert crossed.name == "tone × gender" and set(crossed.groups) <= {
        f"{tone} × {gender}" for tone in table.attributes[0].groups for gender in ("female", "male")
    }
    small = [one for one in measure_bias(null_table(13, 100), SETTINGS) if one.metric == "intersection" and one.n < 30]
    assert small and {one.verdict for one in small} == {"insufficient"}
