"""Objects in words: what is counted, what is named, what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.describe import class_word, describe_objects, plural
from synthgen.types import Box, ClassInfo, Instance, Labels

NAMES = ("Sky", "Car", "Pedestrian", "Tree", "Unlabelled", "SignSymbol", "Void")
CLASSES = tuple(ClassInfo(number, name, ignore=name == "Void") for number, name in enumerate(NAMES))
SKY, CAR, PERSON, TREE, NOTHING, SIGN, VOID = range(7)


def mask_of(*blocks: tuple[int, int, int, int, int]) -> Labels:
    """(class, x0, y0, x1, y1) on unlabelled ground of 128x96."""
    mask = np.full((96, 128), NOTHING, np.int32)
    for class_id, x0, y0, x1, y1 in blocks:
        mask[y0:y1, x0:x1] = class_id
    return Labels(CLASSES, mask)


def boxes_of(*ids: int, crowd: bool = False) -> Labels:
    return Labels(
        CLASSES, instances=tuple(Instance(one, Box(0, 0, 10 + one, 10), crowd=crowd and one == CAR) for one in ids)
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (Labels(), ""),
        (mask_of(), ""),
        (mask_of((CAR, 0, 60, 20, 80)), "a car"),
        (mask_of((CAR, 0, 60, 20, 80), (CAR, 40, 60, 60, 70), (PERSON, 80, 60, 86, 80)), "two cars, a person"),
        (mask_of((SKY, 0, 0, 128, 30), (CAR, 0, 60, 20, 80)), "a car, sky"),
        (mask_of((TREE, 0, 0, 60, 60), (SKY, 60, 0, 70, 50)), "trees, sky"),
        (mask_of((SKY, 0, 0, 3, 3), (CAR, 9, 9, 12, 12)), ""),
        (mask_of((VOID, 0, 0, 128, 96)), ""),
        (mask_of((SIGN, 0, 0, 20, 20)), "a sign"),
        (mask_of(*((PERSON, 10 * n, 10, 10 * n + 6, 20) for n in range(7))), "many people"),
        (boxes_of(CAR, CAR, PERSON, CAR), "three cars, a person"),
        (boxes_of(CAR, PERSON, crowd=True), "a person, many cars"),
    ],
    ids=range(12),
)
def test_objects_in_words(labels: Labels, expected: str) -> None:
    assert describe_objects(labels) == expected


def test_the_count_does_not_depend_on_the_size() -> None:
    small = mask_of((CAR, 0, 60, 20, 80), (CAR, 40, 60, 60, 70), (SKY, 0, 0, 128, 20))
    assert small.mask is not None
    large = Labels(CLASSES, small.mask.repeat(7, 0).repeat(7, 1))
    assert describe_objects(large) == describe_objects(small) == "two cars, sky"


def test_at_most_six_things_are_named() -> None:
    classes = tuple(ClassInfo(number, f"thing{number}") for number in range(20))
    labels = Labels(classes, instances=tuple(Instance(n, Box(0, 0, n + 1, 1)) for n in range(20)))
    assert describe_objects(labels).count(",") == 5 and "a thing19" in describe_objects(labels)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("car", "cars"), ("bus", "buses"), ("box", "boxes"), ("person", "people"), ("city", "cities"), ("toy", "toys")],
)
def test_plural(word: str, expected: str) -> None:
    assert plural(word) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Traffic_Light", "traffic light"), ("road, route", "road"), ("Pavement", "sidewalk"), ("unlabeled", "")],
)
def test_class_word(name: str, expected: str) -> None:
    assert class_word(name) == expected
