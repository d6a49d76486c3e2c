"""An attack that was run, and the rule that judges it.

The rule, in this order:
1. `insufficient` where nothing was attacked, or where the attack also succeeds with wrong labels (negative control).
2. `fail` where someone was singled out beyond chance, or where the bound is above the limit and the successes are more
   than guessing explains. This needs no positive control: an attacker who succeeds is strong enough.
3. `insufficient` where the attacker can't even recognise people in unprotected photographs (positive control): its
   failure then says nothing about the data.
4. `pass` where the bound is within the limit, else `insufficient`: too few people to say.

What is never allowed at all (a copy, a location in a file) has no bound: one is a fail.

Each of two claims is corrected for how many attacks make it (Bonferroni). A *bound* is claimed by attacks whose
attacker passed the positive control; those of step 3 claim nothing, and so take nothing from the others. Who passed is
settled by photographs alone, before an output is looked at, so nobody chooses the number by its result. A *fail* may
come from any attack that was run, weak ones too, and is called at a level corrected for all of them: else one lucky
guess of many attackers would fail a release in which nothing is left. Between the two lies `insufficient`; never a
pass. scripts/bench/audit_rule.py shows both error rates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.privacy.bounds import beyond_chance, chance_p, lower_bound, trials_needed, upper_bound
from synthgen.metrics.sets import Verdict

NEGATIVE_P = 0.001
"""A negative control less likely than this by chance means that the attack measures something else than identity."""


@dataclass(frozen=True)
class Rules:
    """What a release must reach.

    Attributes:
        attacks: how many bounds must hold together; `tests`: how many attacks may fail a release (`count_attacks`).
    """

    max_bound: float = 0.05
    alpha: float = 0.05
    min_positive: float = 0.8
    attacks: int = 1
    tests: int = 1

    @property
    def level(self) -> float:
        """α of each single bound."""
        return self.alpha / max(self.attacks, 1)

    @property
    def fail_level(self) -> float:
        """Successes less likely than this by guessing fail an attack: half of α for everyone, half for the groups."""
        return self.alpha / (2 * max(self.tests, 1))

    def within(self, parts: int) -> Rules:
        """The rules for each of so many groups: all attacks on all groups hold together."""
        return replace(self, attacks=self.attacks * max(parts, 1), tests=self.tests * max(parts, 1))


@dataclass(frozen=True)
class Control:
    """k successes of n, of the same attack where the answer is known."""

    k: int
    n: int

    @property
    def rate(self) -> float:
        """k / n; 0 for n = 0."""
        return self.k / self.n if self.n else 0.0


@dataclass(frozen=True, eq=False)
class Trial:
    """One attack as it was run.

    Attributes:
        attack, attacker: what was tried, and by whom; `question` says it in words.
        unit: what k and n count.
        units: the names of the n units (private); `hits`: (n,) whether the attack succeeded on each.
        chance: the rate of guessing; None where guessing can't succeed.
        gates: whether it counts for the verdict of the release.
        zero: whether a single success is a fail (no bound).
        exposed: units whose match can't be chance, each for itself (private).
        reason: why it could not be run; then `hits` is empty.
    """

    attack: str
    attacker: str
    question: str
    unit: str
    units: tuple[str, ...] = ()
    hits: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, np.bool_))
    chance: float | None = None
    positive: Control | None = None
    negative: Control | None = None
    gates: bool = True
    zero: bool = False
    exposed: tuple[str, ...] = ()
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Cell:
    """An attack on one group of people."""

    attack: str
    k: int
    n: int
    bound: float
    verdict: Verdict


@dataclass(frozen=True)
class AttackResult:
    """A judged attack: what may be told to everyone. `weak`: its positive control failed.

    Attributes:
        rate: k / n; `bound` and `lower`: one-sided limits of it at the corrected level; `residual`: the bound beyond
            chance; `p`: of so many successes by chance. None where there is none.
        exposed: how many units were singled out beyond chance.
    """

    attack: str
    attacker: str
    question: str
    unit: str
    k: int
    n: int
    chance: float | None
    positive: float | None
    negative: float | None
    rate: float | None
    bound: float | None
    lower: float | None
    residual: float | None
    p: float | None
    exposed: int
    gates: bool
    weak: bool
    verdict: Verdict
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def count_attacks(trials: Iterable[Trial], rules: Rules) -> Rules:
    """The same rules for this many attacks: bounds of those with a strong attacker, tests of all that were run."""
    bounded = [one for one in trials if one.gates and not one.zero and not one.reason and len(one.hits)]
    claims = [one for one in bounded if one.positive is None or one.positive.rate >= rules.min_positive]
    return replace(rules, attacks=max(len(claims), 1), tests=max(len(bounded), 1))


def judge(trial: Trial, rules: Rules) -> AttackResult:
    """The verdict of one attack."""
    n, k = len(trial.hits), int(trial.hits.sum())
    verdict, reason = _verdict(trial, rules)
    chance = 0.0 if trial.chance is None else trial.chance
    bounded = n > 0 and not trial.zero
    bound = upper_bound(k, n, rules.level) if bounded else None
    positive = None if trial.positive is None else trial.positive.rate
    return AttackResult(
        attack=trial.attack,
        attacker=trial.attacker,
        question=trial.question,
        unit=trial.unit,
        k=k,
        n=n,
        chance=trial.chance,
        positive=positive,
        negative=None if trial.negative is None else trial.negative.rate,
        rate=k / n if n else None,
        bound=bound,
        lower=lower_bound(k, n, rules.level) if bounded else None,
        residual=None if bound is None else beyond_chance(bound, chance),
        p=chance_p(k, n, chance) if bounded and trial.chance is not None else None,
        exposed=len(trial.exposed),
        gates=trial.gates,
        weak=positive is not None and positive < rules.min_positive,
        verdict=verdict,
        reason=reason,
        details=trial.details,
    )


def _verdict(trial: Trial, rules: Rules) -> tuple[Verdict, str]:
    n, k = len(trial.hits), int(trial.hits.sum())
    chance = 0.0 if trial.chance is None else trial.chance
    if trial.reason or not n:
        return "insufficient", trial.reason or f"there is no {trial.unit} to attack"
    if trial.zero:
        return ("fail", f"{k} of {n}; none is allowed") if k else ("pass", "")
    if trial.negative is not None and chance_p(trial.negative.k, trial.negative.n, chance) < NEGATIVE_P:
        message = f"with wrong labels it succeeds at {trial.negative.rate:.1%}, chance is {chance:.1%}"
        return "insufficient", f"negative control: {message}"
    bound = upper_bound(k, n, rules.level)
    if trial.exposed:
        return "fail", f"{k} of {n}, at most {bound:.1%}; {len(trial.exposed)} singled out beyond what chance explains"
    if bound > rules.max_bound and chance_p(k, n, chance) < rules.fail_level:
        return "fail", f"{k} of {n}, at most {bound:.1%}"
    if trial.positive is not None and trial.positive.rate < rules.min_positive:
        message = f"{trial.positive.rate:.2f} on unprotected photographs, {rules.min_positive:.2f} needed"
        return "insufficient", f"positive control: {message}"
    if bound <= rules.max_bound:
        return "pass", ""
    needed = trials_needed(rules.max_bound, rules.level)
    if n < needed:
        return "insufficient", f"{n} of the {needed} {plural(trial.unit)} that a bound of {rules.max_bound:.1%} takes"
    message = (
        f"{k} of {n}, at most {bound:.1%}: guessing may explain it, but {n} {plural(trial.unit)} are too few to say"
    )
    return "insufficient", message


def plural(unit: str) -> str:
    """`identities`, `images` …"""
    return f"{unit[:-1]}ies" if unit.endswith("y") else f"{unit}s"


def judge_groups(
    trials: Sequence[Trial], rules: Rules, columns: Mapping[str, Mapping[str, str]]
) -> dict[str, dict[str, Cell]]:
    """The worst attack on each group of identities.

    Args:
        columns: attribute → identity → value; identities without a value are in no group.

    Returns:
        attribute → value → the attack with the largest bound, corrected for all groups besides all attacks. A weak
        attacker stands there only if it succeeded, or where there is no other.
    """
    groups: dict[str, dict[str, Cell]] = {}
    cells = sum(len(set(column.values())) for column in columns.values())
    corrected = rules.within(cells)
    usable = [trial for trial in trials if trial.gates and trial.unit == "identity" and not trial.zero]
    strong = {_name(one) for one in usable if one.positive is None or one.positive.rate >= rules.min_positive}
    for attribute, column in columns.items():
        for value in sorted(set(column.values())):
            found = [_cell(trial, corrected, {name for name in column if column[name] == value}) for trial in usable]
            worst = max(
                (cell for cell in found if cell.n),
                key=lambda cell: (cell.verdict == "fail", cell.attack in strong, cell.bound),
                default=Cell("", 0, 0, 1.0, "insufficient"),
            )
            groups.setdefault(attribute, {})[value] = worst
    return groups


def _cell(trial: Trial, rules: Rules, members: set[str]) -> Cell:
    inside = np.array([name in members for name in trial.units], dtype=np.bool_)
    part = Trial(
        trial.attack,
        trial.attacker,
        trial.question,
        trial.unit,
        tuple(name for name in trial.units if name in members),
        trial.hits[inside] if len(trial.hits) else trial.hits,
        trial.chance,
        trial.positive,
        trial.negative,
        exposed=tuple(name for name in trial.exposed if name in members),
        reason=trial.reason,
    )
    result = judge(part, rules)
    bound = 1.0 if result.bound is None else result.bound
    return Cell(_name(trial), result.k, result.n, bound, result.verdict)


def _name(trial: Trial) -> str:
    return f"{trial.attack} ({trial.attacker})"
