"""Measured values against cases whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from synthgen.measurements import colour_temperature, measure


def flat(*rgb: int) -> np.ndarray:
    return np.full((40, 60, 3), rgb, np.uint8)


@pytest.mark.parametrize(
    ("image", "name", "expected", "tolerance"),
    [
        (flat(0, 0, 0), "luminance", 0, 0.01),
        (flat(255, 255, 255), "luminance", 100, 0.01),
        (flat(119, 119, 119), "luminance", 50, 0.6),
        (flat(119, 119, 119), "saturation", 0, 0.1),
        (flat(255, 0, 0), "saturation", 104.6, 0.5),
        (flat(90, 90, 90), "contrast", 0, 0.01),
        (flat(90, 90, 90), "sharpness", 0, 0),
        (flat(200, 200, 200), "temperature", 6504, 40),
    ],
    ids=str,
)
def test_known_values(image: np.ndarray, name: str, expected: float, tolerance: float) -> None:
    assert measure(image)[name] == pytest.approx(expected, abs=tolerance)


@pytest.mark.parametrize("rgb", [(0, 0, 0), (0, 255, 0), (0, 0, 255)])
def test_no_temperature_where_there_is_none(rgb: tuple[int, int, int]) -> None:
    assert measure(flat(*rgb))["temperature"] is None


def test_candle_light_is_near_its_kelvin() -> None:
    """sRGB of a black body at 3200 K, from the CIE daylight and Planckian tables: (255, 184, 123)."""
    pixels = np.array([255, 184, 123]).reshape(1, 1, 3) / 255
    assert colour_temperature(pixels) == pytest.approx(3200, rel=0.06)
