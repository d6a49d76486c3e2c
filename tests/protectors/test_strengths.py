"""The scale of strength, step by step: what of a region is left in each sort of map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from synthgen.palettes import load_palette
from synthgen.protectors._figures import far_to_near, figure_of
from synthgen.protectors.base import STRENGTHS, Strength, coarse_regions
from synthgen.protectors.edges import EdgesProtector
from synthgen.protectors.silhouette import SilhouetteProtector, fill_from_around
from synthgen.regions import dilate_regions
from synthgen.types import Box, ClassIds, ControlMap, Mask, Region, RegionKind, SourceMaps

PALETTE = load_palette("starter")
ID = {name: id_ for id_, name in enumerate(PALETTE.names)}
SIZE = (80, 96)
SHAPE = SIZE[::-1]


def region(kind: RegionKind, box: tuple[float, float, float, float], mask: Mask | None = None) -> Region:
    return Region(kind, Box(*box), 0.9, "detector", mask)


def outline() -> Mask:
    """A person with a jagged outline: a head, arms that stick out, two legs."""
    mask = np.zeros(SHAPE, dtype=bool)
    mask[12:24, 34:44], mask[24:56, 28:50], mask[56:84, 30:37], mask[56:84, 41:48] = True, True, True, True
    mask[30:33, 20:58] = True
    return mask


PERSON = region("person", (20, 12, 58, 84), outline())
HEAD = region("head", (32, 10, 46, 26))
REGIONS = (PERSON, HEAD)
MASK = dilate_regions(REGIONS, SIZE, 0.15)


def labelled_ids() -> ClassIds:
    ids = np.full(SHAPE, ID["building"], dtype=np.int32)
    ids[60:] = ID["road"]
    ids[outline()] = ID["upper clothes"]
    ids[12:16, 34:44] = ID["hair"]
    return ids


def maps_of(ids: ClassIds, from_labels: bool) -> SourceMaps:
    white = np.full((*SHAPE, 3), 255, dtype=np.uint8)
    grey = np.full((*SHAPE, 3), 90, dtype=np.uint8)
    grey[MASK] = 200
    seg = ControlMap("segmentation", PALETTE.paint(ids), ids, PALETTE.names, from_labels)
    return SourceMaps({"canny": ControlMap("canny", white), "depth": ControlMap("depth", grey), "segmentation": seg})


def protected(strength: Strength, maps: SourceMaps, regions: tuple[Region, ...] = REGIONS) -> SourceMaps:
    shapes = coarse_regions(regions, strength)
    for spec in (EdgesProtector().at(strength), SilhouetteProtector().at(strength)):
        maps = spec.load("cpu")(maps, shapes, MASK)
    return maps


def ids_of(strength: Strength, from_labels: bool) -> ClassIds:
    found = np.full(SHAPE, ID["building"], dtype=np.int32)
    ids = protected(strength, maps_of(labelled_ids() if from_labels else found, from_labels)).maps["segmentation"].ids
    assert ids is not None
    return ids


@pytest.mark.parametrize("strength", STRENGTHS)
def test_edge_maps(strength: Strength) -> None:
    image = protected(strength, maps_of(labelled_ids(), True)).maps["canny"].image
    assert image[MASK].any() == (strength == "light")
    assert image[~MASK].any() == (strength != "strict")


@pytest.mark.parametrize("strength", STRENGTHS)
def test_depth(strength: Strength) -> None:
    image = protected(strength, maps_of(labelled_ids(), True)).maps["depth"].image
    assert (image[MASK] == (0 if strength == "strict" else 90)).all() and (image[~MASK] == 90).all()


@pytest.mark.parametrize("strength", STRENGTHS)
def test_regions_become_boxes(strength: Strength) -> None:
    boxes = STRENGTHS.index(strength) >= 2
    assert all((one.mask is None) == (boxes or one is not PERSON) for one in coarse_regions(REGIONS, strength))


def test_labelled_masks() -> None:
    before = labelled_ids()
    for kept in ("light", "standard"):
        np.testing.assert_array_equal(ids_of(kept, True), before)
    strong, strict = ids_of("strong", True), ids_of("strict", True)
    parts = [ID["hair"], ID["upper clothes"]]
    assert not np.isin(strong, parts).any() and (strong[30, 22] == ID["building"]), "no parts, no thin arm"
    assert (strong[40, 30:48] == ID["person"]).all()
    figures = (figure_of(replace(PERSON, mask=None), SHAPE) | figure_of(HEAD, SHAPE)) & MASK
    np.testing.assert_array_equal(strict == ID["person"], figures)
    assert not np.isin(strict, parts).any()


def test_found_class_maps() -> None:
    """The segmenter saw no person and calls the place a building; people are painted where they were detected."""
    light = ids_of("light", False) == ID["person"]
    assert (light & outline()).sum() > 0.8 * outline().sum() and not light[31, 20:24].any(), "its outline, smoothed"
    figures = (figure_of(replace(PERSON, mask=None), SHAPE) | figure_of(HEAD, SHAPE)) & MASK
    for strength in ("standard", "strong", "strict"):
        np.testing.assert_array_equal(ids_of(strength, False) == ID["person"], figures)
        assert set(np.unique(ids_of(strength, False))) == {ID["building"], ID["person"]}


@pytest.mark.parametrize("from_labels", [True, False])
def test_maps_are_painted_as_their_ids_say_and_kept_outside(from_labels: bool) -> None:
    before = maps_of(labelled_ids(), from_labels).maps["segmentation"]
    assert before.ids is not None
    for strength in STRENGTHS:
        after = protected(strength, maps_of(labelled_ids(), from_labels)).maps["segmentation"]
        assert after.ids is not None
        np.testing.assert_array_equal(after.image, PALETTE.paint(after.ids))
        np.testing.assert_array_equal(after.ids[~MASK], before.ids[~MASK])


def test_two_people_of_one_box_leave_the_same_maps() -> None:
    """From `strong` on nothing but the box of a detected person is left, in the maps and in the hole."""
    other = outline()[:, ::-1].copy() & (np.indices(SHAPE)[0] > 20)
    other[12, 20] = other[83, 57] = True
    for strength in ("strong", "strict"):
        maps, holes = [], []
        for shape in (outline(), other):
            regions = coarse_regions((replace(PERSON, mask=shape), HEAD), strength)
            holes.append(dilate_regions(regions, SIZE, 0.15))
            ids = np.full(SHAPE, ID["building"], dtype=np.int32)
            maps.append(protected(strength, maps_of(ids, False), regions))
        np.testing.assert_array_equal(*holes)
        for kind in maps[0].maps:
            np.testing.assert_array_equal(maps[0].maps[kind].image, maps[1].maps[kind].image)


def test_plates_and_text_get_no_figure() -> None:
    for kind in ("plate", "text"):
        regions = (region(kind, (20, 40, 60, 60)),)
        ids = (
            protected("standard", maps_of(np.full(SHAPE, ID["car"], np.int32), False), regions).maps["segmentation"].ids
        )
        assert ids is not None and (ids == ID["car"]).all()


def test_a_protector_may_have_a_strength_of_its_own() -> None:
    spec = EdgesProtector(strength="light")
    assert spec.at("strict") is spec and EdgesProtector().at("strict").strength == "strict"
    assert EdgesProtector().step == STRENGTHS.index("standard")


@pytest.mark.parametrize(
    "box",
    [
        (20, 10, 40, 90),
        (10, 40, 70, 60),
        (0, 0, 1, 1),
        (-20, -30, 30, 60),
        (70, 80, 200, 300),
        (30.2, 11.7, 33.9, 20.1),
    ],
    ids=["standing", "wide", "a pixel", "cut off above", "cut off below", "small"],
)
@pytest.mark.parametrize("kind", ["person", "head", "face"])
def test_figures_lie_in_their_box(kind: RegionKind, box: tuple[float, float, float, float]) -> None:
    figure = figure_of(region(kind, box), SHAPE)
    assert figure.any()
    ys, xs = np.nonzero(figure)
    assert xs.min() >= np.floor(box[0]) - 1 and xs.max() <= np.ceil(box[2]) + 1
    assert ys.min() >= np.floor(box[1]) - 1 and ys.max() <= np.ceil(box[3]) + 1


def test_a_nearer_head_covers_a_farther_one() -> None:
    far, near = region("head", (20, 20, 44, 52)), region("head", (30, 20, 66, 68))
    assert far_to_near([near, far]) == [far, near]
    maps = SourceMaps({"canny": ControlMap("canny", np.zeros((*SHAPE, 3), np.uint8))})
    mask = np.ones(SHAPE, dtype=bool)
    spec = EdgesProtector(shape="ellipse").load("cpu")
    both, alone = (spec(maps, heads, mask).maps["canny"].image[..., 0] for heads in ((near, far), (near,)))
    inside = figure_of(near, SHAPE)
    np.testing.assert_array_equal(both[inside], alone[inside])
    assert both[~inside].any()


def test_a_hole_takes_the_nearest_class() -> None:
    ids = np.array([[1, 9, 9, 9, 2], [1, 1, 9, 2, 2]], dtype=np.int32)
    filled = fill_from_around(ids, ids == 9)
    assert filled[0].tolist() in ([1, 1, 1, 2, 2], [1, 1, 2, 2, 2]) and not (filled == 9).any()
    assert (fill_from_around(ids, np.ones_like(ids, dtype=bool)) == 0).all()
    assert fill_from_around(ids, np.zeros_like(ids, dtype=bool)) is ids
