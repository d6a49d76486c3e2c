"""Another camera and another light: tone, colour and grain. No pixel moves, so every label stays true.

Values are drawn in one fixed order whether a key is used or not, so adding a key changes no other draw. The order of
the effects is that of light: the scene (night, colour of the light, fog), then the lens (blur), then the sensor (gain,
gamma, noise).
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from synthgen.randomizers.base import Interval, Randomizer
from synthgen.types import Image, Labels

Pixels = NDArray[np.float32]
"""(height, width, 3), sRGB values, 0..1."""
LUMA = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
"""Rec. 709."""
PER_MIRED = 0.0051
"""Log gain of red (and loss of blue) in linear light a mired: half the change of ln(R/B) of a black body's sRGB white
between 6504 K and 3200 K (ratio 5.05 over 158.8 mired)."""
GREEN_PER_MIRED = 0.0005
"""The same for green: it falls slightly as red rises."""
NIGHT_TINT = np.array([0.78, 0.9, 1.25], dtype=np.float32)
BOUNDS: dict[str, tuple[float, float]] = {
    "night": (0, 1),
    "temperature": (-300, 300),
    "fog": (0, 1),
    "blur": (0, 50),
    "gain": (0, 8),
    "gamma": (0.1, 10),
    "noise": (0, 100),
}


class Photometric(Randomizer):
    """Each key is [low, high] or a number; a key that is left out has no effect."""

    kind: Literal["photometric"] = "photometric"
    night: Interval | None = None
    """0 as it is … 1 dark, bluish, little colour."""
    temperature: Interval | None = None
    """Shift of the light's colour in mired (10⁶/K): above 0 warmer, below 0 cooler; −300..300."""
    fog: Interval | None = None
    """Share of an even pale veil, 0..1."""
    blur: Interval | None = None
    """Standard deviation of a Gaussian in pixels of the output, 0..50."""
    gain: Interval | None = None
    """Factor on linear light, 0..8."""
    gamma: Interval | None = None
    """Exponent on sRGB values, 0.1..10; above 1 darker."""
    noise: Interval | None = None
    """Standard deviation of Gaussian grain, 0..100 of 255."""

    @model_validator(mode="after")
    def _in_bounds(self) -> Photometric:
        for key, (low, high) in BOUNDS.items():
            interval = getattr(self, key)
            if interval is not None and not low <= interval[0] <= interval[1] <= high:
                raise ValueError(f"{key}: expected values in {low:g}..{high:g}, got {list(interval)}")
        return self

    def apply(self, image: Image, labels: Labels, stream: np.random.Generator) -> tuple[Image, Labels]:
        """As `Randomizer`; the labels are returned as they are."""
        place = {key: float(stream.random()) for key in BOUNDS}
        grain_seed = int(stream.integers(1 << 62))
        value = {
            key: interval[0] + place[key] * (interval[1] - interval[0])
            for key in BOUNDS
            if (interval := getattr(self, key)) is not None
        }
        pixels: Pixels = image.astype(np.float32) / np.float32(255)
        if "night" in value:
            pixels = darken(pixels, value["night"])
        if "temperature" in value:
            pixels = warm(pixels, value["temperature"])
        if "fog" in value:
            pixels = pixels * np.float32(1 - value["fog"]) + np.float32(0.78 * value["fog"])
        if value.get("blur", 0) > 0:
            pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), value["blur"]), dtype=np.float32)
        if "gain" in value:
            pixels = _encode(_linear(pixels) * np.float32(value["gain"]))
        if "gamma" in value:
            pixels = pixels ** np.float32(value["gamma"])
        if "noise" in value:
            grain = np.random.default_rng(grain_seed).standard_normal(pixels.shape, dtype=np.float32)
            pixels = pixels + grain * np.float32(value["noise"] / 255)
        return _to_uint8(pixels), labels


def darken(pixels: Pixels, strength: float) -> Pixels:
    """A blend of the pixels with their night: a third of the colour, a steep curve, 30 % of the light, bluish."""
    gray = (pixels @ LUMA)[..., None]
    night = (np.float32(0.65) * pixels + np.float32(0.35) * gray) ** np.float32(1.5) * np.float32(0.3) * NIGHT_TINT
    return pixels * np.float32(1 - strength) + night * np.float32(strength)


def warm(pixels: Pixels, mired: float) -> Pixels:
    """The pixels under a light shifted by `mired`; the luminance of a white stays as it is."""
    gains = np.exp(np.array([PER_MIRED, -GREEN_PER_MIRED, -PER_MIRED]) * mired).astype(np.float32)
    return _encode(_linear(pixels) * (gains / (gains @ LUMA)))


def _linear(pixels: Pixels) -> Pixels:
    """sRGB to linear light (IEC 61966-2-1)."""
    linear: Pixels = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4).astype(np.float32)
    return linear


def _encode(linear: Pixels) -> Pixels:
    clipped = np.clip(linear, 0, 1)
    encoded = np.where(clipped <= 0.0031308, clipped * 12.92, 1.055 * clipped ** (1 / 2.4) - 0.055)
    return encoded.astype(np.float32)


def _to_uint8(pixels: Pixels) -> Image:
    return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
