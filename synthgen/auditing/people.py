"""Attacks on people by one network: search, verification, and the way back to the source; see metrics/privacy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthgen.auditing.attackers import Attacker, mirrored
from synthgen.auditing.photos import Photo, Rows, embed_people
from synthgen.auditing.spec import AuditSpec
from synthgen.auditing.subjects import Step
from synthgen.metrics.privacy.heads import narrow
from synthgen.metrics.privacy.matching import distances
from synthgen.metrics.privacy.reidentification import (
    Gallery,
    Knowledge,
    People,
    Search,
    same_source,
    search,
    shuffle_people,
    split_people,
    verify,
)
from synthgen.metrics.privacy.trials import Control, Trial

SEARCHES: tuple[tuple[str, Knowledge, Gallery, str], ...] = (
    ("re-identification, lazy", "lazy", "real", "attacker knows originals only"),
    ("re-identification, informed", "informed", "real", "attacker was trained on outputs of other people"),
    ("re-identification, anonymised gallery", "informed", "anonymised", "known photographs are anonymised likewise"),
)
FARS = (1e-2, 1e-3)
ALONE = "does not apply: nobody has a second output to compare with"
MIRRORED = 300
"""Photographs on which the positive control of the way back is run."""


@dataclass(frozen=True, eq=False)
class Crowd:
    """The labelled people of an attacker's rows, and their names by number."""

    people: People
    names: tuple[str, ...]

    def named(self, identities: np.ndarray) -> tuple[str, ...]:
        """Numbers to names."""
        return tuple(self.names[one] for one in identities.tolist())


def attack_people(
    attacker: Attacker, photos: Sequence[Photo], spec: AuditSpec, step: Step
) -> tuple[list[Trial], dict[str, str]]:
    """Every attack of one network on everyone it can see; and by name those that don't apply, and why."""
    rows = embed_people(attacker, photos, step)
    crowd = crowd_of(rows, spec.seed)
    trials = [*_searches(attacker, crowd, spec), *_verifications(attacker, crowd), _way_back(attacker, rows, spec)]
    unfit = {} if _fits(crowd, "anonymised") else {f"{SEARCHES[-1][0]} by {attacker.name}": ALONE}
    return trials, unfit


def crowd_of(rows: Rows, seed: int) -> Crowd:
    """The rows of people whose identity is known, split into gallery and probes."""
    known = np.array([subject.identity is not None for subject in rows.subjects], np.bool_)
    names = tuple(sorted({subject.identity for subject in rows.subjects if subject.identity is not None}))
    place = {name: number for number, name in enumerate(names)}
    identity = np.array([place[subject.identity] for subject in rows.subjects if subject.identity], np.int64)
    position = np.cumsum(known) - 1
    kept = known[rows.source] if len(rows.source) else np.zeros(0, np.bool_)
    source = position[rows.source[kept]] if len(rows.source) else rows.source
    made = np.zeros(len(identity), np.bool_)
    made[source] = True
    gallery, fold = split_people(identity, made, seed)
    if not len(identity):
        return Crowd(People(rows.real[:0], identity, rows.output[:0], source, gallery, fold), names)
    real, output = narrow(rows.real[known], rows.output[kept])
    return Crowd(People(real, identity, output, source, gallery, fold), names)


def too_few(crowd: Crowd) -> str:
    """Why nobody can be searched for, or an empty text."""
    people = crowd.people
    if not len(crowd.names):
        return "nobody says who is in the photographs; give --identities"
    if len(crowd.names) == 1:
        return "one identity: nobody to mistake it for"
    probes = people.identity[people.source[~people.gallery[people.source]]]
    if not np.isin(probes, people.identity[people.gallery]).any():
        return "no identity has a second photograph beside one with an output"
    return ""


def run_search(
    name: str, attacker: Attacker, crowd: Crowd, knowledge: Knowledge, gallery: Gallery, spec: AuditSpec, question: str
) -> Trial:
    """One search with its two controls: on unprotected photographs, and with labels dealt anew."""
    reason = too_few(crowd)
    if reason:
        return Trial(name, attacker.name, question, "identity", reason=reason)
    found = search(crowd.people, knowledge, gallery, attacker.pretrained)
    if not len(found.hits):
        return Trial(name, attacker.name, question, "identity", reason="too few people to train an attacker on")
    return Trial(
        name,
        attacker.name,
        question,
        "identity",
        crowd.named(found.identities),
        found.hits,
        found.chance,
        _control(search(crowd.people.unprotected(), knowledge, gallery, attacker.pretrained)),
        _control(search(shuffle_people(crowd.people, spec.seed + 1), knowledge, gallery, attacker.pretrained)),
        exposed=crowd.named(found.exposed),
        details=found.details(),
    )


def _control(found: Search) -> Control:
    return Control(int(found.hits.sum()), len(found.hits))


def _searches(attacker: Attacker, crowd: Crowd, spec: AuditSpec) -> list[Trial]:
    return [
        run_search(name, attacker, crowd, knowledge, gallery, spec, f"who is it, of all people? The {what}.")
        for name, knowledge, gallery, what in SEARCHES
        if _fits(crowd, gallery)
    ]


def _fits(crowd: Crowd, gallery: Gallery) -> bool:
    """Whether a search can be made in such a gallery; one that wants people says so itself (`too_few`)."""
    return gallery == "real" or bool(too_few(crowd)) or has_second_outputs(crowd)


def has_second_outputs(crowd: Crowd) -> bool:
    """Whether anybody has outputs both of photographs in the gallery and of others."""
    kept, who = crowd.people.gallery[crowd.people.source], crowd.people.output_identity
    return bool(np.isin(who[~kept], who[kept]).any())


def _verifications(attacker: Attacker, crowd: Crowd) -> list[Trial]:
    if not attacker.pretrained:
        return []
    trials = []
    for far in FARS:
        name = f"verification at FAR {far:g}"
        question = "is it this person? Threshold set on photographs of strangers."
        reason = too_few(crowd)
        found = None if reason else verify(crowd.people, far)
        if found is None:
            reason = reason or "too few pairs of strangers for the threshold"
            trials.append(Trial(name, attacker.name, question, "identity", reason=reason, gates=far == min(FARS)))
            continue
        details = {
            "identities_matched_with_their_source": int(found.hits_source.sum()),
            "equal_error_rate": found.equal_error,
            "impostor_pairs": found.pairs,
        }
        trials.append(
            Trial(
                name,
                attacker.name,
                question,
                "identity",
                crowd.named(found.identities),
                found.hits,
                found.chance,
                found.positive,
                gates=far == min(FARS),
                details=details,
            )
        )
    return trials


def _way_back(attacker: Attacker, rows: Rows, spec: AuditSpec) -> Trial:
    """Which original is it? Every person counts here, named or not."""
    name, question = "same source", "which of the photographs was it made of, by the person alone?"
    sources = np.unique(rows.source)
    if len(sources) < 2:
        reason = f"{len(sources)} original(s) with a {attacker.region}: nothing to mistake it for"
        return Trial(name, attacker.name, question, "identity", reason=reason)
    names = tuple(sorted({subject.name for subject in rows.subjects}))
    place = {one: number for number, one in enumerate(names)}
    identity = np.array([place[subject.name] for subject in rows.subjects], np.int64)
    people = People(rows.real, identity, rows.output, rows.source, np.zeros(len(identity), np.bool_), identity * 0)
    found = same_source(people)
    tried = np.random.default_rng(spec.seed).permutation(sources)[:MIRRORED]
    turned = attacker.embed([mirrored(rows.views[row]) for row in tried])
    best = sources[distances(turned, rows.real[sources]).argmin(axis=1)]
    return Trial(
        name,
        attacker.name,
        question,
        "identity",
        tuple(names[one] for one in found.identities.tolist()),
        found.hits,
        found.chance,
        Control(int((best == tried).sum()), len(tried)),
        Control(*_shuffled_sources(people, spec.seed)),
        exposed=tuple(names[one] for one in found.exposed.tolist()),
        details={"photographs": len(sources), "rank_10": found.top[10]},
    )


def _shuffled_sources(people: People, seed: int) -> tuple[int, int]:
    """The same attack where each output is said to be of another photograph."""
    from dataclasses import replace

    dealt = np.random.default_rng(seed + 1).permutation(people.source)
    found = same_source(replace(people, source=dealt))
    return int(found.hits.sum()), len(found.hits)
