"""People are put together failing closed: no head, no person, too small; each with what would go wrong otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthgen.people import MIN_HEAD, complete_people, count_small, distinct, head_of_person, overlap
from synthgen.regions import dilate_regions
from synthgen.types import Box, Region

SIZE = (400, 300)


def person(box: Box, mask: np.ndarray | None = None, origin: str = "label", score: float = 1.0) -> Region:
    return Region("person", box, score, origin, mask)  # type: ignore[arg-type]


def head(box: Box) -> Region:
    return Region("head", box, 0.8, "detector")


def outline(box: Box, share: float = 1.0) -> np.ndarray:
    """The upper `share` of the box's height."""
    mask = np.zeros((SIZE[1], SIZE[0]), np.bool_)
    mask[int(box.y0) : int(box.y0 + share * box.height), int(box.x0) : int(box.x1)] = True
    return mask


def covered(regions: tuple[Region, ...], box: Box) -> bool:
    union = dilate_regions(regions, SIZE, 0.0)
    return bool(union[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)].all())


def test_a_labelled_person_without_a_head_is_treated_by_the_box() -> None:
    box = Box(100, 50, 200, 290)
    mask = outline(box) & (np.arange(SIZE[0]) < 140)  # an outline that leaves the right half out
    found = complete_people([person(box, mask)], SIZE)
    assert covered(found.regions, box)
    assert (found.people, found.unseen, found.small, found.unlabelled) == (1, 1, 0, 0)
    (top,) = [region for region in found.regions if region.kind == "head"]
    assert top.box.y0 == 50 and top.box.x0 < 120 < top.box.x1 and top.box.height < 60


def test_a_person_with_a_head_keeps_the_outline() -> None:
    box = Box(100, 50, 200, 290)
    found = complete_people([person(box, outline(box, 0.6)), head(Box(130, 52, 165, 92))], SIZE)
    assert not covered(found.regions, box)
    assert (found.people, found.unseen, found.unlabelled) == (1, 0, 0)


def test_a_head_alone_gets_a_body() -> None:
    found = complete_people([head(Box(180, 20, 220, 64))], SIZE)
    (body,) = [region for region in found.regions if region.kind == "person"]
    assert body.box.y0 == 20 and body.box.y1 > 250 and body.box.x0 < 165 and body.box.x1 > 235
    assert body.origin == "detector" and (found.people, found.unlabelled) == (1, 1)


def test_a_bystander_behind_a_boxed_person_is_somebody_else() -> None:
    front = person(Box(100, 60, 220, 290))
    heads = [head(Box(140, 62, 175, 104)), head(Box(180, 100, 212, 140))]
    found = complete_people([front, *heads], SIZE)
    assert (found.people, found.unseen, found.unlabelled) == (2, 0, 1)
    assert covered(found.regions, Box(160, 100, 230, 290))


def test_an_outline_may_hold_a_group() -> None:
    box = Box(50, 50, 350, 290)
    heads = [head(Box(80, 60, 110, 100)), head(Box(250, 60, 280, 100))]
    assert complete_people([person(box, outline(box)), *heads], SIZE).unlabelled == 0


def test_small_people_are_counted_and_protected() -> None:
    far = person(Box(10, 100, 20, 125), outline(Box(10, 100, 14, 110)))
    found = complete_people([far, person(Box(100, 50, 200, 290))], SIZE)
    assert (found.people, found.small, found.unseen) == (2, 1, 1)
    assert covered(found.regions, far.box)
    assert count_small(found.regions, SIZE) == 1
    assert head_of_person(far, SIZE).box.width < MIN_HEAD


def test_one_person_found_twice_is_one() -> None:
    box = Box(100, 50, 200, 290)
    twice = [person(box), person(Box(104, 48, 203, 288), origin="detector", score=0.9)]
    assert complete_people(twice, SIZE).people == 1
    assert distinct(twice)[0].origin == "label"
    assert complete_people([person(box), person(box)], SIZE).people == 2  # the annotator told them apart
    part = person(Box(120, 60, 160, 100), origin="detector", score=0.9)
    assert complete_people([person(box), part], SIZE).people == 2  # a child in front


def test_plates_and_text_pass_through() -> None:
    others = [Region("plate", Box(1, 2, 3, 4), 0.5, "detector"), Region("text", Box(5, 6, 7, 8), 0.5, "detector")]
    assert complete_people(others, SIZE).regions == tuple(others)
    assert complete_people([], SIZE).people == 0


sides = st.tuples(
    st.integers(0, 380), st.integers(0, 280), st.integers(2, 200), st.integers(2, 200), st.booleans(), st.booleans()
)


@settings(max_examples=60, deadline=None)
@given(st.lists(sides, max_size=5))
def test_nothing_is_uncovered_and_nothing_changes_twice(values: list[tuple[int, int, int, int, bool, bool]]) -> None:
    regions = []
    for x, y, width, height, is_head, masked in values:
        box = Box(x, y, min(x + width, SIZE[0]), min(y + height, SIZE[1]))
        regions.append(head(box) if is_head else person(box, outline(box, 0.5) if masked else None))
    once = complete_people(regions, SIZE)
    before, after = (dilate_regions(found, SIZE, 0.15) for found in (regions, once.regions))
    assert not (before & ~after).any()
    again = dilate_regions(complete_people(once.regions, SIZE).regions, SIZE, 0.15)
    assert not (after & ~again).any()


@pytest.mark.parametrize(
    ("box", "share"), [(Box(0, 0, 10, 10), 1.0), (Box(5, 0, 15, 10), 0.5), (Box(20, 0, 30, 9), 0.0)]
)
def test_overlap(box: Box, share: float) -> None:
    assert overlap(box, Box(0, 0, 10, 10)) == pytest.approx(share)
