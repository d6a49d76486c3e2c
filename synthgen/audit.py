"""`synthgen audit`: attack a release in every way we know, and say how many people could still be recognised.

A pair of original and output is read once; boxes come from the original. Then every attacker attacks, each attack is
judged by one rule (metrics/privacy/trials.py), and the headline is the worst bound. What can't be judged is
insufficient, and a release of which that is true is not passed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from synthgen.auditing.attackers import Attacker
from synthgen.auditing.files import scan_release
from synthgen.auditing.identities import group_columns
from synthgen.auditing.losses import attack_membership
from synthgen.auditing.maps import attack_maps
from synthgen.auditing.pairs import Pairs, pairs_of_folders, pairs_of_run
from synthgen.auditing.people import attack_people
from synthgen.auditing.photos import Photo, attributes_of, keeps_background, read_photos
from synthgen.auditing.reconstruction import attack_by_inversion
from synthgen.auditing.scenes import attack_scenes
from synthgen.auditing.spec import AttackerSpec, AuditSpec
from synthgen.auditing.subjects import RegionFinder, Step
from synthgen.auditing.text import INSTALL, attack_text, load_reader
from synthgen.metrics.privacy.conclusion import Conclusion, conclude
from synthgen.metrics.privacy.trials import AttackResult, Cell, Rules, Trial, count_attacks, judge, judge_groups
from synthgen.types import ConfigError, Finding

Say = Callable[[str], None]
FOUR_FIFTHS, DROPPED_P, DROPPED_LEAST = 0.8, 0.01, 10
"""A group of at least so many photographs is called dropped if its share with an output is below this part of the
others', and that is less likely by chance."""


@dataclass(frozen=True, eq=False)
class Audit:
    """What came of an audit.

    Attributes:
        trials: the attacks as they were run, with names (private); `attacks`: judged, without.
        groups: attribute → value → the worst attack there.
        not_run: attack → why it does not apply here.
        photos: originals looked at; `people`: those in them whose identity is known.
    """

    conclusion: Conclusion
    trials: tuple[Trial, ...]
    attacks: tuple[AttackResult, ...]
    groups: Mapping[str, Mapping[str, Cell]]
    not_run: Mapping[str, str]
    findings: tuple[Finding, ...]
    rules: Rules
    photos: int
    people: int
    skipped: Mapping[str, int]
    attackers: Mapping[str, str]
    """Name → digest of its weights."""
    fix: Mapping[str, Any] | None = None
    """What `--fix` did before (auditing/mitigation.py)."""


def read_pairs(
    run: Path | None, real: Path | None, synthetic: Path | None, identities: Path | None, spec: AuditSpec
) -> Pairs:
    """The pairs of a command line: a run, or two folders.

    Raises:
        SynthgenError: neither or both, or they can't be paired.
    """
    if run is not None and real is None and synthetic is None:
        return pairs_of_run(run, identities, spec.identity)
    if run is None and real is not None and synthetic is not None:
        return pairs_of_folders(real, synthetic, identities, spec.identity)
    raise ConfigError("give a run's folder, or both --real DIR and --synthetic DIR")


def audit(pairs: Pairs, spec: AuditSpec, cache: Path | None, say: Say = lambda _: None) -> Audit:
    """Attack a release.

    Args:
        cache: folder for boxes and embeddings; None keeps them in memory.
        say: hears what is done, one line at a time.

    Raises:
        ConfigError: weights that are missing or not those pinned, or columns that are not there.
    """
    columns = group_columns(pairs.identities, spec.groups)
    device = _device()
    attackers = [Attacker(one, cache, device) for one in spec.attackers]
    whole = Attacker(AttackerSpec(name="scenes", features=spec.scenes), cache, device)
    others = pairs.config.detect if pairs.config is not None else ()
    photos, skipped = read_photos(pairs, RegionFinder(spec.detect, others, cache), _teller("reading originals", say))
    trials, not_run = _attack(pairs, photos, attackers, whole, spec, say)
    rules = count_attacks(trials, Rules(spec.max_bound, spec.alpha, spec.min_positive))
    results = tuple(judge(trial, rules) for trial in trials)
    groups = judge_groups(trials, rules, attributes_of(photos, columns))
    gate = _gate_digests(pairs)
    foreign = {one.name for one in attackers if one.digest not in gate}
    named = [subject for photo in photos for subject in photo.subjects if subject.identity is not None]
    return Audit(
        conclude(results, groups, rules, foreign),
        tuple(trials),
        results,
        groups,
        not_run,
        tuple(_findings(pairs, photos, columns)),
        rules,
        len(photos),
        len({subject.identity for subject in named}),
        skipped,
        {one.name: one.digest for one in (*attackers, whole)},
    )


def _attack(
    pairs: Pairs, photos: Sequence[Photo], attackers: Sequence[Attacker], whole: Attacker, spec: AuditSpec, say: Say
) -> tuple[list[Trial], dict[str, str]]:
    trials: list[Trial] = []
    not_run: dict[str, str] = {}
    seeing = [one for one in attackers if _sees(one, photos)]
    for attacker in attackers:
        if attacker in seeing:
            tell = _teller(f"embedding for {attacker.name}", say)
            found, unfit = attack_people(attacker, photos, spec, tell)
            trials += found
            not_run |= unfit
        else:
            not_run[f"everything by {attacker.name}"] = f"no original has a {attacker.region} that was found"
    recognisers = [one for one in seeing if one.pretrained]
    if spec.inverter is None or not recognisers:
        not_run["reconstruction"] = "switched off" if spec.inverter is None else "no recogniser sees anyone"
    else:
        tell = _teller("training inverters", say)
        trials.append(attack_by_inversion(recognisers[0], photos, spec.inverter, spec.seed, tell))
    background = keeps_background(photos)
    trials += attack_maps(seeing, photos, pairs, spec, _teller("attacking control maps", say))
    trials += attack_scenes(whole, photos, background, spec.alpha, _teller("embedding scenes", say))
    trials.append(scan_release(pairs, spec.metadata_allow))
    _attack_text(photos, background, spec, trials, not_run, say)
    if spec.membership.tuned:
        trials.append(attack_membership(spec.membership))
    else:
        not_run["membership inference"] = "the weights were not tuned on this data (set membership.tuned if they were)"
    return trials, not_run


def _attack_text(
    photos: Sequence[Photo],
    background: bool,
    spec: AuditSpec,
    trials: list[Trial],
    not_run: dict[str, str],
    say: Say,
) -> None:
    read = load_reader() if spec.text else None
    if read is None:
        not_run["text"] = f"RapidOCR is not installed: {INSTALL}" if spec.text else "switched off"
        return
    found = attack_text(read, photos, background, spec.text_images, spec.seed, _teller("reading text", say))
    if found is None:
        not_run["text"] = "no text was read in the originals"
    else:
        trials.append(found)


def _sees(attacker: Attacker, photos: Sequence[Photo]) -> bool:
    return any(attacker.region in subject.boxes for photo in photos for subject in photo.subjects)


def _gate_digests(pairs: Pairs) -> set[str]:
    """The recognisers that the run's own checks asked."""
    checks: Sequence[Any] = () if pairs.config is None else pairs.config.check
    found = [getattr(check, "recognizer", None) for check in checks]
    return {recognizer.digest() for recognizer in found if recognizer is not None}


def _findings(pairs: Pairs, photos: Sequence[Photo], columns: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    findings = []
    lost = sum(photo.item.id in pairs.identities.person and not photo.subjects for photo in photos)
    if lost:
        message = f"{lost} photograph(s) with a named person in whom nobody was found: they are not attacked"
        findings.append(Finding("nobody-found", "originals", message))
    without = sum(item.id not in pairs.outputs for item in pairs.items)
    if without:
        message = f"{without} original(s) have no output; they are known to the attacker at most"
        findings.append(Finding("no-output", "release", message))
    findings += _dropped_groups(photos, columns)
    sizes = [len(photo.outputs) for photo in photos if photo.outputs]
    if sizes and max(sizes) > 1:
        message = f"up to {int(np.max(sizes))} outputs an original; an attacker is given all of them"
        findings.append(Finding("several-outputs", "release", message))
    return findings


def _dropped_groups(photos: Sequence[Photo], columns: Mapping[str, Mapping[str, str]]) -> list[Finding]:
    """Groups whose photographs have an output clearly less often than the others'.

    Whoever has none can't be found, so a filter that drops a group looks safe for it; what that does to the data is for
    `synthgen bias` to judge.
    """
    rows = [(str(photo.subjects[0].identity), bool(photo.outputs)) for photo in photos if photo.subjects]
    findings = []
    for attribute, column in columns.items():
        known = [(column[who], made) for who, made in rows if who in column]
        for value in sorted({value for value, _ in known}):
            inside = [made for one, made in known if one == value]
            outside = [made for one, made in known if one != value]
            if outside and len(inside) >= DROPPED_LEAST and np.mean(inside) < FOUR_FIFTHS * np.mean(outside):
                table = [[sum(part), len(part) - sum(part)] for part in (inside, outside)]
                if stats.fisher_exact(table, "less").pvalue < DROPPED_P:
                    counts = f"{sum(inside)} of {len(inside)} photographs have an output"
                    message = f"{counts}, {sum(outside)} of {len(outside)} of others"
                    findings.append(Finding("group-dropped", f"group {attribute}={value}", message))
    return findings


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _teller(what: str, say: Say) -> Step:
    """Tell of every hundredth step and the last."""

    def tell(done: int, total: int) -> None:
        if done == total or done % 128 == 0:
            say(f"{what}: {done} of {total}")

    return tell
