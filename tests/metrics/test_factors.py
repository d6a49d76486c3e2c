"""The factor report on ledgers whose truth is planted."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.metrics.factors import Dependence, factor_report, mutual_information
from synthgen.quotas import Target
from synthgen.types import Row

EVEN = Target(("time",), {("day",): 0.5, ("night",): 0.5})


def row(number: int, level: str, accepted: bool = True, variant: int = 0, **scores: float | None) -> Row:
    verdict = "accepted" if accepted else "quarantined"
    named = {f"measured:{name}": value for name, value in scores.items()}
    factors = {"time": level, "haze": number / 10}
    return Row(f"{number:04d}", variant, verdict, "", "", "", "", None, 1, 1, 1, 0, "", factors, named)


def test_measured_values_by_level_and_what_a_factor_explains() -> None:
    random = np.random.default_rng(0)
    rows = [
        row(n, "night" if n % 2 else "day", luminance=60 - 40 * (n % 2) + random.normal(), contrast=random.normal())
        for n in range(200)
    ]
    report = factor_report(rows)
    levels = {one.level: one for one in report.levels}
    assert levels["day"].measured["luminance"][0] == pytest.approx(60, abs=0.5)
    assert levels["night"].measured["luminance"][0] == pytest.approx(20, abs=0.5)
    explained = {(one.factor, one.measured): one.explained for one in report.steering}
    night, chance = explained["time", "luminance"], explained["time", "contrast"]
    assert night is not None and night > 0.99 and chance is not None and chance < 0.05
    assert explained["haze", "luminance"] is not None and report.targets == ()


def test_a_continuous_factor_is_correlated() -> None:
    rows = [row(n, "day", luminance=3.0 * n + 1, contrast=5.0) for n in range(40)]
    explained = {(one.factor, one.measured): one.explained for one in factor_report(rows).steering}
    assert explained["haze", "luminance"] == pytest.approx(1) and explained["haze", "contrast"] is None
    assert explained["time", "luminance"] is None, "one level explains nothing"


def test_shares_as_planned_as_left_and_as_released() -> None:
    rows = [row(n, "night" if n < 50 else "day", accepted=n >= 40) for n in range(100)]
    rows += [row(n, "night", variant=1) for n in range(100, 140)]
    (summary,) = factor_report(rows, [EVEN]).targets
    assert (summary.planned, summary.released) == (0, 0)
    assert summary.left == pytest.approx(50 / 60 - 0.5)


def test_a_target_per_class_sees_a_class_that_fell_behind() -> None:
    target = Target(("time",), {("day",): 0.5, ("night",): 0.5}, per_class=True)
    classes = {f"{n:04d}": "cat" if n < 50 else "dog" for n in range(100)}
    rows = [row(n, "day" if n % 2 else "night", accepted=n >= 25) for n in range(100)]
    (summary,) = factor_report(rows, [target], {"class": classes}).targets
    assert summary.planned == 0 and summary.left == pytest.approx(2 / 3 - 0.5, abs=0.01)


@pytest.mark.parametrize(("lean", "found"), [(0.0, False), (0.5, True)])
def test_a_factor_that_leans_on_a_class_is_found(lean: float, found: bool) -> None:
    random = np.random.default_rng(3)
    classes = {f"{n:04d}": "cat" if n % 2 else "dog" for n in range(200)}
    levels = ["day" if random.random() < 0.5 + lean * (n % 2 - 0.5) else "night" for n in range(200)]
    (one,) = factor_report([row(n, level) for n, level in enumerate(levels)], groups={"class": classes}).dependences
    assert one.p is not None and (one.p < 0.01) == found
    assert one.chance is not None and (one.information > 4 * one.chance) == found


def test_p_values_are_even_where_nothing_leans() -> None:
    classes = {f"{n:04d}": "ab"[n % 2] for n in range(60)}
    ps = []
    for seed in range(60):
        levels = np.random.default_rng(seed).permutation(["day"] * 30 + ["night"] * 30)
        rows = [row(n, str(level)) for n, level in enumerate(levels)]
        ps.append(factor_report(rows, groups={"class": classes}, permutations=99).dependences[0].p)
    assert sum(p is not None and p <= 0.1 for p in ps) <= 12


def test_small_and_empty_sets_are_insufficient() -> None:
    few = factor_report([row(n, "day") for n in range(5)], [EVEN], {"class": {f"{n:04d}": "a" for n in range(5)}})
    assert few.dependences == (Dependence("time", "class", 0.0, None, None),)
    nothing = factor_report([], [EVEN])
    assert nothing.targets[0].released == 1.0 and nothing.levels == ()
    unread = Row("a", 0, "quarantined", "image-corrupt", "", "", "", None, 0, 0, 0, 0, "")
    assert factor_report([unread], [EVEN]) == nothing


def test_what_could_not_be_measured_is_left_out() -> None:
    rows = [row(n, "day", temperature=None if n % 2 else 6000.0) for n in range(10)]
    assert factor_report(rows).levels[0].measured == {"temperature": (6000.0, 0.0)}


def test_mutual_information_of_known_tables() -> None:
    tables = np.array([[[2, 0], [0, 2]], [[1, 1], [1, 1]], [[4, 0], [0, 0]]])
    np.testing.assert_allclose(mutual_information(tables), [np.log(2), 0, 0], atol=1e-12)
