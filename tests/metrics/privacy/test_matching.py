"""Ranks, thresholds and singling out, on distances that are written down or drawn."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.metrics.privacy.matching import (
    beyond_impostors,
    distances,
    equal_error_rate,
    far_threshold,
    rank_identities,
    single_out,
)


def test_the_own_identity_is_ranked_by_all_of_its_outputs() -> None:
    gaps = np.array([[1.0, 9, 5], [2, 9, 3], [9, 8, 1]])
    ranks = rank_identities(gaps, np.array([0, 0, 1]), np.array([0, 1, 2]))
    assert ranks.identities.tolist() == [0, 1] and ranks.gallery == 3
    assert ranks.rank.tolist() == [1, 2] and ranks.within(1).tolist() == [True, False]
    assert ranks.any_output.tolist() == [True, False] and ranks.guess.tolist() == [0, 2]


def test_equal_distances_are_no_success() -> None:
    ranks = rank_identities(np.ones((2, 5)), np.array([0, 3]), np.arange(5))
    assert ranks.rank.tolist() == [3, 3] and not ranks.within(1).any()


def test_probes_of_strangers_are_not_attacked() -> None:
    ranks = rank_identities(np.array([[0.0, 1], [1, 0]]), np.array([7, 1]), np.array([0, 1]))
    assert ranks.identities.tolist() == [1] and ranks.within(1).all()


def test_guessing_succeeds_as_often_as_chance_says() -> None:
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(100), 3)
    rates = []
    for _ in range(20):
        gaps = distances(random.normal(size=(300, 8)), random.normal(size=(300, 8)))
        rates.append(rank_identities(gaps, who, who).within(1).mean())
    assert 0.004 < np.mean(rates) < 0.018


def test_the_threshold_accepts_no_more_strangers_than_it_says() -> None:
    impostors = np.random.default_rng(0).normal(1, 0.1, 10_000)
    for far in (1e-2, 1e-3):
        accepted = (impostors <= far_threshold(impostors, far)).mean()
        assert far * 0.9 <= accepted <= far
    with pytest.raises(ValueError, match="takes 3000"):
        far_threshold(impostors[:2999], 1e-3)


def test_equal_error_rate() -> None:
    random = np.random.default_rng(0)
    assert equal_error_rate(np.zeros(50), np.ones(50)) == 0
    assert equal_error_rate(random.normal(size=5000), random.normal(size=5000)) == pytest.approx(0.5, abs=0.02)


def test_one_leak_among_many_is_singled_out_and_no_one_without_one() -> None:
    random = np.random.default_rng(0)
    false = 0
    for _ in range(40):
        own, impostors = random.normal(1, 0.1, 250), random.normal(1, 0.1, 60_000)
        false += beyond_impostors(own, impostors, 0.05)[0].any()
        own[17] = 0.2
        assert beyond_impostors(own, impostors, 0.05)[0][17]
    assert false <= 4
    assert not beyond_impostors(np.zeros(3), np.zeros(1), 0.05)[0].any()


def look_alikes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances of 60 probes to 60 photographs, which all but look the same; and whose each is."""
    random = np.random.default_rng(seed)
    return random.normal(0.1, 0.01, (60, 60)), np.eye(60, dtype=np.bool_)


def test_who_stands_out_among_look_alikes_is_singled_out() -> None:
    gaps, own = look_alikes(0)
    gaps[7] += 0.9
    gaps[:, 7] += 0.9
    gaps[7, 7] = 0.4
    assert np.flatnonzero(single_out(gaps, own, 0.001)).tolist() == [7], "farther from himself than others among them"
    few = single_out(gaps[:20, :20], own[:20, :20], 0.001)
    assert not few.any(), "twenty strangers are too few to tell"


def test_nobody_is_singled_out_by_chance() -> None:
    found = [single_out(*look_alikes(seed), 0.001).any() for seed in range(400)]
    assert sum(found) <= 3
