"""The bounds: the published table, coverage by simulation, and the values at the ends."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.metrics.privacy.bounds import (
    any_chance,
    beyond_chance,
    chance_p,
    lower_bound,
    trials_needed,
    upper_bound,
)


@pytest.mark.parametrize(("bound", "needed"), [(0.05, 59), (0.01, 299), (0.001, 2995)])
def test_without_a_success_so_many_identities_certify_a_bound(bound: float, needed: int) -> None:
    assert trials_needed(bound, 0.05) == needed
    assert upper_bound(0, needed, 0.05) <= bound < upper_bound(0, needed - 1, 0.05)


def test_the_ends() -> None:
    assert upper_bound(0, 0, 0.05) == 1 and upper_bound(7, 7, 0.05) == 1
    assert lower_bound(0, 9, 0.05) == 0 and 0 < lower_bound(9, 9, 0.05) < 1
    assert chance_p(0, 10, 0.1) == 1 and chance_p(3, 0, 0.1) == 1
    assert beyond_chance(0.1, 0.2) == 0 and beyond_chance(0.6, 0.2) == pytest.approx(0.5)
    assert any_chance(0.5, 2) == pytest.approx(0.75)
    for wrong in ((-1, 5, 0.05), (6, 5, 0.05), (1, 5, 0.0)):
        with pytest.raises(ValueError):
            upper_bound(*wrong)


@pytest.mark.parametrize("rate", [0.004, 0.02, 0.1])
def test_the_bound_covers_the_rate_as_often_as_it_says(rate: float) -> None:
    hits = np.random.default_rng(0).binomial(200, rate, 4000)
    covered = np.mean([upper_bound(int(k), 200, 0.05) >= rate for k in hits])
    assert covered >= 0.94
