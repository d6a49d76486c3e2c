"""PSI: its values, its silence where nothing changed, and what it must see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthgen.metrics.pair import Pair
from synthgen.metrics.permutation import holm
from synthgen.metrics.psi import LARGE, METRICS, pass_small, psi_measurements, stability_index
from synthgen.metrics.sets import ImageSet, Measurement
from synthgen.metrics.suite import judge_measurements
from tests.metrics.planted import image_set


def measure(real: ImageSet, new: ImageSet, permutations: int = 999, seed: int = 0) -> dict[str, Measurement]:
    pair = Pair.of("all", real, new, permutations, seed, 30, 500)
    found = judge_measurements(list(psi_measurements(pair)), lambda ps: holm(ps, 0.02))
    return {one.metric: one for one in pass_small(found)}


def flags(found: dict[str, Measurement]) -> set[str]:
    return {name for name, one in found.items() if one.verdict == "fail"}


def test_values_are_those_of_the_formula() -> None:
    one, two = np.array([5, 3, 2.0]), np.array([2, 3, 5.0])
    expected = 2 * 0.3 * np.log(2.5)
    assert stability_index(one, two) == pytest.approx(expected)
    assert stability_index(10 * one, two) == pytest.approx(expected), "counts of any total"
    assert stability_index(one, one) == 0 and stability_index(np.stack([one, two]), two).shape == (2,)
    assert np.isfinite(stability_index(np.array([1.0, 0]), np.array([0, 0.0])))


def test_one_distribution_alarms_in_no_more_than_the_level_says() -> None:
    """120 resamplings at a family level of 2 %: 2.4 are expected; more than 8 would be a chance of 1 in 1,000."""
    alarms = sum(bool(flags(measure(image_set(80, 2 * n), image_set(90, 2 * n + 1), 999, n))) for n in range(120))
    assert alarms <= 8


def test_a_fixed_threshold_would_alarm_where_permutation_does_not() -> None:
    found = measure(image_set(80, 1), image_set(90, 2))
    assert found["luminance"].value is not None and found["luminance"].value > LARGE
    assert found["luminance"].verdict == "pass" and flags(found) == set()


@pytest.mark.parametrize(
    ("changes", "metrics"),
    [
        ({"lab_shift": 3}, {"lab_histogram"}),
        ({"classes": (0, 1, 2, 3, 4)}, {"class_shares", "lost_classes"}),
    ],
    ids=["colour shift", "lost classes"],
)
def test_a_change_is_flagged_by_its_metric(changes: dict[str, object], metrics: set[str]) -> None:
    found = measure(image_set(300, 1), image_set(300, 2, **changes))  # type: ignore[arg-type]
    assert flags(found) == metrics


def test_beyond_chance_but_small_passes_and_says_so() -> None:
    one, two = image_set(20000, 1), image_set(20000, 2)
    assert two.scalars is not None
    moved = replace(two, scalars=two.scalars + np.float32(0.1))
    found = measure(one, moved, 599)["luminance"]
    assert found.p is not None and found.level is not None and found.p <= found.level
    assert (found.verdict, found.reason) == ("pass", "beyond chance, but under 0.1")


def test_labels_that_went_are_a_change() -> None:
    bare = replace(image_set(200, 2), objects=None, positions=None, sizes=None, classes=None, class_names=())
    found = measure(image_set(200, 1), bare)
    assert flags(found) >= {"object_count", "object_size", "class_shares", "lost_classes"}
    assert set(found["lost_classes"].details["lost"]) == set("abcdef")
    assert flags(measure(bare, image_set(200, 1))) >= {"object_count", "class_shares"}
    neither = measure(bare, replace(bare, units=bare.units))
    assert neither["class_shares"].reason == "no classes in either set" and flags(neither) == set()


@pytest.mark.parametrize("count", [0, 1, 29])
def test_few_images_are_insufficient(count: int) -> None:
    found = measure(image_set(100, 1), image_set(100, 2).take(np.arange(count)))
    assert set(found) == set(METRICS) and {one.verdict for one in found.values()} == {"insufficient"}


def test_few_scenes_are_insufficient() -> None:
    found = measure(image_set(60, 1, scene_length=20), image_set(60, 2, lab_shift=3, scene_length=20))
    assert found["lab_histogram"].verdict == "insufficient" and "too few scenes" in found["lab_histogram"].reason
