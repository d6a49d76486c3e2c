"""Planted truths: each is found by the metric that should find it, and nothing is found where there is nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from synthgen.metrics.sets import ImageSet, Measurement
from synthgen.metrics.suite import Settings, measure_sets, overall_verdict
from tests.metrics.planted import MODES, image_set

FAST: dict[str, Any] = {"points": 5, "min_large": 330}
"""Sizes at which a comparison takes a third of a second; permutations, level and corrections are the real ones."""


def flags(measurements: list[Measurement]) -> set[str]:
    return {one.metric for one in measurements if one.verdict == "fail" and one.subset == "all"}


def by_metric(measurements: list[Measurement]) -> dict[str, Measurement]:
    return {one.metric: one for one in measurements if one.subset == "all"}


def test_an_identical_split_is_flagged_in_at_most_5_of_100_resamplings() -> None:
    found = []
    for repeat in range(100):
        settings = Settings(seed=repeat, by=(), **FAST)
        measured = measure_sets(image_set(330, 2 * repeat), image_set(330, 2 * repeat + 1), settings)
        assert len([one for one in measured if one.p is not None]) == 18
        found.append(flags(measured))
    assert sum(bool(one) for one in found) <= 5, found


@pytest.mark.parametrize(
    ("synthetic", "must", "may"),
    [
        pytest.param({"lab_shift": 2}, {"lab_histogram"}, set(), id="colour shift"),
        pytest.param({"classes": (0, 1, 2, 3, 4)}, {"lost_classes", "class_shares"}, set(), id="lost class"),
        pytest.param({"copies": 0.05}, {"duplicates"}, set(), id="5 % duplicates"),
        pytest.param(
            {"modes": (0, 1, 2, 3, 4)},
            {"modes", "coverage", "kid"},
            {"frechet", "vendi", "gaussian_mmd", "classifier"},
            id="dropped mode",
        ),
        pytest.param(
            {"shift": 1.0},
            {"classifier", "kid", "precision"},
            {"gaussian_mmd", "frechet", "coverage", "vendi", "modes"},
            id="features shifted",
        ),
    ],
)
def test_a_planted_fault_is_flagged_by_its_metric_alone(
    synthetic: dict[str, Any], must: set[str], may: set[str]
) -> None:
    by_chance = []
    for repeat in range(2):
        settings = Settings(seed=repeat, by=(), **FAST)
        measured = measure_sets(image_set(500, 90 + repeat), image_set(500, 190 + repeat, **synthetic), settings)
        assert must <= flags(measured)
        assert overall_verdict(measured) == "fail"
        by_chance += sorted(flags(measured) - must - may)
    assert len(by_chance) <= 1, by_chance


def test_what_was_lost_is_named() -> None:
    settings = Settings(by=(), **FAST)
    measured = by_metric(
        measure_sets(image_set(600, 1), image_set(600, 2, classes=(0, 1, 2, 4, 5), modes=(0, 1, 2)), settings)
    )
    assert measured["lost_classes"].details["lost"] == ("d",)
    assert (measured["lost_classes"].details["k"], measured["lost_classes"].details["n"]) == (1, 6)
    assert measured["modes"].details["k"] >= 3
    assert measured["vendi"].value is not None and measured["vendi"].floor is not None
    assert measured["vendi"].value < measured["vendi"].floor
    low, high = measured["vendi"].interval or (0.0, 0.0)
    assert low < high < 0


def test_scenes_are_the_units_not_frames() -> None:
    """30 scenes of 20 alike frames: as single images they would differ by chance of the scenes alone."""
    settings = Settings(by=(), **FAST)
    sets = [image_set(600, seed, scene_length=20) for seed in (3, 4)]
    assert flags(measure_sets(sets[0], sets[1], settings)) == set()
    loose = [ImageSet(**{**one.__dict__, "units": np.arange(600)}) for one in sets]
    assert "classifier" in flags(measure_sets(loose[0], loose[1], settings))


@pytest.mark.parametrize(
    ("real", "synthetic", "with_verdict"),
    [
        (0, 0, 0),
        (600, 0, 0),
        (600, 29, 0),
        (29, 600, 0),
        (600, 499, 13),
        (500, 500, 18),
    ],
)
def test_small_sets_are_insufficient_and_never_nan(real: int, synthetic: int, with_verdict: int) -> None:
    settings = Settings(points=5)
    measured = measure_sets(image_set(real, 1), image_set(synthetic, 2), settings)
    whole = [one for one in measured if one.subset == "all"]
    assert len(whole) == 18
    assert sum(one.verdict != "insufficient" for one in whole) == with_verdict
    numbers = [x for one in whole for x in (one.value, one.floor, one.matched, one.p, one.level) if x is not None]
    assert np.isfinite(numbers).all()
    assert all(one.reason for one in whole if one.verdict == "insufficient")
    assert overall_verdict(measured) == ("insufficient" if with_verdict == 0 else "pass")


def test_too_few_scenes_for_any_permutation_is_insufficient() -> None:
    settings = Settings(by=(), **FAST)
    sets = [ImageSet(**{**image_set(60, seed).__dict__, "units": np.arange(60) // 20}) for seed in (1, 2)]
    measured = measure_sets(sets[0], sets[1], settings)
    assert {one.verdict for one in measured} == {"insufficient"}
    assert "too few scenes" in by_metric(measured)["kid"].reason


def test_a_fault_in_one_class_is_found_there() -> None:
    real, synthetic = image_set(600, 1), image_set(600, 2)
    assert synthetic.features is not None and synthetic.classes is not None
    features = synthetic.features.copy()
    features[synthetic.classes[:, 3] > 0] += 2.0
    changed = ImageSet(**{**synthetic.__dict__, "features": features})
    measured = measure_sets(real, changed, Settings(by=("class",), **FAST))
    parts = [one for one in measured if one.subset != "all"]
    assert {one.subset for one in parts} == {f"class={name}" for name in "abcdef"}
    assert {one.metric for one in parts} == {
        "kid",
        "gaussian_mmd",
        "lab_histogram",
        "luminance",
        "edge_density",
        "spectral_slope",
    }
    found = {(one.subset, one.metric) for one in parts if one.verdict == "fail"}
    planted = {("class=d", "kid"), ("class=d", "gaussian_mmd")}
    assert planted <= found
    assert len(found - planted) <= 2, "a false discovery rate of 5 % lets some through"


def test_a_class_under_30_is_insufficient_and_a_column_makes_groups() -> None:
    real, synthetic = image_set(200, 1), image_set(200, 2)
    groups = {"light": tuple(["day"] * 180 + ["night"] * 19 + [None])}
    sets = [ImageSet(**{**one.__dict__, "groups": groups}) for one in (real, synthetic)]
    measured = measure_sets(sets[0], sets[1], Settings(by=("light",), **FAST))
    verdicts = {(one.subset, one.verdict) for one in measured if one.subset != "all"}
    assert verdicts == {("light=day", "pass"), ("light=night", "insufficient")}
    assert len(measured) == 18 + 2 * 6


def test_the_same_seed_gives_the_same_numbers() -> None:
    sets = image_set(500, 1), image_set(500, 2)
    settings = Settings(seed=5, by=("class",), **FAST)
    assert measure_sets(*sets, settings) == measure_sets(*sets, settings)
    assert len(sets[0].class_names) == MODES
