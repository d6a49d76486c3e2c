"""From regions to people: who has a head, who has only a head, and who is too small to tell.

Detectors see faces, labels outline people, and neither knows of the other. Put together, failing closed:

- a person in whom no head was found is treated by the whole box, not by an outline that may leave the head out, and
  gets a head where one should be: the top of the person;
- a head without a person is somebody whom nobody outlined: the body that belongs under such a head is protected too;
- a person whose head would be smaller than `MIN_HEAD` is too small for a face detector to say anything about: protected
  by the box like everyone unseen, and counted apart, so that "no face found" is never read as "no face".

Proportions are those of a standing adult (Drillis and Contini 1966: from the chin to the crown 0.130 of the stature,
across the shoulders 0.259). Who lies, sits or bends may reach out of an estimated body; a detector of persons tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from synthgen.regions import Size, clip_box
from synthgen.types import Box, Region

MIN_HEAD = 16
"""Pixels: the least width at which the embedded face detector finds faces reliably."""
HEADS_TALL, HEADS_WIDE = 7.0, 3.0
"""A person's box is at least one of these in units of the head: standing it is 7 heads tall, cut off below 3 wide."""
BODY_DOWN, BODY_WIDE = 5.5, 2.2
"""A body under a head region (hair and collar included: 0.185 of the stature), from the crown to the soles and with
the arms, in units of that region's height and width."""
SAME_IOU, SAME_INSIDE = 0.5, 0.8
"""Two boxes are one person if they overlap by this IoU, or this share of the smaller lies in the other and is most of
it."""
COVERED = 0.5
"""A head belongs to a person's mask if it covers this share of the middle of the head."""


@dataclass(frozen=True, eq=False)
class People:
    """All regions of an image to protect, and its people: `people` counts everyone once, `small` those too small to
    check, `unseen` those large enough in whom no head was found, `unlabelled` those known by their head alone."""

    regions: tuple[Region, ...]
    people: int
    small: int
    unseen: int
    unlabelled: int


def complete_people(regions: Sequence[Region], size: Size) -> People:
    """Join people and heads of one image of (width, height), and protect what either lacks.

    What is neither comes back as it is, and the result covers at least what `regions` cover. To complete a result once
    more changes nothing.
    """
    others = [region for region in regions if region.kind != "person"]
    heads = [region for region in others if region.kind == "head"]
    outlined = distinct([region for region in regions if region.kind == "person"])
    owner = _assign(heads, outlined)
    seen = {id(outlined[place]) for place in owner.values()}
    headless = [person for person in outlined if id(person) not in seen]
    bodies = distinct([body_under_head(head, size) for number, head in enumerate(heads) if number not in owner])
    whole = {id(person): replace(person, mask=None) for person in headless}
    persons = [whole.get(id(region), region) for region in regions if region.kind == "person"]
    small = sum(is_small(person, size) for person in outlined)
    return People(
        regions=(*persons, *bodies, *others, *(head_of_person(person, size) for person in headless)),
        people=len(outlined) + len(bodies),
        small=small,
        unseen=sum(not is_small(person, size) for person in headless),
        unlabelled=len(bodies),
    )


def is_small(person: Region, size: Size) -> bool:
    """Whether a person's head would be narrower than `MIN_HEAD` in an image of (width, height)."""
    return head_of_person(person, size).box.width < MIN_HEAD


def count_small(regions: Sequence[Region], size: Size) -> int:
    """How many people among these regions are too small to check."""
    return sum(is_small(person, size) for person in distinct([region for region in regions if region.kind == "person"]))


def head_of_person(person: Region, size: Size) -> Region:
    """Where a person's head should be: the top of the box, above the topmost part of the mask if there is one."""
    box = person.box
    side = min(max(box.height / HEADS_TALL, box.width / HEADS_WIDE), box.height, box.width)
    centre = (box.x0 + box.x1) / 2
    if person.mask is not None and person.mask.any():
        top = int(np.flatnonzero(person.mask.any(axis=1))[0])
        centre = float(np.flatnonzero(person.mask[top : top + max(1, round(side))].any(axis=0)).mean()) + 0.5
    head = clip_box(Box(centre - side / 2, box.y0, centre + side / 2, box.y0 + side), size)
    return replace(person, kind="head", box=head or box, mask=None)


def body_under_head(head: Region, size: Size) -> Region:
    """The `person` region of somebody of whom only a head is known: a standing body, clipped to the frame."""
    box = head.box
    centre, half = (box.x0 + box.x1) / 2, BODY_WIDE * box.width / 2
    body = clip_box(Box(centre - half, box.y0, centre + half, box.y0 + BODY_DOWN * box.height), size)
    return replace(head, kind="person", box=body or box, mask=None)


def distinct(persons: Sequence[Region]) -> list[Region]:
    """One region a thing (of one kind): labels before detections, then the surest; further ones of it are left out.

    Two labels are never one thing: the annotator told them apart.
    """
    kept: list[Region] = []
    for person in sorted(persons, key=lambda region: (region.origin != "label", -region.score)):
        if not any(_same(person, region) for region in kept):
            kept.append(person)
    return kept


def _same(first: Region, second: Region) -> bool:
    if first.origin == second.origin == "label":
        return False
    shared, one, two = _shared(first.box, second.box), _area(first.box), _area(second.box)
    return shared >= SAME_IOU * (one + two - shared) or (
        shared >= SAME_INSIDE * min(one, two) and min(one, two) >= SAME_IOU * max(one, two)
    )


def _assign(heads: Sequence[Region], persons: Sequence[Region]) -> dict[int, int]:
    """Head → the person whose it is, by their places. A mask may hold several heads (a group), a box has one."""
    owner: dict[int, int] = {}
    for number, head in enumerate(heads):
        for place, person in enumerate(persons):
            if person.mask is not None and _covered(head.box, person):
                owner[number] = place
                break
    pairs = [
        (abs(head.box.y0 - person.box.y0) / max(person.box.height, 1.0), number, place)
        for number, head in enumerate(heads)
        if number not in owner
        for place, person in enumerate(persons)
        if person.mask is None and _holds(person.box, head.box)
    ]
    taken: set[int] = set()
    for _, number, place in sorted(pairs):
        if number not in owner and place not in taken:
            owner[number] = place
            taken.add(place)
    return owner


def _covered(head: Box, person: Region) -> bool:
    assert person.mask is not None
    quarter_x, quarter_y = head.width / 4, head.height / 4
    rows = slice(int(head.y0 + quarter_y), int(np.ceil(head.y1 - quarter_y)))
    columns = slice(int(head.x0 + quarter_x), int(np.ceil(head.x1 - quarter_x)))
    middle = person.mask[rows, columns]
    return bool(middle.size) and float(middle.mean()) >= COVERED


def _holds(person: Box, head: Box) -> bool:
    """Whether a head's centre lies in a person's box and the head is no larger than it could be."""
    x, y = (head.x0 + head.x1) / 2, (head.y0 + head.y1) / 2
    inside = person.x0 <= x < person.x1 and person.y0 <= y < person.y1
    return inside and _shared(head, person) >= COVERED * _area(head)


def _shared(first: Box, second: Box) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    return max(width, 0.0) * max(height, 0.0)


def overlap(box: Box, other: Box) -> float:
    """The share of `box` that lies in `other`."""
    return _shared(box, other) / max(_area(box), 1e-9)


def _area(box: Box) -> float:
    return box.width * box.height
