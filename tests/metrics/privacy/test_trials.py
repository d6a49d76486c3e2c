"""The rule that judges an attack, and the conclusion from all of them, as tables of what came and what follows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from synthgen.metrics.privacy.conclusion import conclude
from synthgen.metrics.privacy.trials import AttackResult, Control, Rules, Trial, count_attacks, judge, judge_groups


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


def test_a_weak_attacker_claims_no_bound_but_may_fail() -> None:
    strong, weak = trial(1, 250), trial(1, 250, positive=Control(40, 100))
    others = [trial(9, 250, gates=False), trial(0, 9, zero=True), trial(0, 250, reason="not run"), trial(0, 0)]
    for found in (1, 9):
        rules = count_attacks([strong, strong, replace(weak, hits=np.arange(250) < found), *others], Rules())
        assert (rules.attacks, rules.tests) == (2, 3), "the numbers must not depend on what was found"
    assert judge(trial(40, 250, positive=Control(40, 100)), rules).verdict == "fail"
    assert count_attacks([], Rules()) == Rules()


def test_a_lucky_guess_of_many_attackers_is_no_fail_and_no_pass() -> None:
    lucky = trial(4, 251, chance=1 / 251)
    assert judge(lucky, Rules(max_bound=0.03)).verdict == "fail", "where it was the only attack"
    verdict = judge(lucky, Rules(max_bound=0.03, attacks=14, tests=14))
    assert verdict.verdict == "insufficient" and "guessing may explain it" in verdict.reason
    assert judge(trial(8, 251, chance=1 / 251), Rules(attacks=14, tests=14)).verdict == "fail"


def bound_below(rate: float, result: AttackResult) -> bool:
    return (result.bound or 0.0) < rate


def share_of_releases(attacks: int, rate: float, rules: Rules, wrong: Callable[[AttackResult], bool]) -> float:
    """How many of 4,000 releases have an attack of which `wrong` holds, if each reaches 251 people at `rate`."""
    counts = np.random.default_rng(0).binomial(251, rate, (4000, attacks))
    told = {int(k): wrong(judge(trial(int(k), 251, chance=1 / 251), rules)) for k in np.unique(counts)}
    return float(np.mean([any(told[k] for k in row) for row in counts.tolist()]))


def test_both_errors_are_within_alpha_by_simulation() -> None:
    rules = Rules(attacks=12, tests=20)
    failed = share_of_releases(20, 1 / 251, rules, lambda one: one.verdict == "fail")
    assert failed <= rules.alpha
    assert failed < share_of_releases(20, 1 / 251, replace(rules, tests=1), lambda one: one.verdict == "fail")
    for rate in (0.004, 0.02, 0.05, 0.1):
        assert share_of_releases(12, rate, rules, partial(bound_below, rate)) <= rules.alpha
    assert share_of_releases(12, 0.05, Rules(), partial(bound_below, 0.05)) > 3 * rules.alpha, "without correction"


def test_the_headline_is_the_worst_bound_that_is_claimed() -> None:
    unsettled = judge(trial(9, 250, chance=0.03), Rules())
    assert unsettled.verdict == "insufficient"
    end = conclude([*passing(), unsettled, judge(trial(0, 9, positive=Control(1, 9)), Rules())], {}, Rules(), {"a"})
    assert end.verdict == "insufficient" and end.k == 9


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


def test_a_group_of_which_nobody_was_attacked_is_insufficient() -> None:
    column = {"age": {f"p{number}": "old" if number > 300 else "young" for number in range(320)}}
    rules = Rules()
    end = conclude(passing(), judge_groups([trial(0, 250)], rules, column), rules, {"a", "b"})
    assert end.verdict == "insufficient" and end.reasons == ("group age=old: nobody of it was attacked",)


def test_a_weak_attacker_is_not_the_worst_of_a_group_unless_it_succeeds() -> None:
    column = {"age": {f"p{number}": "all" for number in range(250)}}
    strong = trial(0, 250)
    for reached, attacker in ((3, "a"), (60, "b")):
        weak = replace(trial(reached, 250, positive=Control(1, 9)), attacker="b")
        assert judge_groups([strong, weak], Rules(), column)["age"]["all"].attack.endswith(f"({attacker})")


def test_one_group_that_is_found_fails_the_release() -> None:
    given = trial(30, 500, chance=0.004)
    column = {f"p{number}": "few" if number < 60 else "many" for number in range(500)}
    groups = judge_groups([given], Rules(), {"age": column | {"p499": ""}})
    assert groups["age"]["few"].k == 30 and groups["age"]["few"].verdict == "fail"
    assert groups["age"]["many"].k == 0 and groups["age"]["many"].verdict == "pass"
    end = conclude(passing(), groups, Rules(), {"a", "b"})
    assert end.verdict == "fail" and "group age=few" in end.reasons
