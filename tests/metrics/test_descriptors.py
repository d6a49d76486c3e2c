"""Descriptors of pictures whose values are known."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.metrics.descriptors import GRID, LAB_BINS, describe_image, describe_labels, spectral_slope
from synthgen.types import Box, ClassInfo, Instance, Labels

TABLE = (ClassInfo(0, "sky"), ClassInfo(1, "car"), ClassInfo(9, "void", ignore=True))


@pytest.mark.parametrize(("colour", "lightness"), [((0, 0, 0), 0.0), ((255, 255, 255), 100.0), ((119, 119, 119), 50.0)])
def test_gray_has_its_lightness_no_colour_and_no_edges(colour: tuple[int, int, int], lightness: float) -> None:
    found = describe_image(np.full((60, 80, 3), colour, dtype=np.uint8))
    assert found.scalars[0] == pytest.approx(lightness, abs=0.5)
    assert found.scalars[1] == 0
    assert found.lab.sum(1) == pytest.approx([1, 1, 1])
    assert found.lab[1].argmax() in {LAB_BINS // 2, LAB_BINS // 2 - 1}


def test_edges_are_counted_at_one_scale() -> None:
    small = np.zeros((96, 128, 3), dtype=np.uint8)
    small[:, 64:] = 255
    large = small.repeat(4, axis=0).repeat(4, axis=1)
    one, two = describe_image(small).scalars, describe_image(large).scalars
    assert one[1] > 0 and two[1] == pytest.approx(one[1], rel=0.5)


@pytest.mark.parametrize("slope", [-1.0, -2.0, -3.0])
def test_spectral_slope_of_noise_with_that_slope(slope: float) -> None:
    random = np.random.default_rng(0)
    side = 256
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None])
    radius[0, 0] = 1
    noise = np.fft.ifft2(np.fft.fft2(random.normal(size=(side, side))) * radius ** (slope / 2)).real
    gray = (128 + 40 * (noise - noise.mean()) / noise.std()).clip(0, 255).astype(np.uint8)
    assert spectral_slope(gray) == pytest.approx(slope, abs=0.2)


@pytest.mark.parametrize("shape", [(8, 8), (300, 12), (64, 64)])
def test_flat_or_tiny_pictures_have_a_finite_slope(shape: tuple[int, int]) -> None:
    assert spectral_slope(np.full(shape, 7, dtype=np.uint8)) == 0.0


def test_instances_of_known_classes_are_objects() -> None:
    instances = (
        Instance(1, Box(0, 0, 10, 10)),
        Instance(1, Box(90, 90, 100, 100)),
        Instance(9, Box(0, 0, 100, 100)),
    )
    found = describe_labels(Labels(TABLE, instances=instances), (100, 100))
    assert found is not None
    assert (found.count, found.classes) == (2, frozenset({"car"}))
    assert np.flatnonzero(found.position).tolist() == [0, GRID * GRID - 1]
    assert found.size.sum() == 2 and found.size[6] == 2  # both 1 % of the image


def test_a_mask_has_one_object_a_class() -> None:
    mask = np.zeros((40, 80), dtype=np.int32)
    mask[:, 40:] = 1
    mask[:2] = 9
    found = describe_labels(Labels(TABLE, mask=mask), (40, 80))
    assert found is not None
    assert (found.count, found.classes) == (2, frozenset({"sky", "car"}))
    assert sorted(np.flatnonzero(found.position) % GRID) == [2, 6]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (Labels(), None),
        (Labels(image_class="cat"), frozenset({"cat"})),
        (Labels(TABLE), frozenset()),
    ],
)
def test_labels_without_objects(labels: Labels, classes: frozenset[str] | None) -> None:
    found = describe_labels(labels, (10, 10))
    assert (found.classes if found else None) == classes
