"""People from labels: every labelled pixel of a person is in a region."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.component import parse_component
from synthgen.detectors._classes import person_class_ids
from synthgen.detectors.labels import LabelsDetector
from synthgen.types import Box, ClassInfo, ConfigError, Instance, Labels, Region

from .conftest import SampleOf

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def table(names: str) -> tuple[ClassInfo, ...]:
    """Comma-separated names; `!` marks an ignored class."""
    return tuple(
        ClassInfo(id_, name.strip().lstrip("!"), ignore=name.strip().startswith("!"))
        for id_, name in enumerate(names.split(","))
    )


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        pytest.param("Sky, Building, SignSymbol, Pedestrian, Bicyclist, !Unlabelled", {3, 4}, id="streets"),
        pytest.param("road, PERSON, rider, bicycle, motorcycle", {1, 2}, id="cityscapes"),
        pytest.param("human--person--individual, human--rider--bicyclist, object--manhole", {0, 1}, id="mapillary"),
        pytest.param("person;individual;someone, wall, armchair", {0}, id="ade20k"),
        pytest.param("person, bicycle, car, tie, hair drier, teddy bear", {0}, id="coco: one thing worn is no parsing"),
        pytest.param("sky, road, person, hair, left arm, dog", {2, 3, 4}, id="parts in a scene"),
        pytest.param("null, hair, skin, t-shirt, kimono, bag", {1, 2, 3, 4, 5}, id="clothing, unknown garment too"),
        pytest.param("Background, Head, Torso, Upper Arms, Lower Legs", {1, 2, 3, 4}, id="body parts"),
        pytest.param("background, hair, skin, !void", {1, 2}, id="ignored classes are no people"),
        pytest.param("cat, dog, headlight, manhole, woodland", set(), id="nobody"),
        pytest.param("", set(), id="one nameless class"),
    ],
)
def test_auto_finds_people_by_name(names: str, expected: set[int]) -> None:
    assert person_class_ids(table(names)) == expected


def test_no_table_no_people() -> None:
    assert person_class_ids(()) == frozenset()


def test_named_classes_are_found_in_any_case() -> None:
    assert LabelsDetector(classes=("pedestrian", "CAR")).class_ids(table("Sky, Pedestrian, car")) == {1, 2}


def test_a_named_class_that_is_not_there_stops() -> None:
    detector = LabelsDetector(classes=("walker",))
    with pytest.raises(ConfigError, match=r"walker.*Sky, Pedestrian"):
        detector.check_classes(table("Sky, Pedestrian"))
    LabelsDetector().check_classes(table("Sky, Road"))


def test_parses_from_a_config() -> None:
    assert parse_component("detectors", "labels") == LabelsDetector()
    assert parse_component("detectors", {"kind": "labels", "classes": ["rider"]}).classes == ("rider",)
    with pytest.raises(ValidationError):
        parse_component("detectors", {"kind": "labels", "class": ["rider"]})


def mask_with(*pixels: tuple[int, int, int]) -> np.ndarray:
    mask = np.zeros((12, 16), dtype=np.int32)
    for y, x, value in pixels:
        mask[y, x] = value
    return mask


@pytest.mark.parametrize(
    ("labels", "boxes"),
    [
        pytest.param(Labels(), [], id="no labels"),
        pytest.param(Labels(classes=table("sky,person")), [], id="a table and nothing labelled"),
        pytest.param(
            Labels(classes=table("sky,person"), mask=mask_with((11, 15, 1))),
            [Box(15, 11, 16, 12)],
            id="one pixel, border",
        ),
        pytest.param(
            Labels(classes=table("sky,person,rider"), mask=mask_with((3, 3, 1), (3, 4, 2), (8, 8, 2))),
            [Box(3, 3, 5, 4), Box(8, 8, 9, 9)],
            id="two classes that touch are one region",
        ),
        pytest.param(
            Labels(
                classes=table("car,person"),
                instances=(
                    Instance(1, Box(2, 2, 5, 9)),
                    Instance(0, Box(0, 0, 9, 9)),
                    Instance(1, Box(1, 1, 3, 3), crowd=True),
                ),
            ),
            [Box(2, 2, 5, 9), Box(1, 1, 3, 3)],
            id="instances and crowds, not cars",
        ),
        pytest.param(
            Labels(
                classes=table("car,person"),
                mask=mask_with((3, 3, 1), (9, 9, 1)),
                instances=(Instance(1, Box(3, 3, 4, 4), mask=mask_with((3, 3, 1)) == 1),),
            ),
            [Box(3, 3, 4, 4), Box(9, 9, 10, 10)],
            id="what no instance covers comes from the mask",
        ),
    ],
)
def test_regions_of_labels(labels: Labels, boxes: list[Box], sample_of: SampleOf) -> None:
    (regions,) = LabelsDetector().load("cpu")([sample_of(labels=labels)])
    assert [region.box for region in regions] == boxes
    assert all((region.kind, region.origin, region.score) == ("person", "label", 1.0) for region in regions)


def test_a_batch_keeps_its_order(sample_of: SampleOf) -> None:
    with_one = sample_of(labels=Labels(classes=table("sky,person"), mask=mask_with((3, 3, 1))))
    found: list[list[Region]] = LabelsDetector().load("cpu")([sample_of(), with_one, sample_of()])
    assert [len(regions) for regions in found] == [0, 1, 0]


@pytest.mark.parametrize(
    ("folder", "people", "others"),
    [
        ("camvid", {"Pedestrian", "Bicyclist"}, {"Sky", "Car", "Unlabelled"}),
        ("pedestrians", {"hair", "skin", "bag", "wallet", "romper", "watch"}, {"null"}),
    ],
)
def test_auto_on_real_tables(folder: str, people: set[str], others: set[str]) -> None:
    path = DATA / folder / "classes.csv"
    if not path.is_file():
        pytest.skip(f"the real data set {folder} is not here")
    with path.open() as file:
        rows = [(int(row["id"]), row["name"], row.get("note") == "ignore") for row in csv.DictReader(file)]
    found = person_class_ids(tuple(ClassInfo(id_, name, ignore=ignore) for id_, name, ignore in rows))
    names = {name for id_, name, _ in rows if id_ in found}
    assert people <= names
    assert not others & names
