"""Skin tone as the individual typology angle of skin pixels: a formula, no model.

ITA = arctan((L* − 50) / b*) · 180/π in degrees, of the skin's median L* and b* (CIELAB, D65; Chardon et al. 1991). The
light confounds it: it tells how skin is rendered, not what it is like, and it is not the Monk scale. Source and output
of one subject share a layout, not a light, so a shift says that skin is rendered lighter or darker.

Skin pixels are those of the mask classes that `classes` names. Without any they are, in the middle of a face, those
whose chroma is skin's: 77 ≤ Cb ≤ 127, 133 ≤ Cr ≤ 173 (Chai & Ngan 1999), a range that hardly depends on luminance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from synthgen.attributes.base import Attribute, AttributeRun, Reading, Subject
from synthgen.types import Image, Labels, Mask, Region

CUTS = (("very light", 55.0), ("light", 41.0), ("intermediate", 28.0), ("tan", 10.0), ("brown", -30.0))
"""Group and the angle it lies above (degrees); what is at or below the last is dark (Del Bino & Bernerd 2013)."""
DARK = "dark"
MIDDLE = 0.7
"""The ellipse looked at has this share of a face's box: no hair, no background, little beard."""
CLIPPED = (5, 250)
"""A pixel with a channel below or above is shadow or highlight."""
CB, CR = (77, 127), (133, 173)


class Ita(Attribute):
    """A reading is unknown without enough skin, with a median b* ≤ 0 (where the angle is undefined), or nobody."""

    kind: Literal["ita"] = "ita"
    name: str = "skin tone"
    classes: tuple[str, ...] = ()
    """Mask or instance classes that are skin, such as `skin` in people parsing; then the image is the subject."""
    min_pixels: int = Field(default=64, ge=1)
    """Fewer skin pixels say nothing."""
    min_share: float = Field(default=0.3, ge=0, le=1)
    """Less skin in the middle of a face means that it is turned away, covered, or no face."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Faces of which the detector is less sure are not read."""

    @property
    def per_image(self) -> bool:
        """As `Attribute`."""
        return bool(self.classes)

    @property
    def needs_place(self) -> bool:
        """A face's box, or the mask."""
        return True

    @property
    def groups(self) -> tuple[str, ...]:
        """From the lightest."""
        return (*(name for name, _ in CUTS), DARK)

    def load(self, device: str) -> AttributeRun:
        """Nothing to load."""

        def read(subjects: Sequence[Subject]) -> list[Reading]:
            return [self._read(subject) for subject in subjects]

        return read

    def _read(self, subject: Subject) -> Reading:
        if self.classes:
            mask = class_mask(subject.labels, self.classes, subject.image.shape[:2])
            return self._angle(subject.image[mask])
        if subject.region is None or subject.region.score < self.min_score:
            return Reading()
        pixels, share = face_skin(subject.image, subject.region)
        return self._angle(pixels) if share >= self.min_share else Reading()

    def _angle(self, pixels: Image) -> Reading:
        lit = pixels[((pixels >= CLIPPED[0]) & (pixels <= CLIPPED[1])).all(axis=1)]
        angle = typology_angle(lit) if len(lit) >= self.min_pixels else None
        return Reading() if angle is None else Reading(tone_of(angle), angle)


def typology_angle(pixels: Image) -> float | None:
    """ITA in degrees of (n, 3) RGB pixels, n ≥ 1; None where the median b* is not positive."""
    lab = cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    lightness, _, yellow = np.median(lab, axis=0)
    return math.degrees(math.atan((lightness - 50) / yellow)) if yellow > 0 else None


def tone_of(angle: float) -> str:
    """The group of an angle in degrees."""
    return next((name for name, above in CUTS if angle > above), DARK)


def face_skin(image: Image, face: Region) -> tuple[Image, float]:
    """(n, 3) skin pixels in the middle of a face, and the share of the ellipse that they are."""
    height, width = image.shape[:2]
    x0, x1 = (int(np.clip(round(x), 0, width)) for x in (face.box.x0, face.box.x1))
    y0, y1 = (int(np.clip(round(y), 0, height)) for y in (face.box.y0, face.box.y1))
    if x1 - x0 < 2 or y1 - y0 < 2:
        return np.zeros((0, 3), dtype=np.uint8), 0.0
    crop = np.ascontiguousarray(image[y0:y1, x0:x1])
    rows, columns = np.mgrid[0 : y1 - y0, 0 : x1 - x0] + 0.5
    across, down = (2 * columns / (x1 - x0) - 1) / MIDDLE, (2 * rows / (y1 - y0) - 1) / MIDDLE
    middle = across**2 + down**2 <= 1
    chroma = cv2.cvtColor(crop, cv2.COLOR_RGB2YCrCb)
    skin = (chroma[..., 1] >= CR[0]) & (chroma[..., 1] <= CR[1]) & (chroma[..., 2] >= CB[0]) & (chroma[..., 2] <= CB[1])
    return crop[middle & skin], float((middle & skin).sum() / max(int(middle.sum()), 1))


def class_mask(labels: Labels, classes: Sequence[str], shape: tuple[int, ...]) -> Mask:
    """(height, width) of the classes with these names (case does not matter), from the mask and outlined instances."""
    wanted = {name.casefold() for name in classes}
    ids = {info.id for info in labels.classes if info.name.casefold() in wanted}
    mask: Mask = np.zeros(shape[:2], dtype=np.bool_)
    if labels.mask is not None and labels.mask.shape == mask.shape:
        mask |= np.isin(labels.mask, list(ids))
    for instance in labels.instances:
        if instance.class_id in ids and instance.mask is not None:
            mask |= instance.mask
    return mask
