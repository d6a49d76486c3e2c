"""Searches and verification on people who are points in space: what is planted is found, and nothing else is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthgen.metrics.privacy.bounds import chance_p
from synthgen.metrics.privacy.heads import narrow, train_head
from synthgen.metrics.privacy.reidentification import (
    Gallery,
    Knowledge,
    People,
    same_source,
    search,
    shuffle_people,
    split_people,
    verify,
)

PEOPLE, PHOTOS, WIDTH = 80, 4, 64
SEARCHES: list[tuple[Knowledge, Gallery]] = [
    ("lazy", "real"),
    ("informed", "real"),
    ("lazy", "anonymised"),
    ("informed", "anonymised"),
]


def crowd(leak: float, seed: int = 0, turned: bool = False) -> People:
    """Photographs scatter around their person; outputs are noise with a share `leak` of the photograph in them.

    `turned` puts that share into other directions, which only a trained attacker can undo.
    """
    random = np.random.default_rng(seed)
    identity = np.repeat(np.arange(PEOPLE), PHOTOS)
    real = random.normal(size=(PEOPLE, WIDTH))[identity] + 0.4 * random.normal(size=(PEOPLE * PHOTOS, WIDTH))
    trace = real @ np.linalg.qr(random.normal(size=(WIDTH, WIDTH)))[0] if turned else real
    output = leak * trace + (1 - leak) * random.normal(size=real.shape)
    gallery, fold = split_people(identity, np.ones(len(identity), np.bool_), seed)
    return People(real.astype(np.float32), identity, output.astype(np.float32), np.arange(len(real)), gallery, fold)


@pytest.mark.parametrize(("knowledge", "gallery"), SEARCHES)
@pytest.mark.parametrize("pretrained", [True, False])
def test_what_leaks_is_found_and_what_does_not_is_guessed(
    knowledge: Knowledge, gallery: Gallery, pretrained: bool
) -> None:
    leaking = search(crowd(0.7), knowledge, gallery, pretrained)
    assert leaking.hits.mean() > 0.8 and len(leaking.hits) == PEOPLE == leaking.gallery
    safe = search(crowd(0), knowledge, gallery, pretrained)
    assert 0.002 < safe.chance < 0.06 and not len(safe.exposed)
    assert chance_p(int(safe.hits.sum()), len(safe.hits), safe.chance) > 0.001


def test_controls() -> None:
    people = crowd(0)
    assert search(people.unprotected(), "lazy", "real", True).hits.mean() > 0.95
    shuffled = search(shuffle_people(crowd(0.9), 1), "informed", "real", False)
    assert chance_p(int(shuffled.hits.sum()), len(shuffled.hits), shuffled.chance) > 0.001


def test_the_informed_attacker_undoes_what_the_lazy_one_cannot() -> None:
    people = crowd(0.7, turned=True)
    lazy, informed = (search(people, knowledge, "anonymised", False).hits.mean() for knowledge in ("lazy", "informed"))
    assert informed >= lazy and informed > 0.5


def test_one_person_left_in_is_singled_out() -> None:
    people = crowd(0)
    output = people.output.copy()
    row = int(np.flatnonzero(~people.gallery)[0])
    output[row] = people.real[row]
    left = replace(people, output=output)
    who = int(people.identity[row])
    assert who in same_source(left).exposed
    assert same_source(people).exposed.size == 0
    assert same_source(left).hits[who]


def test_no_one_is_trained_on_and_attacked() -> None:
    people = crowd(0.5)
    for fold in (0, 1):
        attacked = np.flatnonzero(people.fold == fold)
        changed = people.output.copy()
        changed[np.isin(people.output_identity, attacked)] = 0
        known = people.fold[people.identity] != fold
        rows = (people.real[known], people.identity[known])
        heads = [train_head(*rows, output[known], people.identity[known]) for output in (people.output, changed)]
        assert heads[0] is not None and heads[1] is not None
        assert np.array_equal(heads[0].matrix, heads[1].matrix)


def test_the_split_leaves_sources_of_probes_out_of_the_gallery() -> None:
    identity = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    made = np.array([1, 1, 1, 1, 0, 1, 0, 0], np.bool_)
    gallery, fold = split_people(identity, made, 0)
    two_of_five = np.array([0, 1, 0, 1, 0], np.bool_)
    mixed, _ = split_people(np.zeros(5, np.int64), two_of_five, 0)
    assert (mixed & two_of_five).sum() == 1 and mixed[~two_of_five].all(), "one output known, one attacked"
    assert gallery[:3].sum() == 1 and gallery[4] and not gallery[3] and not gallery[5] and gallery[6:].all()
    assert sorted(np.bincount(fold).tolist()) == [2, 2]


def test_verification() -> None:
    leaking, safe = verify(crowd(0.8), 1e-3), verify(crowd(0), 1e-3)
    assert leaking is not None and safe is not None
    assert leaking.hits_source.mean() > 0.8 and leaking.equal_error < 0.1 and leaking.positive.rate > 0.8
    assert safe.hits.mean() < 0.1 and 0.3 < safe.equal_error < 0.7
    small = crowd(0)
    few = small.identity < 3
    assert leaking.positive == safe.positive, "the control asks photographs alone"
    assert (
        verify(
            replace(
                small,
                real=small.real[few],
                identity=small.identity[few],
                output=small.output[few],
                source=np.arange(few.sum()),
                gallery=small.gallery[few],
            ),
            1e-3,
        )
        is None
    )


def test_too_few_to_train_on() -> None:
    assert train_head(np.zeros((3, 5)), np.array([0, 0, 1])) is None
    constant = train_head(np.ones((12, 5)), np.repeat(np.arange(4), 3))
    assert constant is not None and np.isfinite(constant.real(np.ones((2, 5)))).all()


def test_narrowing_keeps_distances() -> None:
    random = np.random.default_rng(0)
    low = random.normal(size=(60, 12)) @ random.normal(size=(12, 400))
    first, second = narrow(low[:30], low[30:])
    assert first.shape == (30, 256) or first.shape[1] <= 256
    before, after = np.linalg.norm(low[0] - low[40]), np.linalg.norm(first[0] - second[10])
    assert after == pytest.approx(before, rel=1e-3)
