"""Quotas: how many outputs each combination of factor levels gets, and which output gets which.

Targets are shares of one factor or of several jointly. Iterative proportional fitting turns them into one table of
joint shares (Deming & Stephan 1940), largest remainders turn shares into whole numbers, and a greedy sequence deals
the numbers out so that every stretch of the sequence holds nearly its share of every level: put the outputs in order of
scene, and each scene is stratified. Continuous factors take scrambled Sobol values (Sobol' 1967, Owen 1998).

Axis 0 of every table is the class (one slice, named "", where no target is per class); the others are the factors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]
MAX_CELLS = 20_000
"""Cells of a joint table; more are neither filled nor told apart by any real number of outputs."""
OWN_WEIGHT = 1e-6
"""A cell's own gap only decides between cells whose margins are equally short."""


class InfeasibleError(ValueError):
    """No table has these shares; `place` is the number of the goal that is missed most."""

    def __init__(self, place: int, gap: float) -> None:
        super().__init__(f"goal {place} is missed by {gap:.3g}")
        self.place = place
        self.gap = gap


@dataclass(frozen=True)
class Target:
    """Wanted shares (they add up to 1) of combinations of levels of some factors, over the run or in every class."""

    factors: tuple[str, ...]
    shares: Mapping[tuple[str, ...], float]
    per_class: bool = False

    @property
    def name(self) -> str:
        """`time`, `time/weather`, `time per class`."""
        return "/".join(self.factors) + (" per class" if self.per_class else "")


def total_variation(first: Shares | Counts, second: Shares | Counts) -> float:
    """Half the L1 distance of two distributions, 0..1; counts are normalised. 1 where one of them is empty."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.sum() <= 0 or other.sum() <= 0:
        return 1.0
    return float(np.abs(one / one.sum() - other / other.sum()).sum() / 2)


def largest_remainder(weights: Shares | Counts, total: int) -> Counts:
    """Whole numbers in proportion to `weights` that add up to `total` (Hamilton's method); the first of equals wins."""
    if total == 0:
        return np.zeros(np.shape(weights), dtype=np.int64)
    exact = np.asarray(weights, dtype=np.float64) / np.sum(weights) * total
    counts = np.floor(exact + 1e-9).astype(np.int64)
    rest = np.argsort(-(exact - counts), kind="stable")[: total - int(counts.sum())]
    counts[rest] += 1
    return counts


def fit_table(
    shape: Sequence[int],
    goals: Sequence[tuple[tuple[int, ...], Shares]],
    tolerance: float = 1e-7,
    rounds: int = 2000,
) -> Shares:
    """The joint shares with the given margins that are nearest to independence: iterative proportional fitting.

    Args:
        goals: the axes of each margin, ascending, and its shares (they add up to 1).

    Raises:
        InfeasibleError: after `rounds` a margin is still off by more than `tolerance`, or cannot be reached at all.
    """
    table: Shares = np.full(tuple(shape), 1 / math.prod(shape))
    gaps = [0.0] * len(goals)
    for _ in range(rounds):
        for axes, goal in goals:
            others = tuple(axis for axis in range(len(shape)) if axis not in axes)
            now, want = table.sum(axis=others, keepdims=True), np.expand_dims(goal, others)
            table = table * np.divide(want, now, out=np.zeros_like(now), where=now > 0)
        gaps = [float(np.abs(_margin(table, axes) - goal).max()) for axes, goal in goals]
        if max(gaps, default=0.0) <= tolerance:
            return table
    worst = int(np.argmax(gaps))
    raise InfeasibleError(worst, gaps[worst])


def _margin(table: Shares, axes: tuple[int, ...]) -> Shares:
    others = tuple(axis for axis in range(table.ndim) if axis not in axes)
    result: Shares = table.sum(axis=others)
    return result


class Quotas:
    """The joint table of a run's targets. Cells of a class are numbered in C order of the factors' levels."""

    def __init__(
        self, targets: Sequence[Target], levels: Mapping[str, Sequence[str]], class_sizes: Mapping[str, int]
    ) -> None:
        """Fit the table.

        Args:
            levels: all levels of every factor that a target names.
            class_sizes: outputs planned in each class; {"": n} where no target is per class.

        Raises:
            InfeasibleError: `place` counts the targets.
            ValueError: more than `MAX_CELLS` cells.
        """
        self.targets = tuple(targets)
        self.factors = tuple(levels)
        self.levels = tuple(tuple(names) for names in levels.values())
        self.classes = tuple(class_sizes)
        self._shape = (len(self.classes), *(len(names) for names in self.levels))
        if math.prod(self._shape) > MAX_CELLS:
            raise ValueError(f"the targets span {math.prod(self._shape)} combinations; at most {MAX_CELLS}")
        self.sizes: Counts = np.array(list(class_sizes.values()), dtype=np.int64)
        in_class = self.sizes / max(int(self.sizes.sum()), 1)
        self.goals = [self._goal(target, in_class) for target in self.targets]
        try:
            joint = fit_table(self._shape, [((0,), in_class), *self.goals])
        except InfeasibleError as error:
            raise InfeasibleError(max(error.place - 1, 0), error.gap) from error
        self._flat = joint.reshape(len(self.classes), -1)
        singles = [(axis,) for axis in range(1, len(self._shape))]
        grid = np.indices(self._shape).reshape(len(self._shape), len(self.classes), -1)
        self._targets_at = [self._index(grid, axes) for axes, _ in self.goals]
        self._spread_at = [self._index(grid, axes) for axes in dict.fromkeys([*(a for a, _ in self.goals), *singles])]

    def resized(self, class_sizes: Mapping[str, int]) -> Quotas:
        """The same targets over other numbers of outputs in each of the same classes."""
        return Quotas(self.targets, dict(zip(self.factors, self.levels, strict=True)), class_sizes)

    def _goal(self, target: Target, in_class: Shares) -> tuple[tuple[int, ...], Shares]:
        order = sorted(target.factors, key=self.factors.index)
        axes = tuple(1 + self.factors.index(name) for name in order)
        goal: Shares = np.zeros([self._shape[axis] for axis in axes])
        for combination, share in target.shares.items():
            level_of = dict(zip(target.factors, combination, strict=True))
            goal[tuple(self.levels[axis - 1].index(level_of[name]) for axis, name in zip(axes, order, strict=True))] = (
                share
            )
        if not target.per_class:
            return axes, goal
        return (0, *axes), np.multiply.outer(in_class, goal)

    def _index(self, grid: Counts, axes: tuple[int, ...]) -> tuple[bool, Counts]:
        """Whether a margin is one within classes, and for each (class, cell) its place in the margin."""
        flat = np.ravel_multi_index(tuple(grid[axis] for axis in axes), tuple(self._shape[axis] for axis in axes))
        return 0 in axes, np.asarray(flat, dtype=np.int64)

    def counts(self, sizes: Counts) -> Counts:
        """Whole numbers (classes, cells) for `sizes` outputs a class: no target's level is a whole output short.

        Largest remainders over all targets at once: what flooring leaves goes, one by one, to the cell whose targets
        are furthest behind. With a single target that is Hamilton's method on it.
        """
        weights = self._flat.sum(axis=1, keepdims=True)
        rates = np.divide(self._flat, weights, out=np.zeros_like(self._flat), where=weights > 0)
        exact = rates * sizes[:, None]
        counts = np.floor(exact + 1e-6).astype(np.int64)
        gaps = [np.bincount(at.ravel(), weights=(exact - counts).ravel()) for _, at in self._targets_at]
        for row, size in enumerate(sizes.tolist()):
            for _ in range(size - int(counts[row].sum())):
                score = OWN_WEIGHT * (exact[row] - counts[row])
                for gap, (_, at) in zip(gaps, self._targets_at, strict=True):
                    score = score + gap[at[row]]
                cell = int(np.argmax(np.where(exact[row] > 0, score, -np.inf)))
                counts[row, cell] += 1
                for gap, (_, at) in zip(gaps, self._targets_at, strict=True):
                    gap[at[row, cell]] -= 1
        return counts

    def deal(self, counts: Counts, rows: Sequence[int]) -> list[int]:
        """One cell for each output in the order given; all of `counts` (classes, cells) is dealt out.

        `rows` holds the class of each output. The cell that is furthest behind its share so far comes next, in itself,
        in its targets and in each of its factors, so any stretch of the order is nearly in proportion.
        """
        ends = [np.bincount(at.ravel(), weights=counts.ravel()) for _, at in self._spread_at]
        used = [np.zeros_like(end) for end in ends]
        totals, seen, left, result = counts.sum(axis=1), np.zeros(len(counts)), counts.copy(), []
        for place, row in enumerate(rows, start=1):
            seen[row] += 1
            own, whole = seen[row] / totals[row], place / len(rows)
            score = counts[row] * own - (counts[row] - left[row])
            for end, taken, (inside, at) in zip(ends, used, self._spread_at, strict=True):
                score = score + (end * (own if inside else whole) - taken)[at[row]]
            cell = int(np.argmax(np.where(left[row] > 0, score, -np.inf)))
            left[row, cell] -= 1
            for taken, (_, at) in zip(used, self._spread_at, strict=True):
                taken[at[row, cell]] += 1
            result.append(cell)
        return result

    def cell_levels(self, cell: int) -> dict[str, str]:
        """The level of each factor in a cell."""
        places = np.unravel_index(cell, self._shape[1:])
        names = zip(self.factors, self.levels, places, strict=True)
        return {factor: levels[int(place)] for factor, levels, place in names}

    def cell_of(self, levels: Mapping[str, str | float]) -> int:
        """The cell with these levels.

        Raises:
            KeyError, ValueError: a factor is missing or has no such level.
        """
        places = tuple(names.index(str(levels[name])) for name, names in zip(self.factors, self.levels, strict=True))
        return int(np.ravel_multi_index(places, self._shape[1:]))

    def distances(self, counts: Counts) -> dict[str, float]:
        """Total variation of counts (classes, cells) to each target, by the target's name.

        A target per class is compared as a joint share of class and levels, so a class that falls behind counts too.
        """
        table = counts.reshape(self._shape).astype(np.float64)
        names = [target.name for target in self.targets]
        return {
            name: total_variation(_margin(table, axes), goal)
            for name, (axes, goal) in zip(names, self.goals, strict=True)
        }


def sobol_points(dimensions: int, seed: int, count: int, start: int = 0) -> Shares:
    """Points `start` … `start + count - 1` of the Sobol sequence scrambled by `seed`: (count, dimensions) in [0, 1)."""
    from scipy.stats import qmc

    engine = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    points: Shares = engine.random_base2(max(start + count - 1, 0).bit_length())
    return points[start : start + count]
