"""Another colour for what the labels outline: cars, walls, clothes, skin. No pixel moves, so every label stays true.

A small generator paints most coats dark blue, and who trains on its outputs learns that a coat is dark blue. Here an
object's mean colour is moved in CIELAB towards one that is drawn, and what varies around that mean (folds, shadow,
texture) stays. Draw from the colours that there are in the world: `lightness`, `chroma` and `hue` bound them, and a
class such as skin, of narrow hue, gets a randomizer of its own.

Colours end where labels do. So a picture shows their outlines, those of people too, as sharply as the released labels,
whatever `protect: [silhouette]` took from the control maps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np
from pydantic import Field, model_validator

from synthgen.label_maps import labels_to_class_ids
from synthgen.randomizers.base import Interval, Randomizer, draw
from synthgen.types import ClassInfo, ConfigError, Image, Labels, Mask

SOFT = 0.7
"""Standard deviation, in pixels, of the edge between an object's new colour and what surrounds it."""
Part = tuple[slice | tuple[slice, slice], Mask]
"""Where in the picture, and the pixels there."""
BOUNDS: dict[str, tuple[float, float]] = {
    "lightness": (0, 100),
    "chroma": (0, 130),
    "hue": (-360, 360),
    "strength": (0, 1),
}


class Recolor(Randomizer):
    """Each of `lightness`, `chroma`, `hue` and `strength` is [low, high] or a number. Boxes without outlines are left
    as they are.
    """

    kind: Literal["recolor"] = "recolor"
    classes: tuple[str, ...] = ()
    """The dataset's names of the classes to recolour; none names all but those without labels (`ignore`)."""
    exclude: tuple[str, ...] = ()
    """Classes that keep their colour."""
    per: Literal["object", "class"] = "object"
    """What has one colour: an outlined instance or connected patch of a mask, or all of a class in the picture."""
    lightness: Interval = (15, 85)
    """L* of the drawn colour, 0..100."""
    chroma: Interval = (0, 45)
    """C*ab of it, 0 grey … 130."""
    hue: Interval = (0, 360)
    """h_ab of it in degrees: red near 40, yellow 100, green 135, blue 300. Below 0 goes round: [-20, 60]."""
    strength: Interval = (0.5, 1)
    """How far the mean goes from its own colour to the drawn one, 0..1."""
    least_pixels: int = Field(default=16, ge=1)
    """Smaller objects keep their colour."""

    @model_validator(mode="after")
    def _in_bounds(self) -> Recolor:
        for key, (low, high) in BOUNDS.items():
            interval = getattr(self, key)
            if not low <= interval[0] <= interval[1] <= high:
                raise ValueError(f"{key}: expected values in {low:g}..{high:g}, got {list(interval)}")
        return self

    def check_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        """Refuse a source whose class table lacks one that `classes` or `exclude` names, or that has none.

        Raises:
            ConfigError: names the class, the key and the classes that there are.
        """
        if not classes:
            raise ConfigError("randomize, recolor: this source labels no classes, so there is nothing to recolor")
        there = {info.name for info in classes}
        for key, names in (("classes", self.classes), ("exclude", self.exclude)):
            if missing := [name for name in names if name not in there]:
                raise ConfigError(
                    f"randomize, recolor: `{key}` names {missing}; the dataset has these classes: "
                    + ", ".join(info.name for info in classes)
                )

    def apply(self, image: Image, labels: Labels, stream: np.random.Generator) -> tuple[Image, Labels]:
        """As `Randomizer`; the labels are returned as they are."""
        parts = self._parts(labels, (image.shape[0], image.shape[1]))
        if not parts:
            return image, labels
        lab = cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB)
        moved = np.zeros_like(lab)
        for where, mask in parts:
            lightness, chroma = draw(self.lightness, stream), draw(self.chroma, stream)
            hue, strength = np.deg2rad(draw(self.hue, stream)), draw(self.strength, stream)
            drawn = np.array([lightness, chroma * np.cos(hue), chroma * np.sin(hue)])
            moved[where][mask] = strength * (drawn - lab[where][mask].mean(axis=0, dtype=np.float64))
        lab += np.asarray(cv2.GaussianBlur(moved, (0, 0), SOFT))
        lab[..., 0] = np.clip(lab[..., 0], 0, 100)
        recolored = np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1)
        painted = np.repeat((moved != 0).any(axis=2, keepdims=True), 3, axis=2)
        near = cv2.dilate(painted.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
        return np.where(near, np.rint(recolored * 255).astype(np.uint8), image), labels

    def _parts(self, labels: Labels, size: tuple[int, int]) -> list[Part]:
        """What gets a colour of its own, the largest first: small ones lie above."""
        chosen = {info.id for info in labels.classes if self._wants(info)}
        outlines = [one.mask for one in labels.instances if one.mask is not None and one.class_id in chosen]
        if outlines and self.per == "object":
            parts: list[Part] = [(slice(None), mask) for mask in outlines if mask.sum() >= self.least_pixels]
        else:
            ids = labels_to_class_ids(labels, size)
            masks = [] if ids is None else [ids == number for number in sorted(chosen)]
            masks = [mask for mask in masks if mask.sum() >= self.least_pixels]
            if self.per == "object":
                parts = [patch for mask in masks for patch in _patches(mask, self.least_pixels)]
            else:
                parts = [(slice(None), mask) for mask in masks]
        return sorted(parts, key=lambda part: -int(part[1].sum()))

    def _wants(self, info: ClassInfo) -> bool:
        if info.name in self.exclude:
            return False
        return info.name in self.classes if self.classes else not info.ignore


def _patches(mask: Mask, least: int) -> Iterator[Part]:
    """The connected patches of a mask of at least so many pixels."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    for number in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[number])
        if area >= least:
            where = slice(y, y + height), slice(x, x + width)
            yield where, numbers[where] == number
