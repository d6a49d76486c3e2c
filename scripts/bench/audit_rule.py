"""How often the audit's rule errs: by simulation, with the very functions that judge a release.

    python scripts/bench/audit_rule.py [--people 251] [--attacks 14] [--weak 5] [--releases 20000] [--crowds 100]

Counts: releases whose attacks each reach k of n people at a known rate, one independent of the other (the worst case).
1. Nothing is left, so every rate is that of guessing: how many releases are failed. At most α is allowed. Beside it,
   what a level that is not corrected would give.
2. Every rate is the limit, and others: in how many releases any bound lies below its rate. At most α is allowed.

Crowds: people as points in space, outputs as noise. Every search, verification and the way back are run by two
networks, trained heads included, and the release is judged as a whole with two groups: what singling out adds is in it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import cache

import numpy as np

from synthgen.metrics.privacy.conclusion import conclude
from synthgen.metrics.privacy.reidentification import People, same_source, search, split_people, verify
from synthgen.metrics.privacy.trials import AttackResult, Control, Rules, Trial, count_attacks, judge, judge_groups

GOOD, WEAK = Control(95, 100), Control(40, 100)
RATES = (0.001, 0.004, 0.01, 0.02, 0.05, 0.1)


def simulate_counts(people: int, attacks: int, weak: int, releases: int, seed: int = 0) -> dict[str, float]:
    """Shares of releases: `failed`, `failed_uncorrected`, and `uncovered at <rate>` for each of `RATES`."""
    chance = 1 / people
    random = np.random.default_rng(seed)
    trials = [made_up(0, people, chance, WEAK if place < weak else GOOD) for place in range(attacks)]
    rules = count_attacks(trials, Rules())

    @cache
    def judged(k: int, tests: int) -> AttackResult:
        return judge(made_up(k, people, chance, GOOD), replace(rules, tests=tests))

    guessed = random.binomial(people, chance, (releases, attacks))
    found = {
        name: float(np.mean([any(judged(k, tests).verdict == "fail" for k in row) for row in guessed.tolist()]))
        for name, tests in (("failed", rules.tests), ("failed_uncorrected", 1))
    }
    for rate in RATES:
        reached = random.binomial(people, rate, (releases, rules.attacks))
        below = [any((judged(k, rules.tests).bound or 0.0) < rate for k in row) for row in reached.tolist()]
        found[f"uncovered at {rate:g}"] = float(np.mean(below))
    return found


def made_up(k: int, n: int, chance: float, positive: Control) -> Trial:
    """An attack that reached k of n."""
    names = tuple(map(str, range(n)))
    return Trial("re-identification, lazy", "a", "", "identity", names, np.arange(n) < k, chance, positive)


def empty_crowd(people: int, photos: int, seed: int) -> People:
    """People of whom the outputs hold nothing."""
    random = np.random.default_rng(seed)
    identity = np.repeat(np.arange(people), photos)
    real = random.normal(size=(people, 128))[identity] + 0.5 * random.normal(size=(people * photos, 128))
    gallery, fold = split_people(identity, np.ones(len(identity), np.bool_), seed)
    output = random.normal(size=real.shape).astype(np.float32)
    return People(real.astype(np.float32), identity, output, np.arange(len(real)), gallery, fold)


def attack(people: People, attacker: str) -> list[Trial]:
    """Every attack of one network, as the audit makes it."""
    trials = []
    for knowledge, gallery in (("lazy", "real"), ("informed", "real"), ("informed", "anonymised")):
        found = search(people, knowledge, gallery, True)  # type: ignore[arg-type]
        trials.append(
            (f"re-identification, {knowledge}, {gallery}", found.identities, found.hits, found.chance, found.exposed)
        )
    back, seen = same_source(people), verify(people, 1e-3)
    assert seen is not None
    trials.append(("same source", back.identities, back.hits, back.chance, back.exposed))
    trials.append(("verification", seen.identities, seen.hits, seen.chance, seen.identities[:0]))
    return [
        Trial(name, attacker, "", "identity", tuple(map(str, who.tolist())), hits, chance, GOOD,
              exposed=tuple(map(str, exposed.tolist())))
        for name, who, hits, chance, exposed in trials
    ]  # fmt: skip


def judge_crowd(people: int, photos: int, seed: int) -> str:
    """The verdict of a release in which nothing is left."""
    trials = [
        one for network in range(2) for one in attack(empty_crowd(people, photos, 2 * seed + network), f"n{network}")
    ]
    rules = count_attacks(trials, Rules())
    groups = judge_groups(trials, rules, {"half": {str(one): "AB"[one % 2] for one in range(people)}})
    return conclude([judge(one, rules) for one in trials], groups, rules, {"n0", "n1"}).verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=251)
    parser.add_argument("--attacks", type=int, default=14)
    parser.add_argument("--weak", type=int, default=5)
    parser.add_argument("--releases", type=int, default=20_000)
    parser.add_argument("--crowds", type=int, default=100)
    arguments = parser.parse_args()
    found = simulate_counts(arguments.people, arguments.attacks, arguments.weak, arguments.releases)
    print(
        f"{arguments.attacks} attacks, {arguments.weak} of them weak, {arguments.people} people; "
        f"allowed: {Rules().alpha:.1%}"
    )
    for name, share in found.items():
        print(f"  {name:22} {share:.2%} of {arguments.releases} releases")
    verdicts = [judge_crowd(arguments.people, 4, seed) for seed in range(arguments.crowds)]
    told = ", ".join(f"{verdict} {verdicts.count(verdict)}" for verdict in ("pass", "insufficient", "fail"))
    print(f"  crowds with nothing left, 10 attacks and two groups: {told}")


if __name__ == "__main__":
    main()
