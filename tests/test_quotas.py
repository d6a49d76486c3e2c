"""Quotas: rounding, fitting and dealing, against small cases worked by hand and random ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthgen.quotas import InfeasibleError, Quotas, Target, fit_table, largest_remainder, sobol_points, total_variation


@pytest.mark.parametrize(
    ("weights", "total", "expected"),
    [
        ([0.5, 0.2, 0.15, 0.15], 10, [5, 2, 2, 1]),
        ([1, 1, 1], 10, [4, 3, 3]),
        ([0.7, 0.3], 0, [0, 0]),
        ([0, 0], 0, [0, 0]),
        ([0.41, 0.33, 0.26], 7, [3, 2, 2]),
        ([3, 0, 1], 4, [3, 0, 1]),
    ],
)
def test_largest_remainder(weights: list[float], total: int, expected: list[int]) -> None:
    assert largest_remainder(np.array(weights), total).tolist() == expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [([1, 1], [1, 1], 0), ([1, 0], [0, 1], 1), ([3, 1], [0.5, 0.5], 0.25), ([0, 0], [1, 0], 1)],
)
def test_total_variation(one: list[float], other: list[float], expected: float) -> None:
    assert total_variation(np.array(one), np.array(other)) == pytest.approx(expected)


def test_fitting_meets_margins_and_leaves_the_rest_independent() -> None:
    joint = np.array([[0.1, 0.3], [0.4, 0.2]])
    table = fit_table((2, 2, 3), [((0, 1), joint), ((2,), np.array([0.5, 0.3, 0.2]))])
    assert np.allclose(table, joint[..., None] * [0.5, 0.3, 0.2], atol=1e-6)


def test_fitting_keeps_structural_zeros() -> None:
    joint = np.array([[0.5, 0.0], [0.2, 0.3]])
    table = fit_table((2, 2), [((0, 1), joint), ((0,), np.array([0.5, 0.5]))])
    assert table[0, 1] == 0 and np.allclose(table, joint, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "goals", "worst"),
    [
        ((2, 2), [((0,), [0.5, 0.5]), ((0, 1), [[0.6, 0.0], [0.2, 0.2]])], 0),
        ((2, 2), [((0, 1), [[0.5, 0.0], [0.0, 0.5]]), ((0,), [0.5, 0.5]), ((1,), [0.9, 0.1])], None),
    ],
)
def test_contradictions_are_infeasible(shape: tuple[int, ...], goals: list, worst: int | None) -> None:
    with pytest.raises(InfeasibleError) as raised:
        fit_table(shape, [(axes, np.array(goal)) for axes, goal in goals], rounds=200)
    assert raised.value.gap > 1e-3 and worst in (None, raised.value.place)


TIME = {("day",): 0.55, ("night",): 0.3, ("dusk",): 0.15}
LEVELS = {"time": ["day", "night", "dusk"], "style": ["a", "b"]}


@pytest.mark.parametrize("total", [1, 2, 7, 10, 19, 100, 333])
def test_one_target_is_rounded_by_hamilton(total: int) -> None:
    quotas = Quotas([Target(("time",), TIME)], {"time": LEVELS["time"]}, {"": total})
    expected = largest_remainder(np.array(list(TIME.values())), total)
    assert quotas.counts(quotas.sizes)[0].tolist() == expected.tolist()


@settings(max_examples=60, deadline=None)
@given(
    total=st.integers(1, 150),
    time=st.lists(st.integers(0, 9), min_size=3, max_size=3).filter(any),
    style=st.lists(st.integers(0, 9), min_size=2, max_size=2).filter(any),
)
def test_several_targets_are_each_within_one_output(total: int, time: list[int], style: list[int]) -> None:
    shares = [{(name,): w / sum(ws) for name, w in zip(LEVELS[f], ws, strict=True)} for f, ws in
              (("time", time), ("style", style))]  # fmt: skip
    quotas = Quotas([Target(("time",), shares[0]), Target(("style",), shares[1])], LEVELS, {"": total})
    counts = quotas.counts(quotas.sizes)
    assert counts.sum() == total and (counts >= 0).all()
    table = counts.reshape(3, 2)
    assert np.abs(table.sum(1) - total * np.array(list(shares[0].values()))).max() < 1
    assert np.abs(table.sum(0) - total * np.array(list(shares[1].values()))).max() < 1


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5), shares=st.integers(1, 9), seed=st.integers(0, 99))
def test_dealing_uses_up_the_counts_and_every_stretch_is_in_proportion(
    sizes: list[int], shares: int, seed: int
) -> None:
    target = Target(("time",), {("day",): shares / 10, ("night",): 1 - shares / 10}, per_class=True)
    named = {str(place): size for place, size in enumerate(sizes)}
    quotas = Quotas([target], {"time": ["day", "night"]}, named)
    counts = quotas.counts(quotas.sizes)
    assert counts.sum(axis=1).tolist() == sizes
    rows = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).tolist()
    cells = quotas.deal(counts, rows)
    dealt = np.zeros_like(counts)
    np.add.at(dealt, (rows, cells), 1)
    assert (dealt == counts).all()
    for row in range(len(sizes)):
        own = np.array([cell for cell, of in zip(cells, rows, strict=True) if of == row])
        ahead = np.cumsum(own == 0) - counts[row, 0] * np.arange(1, len(own) + 1) / len(own)
        assert np.abs(ahead).max() <= 1.5


def test_many_small_classes_keep_the_shares_of_the_whole() -> None:
    """95 to 5 in classes of ten: half of the classes get one of the rare level, not none of them."""
    target = Target(("time",), {("day",): 0.95, ("night",): 0.05}, per_class=True)
    overall = Target(("time",), {("day",): 0.95, ("night",): 0.05})
    quotas = Quotas([target, overall], {"time": ["day", "night"]}, {str(place): 10 for place in range(40)})
    counts = quotas.counts(quotas.sizes)
    assert counts[:, 1].sum() == 20 and counts[:, 1].max() == 1


def test_cells_and_levels_are_one_to_one() -> None:
    quotas = Quotas([Target(("time", "style"), {("day", "a"): 0.5, ("dusk", "b"): 0.5})], LEVELS, {"": 4})
    for cell in range(6):
        assert quotas.cell_of(quotas.cell_levels(cell)) == cell
    counts = quotas.counts(quotas.sizes)
    assert {tuple(quotas.cell_levels(cell).values()): n for cell, n in enumerate(counts[0].tolist()) if n} == {
        ("day", "a"): 2,
        ("dusk", "b"): 2,
    }
    assert quotas.distances(counts) == {"time/style": pytest.approx(0)}


def test_a_joint_target_in_another_order_than_its_margins() -> None:
    joint = Target(("style", "time"), {("a", "day"): 0.6, ("b", "night"): 0.1, ("b", "dusk"): 0.3})
    quotas = Quotas([Target(("time",), {("day",): 0.6, ("night",): 0.1, ("dusk",): 0.3}), joint], LEVELS, {"": 10})
    assert quotas.distances(quotas.counts(quotas.sizes)) == {"time": pytest.approx(0), "style/time": pytest.approx(0)}


def test_too_many_cells() -> None:
    levels = {f"f{place}": [str(level) for level in range(30)] for place in range(3)}
    target = [Target((name,), {("0",): 1.0}) for name in levels]
    with pytest.raises(ValueError, match="27000"):
        Quotas(target, levels, {"": 5})


def test_sobol_is_scrambled_by_the_seed_even_and_the_same_from_any_start() -> None:
    points = sobol_points(2, 7, 64)
    assert points.shape == (64, 2) and (points >= 0).all() and (points < 1).all()
    assert np.array_equal(sobol_points(2, 7, 5, start=30), points[30:35])
    assert np.array_equal(sobol_points(2, 7, 1), points[:1])
    assert not np.array_equal(points, sobol_points(2, 8, 64))
    for axis in range(2):
        assert np.bincount((points[:, axis] * 16).astype(int)).tolist() == [4] * 16
