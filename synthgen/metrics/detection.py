"""Recall of detectors against labels: how many of those whom somebody labelled a detector would have found.

For privacy a detection need not frame an object well, it must cover it: a label counts as found where the detections of
its kind together cover at least `COVERED` of its box. Precision is not asked: a false region costs a patch of edges.
Objects are told apart by size as in COCO, since recall of small ones is what is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from scipy.stats import beta

from synthgen.types import Box, Region

COVERED = 0.5
SMALL, LARGE = 32**2, 96**2
"""Areas in square pixels: below is `small`, above is `large` (COCO)."""
ALPHA = 0.05
ObjectSize = Literal["small", "medium", "large"]
SIZES: tuple[ObjectSize, ...] = ("small", "medium", "large")


@dataclass
class Recall:
    """Labelled objects and those found, by (kind, size). Counts of parts of a dataset add up."""

    labelled: dict[tuple[str, ObjectSize], int] = field(default_factory=dict)
    found: dict[tuple[str, ObjectSize], int] = field(default_factory=dict)

    def add(self, kind: str, box: Box, found: bool) -> None:
        """Count one labelled object."""
        key = kind, object_size(box)
        self.labelled[key] = self.labelled.get(key, 0) + 1
        self.found[key] = self.found.get(key, 0) + found

    def add_image(self, labelled: Iterable[Region], detected: Iterable[Region], size: tuple[int, int]) -> None:
        """Count the labelled objects of one image of (width, height) against the detections of their kind."""
        masks: dict[str, np.ndarray] = {}
        for region in detected:
            mask = masks.setdefault(region.kind, np.zeros((size[1], size[0]), np.bool_))
            mask[_inside(region.box)] = True
        for region in labelled:
            covered = masks[region.kind][_inside(region.box)] if region.kind in masks else np.zeros(0)
            self.add(region.kind, region.box, bool(covered.size) and float(covered.mean()) >= COVERED)

    def record(self) -> dict[str, Mapping[str, Any]]:
        """Kind → `all`, `small`, `medium`, `large` → labelled, found, recall and its lower bound (null without any)."""
        kinds = sorted({kind for kind, _ in self.labelled})
        return {kind: {"all": self._entry(kind, SIZES), **self._by_size(kind)} for kind in kinds}

    def _by_size(self, kind: str) -> dict[str, Any]:
        return {size: self._entry(kind, (size,)) for size in SIZES if self.labelled.get((kind, size))}

    def _entry(self, kind: str, sizes: tuple[ObjectSize, ...]) -> dict[str, Any]:
        labelled = sum(self.labelled.get((kind, size), 0) for size in sizes)
        found = sum(self.found.get((kind, size), 0) for size in sizes)
        recall = found / labelled if labelled else None
        return {"labelled": labelled, "found": found, "recall": recall, "at_least": lower_bound(found, labelled)}


def object_size(box: Box) -> ObjectSize:
    """By area, as COCO."""
    area = box.width * box.height
    return "small" if area < SMALL else "large" if area > LARGE else "medium"


def lower_bound(found: int, labelled: int, alpha: float = ALPHA) -> float | None:
    """One-sided Clopper-Pearson bound: true recall lies above it with probability 1 - alpha. None without labels.

    It takes objects for independent; those of one scene are not, so it is optimistic there.
    """
    if not labelled:
        return None
    return float(beta.ppf(alpha, found, labelled - found + 1)) if found else 0.0


def _inside(box: Box) -> tuple[slice, slice]:
    rows = slice(max(int(box.y0), 0), max(int(np.ceil(box.y1)), 0))
    return rows, slice(max(int(box.x0), 0), max(int(np.ceil(box.x1)), 0))
