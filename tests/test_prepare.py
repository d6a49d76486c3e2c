"""Preparing: sizes, the ledger row of a bad sample, and the way back to the source's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synthgen.prepare import Prepared, Preparer, resize_sample, restore
from synthgen.regions import dilate_regions
from synthgen.types import BadSample, Box, Controls, Instance, Item, Labels, Row, Sample
from tests.datasets_for_tests import BAD, GOOD, PERSON, config_value, parsed, people_value, street


def sample_of(size: tuple[int, int], seed: int = 0) -> Sample:
    image, ids = street(seed, size)
    half = np.zeros(ids.shape, np.bool_)
    half[:, : size[0] // 2] = True
    box = Box(0, 0, size[0] / 2, size[1])
    return Sample(Item("a.png", Path("a.png")), image, Labels(mask=ids, instances=(Instance(1, box, half),)), "ab")


@pytest.mark.parametrize("size", [(64, 48), (32, 24), (128, 96), (48, 64), (64, 24), (96, 16), (65, 47)])
def test_resize_takes_labels_along(size: tuple[int, int]) -> None:
    sample = sample_of((64, 48))
    assert sample.labels.mask is not None
    small = resize_sample(sample, size)
    assert small.size == size and small.image.dtype == np.uint8
    assert small.labels.mask is not None and small.labels.mask.shape == size[::-1]
    assert set(np.unique(small.labels.mask)) <= set(np.unique(sample.labels.mask)), "no class is made up"
    (instance,) = small.labels.instances
    assert instance.box == Box(0, 0, size[0] / 2, size[1])
    assert instance.mask is not None and instance.mask.shape == size[::-1] and instance.mask.dtype == np.bool_
    assert instance.mask.mean() == pytest.approx(0.5, abs=0.05)
    assert small.image.mean() == pytest.approx(sample.image.mean(), abs=6)


def test_a_bad_item_becomes_a_row_and_the_others_go_on(street_set: Path, tiny_sd: Path) -> None:
    config = parsed(config_value(street_set, tiny_sd))
    preparer = Preparer(config, config.source, "cpu")
    results = preparer(config.source.index().items)
    assert {row.sample_id: row.code for row in results if isinstance(row, Row)} == BAD
    good = {one.sample.item.id: one for one in results if isinstance(one, Prepared)}
    assert set(good) == set(GOOD)
    assert good["images/val/tall.png"].bucket == (48, 64) and good[GOOD[0]].bucket == (64, 48)
    for one in good.values():
        assert set(one.controls.maps) == {"canny", "segmentation"}
        assert {control.image.shape for control in one.controls.maps.values()} == {(*one.bucket[::-1], 3)}
        assert one.controls.canvas is None
        assert one.regions and one.hole[one.sample.labels.mask == PERSON].all()


def test_people_mode_without_a_person_is_released_only_on_request(street_set: Path, tiny_sd: Path) -> None:
    nobody = [{"kind": "labels", "classes": []}]
    config = parsed(people_value(street_set, tiny_sd, detect=nobody))
    sample = config.source.read(next(item for item in config.source.index().items if item.id == GOOD[1]))
    with pytest.raises(BadSample, match="no-region"):
        Preparer(config, config.source, "cpu").prepare(sample)
    config = parsed(people_value(street_set, tiny_sd, detect=nobody, no_region="release"))
    prepared = Preparer(config, config.source, "cpu").prepare(sample)
    assert prepared.controls.canvas is not None and np.array_equal(prepared.controls.canvas, sample.image)
    assert prepared.controls.hole is None or not prepared.controls.hole.any()


def prepared_of(size: tuple[int, int], bucket: tuple[int, int]) -> Prepared:
    sample = sample_of(size)
    hole = np.zeros(size[::-1], np.bool_)
    hole[size[1] // 4 : size[1] * 3 // 4, size[0] // 4 : size[0] * 3 // 4] = True
    return Prepared(sample, (), hole, bucket, Controls({}, bucket))


@pytest.mark.parametrize("size", [(64, 48), (97, 61), (30, 20), (64, 20)])
def test_scene_is_all_new_and_of_the_source_size(size: tuple[int, int]) -> None:
    painted = np.full((48, 64, 3), 77, np.uint8)
    output = restore(prepared_of(size, (64, 48)), painted, "scene")
    assert output.shape == (size[1], size[0], 3) and output.dtype == np.uint8
    assert (output == 77).all()


@pytest.mark.parametrize("size", [(64, 48), (97, 61), (128, 96)])
def test_people_keeps_the_outside_and_never_shows_the_inside(size: tuple[int, int]) -> None:
    prepared = prepared_of(size, (64, 48))
    painted = np.full((48, 64, 3), 77, np.uint8)
    output = restore(prepared, painted, "people")
    outside = ~prepared.hole
    assert np.array_equal(output[outside], prepared.sample.image[outside])
    deep = prepared.hole & ~dilate_outside(prepared.hole, 6)
    assert (output[deep] == 77).all() and deep.any()
    prepared.sample.image[prepared.hole] ^= 255
    assert np.array_equal(restore(prepared, painted, "people"), output), "the source's pixels inside have no say"


def dilate_outside(hole: np.ndarray, radius: int) -> np.ndarray:
    """What lies within `radius` of the outside, by brute force."""
    near = ~hole
    for _ in range(radius):
        padded = np.pad(near, 1)
        near = padded[1:-1, 1:-1] | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return near


@pytest.mark.parametrize("share", [0.0, 0.15, 0.5])
def test_hole_is_the_dilated_regions_at_the_source_size(street_set: Path, tiny_sd: Path, share: float) -> None:
    config = parsed(config_value(street_set, tiny_sd, dilate=share))
    sample = config.source.read(config.source.index().items[1])
    prepared = Preparer(config, config.source, "cpu").prepare(sample)
    assert np.array_equal(prepared.hole, dilate_regions(prepared.regions, sample.size, share))
