"""The rule that judges an attack, and the conclusion from all of them, as tables of what came and what follows."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.metrics.privacy.conclusion import conclude
from synthgen.metrics.privacy.trials import AttackResult, Control, Rules, Trial, judge, judge_groups


def trial(k: int, n: int, **known: object) -> Trial:
    hits = np.arange(n) < k
    values: dict[str, object] = {"chance": 0.004, "positive": Control(95, 100), "negative": Control(1, 250)}
    names = tuple(f"p{number}" for number in range(n))
    return Trial("re-identification, lazy", "a", "who?", "identity", names, hits, **(values | known))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "verdict"),
    [
        (trial(0, 250), "pass"),
        (trial(2, 250), "pass"),
        (trial(40, 250), "fail"),
        (trial(0, 20), "insufficient"),
        (trial(0, 0), "insufficient"),
        (trial(1, 60), "insufficient"),
        (trial(0, 250, positive=Control(50, 100)), "insufficient"),
        (trial(40, 250, positive=Control(50, 100)), "fail"),
        (trial(40, 250, negative=Control(40, 250)), "insufficient"),
        (trial(1, 250, exposed=("p0",)), "fail"),
        (trial(0, 250, reason="no network"), "insufficient"),
        (trial(0, 3, zero=True), "pass"),
        (trial(1, 900, zero=True), "fail"),
    ],
)
def test_the_rule(given: Trial, verdict: str) -> None:
    result = judge(given, Rules())
    assert result.verdict == verdict
    assert verdict == "pass" or result.reason or result.bound is not None
    assert result.bound is None or 0 <= result.bound <= 1


def test_more_attacks_widen_the_bound() -> None:
    one, twelve = (judge(trial(3, 250), Rules(attacks=attacks)).bound for attacks in (1, 12))
    assert one is not None and twelve is not None and one < twelve


def passing() -> list[AttackResult]:
    results = [judge(trial(1, 250), Rules())]
    other = trial(0, 250)
    return [
        *results,
        judge(Trial("same source", "b", "", "identity", other.units, other.hits, 0.01, Control(9, 10)), Rules()),
    ]


def test_a_release_passes_when_two_networks_found_nobody() -> None:
    end = conclude(passing(), {}, Rules(), {"a", "b"})
    assert end.verdict == "pass" and end.attack == "re-identification, lazy (a)" and end.k == 1 and not end.reasons
    assert "anonymous" not in end.text


@pytest.mark.parametrize(
    ("results", "foreign"),
    [
        ([], {"a"}),
        (passing()[:1], {"a"}),
        (passing()[1:], {"b"}),
        (passing(), set()),
        ([*passing(), judge(trial(0, 5), Rules())], {"a", "b"}),
    ],
    ids=["nothing", "one network", "no search", "only the gate's", "too few"],
)
def test_less_than_that_is_insufficient(results: list[AttackResult], foreign: set[str]) -> None:
    end = conclude(results, {}, Rules(), foreign)
    assert end.verdict == "insufficient" and end.reasons


def test_a_weak_attacker_neither_proves_nor_spoils() -> None:
    weak = judge(trial(0, 250, positive=Control(1, 2)), Rules())
    assert weak.weak and weak.verdict == "insufficient"
    assert conclude([*passing(), weak], {}, Rules(), {"a"}).verdict == "pass"


def test_one_group_that_is_found_fails_the_release() -> None:
    given = trial(30, 500, chance=0.004)
    column = {f"p{number}": "few" if number < 60 else "many" for number in range(500)}
    groups = judge_groups([given], Rules(), {"age": column | {"p499": ""}})
    assert groups["age"]["few"].k == 30 and groups["age"]["few"].verdict == "fail"
    assert groups["age"]["many"].k == 0 and groups["age"]["many"].verdict == "pass"
    end = conclude(passing(), groups, Rules(), {"a", "b"})
    assert end.verdict == "fail" and "group age=few" in end.reasons
