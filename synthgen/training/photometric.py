"""Photographs under another light: what teaches the starter that "night" is dark and "fog" is pale.

Day photographs alone can't show a text encoder what night is. So each crop is also seen through one or two of these
variants, with a caption that names them; they are crude (a curve, a tint, a new sky, a veil), but they move the
statistics that a prompt should move. Images are uint8 RGB (height, width, 3).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.types import Image, Mask

DAY = "day"
VARIANTS = ("night", "sunset", "fog", "overcast")
"""The variants beside the photograph as it is (`day`)."""
Pixels = NDArray[np.float32]
"""(height, width, 3), 0..1."""


def relight(image: Image, variant: str, rng: np.random.Generator, sky: Mask | None = None) -> Image:
    """The image under another light.

    Args:
        variant: one of `VARIANTS`, or `day`, which gives the image back.
        sky: where the sky is; it is repainted, since no curve turns a white sky into a night.

    Raises:
        KeyError: no such variant.
    """
    if variant == DAY:
        return image
    lit = _CURVES[variant](_unit(image), sky, rng)
    return (np.clip(lit, 0, 1) * 255).astype(np.uint8)


def jitter(image: Image, rng: np.random.Generator) -> Image:
    """One of four changes of exposure, tint and contrast in half of the cases: what an autoencoder must cope with."""
    pixels = _unit(image)
    draw = int(rng.integers(0, 8))
    if draw == 0:
        pixels = pixels**1.6 * np.float32(rng.uniform(0.2, 0.55)) * _rgb(0.75, 0.85, 1.15)
    elif draw == 1:
        pixels = pixels**1.1 * _rgb(1.15, 0.9, 0.65) * np.float32(rng.uniform(0.7, 1.1))
    elif draw == 2:
        veil = np.float32(rng.uniform(0.2, 0.6))
        pixels = pixels * (1 - veil) + veil * np.float32(rng.uniform(0.6, 0.9))
    elif draw == 3:
        pixels *= rng.uniform(0.7, 1.3, 3).astype(np.float32)
    return (np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def camera_jitter(image: Image, rng: np.random.Generator) -> Image:
    """Gamma, exposure, white balance; now and then no colour or less sharpness: what a segmenter must not mind."""
    pixels = _unit(image) ** np.float32(np.exp(rng.uniform(-0.5, 0.5)))
    pixels = pixels * np.float32(rng.uniform(0.6, 1.3)) * np.exp(rng.uniform(-0.12, 0.12, 3)).astype(np.float32)
    if rng.random() < 0.15:
        pixels = _grayed(pixels, 1.0)
    if rng.random() < 0.2:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.5, 1.5))), dtype=np.float32)
    return (np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def _unit(image: Image) -> Pixels:
    unit: Pixels = image.astype(np.float32) / np.float32(255)
    return unit


def _rgb(red: float, green: float, blue: float) -> Pixels:
    return np.array([red, green, blue], dtype=np.float32)


def _grayed(pixels: Pixels, share: float) -> Pixels:
    return np.float32(share) * pixels.mean(2, keepdims=True) + np.float32(1 - share) * pixels


def _repaint_sky(pixels: Pixels, sky: Mask | None, colour: Pixels, opacity: float) -> Pixels:
    if sky is None:
        return pixels
    cover = cv2.GaussianBlur(sky.astype(np.float32), (0, 0), 2)[..., None] * np.float32(opacity)
    return pixels * (1 - cover) + cover * colour


def _night(pixels: Pixels, sky: Mask | None, rng: np.random.Generator) -> Pixels:
    dark = _grayed(pixels, 0.35) ** 1.3 * np.float32(rng.uniform(0.35, 0.6)) * _rgb(0.78, 0.9, 1.25)
    return _repaint_sky(dark, sky, _rgb(0.06, 0.08, 0.16) * np.float32(rng.uniform(0.7, 1.5)), 0.85)


def _sunset(pixels: Pixels, sky: Mask | None, rng: np.random.Generator) -> Pixels:
    warm = pixels**1.05 * _rgb(1.12, 0.88, 0.66) * np.float32(rng.uniform(0.85, 1.0))
    down = np.linspace(0, 1, pixels.shape[0], dtype=np.float32)[:, None, None]
    return _repaint_sky(warm, sky, _rgb(0.75, 0.5, 0.55) * (1 - down) + _rgb(1.0, 0.62, 0.3) * down, 0.6)


def _fog(pixels: Pixels, sky: Mask | None, rng: np.random.Generator) -> Pixels:
    """The far (upper) part more than the near: a veil that thins towards the camera."""
    down = np.linspace(1, 0.35, pixels.shape[0], dtype=np.float32)[:, None, None]
    veil = down * np.float32(rng.uniform(0.55, 0.8))
    return pixels * (1 - veil) + veil * np.float32(rng.uniform(0.72, 0.82))


def _overcast(pixels: Pixels, sky: Mask | None, rng: np.random.Generator) -> Pixels:
    dull = _grayed(pixels, 0.5) * _rgb(0.93, 0.97, 1.02) * np.float32(rng.uniform(0.75, 0.9))
    return _repaint_sky(dull, sky, _rgb(0.68, 0.7, 0.73), 0.7)


_CURVES = {"night": _night, "sunset": _sunset, "fog": _fog, "overcast": _overcast}
