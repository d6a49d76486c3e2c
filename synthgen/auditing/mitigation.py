"""`synthgen audit --fix`: what failed is made again one stage stronger, and people not looked at yet are audited.

The people of a run are dealt into two halves. The first is audited; what failed in it is withdrawn and made again,
beginning one stage after the one that released it. If the failure is not that of single people but of the method (more
were found than guessing explains, above the limit), the others are as much at risk as those who happened to be found:
then every output is made again. The verdict is that of the second half alone, since whoever mends what a test found
and repeats the test has only passed the test. What is still found, in either half, leaves the release for good.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from synthgen.audit import Audit, Say, audit
from synthgen.auditing.pairs import Pairs, pairs_of_run
from synthgen.auditing.spec import AuditSpec
from synthgen.config import RunConfig
from synthgen.launch import Rank, Resolved, finish_run, launch, resolve
from synthgen.metrics.privacy.bounds import chance_p
from synthgen.metrics.privacy.trials import Trial
from synthgen.rundir import RunDir
from synthgen.types import Extra, Row

CODE = "audit-failed"
"""Ledger code of an output that an audit withdrew."""


@dataclass(frozen=True)
class Fix:
    """What was done; numbers of outputs.

    Attributes:
        widespread: whether the method failed, not single people.
        withdrawn: taken out after the first half was audited; `made_again`: those of them with a stronger stage;
            `accepted_again`: how many of these passed the run's own checks.
        removed: still found afterwards, in either half, and gone for good.
    """

    widespread: bool
    withdrawn: int
    made_again: int
    accepted_again: int
    removed: int


def fix_run(
    folder: Path,
    identities: Path | None,
    spec: AuditSpec,
    cache: Path | None,
    say: Say,
    on_start: Callable[[int, Rank], None],
    on_row: Callable[[Row], None],
) -> Audit:
    """Audit one half of the people, mend, audit the other, and take out what is still found.

    Raises:
        SynthgenError: as `pairs_of_run` and `launch`.
    """
    pairs = pairs_of_run(folder, identities, spec.identity)
    assert pairs.run is not None and pairs.config is not None
    run, resolved = pairs.run, resolve(pairs.config)
    first_half, second_half = halves(pairs, spec.seed)
    say(f"auditing {len(first_half)} originals; {len(second_half)} are kept for afterwards")
    first = audit(_only(pairs, first_half), spec, cache, say)
    found, widespread = failing_images(first, pairs), fails_widely(first)
    wanted = {row for row in _accepted(run) if widespread or row[0] in found}
    extras = plan_again(run, pairs.config, wanted)
    accepted = 0
    if wanted:
        before = len(_accepted(run))
        _withdraw(run, resolved, wanted)
        if extras:
            say(f"making {len(extras)} outputs again, a stage stronger")
            run.store.add_round(extras, pairs.config.execution.shard_size)
            launch(resolved, folder, on_start, on_row)
        accepted = len(_accepted(run)) - (before - len(wanted))
    mended = pairs_of_run(folder, identities, spec.identity)
    say("auditing the other half")
    second = audit(_only(mended, second_half), spec, cache, say)
    still = failing_images(second, mended)
    if wanted:
        still |= failing_images(audit(_only(mended, first_half), spec, cache, say), mended)
    left = {row for row in _accepted(run) if row[0] in still}
    if left:
        _withdraw(run, resolved, left)
    return replace(second, fix=asdict(Fix(widespread, len(wanted), len(extras), accepted, len(left))))


def halves(pairs: Pairs, seed: int) -> tuple[frozenset[str], frozenset[str]]:
    """The image ids with an output, dealt into two halves; all photographs of a person are in one."""
    units: dict[str, list[str]] = {}
    for one in sorted(pairs.outputs):
        units.setdefault(pairs.identities.person.get(one, f"\x1f{one}"), []).append(one)
    names = sorted(units)
    order = np.random.default_rng([seed, 7]).permutation(len(names)).tolist()
    dealt = [[one for place in order[half::2] for one in units[names[place]]] for half in range(2)]
    return frozenset(dealt[0]), frozenset(dealt[1])


def failing_images(found: Audit, pairs: Pairs) -> set[str]:
    """The image ids whose outputs an attack that counts has reached, where that attack failed."""
    images_of: dict[str, set[str]] = {}
    for one, who in pairs.identities.person.items():
        images_of.setdefault(who, set()).add(one)
    failing: set[str] = set()
    for trial in _failed(found):
        hits = {unit for unit, hit in zip(trial.units, trial.hits, strict=True) if hit}
        names = hits | set(trial.exposed) if trial.zero or _widely(trial, found) else set(trial.exposed)
        for name in names if trial.unit != "file" else ():
            failing |= images_of.get(name, {name.rpartition("#")[0] or name}) if trial.unit == "identity" else {name}
    return failing & set(pairs.outputs)


def fails_widely(found: Audit) -> bool:
    """Whether an attack reached more people than guessing explains, above the limit."""
    return any(_widely(trial, found) for trial in _failed(found))


def _failed(found: Audit) -> list[Trial]:
    pairs = zip(found.trials, found.attacks, strict=True)
    return [trial for trial, result in pairs if result.gates and result.verdict == "fail"]


def _widely(trial: Trial, found: Audit) -> bool:
    result = found.attacks[found.trials.index(trial)]
    above = result.bound is not None and result.bound > found.rules.max_bound
    return above and chance_p(result.k, result.n, trial.chance or 0.0) < found.rules.fail_level


def plan_again(run: RunDir, config: RunConfig, wanted: Collection[tuple[str, int]]) -> list[Extra]:
    """An output in place of each of those wanted that has a stage left, as a further variant of its sample."""
    stages = len(config.resolved_stages)
    rows = list(run.store.rows())
    following: dict[str, int] = {}
    for row in rows:
        following[row.sample_id] = max(following.get(row.sample_id, config.plan.variants), row.variant + 1)
    extras: list[Extra] = []
    for row in sorted(rows, key=lambda row: (row.sample_id, row.variant)):
        if (row.sample_id, row.variant) not in wanted or row.stage >= stages:
            continue
        levels = {name: value for name, value in row.factors.items() if isinstance(value, str)}
        extras.append(Extra(row.sample_id, following[row.sample_id], levels, len(rows) + len(extras), row.stage + 1))
        following[row.sample_id] += 1
    return extras


def _accepted(run: RunDir) -> set[tuple[str, int]]:
    return {(row.sample_id, row.variant) for row in run.store.rows() if row.verdict == "accepted"}


def _withdraw(run: RunDir, resolved: Resolved, outputs: Collection[tuple[str, int]]) -> None:
    """Out of the ledger and out of the release, at once."""
    with run.lock(resolved.config.execution.lock_timeout):
        run.store.withdraw(outputs, CODE)
        finish_run(resolved, run)


def _only(pairs: Pairs, images: Collection[str]) -> Pairs:
    """The same people with the outputs of some images alone; the others are strangers to hide among."""
    outputs: Mapping[str, tuple] = {one: made for one, made in pairs.outputs.items() if one in images}
    return replace(pairs, outputs=outputs)
