"""What each protector does to a map, case by case."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.component import kinds, parse_component
from synthgen.palettes import load_palette
from synthgen.protectors.canvas import CanvasProtector
from synthgen.protectors.edges import EdgesProtector
from synthgen.protectors.silhouette import SilhouetteProtector
from synthgen.regions import dilate_regions
from synthgen.types import Box, ClassIds, ConfigError, ControlMap, Image, Mask, Region, SourceMaps

PALETTE = load_palette("starter")
ID = {name: id_ for id_, name in enumerate(PALETTE.names)}


def plain(value: int, size: tuple[int, int] = (20, 16)) -> Image:
    return np.full((size[1], size[0], 3), value, dtype=np.uint8)


def box_mask(x0: int, y0: int, x1: int, y1: int, size: tuple[int, int] = (20, 16)) -> Mask:
    mask = np.zeros((size[1], size[0]), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def segmentation(ids: ClassIds) -> SourceMaps:
    return SourceMaps({"segmentation": ControlMap("segmentation", PALETTE.paint(ids), ids, PALETTE.names)})


def test_the_kinds() -> None:
    assert {"canvas", "edges", "silhouette"} <= set(kinds("protectors"))


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(box_mask(0, 0, 0, 0), id="no regions"),
        pytest.param(box_mask(19, 15, 20, 16), id="one pixel at the border"),
        pytest.param(box_mask(3, 4, 12, 9), id="a box"),
        pytest.param(box_mask(3, 4, 12, 9) | box_mask(10, 2, 18, 7), id="overlapping"),
        pytest.param(box_mask(0, 0, 20, 16), id="the whole image"),
    ],
)
@pytest.mark.parametrize("kind", ["canny", "hed", "lineart", "scribble"])
def test_edges_are_black_inside_and_kept_outside(kind: str, mask: Mask) -> None:
    maps = EdgesProtector().load("cpu")(SourceMaps({kind: ControlMap(kind, plain(255))}), (), mask)
    assert not maps.maps[kind].image[mask].any()
    assert (maps.maps[kind].image[~mask] == 255).all()


def test_named_maps_alone() -> None:
    maps = SourceMaps({kind: ControlMap(kind, plain(255)) for kind in ("canny", "normal")})
    protected = EdgesProtector(maps=("canny",)).load("cpu")(maps, (), box_mask(2, 2, 9, 9))
    assert not protected.maps["canny"].image[2:9, 2:9].any()
    assert protected.maps["normal"].image.all()


def test_edges_leave_a_segmentation_alone() -> None:
    ids = np.full((16, 20), ID["person"], dtype=np.int32)
    maps = segmentation(ids)
    protected = EdgesProtector().load("cpu")(maps, (), box_mask(0, 0, 20, 16))
    assert protected.maps["segmentation"] is maps.maps["segmentation"]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        pytest.param(box_mask(8, 6, 12, 10), {(9, 7): 60}, id="the ring's median, not the inside's 200"),
        pytest.param(
            box_mask(8, 6, 12, 10) | box_mask(0, 0, 2, 2), {(9, 7): 60, (1, 1): 60}, id="each part its own, corner too"
        ),
        pytest.param(box_mask(0, 0, 20, 16), {(9, 7): 0, (0, 0): 0}, id="the whole image: nothing is known"),
    ],
)
def test_depth_is_flattened(mask: Mask, expected: dict[tuple[int, int], int]) -> None:
    image = plain(60)
    image[7:9, 9:11] = 200
    protected = EdgesProtector().load("cpu")(SourceMaps({"depth": ControlMap("depth", image)}), (), mask)
    for (x, y), value in expected.items():
        assert (protected.maps["depth"].image[y, x] == value).all()


def test_two_people_keep_their_own_depths() -> None:
    image = plain(30)
    image[:, 10:] = 220
    mask = box_mask(2, 4, 5, 9) | box_mask(15, 4, 18, 9)
    protected = EdgesProtector().load("cpu")(SourceMaps({"depth": ControlMap("depth", image)}), (), mask)
    depth = protected.maps["depth"].image
    assert (depth[4:9, 2:5] == 30).all() and (depth[4:9, 15:18] == 220).all()


def test_depth_can_be_dropped() -> None:
    mask = box_mask(8, 6, 12, 10)
    protected = EdgesProtector(depth="drop").load("cpu")(
        SourceMaps({"depth": ControlMap("depth", plain(60))}), (), mask
    )
    assert not protected.maps["depth"].image[mask].any()


def head(x0: float, y0: float, x1: float, y1: float) -> Region:
    return Region("head", Box(x0, y0, x1, y1), 0.9, "detector")


@pytest.mark.parametrize(
    ("regions", "drawn"),
    [
        pytest.param((), False, id="none"),
        pytest.param((head(20, 10, 44, 42),), True, id="a head"),
        pytest.param((head(-10, -10, 14, 22),), True, id="across the border"),
        pytest.param((head(200, 200, 230, 240),), False, id="outside"),
        pytest.param((head(5, 5, 6, 6),), True, id="a pixel"),
        pytest.param((Region("person", Box(20, 10, 44, 42), 0.9, "label"),), False, id="people have no ellipse"),
        pytest.param(
            (Region("head", Box(20, 10, 44, 42), 0.9, "label", box_mask(20, 26, 44, 27, (64, 64))),),
            True,
            id="an outline smaller than its box",
        ),
    ],
)
def test_ellipses_mark_heads_inside_the_mask_alone(regions: tuple[Region, ...], drawn: bool) -> None:
    size = (64, 64)
    mask = dilate_regions(regions, size, 0.15)
    maps = SourceMaps({"canny": ControlMap("canny", plain(0, size))})
    image = EdgesProtector(shape="ellipse").load("cpu")(maps, regions, mask).maps["canny"].image
    assert image.any() == drawn
    assert not image[~mask].any()


def test_ellipses_say_nothing_of_proportions() -> None:
    """A narrow and a wide box of one height, and the same coarse head in both where it fits."""
    size = (64, 64)
    outlines = []
    for half_width in (15, 20, 26):
        regions = (head(32 - half_width, 12, 32 + half_width, 52),)
        maps = SourceMaps({"canny": ControlMap("canny", plain(0, size))})
        mask = dilate_regions(regions, size, 0.15)
        outlines.append(EdgesProtector(shape="ellipse").load("cpu")(maps, regions, mask).maps["canny"].image)
    assert outlines[0].any()
    np.testing.assert_array_equal(outlines[0], outlines[1])
    np.testing.assert_array_equal(outlines[0], outlines[2])


def person_of_parts() -> ClassIds:
    ids = np.full((16, 20), ID["road"], dtype=np.int32)
    ids[2:5, 8:12] = ID["hair"]
    ids[5:7, 8:12] = ID["skin"]
    ids[7:14, 7:13] = ID["dress"]
    ids[9:11, 13:15] = ID["bag"]
    return ids


@pytest.mark.parametrize(
    ("parts", "from_labels", "kept"),
    [("auto", True, True), ("auto", False, False), ("keep", False, True), ("merge", True, False)],
)
def test_silhouette_keeps_what_is_released_anyway(
    parts: Literal["auto", "keep", "merge"], from_labels: bool, kept: bool
) -> None:
    control = replace(segmentation(person_of_parts()).maps["segmentation"], from_labels=from_labels)
    maps = SourceMaps({"segmentation": control})
    protected = SilhouetteProtector(parts=parts).load("cpu")(maps, (), box_mask(0, 0, 20, 16))
    assert (protected is maps) == kept


def test_merged_parts_are_one_person() -> None:
    ids = person_of_parts()
    mask = box_mask(5, 1, 16, 15)
    control = SilhouetteProtector(parts="merge", smooth=0).load("cpu")(segmentation(ids), (), mask).maps["segmentation"]
    expected = np.where(np.isin(ids, [ID["hair"], ID["skin"], ID["dress"]]), ID["person"], ids)
    np.testing.assert_array_equal(control.ids, expected)  # the bag is no part of a person
    np.testing.assert_array_equal(control.image, PALETTE.paint(expected))


def test_parts_outside_the_mask_stay() -> None:
    ids = person_of_parts()
    control = (
        SilhouetteProtector(parts="merge", smooth=0).load("cpu")(segmentation(ids), (), box_mask(0, 0, 20, 6)).maps
    )
    merged = control["segmentation"].ids
    assert merged is not None
    assert (merged[2:5, 8:12] == ID["person"]).all() and (merged[7:9, 7:13] == ID["dress"]).all()


def test_a_map_without_person_among_its_names_gains_it() -> None:
    ids = np.array([[0, 1], [2, 1]], dtype=np.int32)
    names = ("unknown", "hair", "road")
    image = np.zeros((2, 2, 3), dtype=np.uint8)
    maps = SourceMaps({"segmentation": ControlMap("segmentation", image, ids, names)})
    control = (
        SilhouetteProtector(parts="merge", smooth=0)
        .load("cpu")(maps, (), np.ones((2, 2), dtype=bool))
        .maps["segmentation"]
    )
    assert control.names == (*names, "person") and control.ids is not None
    assert [[control.names[id_] for id_ in row] for row in control.ids] == [["unknown", "person"], ["road", "person"]]
    assert tuple(control.image[0, 1]) == PALETTE.classes[ID["person"] - 1].color


@pytest.mark.parametrize(
    ("mask", "kept"),
    [
        pytest.param(box_mask(0, 0, 20, 16), False, id="inside: a spike of one pixel goes"),
        pytest.param(box_mask(0, 0, 5, 5), True, id="outside: it stays"),
    ],
)
def test_smooth_takes_off_what_sticks_out(mask: Mask, kept: bool) -> None:
    ids = np.full((16, 20), ID["road"], dtype=np.int32)
    ids[6:, 6:14] = ID["person"]
    ids[3:6, 10] = ID["person"]
    control = SilhouetteProtector(parts="merge", smooth=2).load("cpu")(segmentation(ids), (), mask).maps["segmentation"]
    assert control.ids is not None
    assert (control.ids[3, 10] == ID["person"]) == kept
    assert control.ids[12, 10] == ID["person"]
    np.testing.assert_array_equal(control.image, PALETTE.paint(control.ids))


def test_merge_comes_before_smooth() -> None:
    """Stripes of parts: smoothing alone would let the commonest part win, merged they are all person."""
    ids = np.full((16, 20), ID["road"], dtype=np.int32)
    ids[4:12, 4:16:2], ids[4:12, 5:16:2] = ID["hair"], ID["skin"]
    spec = SilhouetteProtector(parts="merge", smooth=1)
    control = spec.load("cpu")(segmentation(ids), (), box_mask(0, 0, 20, 16)).maps["segmentation"]
    assert control.ids is not None
    assert (control.ids[5:11, 5:15] == ID["person"]).all()


def test_another_palette_is_refused_by_name() -> None:
    ids = np.ones((2, 2), dtype=np.int32)
    maps = SourceMaps({"segmentation": ControlMap("segmentation", plain(9, (2, 2)), ids, ("unknown", "chandelier"))})
    with pytest.raises(ConfigError, match=r"chandelier.*`palette`"):
        SilhouetteProtector(parts="merge", smooth=0).load("cpu")(maps, (), np.ones((2, 2), dtype=bool))
    with pytest.raises(ConfigError, match="no palette"):
        SilhouetteProtector(palette="nowhere").load("cpu")


@pytest.mark.parametrize(
    "mask",
    [
        pytest.param(box_mask(0, 0, 0, 0), id="no regions"),
        pytest.param(box_mask(0, 15, 1, 16), id="one pixel at the border"),
        pytest.param(box_mask(3, 4, 12, 9), id="a box"),
        pytest.param(box_mask(0, 0, 20, 16), id="the whole image"),
    ],
)
def test_canvas_sets_the_hole_and_keeps_the_rest(mask: Mask) -> None:
    image = np.random.default_rng(2).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    protected = CanvasProtector().load("cpu")(SourceMaps({}, canvas=image), (), mask)
    assert protected.canvas is not None and protected.hole is not None
    np.testing.assert_array_equal(protected.hole, mask)
    np.testing.assert_array_equal(protected.canvas[~mask], image[~mask])
    if mask.sum() > 1:
        assert not np.array_equal(protected.canvas[mask], image[mask])


def test_canvas_keeps_an_earlier_hole() -> None:
    maps = SourceMaps({}, canvas=plain(50), hole=box_mask(0, 0, 3, 3))
    protected = CanvasProtector().load("cpu")(maps, (), box_mask(10, 10, 12, 12))
    np.testing.assert_array_equal(protected.hole, box_mask(0, 0, 3, 3) | box_mask(10, 10, 12, 12))


def test_no_canvas_no_hole() -> None:
    maps = SourceMaps({})
    assert CanvasProtector().load("cpu")(maps, (), box_mask(0, 0, 3, 3)) is maps


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "edges", "shape": "circle"},
        {"kind": "silhouette", "smooth": -1},
        {"kind": "canvas", "fill": "mean"},
    ],
)
def test_unknown_keys_and_values_are_errors(value: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        parse_component("protectors", value)
