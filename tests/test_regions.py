"""The geometry of regions rounds outwards, and removed pixels are gone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthgen.regions import (
    MIN_GROWTH,
    NOTHING_KNOWN,
    clip_box,
    dilate_regions,
    mask_to_regions,
    remove_pixels,
    scale_mask,
    scale_regions,
)
from synthgen.types import Box, Mask, Region


def person(x0: float, y0: float, x1: float, y1: float, mask: Mask | None = None) -> Region:
    return Region("person", Box(x0, y0, x1, y1), 1.0, "label", mask)


def mask_of(rows: str) -> Mask:
    return np.array([[cell == "#" for cell in row] for row in rows.split()])


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        (Box(2, 3, 5, 7), Box(2, 3, 5, 7)),
        (Box(-4, -4, 3.5, 2), Box(0, 0, 3.5, 2)),
        (Box(8, 4, 20, 20), Box(8, 4, 10, 8)),
        (Box(-5, -5, 50, 50), Box(0, 0, 10, 8)),
        (Box(10, 0, 12, 4), None),
        (Box(0, -3, 4, 0), None),
    ],
)
def test_clip_box(box: Box, expected: Box | None) -> None:
    assert clip_box(box, (10, 8)) == expected


@pytest.mark.parametrize(
    ("mask", "size", "expected"),
    [
        # one pixel survives any reduction, and touches both targets where it straddles their border
        ("#......... .......... ..........", (2, 1), "#."),
        ("...... ..#... ...... ......", (3, 2), ".#. ..."),
        (".#.", (2, 1), "##"),
        ("#..", (2, 1), "#."),
        # enlarged
        ("#. ..", (4, 4), "##.. ##.. .... ...."),
        (".#", (3, 1), ".##"),
        # wider and lower at once
        ("#. .. .. ..", (4, 1), "##.."),
        ("#. .#", (2, 2), "#. .#"),
    ],
)
def test_scale_mask_keeps_all_that_is_touched(mask: str, size: tuple[int, int], expected: str) -> None:
    np.testing.assert_array_equal(scale_mask(mask_of(mask), size), mask_of(expected))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    source=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_scale_mask_is_the_support_of_area_scaling(seed: int, source: tuple[int, int], target: tuple[int, int]) -> None:
    mask = np.random.default_rng(seed).random(source[::-1]) < 0.1
    scaled = scale_mask(mask, target)
    for y, x in np.ndindex(scaled.shape):
        top, bottom = y * source[1] / target[1], (y + 1) * source[1] / target[1]
        left, right = x * source[0] / target[0], (x + 1) * source[0] / target[0]
        ys, xs = np.nonzero(mask)
        eps = 1e-9
        touched = ((ys < bottom - eps) & (ys + 1 > top + eps) & (xs < right - eps) & (xs + 1 > left + eps)).any()
        assert scaled[y, x] == touched


def test_scale_regions_scales_boxes_and_masks() -> None:
    regions = [person(2, 4, 6, 8), person(0, 0, 1, 1, mask_of("#... .... .... ...."))]
    scaled = scale_regions(regions, (4, 4), (8, 2))
    assert [region.box for region in scaled] == [Box(4, 2, 12, 4), Box(0, 0, 2, 0.5)]
    assert scaled[0].mask is None
    np.testing.assert_array_equal(scaled[1].mask, mask_of("##...... ........"))
    assert regions[0].box == Box(2, 4, 6, 8)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ("...", []),
        (".1.", [Box(1, 0, 2, 1)]),
        ("1.. ... ..2", [Box(0, 0, 1, 1), Box(2, 2, 3, 3)]),
        ("1.. .2. ...", [Box(0, 0, 2, 2)]),  # touching at a corner, and of two person classes: one component
        ("3.3 .3. 3.3", []),  # another class
        ("111 111 111", [Box(0, 0, 3, 3)]),
    ],
)
def test_mask_to_regions_finds_components(ids: str, expected: list[Box]) -> None:
    array = np.array([[0 if cell == "." else int(cell) for cell in row] for row in ids.split()], dtype=np.int32)
    regions = mask_to_regions(array, {1, 2}, "person")
    assert [region.box for region in regions] == expected
    assert all(region.kind == "person" and region.origin == "label" for region in regions)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), density=st.floats(0.01, 0.9))
def test_mask_to_regions_covers_every_pixel(seed: int, density: float) -> None:
    ids = (np.random.default_rng(seed).random((30, 40)) < density).astype(np.int32)
    ids[4:20, 10:12] = 1
    ids[4:6, 10:30] = 1
    covered = np.zeros(ids.shape, dtype=bool)
    for region in mask_to_regions(ids, (1,), "person"):
        if region.mask is None:
            box = region.box
            covered[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = True
        else:
            covered |= region.mask
    assert not ((ids == 1) & ~covered).any()


def test_mask_to_regions_outlines_a_large_component_exactly() -> None:
    ids = np.zeros((40, 40), dtype=np.int32)
    ids[5:35, 10] = ids[20, 5:30] = 7
    (region,) = mask_to_regions(ids, (7,), "person")
    assert region.box == Box(5, 5, 30, 35)
    np.testing.assert_array_equal(region.mask, ids == 7)


@pytest.mark.parametrize(
    ("regions", "share", "expected"),
    [
        pytest.param([], 0.5, [], id="no regions"),
        pytest.param([person(0, 0, 1, 1)], 0.0, [(0, 0, 3, 3)], id="one pixel at the corner"),
        pytest.param([person(19, 14, 20, 15)], 0.0, [(17, 12, 20, 15)], id="one pixel at the other corner"),
        pytest.param([person(8, 6, 12, 10)], 0.0, [(6, 4, 14, 12)], id="at least two pixels"),
        pytest.param([person(5, 5, 15, 7)], 0.3, [(2, 2, 18, 10)], id="share of the longer side"),
        pytest.param([person(8.4, 6.4, 8.6, 6.6)], 0.0, [(6, 4, 11, 9)], id="less than a pixel"),
        pytest.param([person(30, 30, 40, 40)], 0.1, [], id="far outside the frame"),
        pytest.param([person(-9, -9, -5, -5)], 0.1, [], id="far outside, before it"),
        pytest.param([person(21, 5, 25, 6)], 0.0, [(19, 3, 20, 8)], id="just outside the frame"),
        pytest.param([person(3, 3, 6, 6), person(5, 5, 8, 8)], 0.0, [(1, 1, 8, 8), (3, 3, 10, 10)], id="overlapping"),
        pytest.param([person(0, 0, 20, 15)], 0.1, [(0, 0, 20, 15)], id="the whole image"),
        pytest.param([person(-50, -50, 90, 90)], 0.1, [(0, 0, 20, 15)], id="more than the image"),
        pytest.param(
            [person(5, 5, 6, 6, np.zeros((15, 20), dtype=bool))], 0.0, [(3, 3, 8, 8)], id="an empty mask is its box"
        ),
    ],
)
def test_dilate_regions(regions: list[Region], share: float, expected: list[tuple[int, int, int, int]]) -> None:
    union = np.zeros((15, 20), dtype=bool)
    for x0, y0, x1, y1 in expected:
        union[y0:y1, x0:x1] = True
    np.testing.assert_array_equal(dilate_regions(regions, (20, 15), share), union)


@pytest.mark.parametrize(("point", "share"), [((0, 0), 0.0), ((10, 10), 0.0), ((20, 14), 3.0)])
def test_dilate_regions_grows_a_mask_by_a_disc(point: tuple[int, int], share: float) -> None:
    x, y = point
    mask = np.zeros((21, 30), dtype=bool)
    mask[y, x] = True
    grown = dilate_regions([person(x, y, x + 1, y + 1, mask)], (30, 21), share)
    ys, xs = np.mgrid[:21, :30]
    np.testing.assert_array_equal(grown, np.hypot(ys - y, xs - x) <= max(MIN_GROWTH, share))


def test_dilate_regions_refuses_a_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match=r"\(5, 4\).*\(20, 15\)"):
        dilate_regions([person(0, 0, 2, 2, np.ones((4, 5), dtype=bool))], (20, 15), 0.1)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), density=st.sampled_from([0.0, 0.02, 0.3, 0.9, 1.0]), solid=st.booleans())
def test_removed_pixels_leave_no_trace(seed: int, density: float, solid: bool) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    mask = rng.random((23, 31)) < density
    if solid:
        y, x = rng.integers(0, 23), rng.integers(0, 31)
        mask[y : y + 9, x : x + 12] = True
    before = image.copy()
    removed = remove_pixels(image, mask)
    other = image.copy()
    other[mask] = rng.integers(0, 256, (int(mask.sum()), 3), dtype=np.uint8)
    np.testing.assert_array_equal(remove_pixels(other, mask), removed)
    np.testing.assert_array_equal(removed[~mask], image[~mask])
    np.testing.assert_array_equal(image, before)


def test_opencv_alone_does_leave_a_trace() -> None:
    """Why `remove_pixels` blanks first: the same hole, other pixels in it, another fill."""
    image = np.full((20, 30, 3), 100, dtype=np.uint8)
    mask = np.zeros((20, 30), dtype=np.uint8)
    mask[:6, :6] = mask[-3:, 10:] = 1
    fills = []
    for inside in (0, 255):
        image[mask > 0] = inside
        fills.append(cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA))
    assert not np.array_equal(*fills)


def test_remove_pixels_fills_with_what_is_around() -> None:
    image = np.full((20, 20, 3), (200, 40, 90), dtype=np.uint8)
    mask = np.zeros((20, 20), dtype=bool)
    mask[6:14, 6:14] = True
    image[mask] = 0
    assert np.abs(remove_pixels(image, mask).astype(int) - (200, 40, 90)).max() <= 8


def test_remove_pixels_of_a_whole_image_leaves_grey() -> None:
    image = np.random.default_rng(0).integers(0, 256, (6, 7, 3), dtype=np.uint8)
    assert (remove_pixels(image, np.ones((6, 7), dtype=bool)) == NOTHING_KNOWN).all()


def test_remove_pixels_refuses_a_mask_of_another_size() -> None:
    with pytest.raises(ValueError, match="mask"):
        remove_pixels(np.zeros((4, 5, 3), dtype=np.uint8), np.zeros((5, 4), dtype=bool))
