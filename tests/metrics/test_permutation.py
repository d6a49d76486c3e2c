"""p values, intervals and corrections against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.metrics.distances import jensen_shannon
from synthgen.metrics.permutation import (
    benjamini_hochberg,
    bootstrap_interval,
    draw_labels,
    holm,
    mean_draws,
    permutation_p,
)


@pytest.mark.parametrize(
    ("p_values", "levels"),
    [
        ([], []),
        ([0.04], [0.05]),
        ([0.01, 0.02], [0.025, 0.05]),
        ([0.03, 0.04], [0.025, 0.025]),
        ([0.5, 0.001, 0.02, 0.9], [0.05 / 3, 0.0125, 0.05 / 3, 0.05 / 3]),
    ],
)
def test_holm(p_values: list[float], levels: list[float]) -> None:
    assert holm(p_values, 0.05) == pytest.approx(levels)


@pytest.mark.parametrize(
    ("p_values", "level"),
    [([0.03, 0.04], 0.05), ([0.03, 0.06], 0.025), ([0.001, 0.02, 0.03, 0.9], 0.0375), ([0.9], 0.05)],
)
def test_benjamini_hochberg(p_values: list[float], level: float) -> None:
    assert benjamini_hochberg(p_values, 0.05) == pytest.approx([level] * len(p_values))


@pytest.mark.parametrize(
    ("observed", "tail", "p"),
    [(9.5, "greater", 1 / 11), (-1, "greater", 1.0), (-1, "less", 1 / 11), (9.5, "both", 1 / 11), (4.5, "both", 1.0)],
)
def test_permutation_p(observed: float, tail: str, p: float) -> None:
    assert permutation_p(np.array([observed, *range(10)]), tail) == pytest.approx(p)


def test_labels_are_permuted_by_whole_scenes() -> None:
    draws = draw_labels(np.repeat([5, 7, 9], 4), np.repeat([5, 6], 6), 50, 0)
    assert draws.rows()[:, 0].tolist() == [0.0] * 12 + [1.0] * 12
    labels = draws.rows()
    for scene in np.unique(draws.unit):
        assert (np.ptp(labels[draws.unit == scene], axis=0) == 0).all()
    assert (draws.synthetic.sum(0) == 2).all()
    assert (draws.synthetic_counts() == labels.sum(0)).all()


def test_means_of_draws() -> None:
    draws = draw_labels(np.arange(3), np.arange(2), 3, 0)
    values = np.array([[1.0], [2.0], [3.0], [10.0], [20.0]])
    fake, real = mean_draws(values, draws)
    assert (fake[0, 0], real[0, 0]) == (15.0, 2.0)
    np.testing.assert_allclose(fake * 2 + real * 3, 36)


def test_interval_is_as_wide_as_scenes_make_it() -> None:
    """20 scenes of 25 equal frames carry the information of 20 images."""
    random = np.random.default_rng(0)
    values = np.concatenate([np.repeat(random.normal(size=20), 25) for _ in range(2)])[:, None]
    scenes, frames = np.repeat(np.arange(20), 25), np.arange(500)

    def width(unit: np.ndarray) -> float:
        low, high = bootstrap_interval(values, (unit, unit), lambda one, two: (one - two)[:, 0])
        return high - low

    assert width(scenes) / width(frames) == pytest.approx(5, rel=0.2)


def test_the_interval_of_a_distance_that_resampling_inflates_holds_its_value() -> None:
    random = np.random.default_rng(0)
    maps = random.multinomial(3, np.full(64, 1 / 64), 80).astype(np.float64)
    real, fake = maps[:40], maps[40:]
    value = jensen_shannon(fake.mean(0)[None], real.mean(0)[None])[0]
    low, high = bootstrap_interval(maps, (np.arange(40), np.arange(40)), jensen_shannon)
    assert low < value < high
