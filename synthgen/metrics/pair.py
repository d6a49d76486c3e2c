"""Two sets made ready to be compared: pooled labels, their permutations, and the real set cut in two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from synthgen.metrics.permutation import LabelDraws, draw_labels
from synthgen.metrics.scenes import split_units
from synthgen.metrics.sets import ImageSet

PARTS = 8
"""Disjoint parts of the paired test of a biased measure."""
MIN_PART = 20


@dataclass(frozen=True, eq=False)
class Pair:
    """`halves` are the rows of real-A and real-B, split by scene; `draws` the labels of real and synthetic, pooled."""

    subset: str
    real: ImageSet
    synthetic: ImageSet
    draws: LabelDraws | None
    halves: tuple[NDArray[np.int64], NDArray[np.int64]]
    permutations: int
    seed: int
    min_all: int
    min_large: int

    @classmethod
    def of(
        cls,
        subset: str,
        real: ImageSet,
        synthetic: ImageSet,
        permutations: int,
        seed: int,
        min_all: int,
        min_large: int,
    ) -> Pair:
        """Draw labels and halves; `draws` is None where a set is too small for any test."""
        one, two = split_units(real.units, 2, np.random.default_rng(seed))
        enough = min(len(real), len(synthetic)) >= min_all
        draws = draw_labels(real.units, synthetic.units, permutations, seed) if enough else None
        return cls(subset, real, synthetic, draws, (one, two), permutations, seed, min_all, min_large)

    @property
    def sizes(self) -> tuple[int, int]:
        """(real, synthetic)."""
        return len(self.real), len(self.synthetic)

    @property
    def smallest_p(self) -> float:
        """No permutation test can give less: one of the permutations made, or of those there are."""
        if self.draws is None:
            return 1.0
        fakes = int(self.draws.synthetic[:, 0].sum())
        return max(1 / (self.permutations + 1), 1 / comb(len(self.draws.synthetic), fakes))

    def floor_draws(self) -> LabelDraws:
        """The true labels of real-A (as real) and real-B (as synthetic), without permutations."""
        one, two = self.halves
        return draw_labels(self.real.units[one], self.real.units[two], 0, self.seed)


@dataclass(frozen=True)
class Excess:
    """Mean over the parts of (synthetic − real-B), its 95 % t interval, and p."""

    mean: float
    interval: tuple[float, float]
    p: float


def split_excess(
    pair: Pair,
    measure: Callable[[NDArray[np.float32], NDArray[np.float32]], float],
    tail: str = "greater",
) -> Excess | None:
    """Is a biased measure of the synthetic set beyond that of real images? None where the parts are too small.

    Real images are cut by scene into 2·`PARTS` disjoint parts A₁ B₁ A₂ B₂ …, synthetic ones into `PARTS`, all trimmed
    to one size, so the bias is the same in `measure(Aᵢ, Sᵢ)` and `measure(Aᵢ, Bᵢ)`. If the sets are alike, B and S are
    exchangeable and the differences have mean 0; they are independent over i, so Student's t holds. No row is used
    twice, as it would be by a bootstrap, under which a Fréchet distance is far off.
    """
    assert pair.real.features is not None and pair.synthetic.features is not None
    rng = np.random.default_rng(pair.seed + 1)
    real = split_units(pair.real.units, 2 * PARTS, rng)
    fake = split_units(pair.synthetic.units, PARTS, rng)
    size = min(len(rows) for rows in (*real, *fake))
    if size < MIN_PART:
        return None
    kept = [rng.permutation(rows)[:size] for rows in (*real, *fake)]
    differences = []
    for part in range(PARTS):
        reference, other = (pair.real.features[kept[2 * part + offset]] for offset in (0, 1))
        synthetic = pair.synthetic.features[kept[2 * PARTS + part]]
        differences.append(measure(reference, synthetic) - measure(reference, other))
    mean, error = float(np.mean(differences)), float(np.std(differences, ddof=1) / np.sqrt(PARTS))
    if error == 0:
        return Excess(mean, (mean, mean), 1.0 if mean == 0 else 0.0)
    wide = float(stats.t.ppf(0.975, PARTS - 1)) * error
    right = float(stats.t.sf(mean / error, PARTS - 1))
    p = right if tail == "greater" else min(1.0, 2 * min(right, 1 - right))
    return Excess(mean, (mean - wide, mean + wide), p)
