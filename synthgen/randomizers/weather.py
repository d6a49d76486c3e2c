"""Weather laid over the output: streaks of rain, flakes of snow, patchy fog that thins towards the camera.

These are overlays, not physics: they move what a detector must get used to (contrast, veils, bright specks) and leave
every label where it is. What the generator can paint by itself is better asked for in the prompt.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import field_validator

from synthgen.randomizers.base import Interval, Randomizer, draw
from synthgen.types import Image, Labels

Pixels = NDArray[np.float32]
"""(height, width, 3), 0..1."""
Layer = NDArray[np.float32]
"""(height, width), 0..1."""
FAR, NEAR = 1.0, 0.35
"""Density of the fog at the top and at the bottom of the frame."""


class Weather(Randomizer):
    """`amount` is how dense it is, 0 nothing … 1 hardly anything else."""

    kind: Literal["weather"] = "weather"
    effect: Literal["rain", "snow", "fog"]
    amount: Interval = (0.2, 0.6)

    @field_validator("amount")
    @classmethod
    def _share(cls, amount: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= amount[0] <= amount[1] <= 1:
            raise ValueError(f"expected values in 0..1, got {list(amount)}")
        return amount

    def apply(self, image: Image, labels: Labels, stream: np.random.Generator) -> tuple[Image, Labels]:
        """As `Randomizer`; the labels are returned as they are."""
        amount = draw(self.amount, stream)
        pixels: Pixels = image.astype(np.float32) / np.float32(255)
        overlaid = _EFFECTS[self.effect](pixels, amount, stream)
        return np.rint(np.clip(overlaid, 0, 1) * 255).astype(np.uint8), labels


def _rain(pixels: Pixels, amount: float, stream: np.random.Generator) -> Pixels:
    """Slanted streaks a twelfth of the height long, and a flatter, darker scene behind them."""
    height, width = pixels.shape[:2]
    drops = (stream.random((height, width)) < 0.01 * amount).astype(np.float32)
    streaks = np.clip(_smear(drops, max(3, height // 12), float(stream.uniform(-20, 20))), 0, 1)
    scene = _flatten(pixels, 0.4 * amount) * np.float32(1 - 0.15 * amount)
    cover = (streaks * np.float32(0.6))[..., None]
    return scene * (1 - cover) + cover * np.float32(0.85)


def _snow(pixels: Pixels, amount: float, stream: np.random.Generator) -> Pixels:
    """Flakes of two sizes over a veil."""
    height, width = pixels.shape[:2]
    cover: Layer = np.zeros((height, width), np.float32)
    for share, radius in ((0.012, height / 400), (0.003, height / 160)):
        flakes = (stream.random((height, width)) < share * amount).astype(np.float32)
        sigma = max(0.6, radius)
        cover += np.asarray(cv2.GaussianBlur(flakes, (0, 0), sigma), dtype=np.float32) * np.float32(7 * sigma**2)
    scene = _flatten(pixels, 0.4 * amount) * np.float32(1 - 0.3 * amount) + np.float32(0.3 * 0.85 * amount)
    opaque = (np.clip(cover, 0, 1) * np.float32(0.9))[..., None]
    return scene * (1 - opaque) + opaque * np.float32(0.97)


def _fog(pixels: Pixels, amount: float, stream: np.random.Generator) -> Pixels:
    """A veil, denser towards the top of the frame, in patches an eighth of the frame wide."""
    height, width = pixels.shape[:2]
    coarse = stream.uniform(0.75, 1.25, (8, 8)).astype(np.float32)
    patches = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    down = np.linspace(FAR, NEAR, height, dtype=np.float32)[:, None]
    veil = np.clip(down * patches * np.float32(amount), 0, 1)[..., None]
    return pixels * (1 - veil) + veil * np.float32(0.78)


def _flatten(pixels: Pixels, share: float) -> Pixels:
    """Less contrast: towards the mean of each channel."""
    mean = pixels.mean(axis=(0, 1), keepdims=True, dtype=np.float64).astype(np.float32)
    return pixels * np.float32(1 - share) + mean * np.float32(share)


def _smear(drops: Layer, length: int, degrees: float) -> Layer:
    """Every drop drawn out to a line of `length` pixels, `degrees` off the vertical."""
    side = length | 1
    kernel = np.zeros((side, side), np.float32)
    reach = (side - 1) / 2
    slant = np.tan(np.deg2rad(degrees))
    for step in np.arange(-reach, reach + 1):
        kernel[int(step + reach), int(np.clip(round(reach + slant * step), 0, side - 1))] = 1
    return np.asarray(cv2.filter2D(drops, -1, kernel), dtype=np.float32)


_EFFECTS = {"rain": _rain, "snow": _snow, "fog": _fog}
