"""How many people an attack may reach, given that it reached k of n: exact binomial bounds, identity by identity.

The unit is the identity, not the photograph: several outputs of one person are one chance, and intervals over
photographs are far too short. Bounds are those of Clopper and Pearson (Biometrika 26, 1934), one-sided, with
Bonferroni's correction over the attacks that claim one (trials.py), so that all of them hold together.

A rate is also given beyond guessing: residual = (attack − control) / (1 − control), where the control is how often the
same attack succeeds by chance (Giomi et al., arXiv 2211.10459).
"""

from __future__ import annotations

import math

from scipy import stats


def upper_bound(successes: int, trials: int, alpha: float) -> float:
    """The largest rate that `successes` of `trials` doesn't reject at level `alpha`: Beta.ppf(1−α; k+1, n−k).

    1 without trials.

    Raises:
        ValueError: not 0 ≤ successes ≤ trials, or alpha outside (0, 1).
    """
    _check(successes, trials, alpha)
    if successes == trials:
        return 1.0
    return float(stats.beta.ppf(1 - alpha, successes + 1, trials - successes))


def lower_bound(successes: int, trials: int, alpha: float) -> float:
    """The least such rate: Beta.ppf(α; k, n−k+1); 0 without successes.

    Raises:
        ValueError: as `upper_bound`.
    """
    _check(successes, trials, alpha)
    if successes == 0:
        return 0.0
    return float(stats.beta.ppf(alpha, successes, trials - successes + 1))


def trials_needed(bound: float, alpha: float) -> int:
    """The fewest trials whose upper bound reaches `bound` if none succeeds: the least n with (1 − bound)ⁿ ≤ α.

    59, 299 and 2,995 for 5 %, 1 % and 0.1 % at α = 0.05.
    """
    return math.ceil(math.log(alpha) / math.log1p(-bound) - 1e-9)


def chance_p(successes: int, trials: int, chance: float) -> float:
    """How likely guessing with rate `chance` succeeds at least so often."""
    return float(stats.binom.sf(successes - 1, trials, chance)) if trials else 1.0


def beyond_chance(rate: float, chance: float) -> float:
    """The residual risk of a rate, 0..1; 0 where guessing does as well."""
    return max(0.0, (rate - chance) / (1 - chance)) if chance < 1 else 0.0


def any_chance(chance: float, tries: float) -> float:
    """How likely at least one of `tries` independent guesses succeeds."""
    return 1 - (1 - chance) ** tries


def _check(successes: int, trials: int, alpha: float) -> None:
    if not 0 <= successes <= trials or not 0 < alpha < 1:
        raise ValueError(f"expected 0 <= successes <= trials and 0 < alpha < 1, got {successes}, {trials}, {alpha}")
