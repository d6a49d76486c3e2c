"""From attacks to one verdict: a release passes if everything passed that had to be tried, by two networks at least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from synthgen.metrics.privacy.trials import AttackResult, Cell, Rules, plural
from synthgen.metrics.sets import Verdict

SEARCH = "re-identification"
"""The attack without which nothing is said of people."""


@dataclass(frozen=True)
class Conclusion:
    """The headline: the worst attack, and what follows.

    Attributes:
        attack: the one with the worst bound of those that claim one, or that failed; its k, n and bound (None where no
            attack claims anything).
        text: one sentence for everyone; `reasons`: why the verdict is not `pass`.
    """

    verdict: Verdict
    attack: str | None
    k: int | None
    n: int | None
    bound: float | None
    text: str
    reasons: tuple[str, ...] = ()


def conclude(
    results: Sequence[AttackResult], groups: Mapping[str, Mapping[str, Cell]], rules: Rules, foreign: Set[str]
) -> Conclusion:
    """The verdict of a release.

    `fail` if any attack that counts failed, on all people or on one group. Else `insufficient` if an attack that counts
    could not be judged (one whose attacker is weak is left out, as if it had not been run), if no search passed, if
    fewer than two networks proved something, one of which is not the run's own gate, or if nobody of a group could be
    attacked. Else `pass`.

    Args:
        foreign: names of attackers whose weights are not those that the run's checks used.
    """
    counted = [one for one in results if one.gates]
    failed = [one for one in counted if one.verdict == "fail"]
    bad_groups = [
        f"{attribute}={value}"
        for attribute, cells in groups.items()
        for value, cell in cells.items()
        if cell.verdict == "fail"
    ]
    claiming = [one for one in counted if one.bound is not None and not one.weak]
    worst = max(failed or claiming, key=lambda one: 1.0 if one.bound is None else one.bound, default=None)
    reasons = [f"{_name(one)}: {one.reason}" for one in failed]
    reasons += [f"group {name}" for name in bad_groups]
    verdict: Verdict = "fail"
    if not reasons:
        reasons = _missing(counted, foreign)
        reasons += [
            f"group {attribute}={value}: nobody of it was attacked"
            for attribute, cells in groups.items()
            for value, cell in cells.items()
            if not cell.n
        ]
        verdict = "insufficient" if reasons else "pass"
    if worst is None:
        return Conclusion(
            verdict, None, None, None, None, "No attack could be judged; nothing is known.", tuple(reasons)
        )
    return Conclusion(
        verdict, _name(worst), worst.k, worst.n, worst.bound, _sentence(worst, verdict, rules), tuple(reasons)
    )


def _missing(counted: Sequence[AttackResult], foreign: Set[str]) -> list[str]:
    reasons = [f"{_name(one)}: {one.reason}" for one in counted if one.verdict == "insufficient" and not one.weak]
    passed = [one for one in counted if one.verdict == "pass" and one.unit == "identity"]
    if not any(one.attack.startswith(SEARCH) for one in passed):
        reasons.append("no attacker who recognises these people in photographs has searched for them")
    networks = {one.attacker for one in passed}
    if len(networks) < 2:
        reasons.append(f"{len(networks)} network(s) proved something, at least two must")
    elif not networks & foreign:
        reasons.append("only the networks of the run's own gate proved something")
    return reasons


def _name(result: AttackResult) -> str:
    return f"{result.attack} ({result.attacker})"


def _sentence(worst: AttackResult, verdict: Verdict, rules: Rules) -> str:
    """What was found, never that anything is anonymous."""
    found = f"The worst attack, {_name(worst)}, reached {worst.k} of {worst.n} {plural(worst.unit)}"
    if worst.bound is None:
        return f"{found}; none is allowed."
    guess = "" if worst.chance is None else f" (guessing: {worst.chance:.1%})"
    bound = f"at most {worst.bound:.1%} with {1 - rules.alpha:.0%} confidence over {rules.attacks} attacks"
    return f"{found}{guess}: {bound}; the limit is {rules.max_bound:.1%}."
