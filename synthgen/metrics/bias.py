"""What a bias measurement is: one number about one group, its test and its verdict; and the JSON that holds them all.

`private/bias.json` is `BiasReport.record()`; `report/bias.json` is `BiasReport.release_record()`, the same keys with
every count of a small cell taken out. A reader finds in either:

- `verdict`: `pass`, `fail` or `insufficient`; `flags`: the measurements that failed, short.
- `run`: samples, outputs, accepted, subjects, scenes; in the private edition the run id (it hashes sizes of sources).
- `edition`: `private` or `release`.
- `attributes`: per attribute its groups with counts in source and output, and how many stayed unknown.
- `transitions`: per attribute that is read off pixels, the matrix source × output, `unknown` last.
- `measurements`: a flat list of `BiasMeasurement`, see there; `findings`: what the reader must know; `settings`.

Measurements that gate are corrected together after Holm, the others (exploration) after Benjamini-Hochberg.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from scipy import stats

from synthgen.metrics.permutation import benjamini_hochberg, holm
from synthgen.metrics.sets import Verdict
from synthgen.types import Finding

KEYS = ("metric", "attribute", "group", "label")
"""What names a measurement within a report."""
POWER = 0.8
SHARES = frozenset({"change", "target_share", "corrected_share"})
"""Metrics whose values sum to 1 over the groups."""
FOUR_FIFTHS = frozenset({"acceptance", "label_survival", "readable", "intersection", "reader_accuracy"})
"""Rates that are flagged by their ratio to the best group (29 CFR 1607.4 D): a ratio under it that is no more than
chance is no pass either."""
TITLES = {
    "transition": "groups, source to output",
    "change": "share of the group, source to output",
    "shift": "mean value, source to output",
    "target": "shares against the target",
    "target_share": "share of the group against the target",
    "corrected_share": "share corrected for the reader's error",
    "reader_accuracy": "accuracy of the reader",
    "acceptance": "acceptance",
    "readable": "attribute still readable on the output",
    "quality": "score of a check",
    "label_survival": "label survival",
    "intersection": "acceptance of an intersection",
    "association": "label and group (nPMI)",
    "amplification": "bias amplification",
    "leak": "bound of re-identification",
}
"""What each metric is called."""


@dataclass(frozen=True)
class BiasMeasurement:
    """One number about one group (or about an attribute as a whole).

    Attributes:
        metric: a key of `TITLES`.
        attribute: its name; of an intersection, the names joined by ` × `.
        group: None where the number is about the attribute as a whole.
        label: the class (`association`), the check (`quality`, `label_survival`), the direction (`amplification`).
        n: how many outputs, or pairs of source and output, it stands on.
        cell: the smallest count that can be computed from its numbers, where that is another one than n.
        value: on the output, or of the group; `reference` is the same on the source, of the target, of the best group.
        difference: value − reference; `ratio`: value / reference. None where not meant or not defined.
        interval: 95 %, of `interval_of`.
        p: of the test; None where there is none. `level` is what p had to reach, corrected for all tests.
        gate: whether a failure fails the run; the others are exploration.
        error: standard error of the difference if there is none in truth; None where no test was made.
        detectable: the smallest |difference| that would have reached the level with 80 % power:
            (Φ⁻¹(1 − level/2) + Φ⁻¹(0.8)) · error.
        reason: why there is no verdict, or what the verdict rests on.
        details: further values by name.
    """

    metric: str
    attribute: str
    group: str | None
    n: int
    label: str | None = None
    cell: int | None = None
    value: float | None = None
    reference: float | None = None
    difference: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    interval_of: str = "difference"
    p: float | None = None
    level: float | None = None
    gate: bool = False
    error: float | None = None
    detectable: float | None = None
    verdict: Verdict = "insufficient"
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The metric in words."""
        return TITLES[self.metric]


@dataclass(frozen=True)
class AttributeSummary:
    """One attribute: how it was read and how many subjects of each group there were.

    `source` counts all subjects of the source, `released` the accepted outputs (for a column: of the sources behind
    them), each by group with `unknown` last. `measured` tells that it was read off pixels, of both source and output.
    """

    name: str
    kind: str
    subject: str
    measured: bool
    groups: tuple[str, ...]
    source: Mapping[str, int]
    released: Mapping[str, int]
    entropy_source: float | None
    entropy_released: float | None


@dataclass(frozen=True)
class Transition:
    """`counts[i][j]`: subjects of source group i whose accepted output reads as group j; `unknown` is the last group.
    None where the release edition leaves a small cell out."""

    attribute: str
    groups: tuple[str, ...]
    counts: tuple[tuple[int | None, ...], ...]


@dataclass(frozen=True)
class BiasReport:
    """Everything that `synthgen bias` finds. See the module for its JSON."""

    verdict: Verdict
    run: Mapping[str, Any]
    attributes: tuple[AttributeSummary, ...]
    transitions: tuple[Transition, ...]
    measurements: tuple[BiasMeasurement, ...]
    findings: tuple[Finding, ...]
    settings: Mapping[str, Any]

    @property
    def flags(self) -> list[BiasMeasurement]:
        """What failed, gates first."""
        return sorted((one for one in self.measurements if one.verdict == "fail"), key=lambda one: not one.gate)

    def record(self) -> dict[str, Any]:
        """JSON-able values; a number that does not exist is null, never NaN."""
        return {
            "verdict": self.verdict,
            "edition": "private",
            "flags": [{key: getattr(one, key) for key in (*KEYS, "difference", "p", "gate")} for one in self.flags],
            "run": dict(self.run),
            "attributes": [asdict(one) for one in self.attributes],
            "transitions": [asdict(one) for one in self.transitions],
            "measurements": [{"title": one.title, **asdict(one)} for one in self.measurements],
            "findings": [asdict(one) for one in self.findings],
            "settings": dict(self.settings),
        }

    def release_record(self, least: int) -> dict[str, Any]:
        """The record without what a small cell could tell of a person: a count under `least` becomes null, as does
        every number of a measurement on fewer.

        Where one cell of a row or column is left out, the smallest other one is too, and where one share is, all shares
        of that attribute are: or their sum would give it away. Formal disclosure control this is not.
        """
        record = self.record()
        record["edition"] = "release"
        record["run"].pop("run_id", None)
        for summary in record["attributes"]:
            for side in ("source", "released"):
                summary[side] = dict(
                    zip(summary[side], without_small(list(summary[side].values()), least), strict=True)
                )
        for transition in record["transitions"]:
            transition["counts"] = without_small_cells(transition["counts"], least)
        small = [one.n < least or (one.cell is not None and 0 < one.cell < least) for one in self.measurements]
        shares = {
            (one.metric, one.attribute)
            for one, hidden in zip(self.measurements, small, strict=True)
            if hidden and one.metric in SHARES
        }
        hidden_keys = set()
        for one, hidden in zip(record["measurements"], small, strict=True):
            one["details"], one["cell"] = {}, None
            if hidden or (one["metric"], one["attribute"]) in shares:
                numbers = ("value", "reference", "difference", "ratio", "interval", "p", "error", "detectable")
                hidden_keys.add(tuple(one[key] for key in KEYS))
                one.update(dict.fromkeys(numbers), n=None, reason=f"a cell of fewer than {least}")
        for flag in record["flags"]:
            if tuple(flag[key] for key in KEYS) in hidden_keys:
                flag.update(difference=None, p=None)
        return record


def without_small(counts: Sequence[int], least: int) -> list[int | None]:
    """Counts with those of 1 … `least` − 1 replaced by None, and a second one where only one was."""
    hidden = [0 < count < least for count in counts]
    if sum(hidden) == 1 and any(count >= least for count in counts):
        hidden[min((i for i, count in enumerate(counts) if count >= least), key=lambda i: counts[i])] = True
    return [None if hide else count for count, hide in zip(counts, hidden, strict=True)]


def without_small_cells(counts: Sequence[Sequence[int]], least: int) -> list[list[int | None]]:
    """`without_small` for a table whose rows and columns both have known sums."""
    shown: list[list[int | None]] = [list(row) for row in counts]
    before = None
    while shown != before:
        before = shown
        for _ in range(2):
            shown = [list(line) for line in zip(*(_hidden(row, least) for row in shown), strict=True)]
    return shown


def _hidden(counts: Sequence[int | None], least: int) -> list[int | None]:
    """A line of a table of which some cells are hidden already: those count as small."""
    kept = without_small([1 if count is None else count for count in counts], least)
    return [None if count is None else one for count, one in zip(counts, kept, strict=True)]


def judge(measurements: Sequence[BiasMeasurement], gate_level: float, explore_level: float) -> list[BiasMeasurement]:
    """Give every measurement with a p its corrected level, its verdict and the smallest effect it could have shown.

    A measurement comes as `fail` where its effect is large enough to matter, else as `pass`; it stays `fail` only if
    its p reaches the level. Those that come as `insufficient` are not tested, so they cost the others nothing.
    """
    levels: dict[int, float] = {}
    for gate, correct, level in ((True, holm, gate_level), (False, benjamini_hochberg, explore_level)):
        places = [i for i, one in enumerate(measurements) if one.gate is gate and _tested(one)]
        ps = [one.p for one in (measurements[i] for i in places) if one.p is not None]
        levels |= dict(zip(places, correct(ps, level), strict=True))
    return [_judged(one, levels[i]) if i in levels else one for i, one in enumerate(measurements)]


def _tested(one: BiasMeasurement) -> bool:
    return one.p is not None and one.verdict != "insufficient"


def _judged(one: BiasMeasurement, level: float) -> BiasMeasurement:
    assert one.p is not None
    power = float(stats.norm.isf(level / 2) + stats.norm.ppf(POWER))
    known = replace(one, level=level, detectable=None if one.error is None else power * one.error)
    if one.verdict == "pass" or one.p <= level:
        return known
    if one.metric in FOUR_FIFTHS:
        return replace(known, verdict="insufficient", reason="under the ratio that is flagged, but chance could do it")
    return replace(known, verdict="pass")


def overall_verdict(measurements: Sequence[BiasMeasurement]) -> Verdict:
    """Of the gates: fail where one fails; else insufficient where one about an attribute as a whole has no verdict, or
    none about a group passes; else pass.

    A group that is too small does not stop a pass where others have one (there is always a smallest group): the report
    names it.
    """
    gates = [one for one in measurements if one.gate]
    if any(one.verdict == "fail" for one in gates):
        return "fail"
    blind = any(one.group is None and one.verdict == "insufficient" for one in gates)
    return "insufficient" if blind or not any(one.verdict == "pass" for one in gates) else "pass"
