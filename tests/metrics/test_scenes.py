"""Where scenes come from, how they are cut and split."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from synthgen.metrics.scenes import scene_names, scene_units, split_units
from synthgen.types import ConfigError

CASES: list[tuple[list[str], list[str | None], list[dict[str, Any]], list[str], str]] = [
    (
        ["images/train/0001TP_006690.jpg", "images/train/0001TP_006720.jpg", "images/val/Seq05VD_f00330.jpg"],
        [None] * 3,
        [{}] * 3,
        ["0001TP", "0001TP", "Seq05VD"],
        "file name",
    ),
    (["a_1.png", "b_1.png"], [None] * 2, [{"scene": 4}, {"scene": 4}], ["scene=4"] * 2, "column scene"),
    (["a00001.jpg", "a00003.jpg"], [None] * 2, [{}] * 2, ["a00001.jpg", "a00003.jpg"], "image"),
    (
        ["cat/cat_1.png", "cat/cat_2.png", "dog/dog_1.png"],
        ["cat", "cat", "dog"],
        [{}] * 3,
        ["cat/cat_1.png", "cat/cat_2.png", "dog/dog_1.png"],
        "image",
    ),
    (
        [f"drive{folder}/{name}.png" for folder in range(4) for name in "xy"],
        [None] * 8,
        [{}] * 8,
        [f"drive{folder}" for folder in range(4) for _ in "xy"],
        "folder",
    ),
    (["frame_1.png", "frame_2.png"], [None] * 2, [{}] * 2, ["frame_1.png", "frame_2.png"], "image"),
    ([], [], [], [], "image"),
]


@pytest.mark.parametrize(("ids", "classes", "attributes", "names", "rule"), CASES)
def test_scene_names(
    ids: list[str], classes: list[str | None], attributes: list[dict[str, Any]], names: list[str], rule: str
) -> None:
    assert scene_names(ids, classes, attributes) == (names, rule)


def test_a_column_that_is_not_there_is_an_error_that_lists_those_that_are() -> None:
    with pytest.raises(ConfigError, match=r"--scene trip: .* camera, weather"):
        scene_names(["a.png"], [None], [{"camera": 1, "weather": 2}], "trip")


@pytest.mark.parametrize(
    ("names", "units", "cut"),
    [
        (["a"] * 30 + ["b"] * 30, 60, True),
        (["a"] * 300 + ["b"] * 100, 40, True),
        ([str(number // 2) for number in range(60)], 30, False),
        (["a", "b", "c"], 3, False),
        ([], 0, False),
    ],
)
def test_few_scenes_are_cut_into_stretches(names: list[str], units: int, cut: bool) -> None:
    found, was_cut = scene_units(names)
    assert (len(np.unique(found)), was_cut) == (units, cut)
    for unit in np.unique(found):
        assert len({names[row] for row in np.flatnonzero(found == unit)}) == 1


@pytest.mark.parametrize("units", [np.arange(101), np.repeat(np.arange(20), 5), np.zeros(0, dtype=np.int64)])
def test_parts_share_no_scene_and_are_of_about_one_size(units: np.ndarray) -> None:
    parts = split_units(units, 4, np.random.default_rng(0))
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(units)))
    owned = [set(units[part].tolist()) for part in parts]
    assert sum(len(one) for one in owned) == len(set(units.tolist()))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= (1 if len(units) == 101 else 5)
