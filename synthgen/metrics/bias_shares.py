"""How an attribute's groups changed from source to output, and how the released ones stand to a target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from synthgen.metrics.bias import BiasMeasurement
from synthgen.metrics.bias_table import AttributeColumn, BiasSettings, BiasTable, Floats
from synthgen.metrics.misclassification import confusion_counts, correct_shares, usable
from synthgen.metrics.parity import parity
from synthgen.metrics.shares import effective_size, smoothed_divergence, target_test, total_variation
from synthgen.metrics.transitions import changes_by_unit, mean_change, sign_test, sums_by_unit

CORRECTION_DRAWS = 500


def share_measurements(
    table: BiasTable, attribute: AttributeColumn, settings: BiasSettings
) -> Iterator[BiasMeasurement]:
    """Transition and change of an attribute read off pixels; shares against its target; correction of its reader."""
    if attribute.measured:
        yield from _transition(table, attribute, settings)
        if attribute.values is not None:
            yield _shift(table, attribute, attribute.values, settings)
    if attribute.target is not None:
        yield from _against_target(table, attribute, attribute.target, settings)
    if attribute.truth is not None:
        yield from _accuracy(table, attribute, settings)
    confusion = attribute.confusion
    if confusion is None and attribute.truth is not None:
        confusion = confusion_counts(attribute.truth, attribute.source, len(attribute.groups))
    if confusion is not None:
        yield from _corrected(table, attribute, confusion, settings)


def _transition(table: BiasTable, attribute: AttributeColumn, settings: BiasSettings) -> Iterator[BiasMeasurement]:
    use = table.rows(attribute) & table.accepted & (attribute.source >= 0) & (attribute.output >= 0)
    n, groups = int(use.sum()), len(attribute.groups)
    if n < settings.min_n:
        reason = f"{n} pairs known in both source and output, {settings.min_n} needed"
        yield BiasMeasurement("transition", attribute.name, None, n, gate=True, reason=reason)
        return
    source, output, unit = attribute.source[use], attribute.output[use], table.unit[use]
    changes = changes_by_unit(source, output, unit, groups)
    before, after = (np.bincount(codes, minlength=groups) / n for codes in (source, output))
    test = sign_test(changes, settings.draws, settings.seed)
    variation = total_variation(before, after)
    errors = np.sqrt(np.maximum((changes**2).sum(axis=0), 1)) / n
    yield BiasMeasurement(
        "transition",
        attribute.name,
        None,
        n,
        value=variation,
        difference=variation,
        p=test.p,
        error=float(errors.max()),
        gate=True,
        verdict="fail" if variation >= settings.tolerance else "pass",
        reason="value is the total variation of the shares; detectable, a change of one group's",
        details={"statistic": test.statistic, "freedom": test.freedom, "changed": float((source != output).mean())},
    )
    sizes = sums_by_unit(np.ones(n), unit)[1]
    for number, name in enumerate(attribute.groups):
        counts = int(before[number] * n + 0.5), int(after[number] * n + 0.5)
        if max(counts) == 0:
            continue
        change = mean_change(changes[:, number], sizes)
        enough = max(counts) >= settings.min_n
        large = abs(change.mean) >= settings.tolerance
        yield BiasMeasurement(
            "change",
            attribute.name,
            name,
            n,
            value=float(after[number]),
            reference=float(before[number]),
            difference=change.mean,
            ratio=float(after[number] / before[number]) if before[number] else None,
            interval=change.interval,
            p=sign_test(changes[:, number : number + 1], settings.draws, settings.seed).p,
            error=float(errors[number]),
            verdict="insufficient" if not enough else "fail" if large else "pass",
            reason="" if enough else f"{max(counts)} in the group, {settings.min_n} needed",
            cell=min(counts),
            details={"source": counts[0], "output": counts[1]},
        )


def _shift(
    table: BiasTable, attribute: AttributeColumn, values: tuple[Floats, Floats], settings: BiasSettings
) -> BiasMeasurement:
    use = table.rows(attribute) & table.accepted & ~np.isnan(values[0]) & ~np.isnan(values[1])
    n = int(use.sum())
    if n < settings.min_n:
        reason = f"{n} pairs known in both source and output, {settings.min_n} needed"
        return BiasMeasurement("shift", attribute.name, None, n, gate=True, reason=reason)
    before, after = values[0][use], values[1][use]
    sums, sizes = sums_by_unit(after - before, table.unit[use])
    change = mean_change(sums, sizes)
    spreads = float(before.std()), float(after.std())
    large = abs(change.mean) >= settings.tolerance * max(spreads[0], 1e-9)
    return BiasMeasurement(
        "shift",
        attribute.name,
        None,
        n,
        value=float(after.mean()),
        reference=float(before.mean()),
        difference=change.mean,
        interval=change.interval,
        p=sign_test(sums[:, None], settings.draws, settings.seed).p,
        error=change.error,
        gate=True,
        verdict="fail" if large else "pass",
        details={
            "spread_source": spreads[0],
            "spread_output": spreads[1],
            "spread_ratio": spreads[1] / spreads[0] if spreads[0] else None,
        },
    )


def _against_target(
    table: BiasTable, attribute: AttributeColumn, target: Mapping[str, float], settings: BiasSettings
) -> Iterator[BiasMeasurement]:
    use = table.rows(attribute) & table.accepted & (attribute.output >= 0)
    n = int(use.sum())
    if n < settings.min_n:
        reason = f"{n} released subjects are known, {settings.min_n} needed"
        yield BiasMeasurement("target", attribute.name, None, n, gate=True, reason=reason)
        return
    counts = np.bincount(attribute.output[use], minlength=len(attribute.groups))
    wanted = np.array([float(target.get(name, 0.0)) for name in attribute.groups])
    wanted /= wanted.sum()
    effective = effective_size(table.unit[use])
    shares = counts / n
    variation = total_variation(shares, wanted)
    yield BiasMeasurement(
        "target",
        attribute.name,
        None,
        n,
        value=variation,
        difference=variation,
        p=target_test(counts, wanted, effective, settings.draws, settings.seed),
        error=float(np.sqrt(wanted * (1 - wanted) / max(effective, 1)).max()),
        gate=True,
        verdict="fail" if variation >= settings.tolerance else "pass",
        reason="value is the total variation to the target; detectable, a miss of one group's share",
        details={"divergence": smoothed_divergence(counts, wanted), "effective": effective},
    )
    for number, name in enumerate(attribute.groups):
        share, goal = float(shares[number]), float(wanted[number])
        only = np.array([goal, 1 - goal])
        pair = np.array([counts[number], n - counts[number]])
        yield BiasMeasurement(
            "target_share",
            attribute.name,
            name,
            n,
            value=share,
            reference=goal,
            difference=share - goal,
            ratio=share / goal if goal else None,
            p=target_test(pair, only, effective, settings.draws, settings.seed),
            error=float(np.sqrt(goal * (1 - goal) / max(effective, 1))),
            verdict="fail" if abs(share - goal) >= settings.tolerance else "pass",
            cell=int(counts[number]),
        )


def _accuracy(table: BiasTable, attribute: AttributeColumn, settings: BiasSettings) -> Iterator[BiasMeasurement]:
    """How often the reader is right on the source, by true group; an unknown reading is neither right nor wrong."""
    assert attribute.truth is not None
    use = table.rows(attribute) & (attribute.truth >= 0) & (attribute.source >= 0)
    truth, right = attribute.truth[use], (attribute.truth == attribute.source)[use].astype(np.float64)
    rates = {
        name: float(right[truth == number].mean())
        for number, name in enumerate(attribute.groups)
        if (truth == number).sum() >= settings.min_n
    }
    for number, name in enumerate(attribute.groups):
        member = truth == number
        n = int(member.sum())
        scenes = min(len(np.unique(table.unit[use][which])) for which in (member, ~member))
        if name not in rates or len(truth) - n < settings.min_n or scenes < 2:
            reason = f"{n} in the group with known truth, {settings.min_n} needed of it and of the rest, in two scenes"
            yield BiasMeasurement("reader_accuracy", attribute.name, name, n, reason=reason)
            continue
        one = parity(right, member, table.unit[use], settings.draws, settings.seed)
        best = max(rates.values())
        yield BiasMeasurement(
            "reader_accuracy",
            attribute.name,
            name,
            n,
            value=one.value,
            reference=one.rest,
            difference=one.difference,
            ratio=one.value / best if best else None,
            interval=one.interval,
            p=one.p,
            error=one.error,
            verdict="fail" if best and one.value / best < settings.ratio else "pass",
            reason="reference is the accuracy on all others; ratio is to the best group",
        )


def _corrected(
    table: BiasTable, attribute: AttributeColumn, confusion: Floats, settings: BiasSettings
) -> Iterator[BiasMeasurement]:
    use = table.rows(attribute) & table.accepted & (attribute.output >= 0)
    n = int(use.sum())
    why = usable(confusion, settings.min_n)
    if n < settings.min_n:
        why = f"{n} released subjects are known, {settings.min_n} needed"
    if why:
        yield BiasMeasurement("corrected_share", attribute.name, None, n, reason=why)
        return
    counts = np.bincount(attribute.output[use], minlength=len(attribute.groups))
    found = correct_shares(counts, effective_size(table.unit[use]), confusion, CORRECTION_DRAWS, settings.seed)
    for number, name in enumerate(attribute.groups):
        yield BiasMeasurement(
            "corrected_share",
            attribute.name,
            name,
            n,
            value=float(found.shares[number]),
            reference=float(counts[number] / n),
            difference=float(found.shares[number] - counts[number] / n),
            interval=(float(found.low[number]), float(found.high[number])),
            interval_of="value",
            cell=int(counts[number]),
            reason="shown, not tested; reference is the share as counted",
        )
