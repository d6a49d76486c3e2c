"""Intervals over scenes and seeds at once: what another test set and other trainings might have shown.

Each replicate draws the test's scenes with replacement, the same for every arm and model, and the seeds with
replacement, the same for both sides of a difference: so differences are paired in both. Of few seeds a plain bootstrap
understates the spread by (S − 1) / S, and percentiles know nothing of how unsure a spread from S values is: the part
that comes from seeds is widened by √(S / (S − 1)) and by Student's quantile of S − 1 degrees of freedom ÷ the normal
one. Without the second factor, intervals of three seeds hold the truth too rarely where seeds are what varies most
(simulated in tests/utility/test_numbers.py).

Source: Davison & Hinkley 1997, Bootstrap Methods and their Application, 3.8 (nested data; the first factor);
Hesterberg 2015, What Teachers Should Know About the Bootstrap (the second: his expanded percentiles).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm as normal
from scipy.stats import t as student

Replicates = NDArray[np.float64]
"""(replicates + 1,): the value on the data as they are, then on each draw."""


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its interval; None where it does not exist."""

    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class Draws:
    """What each replicate drew.

    Attributes:
        weights: (replicates + 1, pictures), how often each picture stands in it; row 0 has each once.
        seeds: (replicates, S), which seeds.
        widening: factor on the part that comes from seeds.
    """

    weights: NDArray[np.float64]
    seeds: NDArray[np.int64]
    widening: float = 1.0

    def of_pictures(self, places: NDArray[np.int64]) -> NDArray[np.float64]:
        """The weights of some of the pictures."""
        return self.weights[:, places]


def draw(units: NDArray[np.int64], seeds: int, replicates: int, seed: int, confidence: float = 0.95) -> Draws:
    """Draw scenes (`units`, the number of each picture's scene) and seeds, for intervals of `confidence`."""
    rng = np.random.default_rng(seed)
    _, inverse = np.unique(units, return_inverse=True)
    count = int(inverse.max(initial=-1)) + 1
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=replicates)
    weights = np.concatenate([np.ones((1, len(units))), drawn[:, inverse].astype(np.float64)])
    return Draws(weights, rng.integers(0, seeds, (replicates, seeds)), seed_widening(seeds, confidence))


def seed_widening(seeds: int, confidence: float) -> float:
    """The factor of the module's docstring; 1 for one seed, of which no spread is known."""
    if seeds < 2:
        return 1.0
    tail = (1 + confidence) / 2
    return float(np.sqrt(seeds / (seeds - 1)) * student.ppf(tail, seeds - 1) / normal.ppf(tail))


def over_seeds(values: NDArray[np.float64], draws: Draws) -> Replicates:
    """From (replicates + 1, S), a value for each seed, to replicates of their mean."""
    seeds = values.shape[1]
    mean = values.mean(1)
    if seeds == 1:
        return mean
    picked = np.take_along_axis(values[1:], draws.seeds, axis=1).mean(1)
    return np.concatenate([mean[:1], mean[1:] + draws.widening * (picked - mean[1:])])


def interval(replicates: Replicates, confidence: float, share: bool = False) -> Interval:
    """The value and the percentiles of its replicates; draws in which it does not exist are left out.

    Of a `share` (0..1) the widening by few seeds may reach beyond what there is: such bounds are cut.
    """
    value = float(replicates[0])
    told = replicates[1:][np.isfinite(replicates[1:])]
    if not np.isfinite(value) or not len(told):
        return Interval(None, None, None)
    low, high = np.quantile(told, [(1 - confidence) / 2, (1 + confidence) / 2])
    if share:
        low, high = np.clip([low, high], 0, 1)
    return Interval(value, float(low), float(high))
