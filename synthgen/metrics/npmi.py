"""Labels that lean on groups: normalized pointwise mutual information, on the source and on the release.

nPMI(l, g) = ln(p(l, g) / p(l) p(g)) / −ln p(l, g): −1 never together, 0 independent, 1 only together (Bouma 2009; as a
measure of bias in labels: Aka et al., arXiv 2103.03417).

What no change would look like depends on what may change. An attribute read off pixels is read twice for each pair, so
under the null the two readings of a scene can be swapped. A column stays with its image, and only rejection can change
the association, so under the null the shares accepted can be permuted among the images of one group: that a group as a
whole is accepted less is for parity to tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.bias_table import AttributeColumn, BiasTable, Bools, Codes, Floats

BLOCK = 64
"""Draws held at once."""


@dataclass(frozen=True, eq=False)
class Cooccurrences:
    """Counts of label and group, first as observed, then under the null.

    Attributes:
        source, released: (1 + draws, labels, groups) how often both; `label_*` (1 + draws, labels), `group_*`
            (1 + draws, groups), `total_*` (1 + draws,).
    """

    source: Floats
    released: Floats
    label_source: Floats
    label_released: Floats
    group_source: Floats
    group_released: Floats
    total_source: Floats
    total_released: Floats


@dataclass(frozen=True, eq=False)
class Marginals:
    """Counts in the source: (labels,) and (groups,), and of all; `units` is how many can be drawn independently."""

    label: Floats
    group: Floats
    total: int
    units: int


def marginals(table: BiasTable, attribute: AttributeColumn) -> Marginals | None:
    """How often each label and each group is; None without labels or where no subject is known on both sides."""
    use = _known(table, attribute)
    if not table.label_names or not (use & table.accepted).any():
        return None
    return Marginals(
        table.labels[use].sum(axis=0).astype(np.float64),
        np.bincount(attribute.source[use], minlength=len(attribute.groups)).astype(np.float64),
        int(use.sum()),
        len(np.unique((table.unit if attribute.measured else table.sample)[use])),
    )


def cooccurrences(
    table: BiasTable, attribute: AttributeColumn, columns: NDArray[np.int64], draws: int, seed: int
) -> Cooccurrences:
    """Count labels with an attribute's groups and draw what the counts are under the null.

    Args:
        columns: numbers of the labels to count. What is drawn depends on the seed alone, not on them.
    """
    use = _known(table, attribute)
    labels, groups = table.labels[use][:, columns].astype(np.float64), len(attribute.groups)
    if attribute.measured:
        parts = _swapped(labels, attribute.source[use], attribute.output[use], table.unit[use], groups, draws, seed)
    else:
        parts = _filtered(labels, attribute.source[use], table.accepted[use], table.sample[use], groups, draws, seed)
    source, released = (_split(part, labels.shape[1], groups) for part in parts)
    return Cooccurrences(source[0], released[0], source[1], released[1], source[2], released[2], source[3], released[3])


def npmi(joint: Floats, label: Floats, group: Floats, total: Floats) -> Floats:
    """(draws, labels, groups) nPMI from counts; −1 where a pair never is, 1 where it always is, 0 for an empty one."""
    whole = np.maximum(total, 1e-12)[:, None, None]
    both, apart = joint / whole, (label[:, :, None] / whole) * (group[:, None, :] / whole)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(both / apart) / -np.log(both)
    found = np.where(joint <= 0, -1.0, np.where(both >= 1, 1.0, found))
    return np.where(apart <= 0, 0.0, found)


def _known(table: BiasTable, attribute: AttributeColumn) -> Bools:
    """The rows that are counted: those whose group is known on both sides."""
    use = table.rows(attribute) & (attribute.source >= 0)
    return use & table.accepted & (attribute.output >= 0) if attribute.measured else use


def _counts(labels: Floats, codes: Codes, unit: NDArray[np.int64], groups: int) -> Floats:
    """(units, labels · groups + labels + groups + 1) sums by unit; `unit` is 0 to units − 1, each there."""
    member = np.eye(groups)[codes]
    joint = (labels[:, :, None] * member[:, None, :]).reshape(len(labels), -1)
    rows = np.concatenate([joint, labels, member, np.ones((len(labels), 1))], axis=1)
    order = np.argsort(unit, kind="stable")
    return np.add.reduceat(rows[order], np.searchsorted(unit[order], np.arange(int(unit.max()) + 1)))


def _swapped(
    labels: Floats, source: Codes, output: Codes, unit: NDArray[np.int64], groups: int, draws: int, seed: int
) -> tuple[Floats, Floats]:
    number = np.unique(unit, return_inverse=True)[1].reshape(-1)
    before, after = (_counts(labels, codes, number, groups) for codes in (source, output))
    random = np.random.default_rng(seed)
    parts = [np.zeros((1, before.shape[1]))]
    for size in _blocks(draws):
        parts.append(random.integers(0, 2, (size, len(before))).astype(np.float64) @ (after - before))
    moved = np.concatenate(parts)
    return before.sum(axis=0) + moved, after.sum(axis=0) - moved


def _filtered(
    labels: Floats,
    codes: Codes,
    accepted: NDArray[np.bool_],
    sample: NDArray[np.int64],
    groups: int,
    draws: int,
    seed: int,
) -> tuple[Floats, Floats]:
    number = np.unique(sample, return_inverse=True)[1].reshape(-1)
    every = _counts(labels, codes, number, groups)
    group = np.zeros(len(every), dtype=np.int64)
    group[number] = codes
    share = np.bincount(number, accepted) / np.bincount(number)
    random = np.random.default_rng(seed)
    parts = [share[None] @ every]
    for size in _blocks(draws):
        shares = np.repeat(share[None], size, axis=0)
        for one in range(groups):
            members = np.flatnonzero(group == one)
            shares[:, members] = random.permuted(shares[:, members], axis=1)
        parts.append(shares @ every)
    return np.repeat(every.sum(axis=0)[None], draws + 1, axis=0), np.concatenate(parts)


def _blocks(draws: int) -> list[int]:
    """Sizes of the blocks in which so many draws are made, so that memory grows with the units alone."""
    return [min(BLOCK, draws - start) for start in range(0, draws, BLOCK)]


def _split(flat: Floats, labels: int, groups: int) -> tuple[Floats, Floats, Floats, Floats]:
    joint, label, group, total = np.split(flat, np.cumsum([labels * groups, labels, groups]), axis=1)
    return joint.reshape(len(flat), labels, groups), label, group, total[:, 0]
