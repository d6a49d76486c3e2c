"""The privacy boundary: other pixels inside the mask, and not one byte of what a generator gets may change.

A marker pattern is planted inside the protected pixels of a random image. Every chain of protectors must give the same
`Controls` with and without it.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthgen.component import parse_component
from synthgen.protectors.base import Protector
from synthgen.regions import dilate_regions, remove_pixels, scale_mask, scale_regions
from synthgen.types import BadSample, ClassIds, Image, Mask, Region, SourceMaps, seal

from .conftest import extract, random_regions, same

SIZE = (64, 48)
CHAINS: dict[str, list[dict[str, object]]] = {
    "canvas": [{"kind": "canvas"}],
    "edges": [{"kind": "edges"}],
    "ellipse": [{"kind": "edges", "shape": "ellipse", "depth": "drop"}],
    "silhouette": [{"kind": "silhouette", "parts": "merge", "smooth": 3}],
    "all": [{"kind": "edges"}, {"kind": "silhouette", "smooth": 2}, {"kind": "canvas"}],
    "all, another order": [{"kind": "canvas"}, {"kind": "silhouette", "parts": "merge"}, {"kind": "edges"}],
    "none": [],
}


def run_chain(chain: str, maps: SourceMaps, regions: tuple[Region, ...], mask: Mask) -> SourceMaps:
    for value in CHAINS[chain]:
        protector: Protector = parse_component("protectors", value)
        maps = protector.load("cpu")(maps, regions, mask)
    return maps


def plant_marker(image: Image, inside: Mask, rng: np.random.Generator) -> Image:
    marked = image.copy()
    stripes = (np.indices(inside.shape).sum(axis=0) % 3 * 127)[..., None].repeat(3, axis=2).astype(np.uint8)
    marked[inside] = (stripes ^ rng.integers(0, 256, image.shape, dtype=np.uint8))[inside]
    return marked


def random_ids(rng: np.random.Generator) -> ClassIds:
    blocks = rng.integers(0, 21, (SIZE[1] // 8, SIZE[0] // 8)).astype(np.int32)
    return blocks.repeat(8, axis=0).repeat(8, axis=1)


@pytest.mark.parametrize("chain", CHAINS)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 4), share=st.sampled_from([0.0, 0.15, 1.0]))
def test_removed_before_extraction_nothing_leaks_at_all(chain: str, seed: int, count: int, share: float) -> None:
    """The strong form, for every map in full: inside the mask, at its border and outside, for any filter."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    regions, ids = random_regions(rng, SIZE, count), random_ids(rng)
    mask = dilate_regions(regions, SIZE, share)

    def protected(pixels: Image) -> SourceMaps:
        return run_chain(chain, extract(remove_pixels(pixels, mask), ids), regions, mask)

    assert same(protected(image), protected(plant_marker(image, mask, rng)))


@pytest.mark.parametrize("bucket", [(32, 24), (96, 64), (40, 72)])
@pytest.mark.parametrize("interpolation", [cv2.INTER_CUBIC, cv2.INTER_LANCZOS4, cv2.INTER_AREA])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_removed_before_scaling_any_interpolation_is_safe(
    bucket: tuple[int, int], interpolation: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    regions = random_regions(rng, SIZE, 3)
    mask = dilate_regions(regions, SIZE, 0.15)
    ids = np.zeros((bucket[1], bucket[0]), dtype=np.int32)
    scaled = tuple(scale_regions(regions, SIZE, bucket))

    def protected(pixels: Image) -> SourceMaps:
        small = cv2.resize(remove_pixels(pixels, mask), bucket, interpolation=interpolation)
        return run_chain("all", extract(small, ids), scaled, scale_mask(mask, bucket))

    assert same(protected(image), protected(plant_marker(image, mask, rng)))


@pytest.mark.parametrize("bucket", [(32, 24), (25, 17), (64, 48), (7, 5)])
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_removed_after_area_scaling_down_is_safe_too(bucket: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    regions = random_regions(rng, SIZE, 3)
    source_mask = dilate_regions(regions, SIZE, 0.0)
    scaled = tuple(scale_regions(regions, SIZE, bucket))
    mask = dilate_regions(scaled, bucket, 0.15) | scale_mask(source_mask, bucket)
    ids = np.zeros((bucket[1], bucket[0]), dtype=np.int32)

    def protected(pixels: Image) -> SourceMaps:
        small = cv2.resize(pixels, bucket, interpolation=cv2.INTER_AREA)
        return run_chain("all", extract(remove_pixels(small, mask), ids), scaled, mask)

    assert same(protected(image), protected(plant_marker(image, source_mask, rng)))


@pytest.mark.parametrize("chain", ["canvas", "edges", "ellipse", "all", "all, another order"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 4))
def test_a_protector_by_itself_writes_nothing_from_inside(chain: str, seed: int, count: int) -> None:
    """The weak form, for maps extracted from the source itself: what is inside the mask comes from outside alone."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    regions, ids = random_regions(rng, SIZE, count), random_ids(rng)
    mask = dilate_regions(regions, SIZE, 0.15)
    maps = extract(image, ids)
    marked = SourceMaps(
        {
            kind: control if kind == "segmentation" else replace(control, image=plant_marker(control.image, mask, rng))
            for kind, control in maps.maps.items()
        },
        canvas=plant_marker(image, mask, rng),
    )
    first, second = run_chain(chain, maps, regions, mask), run_chain(chain, marked, regions, mask)
    for kind in ("canny", "hed", "lineart", "depth") if chain != "canvas" else ():
        np.testing.assert_array_equal(first.maps[kind].image, second.maps[kind].image)
    if chain not in ("edges", "ellipse"):
        np.testing.assert_array_equal(first.canvas, second.canvas)


def test_extraction_before_removal_leaks_past_any_dilation() -> None:
    """Why pixels go before the extractors run: an edge that starts in the mask decides about one far outside it."""
    image = np.full((40, 120, 3), 100, dtype=np.uint8)
    image[20:, :] = 120  # a weak edge, kept by hysteresis only where it is linked to a strong one
    mask = np.zeros((40, 120), dtype=bool)
    mask[:, :20] = True
    marked = image.copy()
    marked[20:, :14] = 160
    ids = np.zeros((40, 120), dtype=np.int32)
    far = np.s_[:, 60:]
    plain, leaking = (run_chain("edges", extract(pixels, ids), (), mask) for pixels in (image, marked))
    assert not np.array_equal(plain.maps["canny"].image[far], leaking.maps["canny"].image[far])
    sealed = [run_chain("edges", extract(remove_pixels(pixels, mask), ids), (), mask) for pixels in (image, marked)]
    assert same(replace(sealed[0], canvas=None), replace(sealed[1], canvas=None))


@pytest.mark.parametrize("chain", CHAINS)
def test_no_input_is_changed_in_place(chain: str) -> None:
    rng = np.random.default_rng(5)
    image = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    regions, ids = random_regions(rng, SIZE, 4), random_ids(rng)
    mask = dilate_regions(regions, SIZE, 0.15)
    maps, untouched = extract(image, ids), extract(image.copy(), ids.copy())
    mask_before = mask.copy()
    protected = run_chain(chain, maps, regions, mask)
    assert same(maps, untouched)
    np.testing.assert_array_equal(mask, mask_before)
    for kind, control in protected.maps.items():
        np.testing.assert_array_equal(control.image[~mask], maps.maps[kind].image[~mask])


def test_seal_takes_a_canvas_only_after_the_canvas_protector() -> None:
    rng = np.random.default_rng(6)
    image = rng.integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8)
    regions = random_regions(rng, SIZE, 3)
    mask = dilate_regions(regions, SIZE, 0.15)
    maps = extract(image, random_ids(rng))
    with pytest.raises(BadSample, match="canvas-not-protected"):
        seal(run_chain("edges", maps, regions, mask), mask, SIZE)
    controls = seal(run_chain("all", maps, regions, mask), mask, SIZE)
    assert controls.hole is not None
    np.testing.assert_array_equal(controls.hole, mask)
