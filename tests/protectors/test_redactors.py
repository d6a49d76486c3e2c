"""The classic methods: what they do inside a region, how their intensity counts, and that the outside stays."""

from __future__ import annotations

from collections import Counter
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from synthgen.component import component_class, kinds, parse_component
from synthgen.protectors.base import Redactor
from synthgen.regions import dilate_regions
from synthgen.types import Image, Mask

from .conftest import random_regions

METHODS: dict[str, dict[str, Any]] = {
    "blur": {"sigma": 3},
    "pixelate": {"block": 8},
    "solid": {"color": [10, 20, 30]},
    "inpaint": {},
    "tiles": {"size": 6},
    "shuffle": {"size": 5},
    "color": {"amount": 0.8},
    "warp": {"amount": 5},
}
SEEDED = ("tiles", "shuffle", "color", "warp")


def spec_of(kind: str, **keys: Any) -> Redactor:
    return parse_component("protectors", {"kind": kind, **METHODS[kind], **keys})


def run(kind: str, image: Image, mask: Mask, seed: int = 0, **keys: Any) -> Image:
    return spec_of(kind, **keys).load("cpu")(image, mask, np.random.default_rng(seed))


def photo(size: tuple[int, int] = (64, 48), seed: int = 0) -> Image:
    """Smooth colours with edges: what blurring, bending and recolouring visibly change."""
    rng = np.random.default_rng(seed)
    image = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC)
    cv2.circle(image, (size[0] // 2, size[1] // 2), 9, (250, 240, 20), -1)
    return image


def box(x0: int, y0: int, x1: int, y1: int, size: tuple[int, int] = (64, 48)) -> Mask:
    mask = np.zeros(size[::-1], dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


MASKS = {
    "a box": box(20, 10, 44, 38),
    "two parts": box(4, 4, 20, 20) | box(40, 20, 60, 44),
    "across the border": box(0, 30, 30, 48),
    "a disc": (np.hypot(*np.mgrid[-24:24, -32:32]) < 15),
    "all": box(0, 0, 64, 48),
}


def test_every_redactor_is_tried() -> None:
    there = {kind for kind in kinds("protectors") if issubclass(component_class("protectors", kind), Redactor)}
    assert there == set(METHODS)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
@pytest.mark.parametrize("kind", METHODS)
def test_the_outside_stays_and_the_inside_goes(kind: str, mask: Mask) -> None:
    image = photo()
    before = image.copy()
    treated = run(kind, image, mask)
    assert treated.shape == image.shape and treated.dtype == np.uint8
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(treated[~mask], image[~mask])
    assert (treated[mask] != image[mask]).any(axis=1).mean() > 0.6


@pytest.mark.parametrize("kind", METHODS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 5), share=st.sampled_from([0.0, 0.3]))
def test_any_region_is_taken(kind: str, seed: int, count: int, share: float) -> None:
    """One pixel, slivers, holes, outside the frame, nothing at all."""
    rng = np.random.default_rng(seed)
    image = photo((40, 30), seed % 7)
    mask = dilate_regions(random_regions(rng, (40, 30), count), (40, 30), share)
    if seed % 3 == 0:
        mask &= rng.random(mask.shape) < 0.5
    treated = run(kind, image, mask, seed)
    np.testing.assert_array_equal(treated[~mask], image[~mask])


@pytest.mark.parametrize("kind", METHODS)
def test_nothing_found_changes_nothing_and_all_means_all(kind: str) -> None:
    image, nothing = photo(), box(0, 0, 0, 0)
    np.testing.assert_array_equal(run(kind, image, nothing), image)
    everywhere = run(kind, image, nothing, region="all")
    assert (everywhere != image).any(axis=2).mean() > 0.6
    np.testing.assert_array_equal(everywhere, run(kind, image, ~nothing))


@pytest.mark.parametrize("kind", METHODS)
def test_the_stream_alone_is_drawn_from(kind: str) -> None:
    image, mask = photo(), MASKS["a disc"]
    one, same, other = (run(kind, image, mask, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.array_equal(one, other) == (kind not in SEEDED)


def detail(image: Image, mask: Mask) -> float:
    """Mean size of the gradient inside the mask."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return float(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))[mask].mean())


@pytest.mark.parametrize(
    ("kind", "key", "values"), [("blur", "sigma", (1, 3, 9)), ("pixelate", "block", (2, 8, 24))], ids=["blur", "pixels"]
)
def test_more_of_it_leaves_less(kind: str, key: str, values: tuple[int, ...]) -> None:
    image, mask = photo((96, 72)), box(10, 10, 86, 62, (96, 72))
    small = [
        cv2.resize(run(kind, image, mask, **{key: value}), (48, 36), interpolation=cv2.INTER_AREA) for value in values
    ]
    faint = [
        float(np.abs(one.astype(int) - cv2.resize(image, (48, 36), interpolation=cv2.INTER_AREA)).mean())
        for one in small
    ]
    assert faint == sorted(faint) and faint[0] < faint[-1]


@pytest.mark.parametrize(
    ("kind", "key", "values"), [("color", "amount", (0.1, 0.4, 1)), ("warp", "amount", (1, 4, 10))]
)
def test_more_of_it_moves_further(kind: str, key: str, values: tuple[float, ...]) -> None:
    image, mask = photo((96, 72)), box(10, 10, 86, 62, (96, 72))
    far = [np.abs(run(kind, image, mask, **{key: value}).astype(int) - image).mean() for value in values]
    assert far == sorted(far)


def test_a_mosaic_block_is_the_mean_of_its_own_region_alone() -> None:
    image = photo()
    mask = box(3, 5, 30, 29)
    treated = run("pixelate", image, mask, block=8)
    np.testing.assert_array_equal(treated[9, 9], np.rint(image[8:16, 8:16].mean(axis=(0, 1))))
    np.testing.assert_array_equal(treated[6, 4], np.rint(image[5:8, 3:8].mean(axis=(0, 1))))
    outside = image.copy()
    outside[~mask] = 0
    np.testing.assert_array_equal(run("pixelate", outside, mask, block=8)[mask], treated[mask])


def test_a_solid_mask_is_its_colour() -> None:
    assert (run("solid", photo(), MASKS["a disc"])[MASKS["a disc"]] == (10, 20, 30)).all()


@pytest.mark.parametrize("kind", ["solid", "inpaint"])
def test_what_replaces_pixels_does_not_read_them(kind: str) -> None:
    image, mask = photo(), MASKS["two parts"]
    marked = image.copy()
    marked[mask] = np.random.default_rng(4).integers(0, 256, (mask.sum(), 3))
    np.testing.assert_array_equal(run(kind, image, mask), run(kind, marked, mask))


def squares(image: Image, side: int) -> list[bytes]:
    height, width = image.shape[:2]
    return [image[y : y + side, x : x + side].tobytes() for y in range(0, height, side) for x in range(0, width, side)]


def test_tiles_all_change_places_and_none_is_lost() -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    before, after = squares(image, 8), squares(run("tiles", image, MASKS["all"], size=8), 8)
    assert Counter(before) == Counter(after)
    assert not any(one == other for one, other in zip(before, after, strict=True))


def test_a_small_region_has_smaller_tiles() -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    mask = box(20, 20, 28, 28)
    treated = run("tiles", image, mask, size=64)
    assert Counter(squares(image[20:28, 20:28], 4)) == Counter(squares(treated[20:28, 20:28], 4))
    assert not np.array_equal(treated, image)


def test_a_patch_keeps_its_pixels_in_another_order() -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    treated = run("shuffle", image, MASKS["all"], size=8)
    for y in range(0, 48, 8):
        for x in range(0, 64, 8):
            one, other = image[y : y + 8, x : x + 8].reshape(-1, 3), treated[y : y + 8, x : x + 8].reshape(-1, 3)
            assert sorted(map(tuple, one)) == sorted(map(tuple, other)) and not np.array_equal(one, other)


def test_a_bend_fades_out_at_the_border_of_the_region() -> None:
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 48, axis=0).repeat(3, axis=2)
    mask = box(8, 8, 56, 40)
    moved = np.abs(run("warp", ramp, mask, amount=6).astype(int) - ramp)[..., 0]
    assert moved[8, 8:56].max() <= 255 / 63 * 2 and moved[8:40, 8:56].max() > 255 / 63 * 3


@pytest.mark.parametrize(
    "value",
    [
        {"kind": "blur", "sigma": 0},
        {"kind": "blur", "sigma": float("nan")},
        {"kind": "pixelate", "block": 1},
        {"kind": "solid", "color": [0, 0, 256]},
        {"kind": "solid", "color": [0, 0]},
        {"kind": "tiles", "size": 0},
        {"kind": "color", "amount": 2},
        {"kind": "warp", "amount": -1},
        {"kind": "blur", "region": "faces"},
        {"kind": "inpaint", "strength": "strict"},
    ],
    ids=str,
)
def test_intensities_that_mean_nothing_are_refused(value: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        parse_component("protectors", value)
