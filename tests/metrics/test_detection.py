"""Recall against labels: counts, sizes, bounds, and nothing where there is nothing."""

from __future__ import annotations

import pytest

from synthgen.metrics.detection import Recall, lower_bound, object_size
from synthgen.types import Box, Region


def region(kind: str, box: Box) -> Region:
    return Region(kind, box, 1.0, "label")  # type: ignore[arg-type]


def test_an_object_is_found_where_detections_cover_half_of_it() -> None:
    recall = Recall()
    labelled = [
        region("plate", Box(0, 0, 40, 10)),
        region("plate", Box(60, 0, 100, 10)),
        region("face", Box(0, 50, 9, 59)),
    ]
    detected = [
        region("plate", Box(0, 0, 15, 10)),
        region("plate", Box(14, 0, 22, 10)),
        region("plate", Box(60, 0, 79, 10)),
    ]
    recall.add_image(labelled, [*detected, region("text", Box(0, 50, 9, 59))], (100, 60))
    record = recall.record()
    assert (record["plate"]["all"]["found"], record["plate"]["all"]["labelled"]) == (1, 2)
    assert record["face"]["all"] == {"labelled": 1, "found": 0, "recall": 0.0, "at_least": 0.0}
    assert set(record["plate"]) == {"all", "small"}


def test_nothing_labelled_says_nothing() -> None:
    recall = Recall()
    recall.add_image([], [region("face", Box(0, 0, 5, 5))], (10, 10))
    assert recall.record() == {}
    assert lower_bound(0, 0) is None


def test_bounds_are_those_of_clopper_and_pearson() -> None:
    assert lower_bound(59, 59) == pytest.approx(0.95, abs=1e-3)
    assert lower_bound(0, 10) == 0.0
    bound = lower_bound(90, 100)
    assert bound is not None and 0.8 < bound < 0.9


@pytest.mark.parametrize(("side", "size"), [(31, "small"), (32, "medium"), (96, "medium"), (97, "large")])
def test_sizes_are_those_of_coco(side: int, size: str) -> None:
    assert object_size(Box(0, 0, side, side)) == size


def test_labels_out_of_the_frame_are_not_found() -> None:
    recall = Recall()
    recall.add_image([region("face", Box(200, 200, 220, 220))], [region("face", Box(0, 0, 5, 5))], (10, 10))
    assert recall.record()["face"]["all"]["found"] == 0
