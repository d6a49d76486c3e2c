"""Captions: from the pixels of a crop, from a column of the dataset, or from a prompt file.

The starter's data has no text. What a prompt should steer can be read off the pixels: how light it is, what the sky is
like, which colours are worn. So `street` and `people` write a caption in the very words that a prompt would use.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.palettes import Palette
from synthgen.training.photometric import DAY, VARIANTS
from synthgen.types import ClassIds, Image

COLOURS = {
    "black": (25, 25, 28),
    "white": (232, 232, 230),
    "gray": (128, 128, 128),
    "red": (170, 35, 40),
    "orange": (215, 115, 45),
    "yellow": (225, 195, 70),
    "green": (60, 120, 65),
    "blue": (50, 85, 160),
    "navy": (30, 40, 75),
    "purple": (105, 60, 125),
    "pink": (225, 150, 165),
    "brown": (105, 70, 45),
    "beige": (205, 180, 150),
}
"""Colour words and a typical sRGB value of each in photographs (dyes and hair, not pure colours)."""
LIGHTNESS_WEIGHT = 0.7
"""Shadows change lightness more than hue, so L* counts less than a* and b* when a colour is named."""
WORN = (
    ("hair", "hair", 30),
    ("upper clothes", "top", 30),
    ("dress", "dress", 30),
    ("lower clothes", "pants", 30),
    ("footwear", "shoes", 15),
    ("bag", "bag", 30),
)
"""Palette class, the word for it, and the pixels that it must have at a height of 192."""
MIN_SKY, MIN_BACKGROUND = 300, 500
"""Pixels below which a sky or a background is not worth a word."""
BRIGHT, DARK = 105, 65
"""Mean grey levels without the sky: above, the light is `bright`; below, `dark`."""
_WORDS = tuple(COLOURS)


def _to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    return cv2.cvtColor(rgb.reshape(1, -1, 3), cv2.COLOR_RGB2LAB)[0].astype(np.float64)


_LAB = _to_lab(np.array(list(COLOURS.values()), dtype=np.uint8))


def name_colour(pixels: NDArray[np.uint8]) -> str:
    """The colour word nearest to the median of (n, 3) RGB pixels, in CIELAB with a lowered weight of lightness."""
    lab = _to_lab(np.median(pixels, axis=0).astype(np.uint8))
    distance = (((_LAB - lab) * np.array([LIGHTNESS_WEIGHT, 1, 1])) ** 2).sum(1)
    return _WORDS[int(distance.argmin())]


def caption_street(image: Image, ids: ClassIds, palette: Palette, variant: str = DAY) -> str:
    """`a street scene , day , blue sky , bright light`; a variant is named in the place of what it hides.

    Args:
        image: the crop as photographed, (height, width, 3), whatever the variant.
        ids: palette ids, (height, width).
    """
    parts = ["a street scene", variant]
    if variant == DAY:
        sky = ids == palette.id_of("sky")
        if sky.sum() > MIN_SKY:
            colour = name_colour(image[sky])
            parts.append(f"{_sky_word(colour)} sky")
        level = float(image[~sky].mean()) if not sky.all() else float(image.mean())
        parts.append(f"{'bright' if level > BRIGHT else 'dark' if level < DARK else 'soft'} light")
    return " , ".join(parts)


def caption_people(image: Image, ids: ClassIds, palette: Palette, variant: str = DAY) -> str:
    """`a photo of a person , brown hair , red dress , white background`; a variant comes last.

    Args:
        image: the crop as photographed, (height, width, 3), whatever the variant.
        ids: palette ids, (height, width).
    """
    parts = ["a photo of a person"]
    for name, word, least in WORN:
        worn = image[ids == palette.id_of(name)]
        if len(worn) > least * image.shape[0] / 192:
            parts.append(f"{name_colour(worn)} {word}")
    background = image[ids == 0]
    if len(background) > MIN_BACKGROUND:
        parts.append(f"{name_colour(background)} background")
    if variant != DAY:
        parts.append(variant)
    return " , ".join(parts)


def shorten_caption(caption: str) -> str:
    """The scene and the light that has a name of its own, as a short prompt says them: `a street scene , night`."""
    scene, *rest = caption.split(" , ")
    return " , ".join([scene, *(part for part in rest if part in (DAY, *VARIANTS))])


def _sky_word(colour: str) -> str:
    if colour in ("white", "gray"):
        return colour
    return "blue" if colour in ("blue", "navy", "purple") else "white"


RULES = {"street": caption_street, "people": caption_people}
