"""Bias metrics on worked examples: the formulas, what the verdict makes of them, and what is told."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from synthgen.metrics.amplification import amplification
from synthgen.metrics.bias import (
    BiasMeasurement,
    BiasReport,
    judge,
    overall_verdict,
    without_small,
    without_small_cells,
)
from synthgen.metrics.bias_association import association_measurements
from synthgen.metrics.bias_suite import measure_bias, summarize, transition_of
from synthgen.metrics.bias_table import BiasSettings, group_names, to_codes
from synthgen.metrics.misclassification import confusion_counts, correct_shares, usable
from synthgen.metrics.npmi import Cooccurrences, npmi
from synthgen.metrics.parity import parity
from synthgen.metrics.shares import effective_size, entropy, smoothed_divergence, target_test, total_variation
from synthgen.metrics.transitions import changes_by_unit, mean_change, sign_test, sums_by_unit, transition_counts
from tests.metrics.bias_planted import null_table, with_dropped_group

SETTINGS = BiasSettings(draws=499)


def pairs(matrix: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source, output and unit of pairs with these counts, one pair a unit."""
    counts = np.array(matrix)
    source, output = np.repeat(np.stack(np.nonzero(counts >= 0)), counts.ravel(), axis=1)
    return source, output, np.arange(len(source))


def test_stuart_maxwell_on_the_vision_data() -> None:
    """Grades of 7477 women's right and left eyes (Stuart 1955): 11.96 with 3 degrees of freedom."""
    source, output, unit = pairs(
        [[1520, 266, 124, 66], [234, 1512, 432, 78], [117, 362, 1772, 205], [36, 82, 179, 492]]
    )
    test = sign_test(changes_by_unit(source, output, unit, 4), 199, 0)
    assert test.statistic == pytest.approx(11.9572, abs=1e-3) and test.freedom == 3
    assert test.p == pytest.approx(stats.chi2.sf(11.9572, 3), abs=1e-4)


def test_mcnemar_is_the_exact_binomial() -> None:
    source, output, unit = pairs([[40, 12], [3, 45]])
    changes = changes_by_unit(source, output, unit, 2)
    assert sign_test(changes[:, 1:], 199, 0).p == pytest.approx(stats.binomtest(3, 15).pvalue)


def test_pairs_of_one_scene_count_as_one() -> None:
    source, output, unit = pairs([[40, 12], [0, 45]])
    alone = sign_test(changes_by_unit(source, output, unit, 2), 999, 0).p
    together = sign_test(changes_by_unit(source, output, np.where(source != output, 0, unit + 1), 2), 999, 0).p
    assert alone < 0.01 < 0.5 < together


def test_unknown_has_a_row_and_a_column() -> None:
    counts = transition_counts(np.array([0, 1, -1, -1]), np.array([1, -1, 0, -1]), 2)
    assert counts.tolist() == [[0, 1, 0], [0, 0, 1], [1, 0, 1]]


def test_mean_change_is_students_for_single_rows() -> None:
    values = np.random.default_rng(0).normal(1, 2, 40)
    change = mean_change(*sums_by_unit(values, np.arange(40)))
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert change.interval == pytest.approx((low, high)) and change.mean == pytest.approx(values.mean())


def test_shares_on_worked_examples() -> None:
    assert total_variation(np.array([0.5, 0.5]), np.array([0.8, 0.2])) == pytest.approx(0.3)
    assert entropy(np.array([5, 5, 5])) == pytest.approx(1) and entropy(np.array([9, 0])) == 0
    assert entropy(np.array([0, 0])) is None
    assert smoothed_divergence(np.array([50, 50]), np.array([0.5, 0.5])) == pytest.approx(0)
    assert 0 < smoothed_divergence(np.array([100, 0]), np.array([0.5, 0.5])) < np.log(2)
    assert effective_size(np.arange(9)) == 9 and effective_size(np.repeat([0, 1], 8)) == 2
    assert target_test(np.array([50, 50]), np.array([0.5, 0.5]), 100, 499, 0) > 0.9
    assert target_test(np.array([80, 20]), np.array([0.5, 0.5]), 100, 499, 0) < 0.01
    assert target_test(np.array([99, 1]), np.array([1.0, 0.0]), 100, 499, 0) < 0.01


def test_parity_of_rates_is_fishers() -> None:
    values, member = np.repeat([1.0, 0, 1, 0], [20, 30, 45, 5]), np.repeat([True, False], 50)
    one = parity(values, member, np.arange(100), 199, 0)
    assert (one.value, one.rest, one.ratio) == (0.4, 0.9, pytest.approx(0.4 / 0.9))
    assert one.p == pytest.approx(stats.fisher_exact([[20, 30], [45, 5]]).pvalue)
    assert one.interval[0] < -0.5 < one.interval[1] < 0


def test_npmi_on_worked_examples() -> None:
    def of(joint: float, label: float, group: float, total: float) -> float:
        return float(npmi(np.array([[[joint]]]), np.array([[label]]), np.array([[group]]), np.array([total]))[0, 0, 0])

    assert of(25, 50, 50, 100) == pytest.approx(0)
    assert of(50, 50, 50, 100) == pytest.approx(1)
    assert of(0, 50, 50, 100) == -1
    assert of(40, 50, 50, 100) == pytest.approx(np.log(0.4 / 0.25) / -np.log(0.4))
    assert of(100, 100, 100, 100) == 1 and of(0, 0, 50, 100) == 0


def test_directional_amplification_on_a_worked_example() -> None:
    """One label, two groups: the first has it in 30 of 50, the second in 10 of 50; released, in 40 and in none."""

    def table(first: float, second: float) -> tuple[np.ndarray, ...]:
        return np.array([[[first, second]]]), np.array([[first + second]]), np.array([[50.0, 50]]), np.array([100.0])

    source, released = table(30, 10), table(40, 0)
    counts = Cooccurrences(*(part for both in zip(source, released, strict=True) for part in both))
    use = np.ones((1, 2), dtype=bool)
    assert amplification(counts, use, "group → label")[0] == pytest.approx((0.2 + 0.2) / 2)
    assert amplification(counts, use, "label → group")[0] == pytest.approx((0.25 + 0.25) / 2)


def test_corrected_shares_undo_a_known_error() -> None:
    random = np.random.default_rng(0)
    truth = (random.random(40000) < 0.2).astype(np.int64)
    read = np.where(random.random(40000) < np.where(truth == 1, 0.3, 0.2), 1 - truth, truth)
    confusion = confusion_counts(truth[:20000], read[:20000], 2)
    counted = np.bincount(read[20000:], minlength=2)
    found = correct_shares(counted, 20000, confusion, 200, 0)
    assert counted[1] / 20000 > 0.26 and found.shares[1] == pytest.approx(0.2, abs=0.03)
    assert found.low[1] < 0.2 < found.high[1] and found.shares.sum() == pytest.approx(1)
    assert usable(confusion, 30) == "" and "fewer than" in usable(confusion, 19000)
    assert "apart" in usable(np.array([[50.0, 50], [50, 50]]), 30)


def test_holm_gates_and_a_ratio_by_chance_is_no_pass() -> None:
    one = BiasMeasurement("acceptance", "a", "x", 40, p=0.04, gate=True, verdict="fail", error=0.1)
    sure = replace(one, p=0.001)
    shift = replace(one, metric="shift", group=None, p=0.2)
    small = replace(one, p=None, verdict="insufficient")
    judged = judge([one, sure, shift, small], 0.05, 0.05)
    assert [part.verdict for part in judged] == ["insufficient", "fail", "pass", "insufficient"]
    assert judged[1].level == pytest.approx(0.05 / 3)
    assert judged[1].detectable == pytest.approx(0.1 * (stats.norm.isf(0.05 / 6) + stats.norm.ppf(0.8)))


def test_the_verdict_is_never_a_pass_where_an_attribute_is_blind() -> None:
    good = BiasMeasurement("acceptance", "a", "x", 40, gate=True, verdict="pass")
    small = replace(good, group="y", verdict="insufficient")
    blind = replace(good, metric="transition", group=None, verdict="insufficient")
    assert overall_verdict([good, small]) == "pass"
    assert overall_verdict([good, blind]) == overall_verdict([small]) == overall_verdict([]) == "insufficient"
    assert overall_verdict([blind, replace(good, verdict="fail")]) == "fail"
    assert overall_verdict([good, replace(good, gate=False, verdict="fail")]) == "pass"


def test_groups_are_in_order_and_unknown_has_no_number() -> None:
    assert group_names(["b", "10", "9", None, "unknown", "a"]) == ("9", "10", "a", "b")
    assert to_codes(["a", None, "c", "unknown"], ("a", "b")).tolist() == [0, -1, -1, -1]


def test_the_release_edition_tells_of_no_small_cell() -> None:
    assert without_small([50, 3, 0, 90], 30) == [None, None, 0, 90]
    assert without_small([3, 2, 90], 30) == [None, None, 90] and without_small([3], 30) == [None]
    table = with_dropped_group(null_table(1, 100), 1, 0.2)
    found = measure_bias(table, SETTINGS)
    report = BiasReport(
        overall_verdict(found),
        {"run_id": "0123456789ab", "samples": 100},
        tuple(summarize(table, one) for one in table.attributes),
        tuple(transition_of(table, one) for one in table.attributes if one.measured),
        tuple(found),
        (),
        {},
    )
    record = json.loads(json.dumps(report.release_record(30), allow_nan=False))
    assert record["run"] == {"samples": 100}
    counts = [cell for one in record["transitions"] for row in one["counts"] for cell in row]
    counts += [cell for one in record["attributes"] for side in ("source", "released") for cell in one[side].values()]
    assert None in counts and not [cell for cell in counts if cell and cell < 30]
    assert all(one["value"] is None for one in record["measurements"] if one["n"] is None)
    assert not [one for one in record["measurements"] if one["n"] is not None and one["n"] < 30]
    whole = report.record()["measurements"]
    assert min(one["n"] for one in whole) < 30
    hidden = [one["value"] for one in record["measurements"] if one["metric"] == "change"]
    assert hidden == [None] * 3, "a share of few people, and with it those that sum to 1 with it"


def test_no_cell_of_a_table_follows_from_its_margins() -> None:
    shown = without_small_cells([[50, 3, 90], [60, 70, 80], [40, 50, 60]], 30)
    assert shown == [[None, None, 90], [60, 70, 80], [None, None, 60]]
    assert without_small_cells([[50, 60], [70, 80]], 30) == [[50, 60], [70, 80]]


def test_a_group_of_one_scene_is_insufficient() -> None:
    table = null_table(0)
    light = table.attributes[0].source == 0
    found = measure_bias(replace(table, unit=np.where(light, 0, table.unit + 1)), SETTINGS)
    (one,) = [one for one in found if (one.metric, one.group) == ("acceptance", "light")]
    assert one.n > 30 and one.verdict == "insufficient" and one.value is None


def test_the_interval_holds_the_difference_where_scenes_differ_in_size() -> None:
    random = np.random.default_rng(0)
    unit = np.concatenate([np.zeros(300), np.arange(1, 101)]).astype(np.int64)
    values = np.where(unit == 0, 0.2, 0.9) + random.normal(0, 0.01, 400)
    found = parity(values, random.random(400) < 0.5, unit, 99, 0)
    assert found.interval is not None and found.interval[0] < found.difference < found.interval[1]


@pytest.mark.parametrize("n", [400, 2500])
def test_many_labels_are_counted_in_blocks_and_draw_one_null(n: int) -> None:
    table = null_table(3, n)
    wide = replace(table, labels=np.tile(table.labels, 40), label_names=tuple(f"{k}" for k in range(120)))
    alone, found = (list(association_measurements(part, part.attributes[0], SETTINGS)) for part in (table, wide))
    tripled = [replace(one, label=found[0].label) for one in found if one.metric == "association"]
    assert len(tripled) == 40 * len([one for one in alone if one.metric == "association"])
    first, last = tripled[0], tripled[len(tripled) // 40 * 39]
    assert (first.value, first.p) == (last.value, last.p), "the first block and the last"
    wholes = [[one.value for one in part if one.metric == "amplification"] for part in (alone, found)]
    np.testing.assert_allclose(*wholes)
