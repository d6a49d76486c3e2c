from __future__ import annotations

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.extractors.canny import Canny, canny_edges
from synthgen.types import Image

from .conftest import make_image, make_sample


def step(contrast: int, size: tuple[int, int]) -> Image:
    """A vertical edge of `contrast` gray levels in the middle of (width, height)."""
    image = np.full((size[1], size[0], 3), 100, dtype=np.uint8)
    image[:, size[0] // 2 :] += np.uint8(contrast)
    return image


@pytest.mark.parametrize("size", [(256, 192), (256, 384), (96, 64)])
def test_defaults_are_what_the_starter_was_trained_on(size: tuple[int, int]) -> None:
    image = make_image(3, size)
    sigma = max(0.5, 0.8 * (size[0] * size[1]) ** 0.5 / 222)
    blurred = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), sigma)
    expected = cv2.Canny(blurred, 60, 150, L2gradient=True)
    (control,) = Canny().load("cpu")([make_sample(image)])
    assert control.kind == "canny"
    assert control.image.shape == (size[1], size[0], 3)
    assert expected.any()
    assert all(np.array_equal(control.image[..., channel], expected) for channel in range(3))


def test_white_on_black_in_the_order_of_the_samples() -> None:
    samples = [make_sample(step(120, size)) for size in [(64, 48), (48, 80)]]
    controls = Canny().load("cpu")(samples)
    assert [control.image.shape for control in controls] == [(48, 64, 3), (80, 48, 3)]
    for control, sample in zip(controls, samples, strict=True):
        assert set(np.unique(control.image)) == {0, 255}
        columns = np.flatnonzero(control.image[..., 0].any(axis=0))
        assert abs(columns.mean() - sample.image.shape[1] / 2) <= 1


@pytest.mark.parametrize(
    ("contrast", "side", "scaled", "found"),
    [
        (70, 222, False, True),
        (30, 222, False, False),
        (70, 1024, False, False),
        (70, 1024, True, True),
        (30, 1024, True, False),
        (70, 512, True, True),
        (30, 512, True, False),
    ],
)
def test_scaled_thresholds_find_the_same_contrast_at_every_size(
    contrast: int, side: int, scaled: bool, found: bool
) -> None:
    edges = canny_edges(step(contrast, (side, side)), scale_thresholds=scaled)
    assert bool(edges.any()) == found


def test_higher_thresholds_leave_a_subset_of_edges() -> None:
    image = make_image(1, (128, 96))
    weak, strong = canny_edges(image, 20, 60), canny_edges(image, 60, 300)
    assert 0 < (strong > 0).sum() < (weak > 0).sum()
    assert not ((strong > 0) & (weak == 0)).any()


@pytest.mark.parametrize("keys", [{"low": 200, "high": 100}, {"low": 0}, {"sigma": 0}, {"lo": 50}])
def test_bad_keys_are_refused(keys: dict) -> None:
    with pytest.raises(ValidationError):
        Canny(**keys)
