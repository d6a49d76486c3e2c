"""Refilling: what to make more of, so that the shares hold in what is released and not only in what was planned.

Checks reject some levels more often than others. After each round the accepted outputs are counted, and what a cell
lacks to its quota is planned again, divided by the share of its outputs that were accepted so far. Each such output is
a further variant of some sample: any sample under `names: pseudonym`, one without an accepted output under
`names: keep` (several can't share a name), and always of the class that is short. A round is a function of the ledger
alone, so it is the same on any number of ranks and after any kill.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from synthgen.plan import Plan
from synthgen.quotas import Counts, Quotas, largest_remainder
from synthgen.seeds import derive_seed
from synthgen.types import Extra, Row

HOPELESS = 20
"""A round of at least so many outputs of which none was accepted is the last."""
LEAST_RATE = 0.25
"""A level is never taken to be accepted more rarely than this: one that always fails must not eat up the run."""
GROWTH = np.arange(0.0, 1.01, 0.05)
"""By how much the run may grow so that the other cells catch up with one that has too many."""


@dataclass(frozen=True, eq=False)
class Tally:
    """The ledger by (class, cell): `tried` outputs and `accepted` ones; `good` samples can be used at all.

    `quotas` are those of the plan over the usable samples alone.
    """

    quotas: Quotas
    tried: Counts
    accepted: Counts
    good: frozenset[str]
    served: frozenset[str]
    """Samples with an accepted output."""


def count_rows(plan: Plan, planned: Quotas, rows: Sequence[Row]) -> Tally:
    """Count the ledger by cell; a sample that could not even be read is in no cell."""
    made = [row for row in rows if row.attempts > 0]
    good = {row.sample_id for row in made}
    usable: Counter[str] = Counter()
    for member in plan.members:
        if member.sample_id in good:
            usable[member.image_class] += plan.variants_of(member.sample_id)
    sizes = {name: usable[name] for name in planned.classes}
    quotas = planned.resized(sizes) if good else planned
    row_of = {name: place for place, name in enumerate(quotas.classes)}
    class_of = {member.sample_id: row_of[member.image_class] for member in plan.members}
    tried = quotas.counts(np.zeros_like(quotas.sizes))
    accepted = tried.copy()
    served = set()
    for row in made:
        place = class_of[row.sample_id], quotas.cell_of(row.factors)
        tried[place] += 1
        if row.verdict == "accepted":
            accepted[place] += 1
            served.add(row.sample_id)
    return Tally(quotas, tried, accepted, frozenset(good), frozenset(served))


def target_distances(plan: Plan, rows: Sequence[Row]) -> dict[str, float]:
    """Total variation of the accepted outputs to each target, by its name; empty where nothing is targeted."""
    if plan.quotas is None:
        return {}
    tally = count_rows(plan, plan.quotas, rows)
    return tally.quotas.distances(tally.accepted)


def plan_round(plan: Plan, rows: Sequence[Row], rounds: Sequence[Collection[Extra]], keep: bool) -> list[Extra]:
    """What the next round makes, or nothing where the targets hold or more of the same would not help.

    Args:
        rows: the ledger of everything planned so far, in any order.
        rounds: the rounds planned so far, all of them done.
        keep: a sample may have one released output only.
    """
    if plan.quotas is None or len(rounds) >= plan.spec.max_rounds:
        return []
    tally = count_rows(plan, plan.quotas, rows)
    quotas = tally.quotas
    if not tally.good or max(quotas.distances(tally.accepted).values()) <= plan.spec.tolerance:
        return []
    accepted = {(row.sample_id, row.variant) for row in rows if row.verdict == "accepted"}
    if (
        rounds
        and len(rounds[-1]) >= HOPELESS
        and not any((extra.sample_id, extra.variant) in accepted for extra in rounds[-1])
    ):
        return []
    donors = _donors(plan, quotas, rows, tally, len(rounds), keep)
    wanted = _wanted(tally, plan, keep)
    asked = _asked(wanted - tally.accepted, tally, [len(ids) for ids in donors], keep)
    return _to_extras(plan, quotas, asked, donors, rows, sum(len(extras) for extras in rounds))


def _wanted(tally: Tally, plan: Plan, keep: bool) -> Counts:
    """The quotas of the smallest run, of the usable samples or somewhat more, in which the surplus is no fault."""
    quotas, sizes = tally.quotas, tally.quotas.sizes
    best, least = quotas.counts(sizes), np.inf
    for growth in GROWTH[:1] if keep else GROWTH:
        counts = quotas.counts(np.ceil(sizes * (1 + growth)).astype(np.int64))
        distance = max(quotas.distances(np.maximum(counts, tally.accepted)).values())
        if distance < least - 1e-9:
            best, least = counts, distance
        if distance <= plan.spec.tolerance / 2:
            break
    return best


def _asked(lacking: Counts, tally: Tally, donors: Sequence[int], keep: bool) -> Counts:
    """How many outputs to plan in each (class, cell)."""
    short: Counts = np.maximum(lacking, 0)
    if keep:
        few = [largest_remainder(row, min(int(row.sum()), count)) for row, count in zip(short, donors, strict=True)]
        return np.stack(few)
    overall = tally.accepted.sum() / max(int(tally.tried.sum()), 1)
    rate = np.clip((tally.accepted + overall) / (tally.tried + 1), LEAST_RATE, 1)
    asked = np.floor(short / rate).astype(np.int64)
    asked[np.array(donors) == 0] = 0
    return asked


def _donors(plan: Plan, quotas: Quotas, rows: Sequence[Row], tally: Tally, number: int, keep: bool) -> list[list[str]]:
    """The usable samples of each class: those with the fewest variants first, then by their seeds."""
    used = Counter(row.sample_id for row in rows)
    usable = tally.good - tally.served if keep else tally.good
    found: dict[str, list[tuple[int, int, str]]] = defaultdict(list)
    for member in plan.members:
        if member.sample_id in usable:
            seed = derive_seed(plan.run_seed, member.sample_id, number, 0, "donor")
            found[member.image_class].append((used[member.sample_id], seed, member.sample_id))
    return [[entry[2] for entry in sorted(found[name])] for name in quotas.classes]


def _to_extras(
    plan: Plan, quotas: Quotas, asked: Counts, donors: Sequence[Sequence[str]], rows: Sequence[Row], before: int
) -> list[Extra]:
    following = {member.sample_id: plan.variants_of(member.sample_id) for member in plan.members}
    for row in rows:
        following[row.sample_id] = max(following[row.sample_id], row.variant + 1)
    classes = [place for place, count in enumerate(asked.sum(axis=1).tolist()) for _ in range(count)]
    turn: Counter[int] = Counter()
    extras: list[Extra] = []
    point = plan.first_round + before
    for place, cell in zip(classes, quotas.deal(asked, classes), strict=True):
        sample_id = donors[place][turn[place] % len(donors[place])]
        turn[place] += 1
        extras.append(Extra(sample_id, following[sample_id], quotas.cell_levels(cell), point + len(extras)))
        following[sample_id] += 1
    return extras
