"""The check of labels with an object detector: boxes found again, lost, small, and never found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from synthgen.checks._box_judge import box_iou, match_boxes
from synthgen.checks.base import Candidate
from synthgen.component import parse_component
from synthgen.types import Box, ClassInfo, ConfigError, Image, Instance, Labels, Score
from tests.checks.pictures import candidate
from tests.checks.readers import CELL, CELLS, draw_cells, fit_detector
from tests.datasets_for_tests import rows, run, tree, write_image

CLASSES = (ClassInfo(7, "car"),)
CARS = (1, 6, 8, 15)
SOURCE = draw_cells(CARS, 100)


@pytest.fixture(scope="module")
def finder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit_detector(tmp_path_factory.mktemp("finder"))


def box_of(place: int, shift: float = 0.0) -> Box:
    y, x = divmod(place, CELLS)
    return Box(x * CELL + shift, y * CELL, (x + 1) * CELL + shift, (y + 1) * CELL)


def scene(output: Image, shift: float = 0.0, labelled: tuple[int, ...] = CARS) -> Candidate:
    one = candidate(SOURCE, output)
    instances = tuple(Instance(7, box_of(place, shift)) for place in labelled)
    return replace(one, sample=replace(one.sample, labels=Labels(CLASSES, None, instances)), unlabels=True)


def judge(finder: Path, one: Candidate, **keys: Any) -> Score:
    score = parse_component("checks", {"kind": "labels", "model": str(finder), **keys}).load("cpu", {})(one)
    assert isinstance(score, Score)
    return score


def test_what_is_found_again_passes(finder: Path) -> None:
    score = judge(finder, scene(draw_cells(CARS, 200)))
    assert score.passed and score.value == 1.0
    columns = score.to_columns()
    assert columns["labels:car"] == 1.0 and columns["label-objects:survived"] == 4


@pytest.mark.parametrize(
    ("left", "value"),
    [((1, 6), 0.5), ((), 0.0), ((2, 7, 9, 14), 0.0)],
    ids=["half are erased", "all are erased", "all are shifted by a cell"],
)
def test_lost_boxes_reject_and_are_never_mended(finder: Path, left: tuple[int, ...], value: float) -> None:
    score = judge(finder, scene(draw_cells(left, 200)))
    assert score.passed is False and score.value == value and not score.mendable and score.unlabel is None
    assert score.to_columns()["label-objects:lost"] == 4 * (1 - value) and "car did not survive" in score.message


def test_small_ones_are_counted_apart(finder: Path) -> None:
    score = judge(finder, scene(draw_cells((1, 6, 8), 200)), small=0.07)
    assert score.passed and score.to_columns()["label-objects:small-lost"] == 1


def test_small_ones_alone_reject_nothing(finder: Path) -> None:
    score = judge(finder, scene(draw_cells((1,), 200)), small=0.07)
    assert score.passed and score.value == 0.25 and score.to_columns()["label-objects:small-lost"] == 3


def test_what_is_not_found_on_the_source_is_not_judged(finder: Path) -> None:
    score = judge(finder, scene(draw_cells((), 200), shift=10))
    assert score.passed is None and score.to_columns()["label-objects:unread"] == 4
    assert judge(finder, scene(draw_cells((), 200), shift=10), unread="count").passed
    assert judge(finder, scene(SOURCE, labelled=())).passed


def test_the_filter_needs_masks(finder: Path) -> None:
    spec = parse_component("checks", {"kind": "labels", "model": str(finder), "filter": {}})
    with pytest.raises(ConfigError, match="finds boxes"):
        spec.check_classes(CLASSES)


def test_matching_is_one_to_one_and_by_class() -> None:
    objects = [Instance(0, Box(0, 0, 10, 10)), Instance(0, Box(1, 0, 11, 10)), Instance(0, Box(50, 50, 60, 60))]
    found = [(1, Box(1, 0, 11, 10)), (2, Box(50, 50, 60, 60))]
    assert match_boxes(objects, [1, 1, 1], found, 0.5) == (False, True, False)
    assert box_iou(Box(0, 0, 2, 2), Box(1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert box_iou(Box(0, 0, 1, 1), Box(5, 5, 6, 6)) == 0


def test_the_image_leaves_with_its_annotations(finder: Path, tmp_path: Path) -> None:
    root = tmp_path / "coco"
    annotations = []
    for number, filled in enumerate(((1, 6), (1, 10)), 1):
        write_image(root / f"{number}.png", draw_cells(filled, number))
        for place in filled:
            box = box_of(place)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1 if place == 1 else 2,
                    "bbox": [box.x0, box.y0, CELL, CELL],
                    "area": CELL * CELL,
                    "iscrowd": 0,
                }
            )
    table = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 64} for n in (1, 2)],
        "annotations": annotations[:3],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "taxi"}],
    }
    (root / "annotations.json").write_text(json.dumps(table))
    value = {
        "device": "cpu",
        "names": "keep",
        "source": {"format": "coco", "path": str(root)},
        "detect": [{"kind": "labels", "classes": ["taxi"]}],
        "protect": [{"kind": "inpaint"}],
        "no_region": "release",
        "generate": "none",
        "dilate": 0.0,
        "check": [{"kind": "labels", "model": str(finder), "class_map": {"taxi": "car"}}],
    }
    summary = run(value, tmp_path / "run")
    assert (summary.accepted, summary.quarantined) == (1, {"check-labels": 1})
    assert rows(tmp_path / "run")["1.png", 0].message == "1 × car did not survive"
    released = json.loads(tree(tmp_path / "run/release")["annotations.json"])
    assert [one["file_name"] for one in released["images"]] == ["2.png"]
    assert {one["image_id"] for one in released["annotations"]} == {2}
