"""Re-identification of people in outputs: closed-set search, verification, and the way back to the very photograph.

Each person's photographs are split: half are the gallery that an attacker has collected, the outputs of the other half
are attacked. So an output never meets its own source there; `same_source` is the attack in which it does. A person
takes part only with photographs on both sides.

Trained attackers never attack whom they were trained on: the people are dealt into two folds, and each fold is attacked
by what was trained on the other. Chance is then counted, not assumed: how often the guesses would hit if the labels of
the attacked fold were dealt anew.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.privacy.bounds import any_chance
from synthgen.metrics.privacy.heads import Head, train_head
from synthgen.metrics.privacy.matching import (
    Indices,
    Matrix,
    distances,
    equal_error_rate,
    far_threshold,
    rank_identities,
    single_out,
)
from synthgen.metrics.privacy.trials import Control

Knowledge = Literal["lazy", "informed"]
Gallery = Literal["real", "anonymised"]
TOP = (1, 3, 5, 10)
FOLDS = 2
SINGLE_OUT = 0.001
"""How likely an attack singles anyone out where nothing leaks: small, since there are many attacks."""
MIN_PAIRS, MIN_ACCEPTED = 3000, 3
"""Impostor pairs that a threshold takes at least, and how many of them it accepts."""


@dataclass(frozen=True, eq=False)
class People:
    """Embeddings of photographs and of the outputs made of them, by one network.

    Attributes:
        real: (n, d); `identity`: (n,) who is in each photograph, 0..K−1.
        output: (m, d); `source`: (m,) the row of the photograph that each output was made of.
        gallery: (n,) whether the attacker has the photograph.
        fold: (K,) which fold a person is in.
    """

    real: NDArray[np.float32]
    identity: Indices
    output: NDArray[np.float32]
    source: Indices
    gallery: NDArray[np.bool_]
    fold: Indices

    @property
    def output_identity(self) -> Indices:
        """(m,) who is in the source of each output."""
        return self.identity[self.source]

    def unprotected(self) -> People:
        """The same people with every output replaced by its source: what a positive control attacks."""
        return replace(self, output=self.real[self.source])


@dataclass(frozen=True, eq=False)
class Search:
    """A closed-set search: for each attacked identity whether it was found, and how far from chance that is.

    Attributes:
        identities, hits, any_output: (n,); `chance`: the rate of guessing; `gallery`: identities to choose from.
        top: rank → share of identities within it; `exposed`: identities singled out beyond chance.
    """

    identities: Indices
    hits: NDArray[np.bool_]
    any_output: NDArray[np.bool_]
    chance: float
    gallery: int
    top: dict[int, float]
    exposed: Indices

    def details(self) -> dict[str, Any]:
        """For the report."""
        shares = {f"rank_{rank}": share for rank, share in self.top.items()}
        chances = {f"chance_rank_{rank}": min(rank / self.gallery, 1.0) for rank in self.top} if self.gallery else {}
        any_output = int(self.any_output.sum())
        return {"gallery_identities": self.gallery, **shares, **chances, "identities_with_any_output_first": any_output}


def split_people(identity: Indices, made: NDArray[np.bool_], seed: int) -> tuple[NDArray[np.bool_], Indices]:
    """The photographs that are the gallery, and each person's fold.

    Args:
        identity: (n,), 0..K−1; `made`: (n,) whether there is an output of the photograph. Photographs without one go
            to the gallery first, but of several with one the gallery gets at least one: it may be anonymised too.
    """
    random = np.random.default_rng(seed)
    gallery = np.zeros(len(identity), np.bool_)
    count = int(identity.max()) + 1 if len(identity) else 0
    for one in range(count):
        rows = random.permutation(np.flatnonzero(identity == one))
        rows = rows[np.argsort(made[rows], kind="stable")]
        without, several = int((~made[rows]).sum()), int(made[rows].sum()) > 1
        gallery[rows[: max(len(rows) // 2, without + several)]] = True
    fold = np.zeros(count, np.int64)
    fold[random.permutation(count)] = np.arange(count) % FOLDS
    return gallery, fold


def shuffle_people(people: People, seed: int) -> People:
    """The same photographs under labels dealt anew: the negative control. The split is made anew with them."""
    identity = np.random.default_rng(seed).permutation(people.identity)
    made = np.zeros(len(identity), np.bool_)
    made[people.source] = True
    gallery, fold = split_people(identity, made, seed)
    return replace(people, identity=identity, gallery=gallery, fold=fold)


def search(
    people: People, knowledge: Knowledge, gallery: Gallery, pretrained: bool, alpha: float = SINGLE_OUT
) -> Search:
    """Find each person among all by the outputs of their photographs outside the gallery.

    Args:
        knowledge: `informed` trains on outputs of the other fold too.
        gallery: `anonymised` compares with outputs of the gallery's photographs, so that like meets like.
        pretrained: whether the network tells people apart without training (a recogniser); a lazy attacker then
            needs no head.
        alpha: level of singling out.
    """
    found = []
    folds: tuple[int | None, ...] = (None,) if pretrained and knowledge == "lazy" else tuple(range(FOLDS))
    for fold in folds:
        head = None if fold is None else _train(people, knowledge, fold)
        if fold is None or head is not None:
            found.append(_search_fold(people, head, fold, gallery, alpha))
    if not found:
        empty = np.zeros(0, np.int64)
        return Search(empty, np.zeros(0, np.bool_), np.zeros(0, np.bool_), 0.0, 0, {}, empty)
    sizes = [len(one.identities) for one in found]
    total = max(sum(sizes), 1)
    return Search(
        np.concatenate([one.identities for one in found]),
        np.concatenate([one.hits for one in found]),
        np.concatenate([one.any_output for one in found]),
        sum(one.chance * size for one, size in zip(found, sizes, strict=True)) / total,
        found[0].gallery,
        {rank: sum(one.top[rank] * size for one, size in zip(found, sizes, strict=True)) / total for rank in TOP},
        np.concatenate([one.exposed for one in found]),
    )


def _train(people: People, knowledge: Knowledge, attacked: int) -> Head | None:
    known = people.fold[people.identity] != attacked
    seen = known[people.source]
    if knowledge == "lazy":
        return train_head(people.real[known], people.identity[known])
    return train_head(people.real[known], people.identity[known], people.output[seen], people.output_identity[seen])


def _search_fold(people: People, head: Head | None, fold: int | None, gallery: Gallery, alpha: float) -> Search:
    output, who = people.output, people.output_identity
    kept = people.gallery[people.source]
    probe = ~kept if fold is None else ~kept & (people.fold[who] == fold)
    known: NDArray[np.floating]
    if gallery == "real":
        known, known_identity = people.real[people.gallery], people.identity[people.gallery]
        known = known if head is None else head.real(known)
    else:
        known, known_identity = output[kept], who[kept]
        known = known if head is None else head.output(known)
    there = np.isin(who[probe], known_identity)
    probe[np.flatnonzero(probe)[~there]] = False
    probes = output[probe] if head is None else head.output(output[probe])
    if not len(probes) or not len(known):
        empty = np.zeros(0, np.int64)
        none = np.zeros(0, np.bool_)
        return Search(empty, none, none, 0.0, len(np.unique(known_identity)), dict.fromkeys(TOP, 0.0), empty)
    gaps = distances(probes, known)
    ranks = rank_identities(gaps, who[probe], known_identity)
    chance = float(np.isin(ranks.guess, ranks.identities).mean()) / len(ranks.identities)
    return Search(
        ranks.identities,
        ranks.within(1),
        ranks.any_output,
        chance,
        ranks.gallery,
        {rank: float(ranks.within(rank).mean()) for rank in TOP},
        _singled_out(gaps, who[probe], known_identity, alpha),
    )


def _singled_out(gaps: Matrix, probe_identity: Indices, gallery_identity: Indices, alpha: float) -> Indices:
    """The identities that stand nearer to their own gallery than strangers do."""
    return np.unique(probe_identity[single_out(gaps, probe_identity[:, None] == gallery_identity[None], alpha)])


@dataclass(frozen=True, eq=False)
class Verification:
    """Is this output that person? At a threshold that strangers' photographs pass with a rate of `far`.

    Attributes:
        hits: (n,) identities of which an output was accepted for another photograph, `hits_source` for its own source.
        chance: how often identities are accepted for someone else, with as many tries.
        positive: pairs of photographs of one person that the threshold of photographs accepts; no output enters it.
        pairs: impostor pairs of photographs behind the threshold.
    """

    far: float
    identities: Indices
    hits: NDArray[np.bool_]
    hits_source: NDArray[np.bool_]
    chance: float
    positive: Control
    equal_error: float
    pairs: int


def verify(people: People, far: float) -> Verification | None:
    """Verification by a pretrained recogniser; None where there are too few impostor pairs or nobody to attack.

    The threshold is that of photographs of strangers, or that of outputs against strangers where it is stricter: an
    anonymiser may draw everybody near to everybody, which recognises nobody.
    """
    gallery, who = people.gallery, people.output_identity
    probe = ~gallery[people.source]
    real = distances(people.real[~gallery], people.real[gallery])
    same = people.identity[~gallery][:, None] == people.identity[gallery][None]
    impostors = real[~same]
    if len(impostors) < max(MIN_PAIRS, MIN_ACCEPTED / far) or not same.any():
        return None
    gaps = distances(people.output[probe], people.real[gallery])
    own = who[probe][:, None] == people.identity[gallery][None]
    usual = threshold = far_threshold(impostors, far)
    if (~own).sum() * far >= MIN_ACCEPTED:
        threshold = min(threshold, far_threshold(gaps[~own], far))
    sourced = np.linalg.norm(people.output[probe].astype(np.float64) - people.real[people.source[probe]], axis=1)
    attacked = np.unique(who[probe][own.any(axis=1)])
    if not len(attacked):
        return None
    accepted = gaps <= threshold
    return Verification(
        far,
        attacked,
        np.array([(accepted & own)[who[probe] == one].any() for one in attacked], np.bool_),
        np.array([(sourced <= threshold)[who[probe] == one].any() for one in attacked], np.bool_),
        any_chance(float(accepted[~own].mean()), float(own.sum()) / len(attacked)),
        Control(int((real[same] <= usual).sum()), int(same.sum())),
        equal_error_rate(gaps[own], gaps[~own]),
        len(impostors),
    )


def same_source(people: People, head: Head | None = None, alpha: float = SINGLE_OUT) -> Search:
    """Find the very photograph that each output was made of, among all photographs that outputs were made of.

    An identity counts as found if one of its outputs finds its source.
    """
    sources = np.unique(people.source)
    output = people.output if head is None else head.output(people.output)
    real = people.real[sources] if head is None else head.real(people.real[sources])
    gaps = distances(output, real)
    own = people.source[:, None] == sources[None]
    mine = gaps[own][:, None]
    rank = 1 + ((gaps < mine).sum(axis=1) + ((gaps == mine).sum(axis=1) - 1) / 2)
    who = people.output_identity
    attacked = np.unique(who)
    top = {place: float(np.mean([(rank[who == one] <= place).any() for one in attacked])) for place in TOP}
    hits = np.array([(rank[who == one] <= 1).any() for one in attacked], np.bool_)
    return Search(
        attacked,
        hits,
        hits,
        any_chance(1 / len(sources), len(who) / len(attacked)),
        len(sources),
        top,
        np.unique(who[single_out(gaps, own, alpha)]),
    )
