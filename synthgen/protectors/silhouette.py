"""Segmentation inside the protected mask is brought down to what it must say: that a person is there.

Two things in it can tell people apart: the parts (hair, garments) and the exact outline.

A map painted from the dataset's own masks is kept at first: those masks are released with the outputs, so conditioning
on them tells an attacker nothing that the release does not tell, and labels stay true only if the output follows them.

A map that a segmenter found is not released, and the segmenter never saw the people: it read a picture from which they
were removed, so inside the mask it says what the fill looks like ("building"). There each detected face, head and
person is painted as a coarse shape in the class `person`; the rest of the mask keeps the surrounding class.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from pydantic import Field

from synthgen.palettes import UNKNOWN, Palette, load_palette
from synthgen.protectors._figures import HEAD_KINDS, figure_of
from synthgen.protectors.base import STRENGTHS, Protector, ProtectorRun
from synthgen.types import ClassIds, ConfigError, ControlMap, Mask, Region, SourceMaps

PERSON = "person"
LIGHT, STRONG, STRICT = (STRENGTHS.index(step) for step in ("light", "strong", "strict"))


class SilhouetteProtector(Protector):
    """Maps with class ids: parts of a person become the person, outlines become coarse, both inside the mask only."""

    kind: Literal["silhouette"] = "silhouette"
    parts: Literal["auto", "keep", "merge"] = "auto"
    """`merge`: what the palette calls a `part_of: person` is painted as person, outlines are smoothed, and people are
    painted into what a model found. `keep`: nothing of it. `auto`: by `strength`; labelled masks are kept until
    `strong`."""
    smooth: int = Field(default=3, ge=0, le=64)
    """Where parts are merged, each pixel takes the commonest class within this many pixels; 0 keeps the outlines."""
    palette: str = "starter"
    """The palette that the segmentation is painted in, by name or file: it says what is a part, and the colours."""

    def load(self, device: str) -> ProtectorRun:
        """Read the palette.

        Raises:
            ConfigError: no such palette, or (when run) a map with a class that it lacks.
        """
        palette = load_palette(self.palette)

        def protect(maps: SourceMaps, regions: tuple[Region, ...], mask: Mask) -> SourceMaps:
            for control in maps.maps.values():
                if control.ids is not None and mask.any() and self._merges(control):
                    maps = maps.with_map(self._coarsen(control, control.ids, regions, mask, palette))
            return maps

        return protect

    def _merges(self, control: ControlMap) -> bool:
        if self.parts == "auto":
            return not control.from_labels or self.step >= STRONG
        return self.parts == "merge"

    def _coarsen(
        self, control: ControlMap, ids: ClassIds, regions: tuple[Region, ...], mask: Mask, palette: Palette
    ) -> ControlMap:
        """Merge, smooth, then paint people: figures over what a model found, at `strict` also in place of labels."""
        names = control.names if PERSON in control.names else (*control.names, PERSON)
        person = names.index(PERSON)
        ids = np.where(mask, merge_parts(ids, names, palette), ids).astype(np.int32)
        if control.from_labels and self.step == STRICT:
            ids = fill_from_around(ids, mask & (ids == person))
        if self.smooth:
            ids = np.where(mask, majority_filter(ids, self.smooth, mask), ids).astype(np.int32)
        if not control.from_labels or self.step == STRICT:
            ids[mask & self._people(regions, mask.shape)] = person
        image = control.image.copy()
        changed = ids != control.ids
        image[changed] = colors_of(names, palette)[ids[changed]]
        return replace(control, image=image, ids=ids, names=names)

    def _people(self, regions: tuple[Region, ...], shape: tuple[int, int]) -> Mask:
        """Where people are painted: at `light` smoothed outlines, where they are known; else figures."""
        people = np.zeros(shape, dtype=np.bool_)
        for region in (region for region in regions if region.kind in (PERSON, *HEAD_KINDS)):
            outline = region.mask if self.step == LIGHT else None
            smoothed = None if outline is None else smooth_outline(outline, self.smooth)
            people |= smoothed if smoothed is not None and smoothed.any() else figure_of(region, shape)
        return people


def merge_parts(ids: ClassIds, names: tuple[str, ...], palette: Palette) -> ClassIds:
    """Ids in which each part of a person is the person; `names` holds `person`."""
    parts = {entry.name for entry in palette.classes if entry.part_of == PERSON}
    person = names.index(PERSON)
    table = [person if name in parts else place for place, name in enumerate(names)]
    return np.array(table, dtype=np.int32)[ids]


def smooth_outline(outline: Mask, radius: int) -> Mask:
    """The pixels around which, in the square of side 2·radius + 1, most are inside; empty for what is thinner."""
    side = 2 * radius + 1
    share = cv2.blur(outline.astype(np.float32), (side, side), borderType=cv2.BORDER_REPLICATE)
    return share > np.float32(0.5)


def fill_from_around(ids: ClassIds, hole: Mask) -> ClassIds:
    """Ids in which each pixel of the hole has the class of the nearest pixel outside it; 0 where all is hole."""
    if not hole.any():
        return ids
    if hole.all():
        return np.zeros_like(ids)
    _, nearest = cv2.distanceTransformWithLabels(
        hole.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    class_of = np.zeros(int(nearest.max()) + 1, dtype=np.int32)
    class_of[nearest[~hole]] = ids[~hole]
    return np.where(hole, class_of[nearest], ids).astype(np.int32)


def majority_filter(ids: ClassIds, radius: int, mask: Mask) -> ClassIds:
    """The commonest id in the square of side 2·radius + 1 around each masked pixel, the smallest of equals.

    Beyond the frame the outermost pixels go on. Pixels outside the mask are counted, but keep their id.
    """
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    rows = slice(max(int(ys[0]) - radius, 0), int(ys[-1]) + radius + 1)
    columns = slice(max(int(xs[0]) - radius, 0), int(xs[-1]) + radius + 1)
    near = ids[rows, columns]
    best = np.full(near.shape, -1.0, dtype=np.float32)
    winner = near.copy()
    for value in np.unique(near):
        votes = cv2.boxFilter(
            (near == value).astype(np.float32),
            cv2.CV_32F,
            (2 * radius + 1, 2 * radius + 1),
            normalize=False,
            borderType=cv2.BORDER_REPLICATE,
        )
        votes = np.rint(votes)
        better = votes > best
        winner[better], best[better] = value, votes[better]
    filtered = ids.copy()
    filtered[rows, columns] = np.where(mask[rows, columns], winner, near)
    return filtered


def colors_of(names: tuple[str, ...], palette: Palette) -> np.ndarray:
    """The colour of each name, (n, 3) uint8; `unknown` is black.

    Raises:
        ConfigError: a name that the palette lacks.
    """
    colors = {UNKNOWN: (0, 0, 0)} | {entry.name: entry.color for entry in palette.classes}
    missing = sorted(set(names) - set(colors))
    if missing:
        raise ConfigError(
            f"protect, silhouette: the segmentation holds {missing[:5]}, which the palette {palette.name} lacks; set "
            "`palette` to that of the segmentation extractor"
        )
    return np.array([colors[name] for name in names], dtype=np.uint8)
