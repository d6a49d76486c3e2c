"""Number plates: by a detector of your own, or, without one, the lines of text that could be a plate.

No package carries a plate detector that can be trusted. Without `model` or `file`, every line of text that RapidOCR
finds with the shape of a plate counts, inside vehicles where the dataset labels vehicles. Each is read: one that reads
like a registration scores above 0.5, the others (signs, stickers, plates too small to read) below. Measured on 109
photographs of single cars from three regions with one labelled plate each: 97 % at least half covered, 90 % also read
as a registration, beside one false box an image. Plates too small or too slanted to be text are missed: in street
scenes of 480×360 that is nearly all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import Field

from synthgen.detectors._box_model import BoxModel
from synthgen.detectors._classes import vehicle_class_ids
from synthgen.detectors._text import (
    DETECTOR_SHA256,
    DbSettings,
    line_box,
    load_finder,
    load_reader,
    registration_score,
)
from synthgen.detectors.base import DetectorRun
from synthgen.regions import clip_box
from synthgen.types import Labels, Mask, Region, Sample

OWNER = "detect, plates"
VEHICLE_MARGIN = 0.02
"""Share of the image's longer side by which labelled vehicles grow: a plate at the very edge of its car counts."""


class PlatesDetector(BoxModel):
    """A `plate` region for each plate, origin `detector`, as a box."""

    words: ClassVar[frozenset[str]] = frozenset({"plate", "plates", "licenseplate", "numberplate", "lp"})
    kind: Literal["plates"] = "plates"
    vehicles: Literal["auto", "any"] = "auto"
    """Without a network: `auto` takes text inside labelled vehicles, where the class table has vehicles; `any` takes
    text anywhere."""
    min_aspect: float = Field(default=1.2, gt=0)
    max_aspect: float = Field(default=8.0, gt=0)
    """Without a network: width by height of a plate as seen."""

    def load(self, device: str) -> DetectorRun:
        """Load the network, or RapidOCR's.

        Raises:
            ConfigError: a package or file is missing or another one, or a model of another class.
        """
        if self.model is None and self.file is None:
            return self._load_text()
        find = self.load_finder(device)

        def detect(samples: Sequence[Sample]) -> list[list[Region]]:
            return [[Region("plate", box, score, "detector") for box, score in found] for found in find(samples)]

        return detect

    def _load_text(self) -> DetectorRun:
        find = load_finder(None, DETECTOR_SHA256, DbSettings(), OWNER)
        read = load_reader(OWNER)

        def look(sample: Sample) -> list[Region]:
            inside = vehicle_mask(sample.labels, sample.size) if self.vehicles == "auto" else None
            regions = []
            for row in find(sample.image):
                box = clip_box(line_box(row), sample.size)
                if box is None or not self.min_aspect <= box.width / box.height <= self.max_aspect:
                    continue
                if (
                    inside is not None
                    and not inside[int(box.y0) : int(box.y1) + 1, int(box.x0) : int(box.x1) + 1].any()
                ):
                    continue
                score = registration_score(read(sample.image, box), float(row[4]))
                regions.append(Region("plate", box, score, "detector"))
            return regions

        return lambda samples: [look(sample) for sample in samples]


def vehicle_mask(labels: Labels, size: tuple[int, int]) -> Mask | None:
    """Where the labels have vehicles, a little grown; None where the class table knows none.

    Args:
        size: (width, height) of the image.
    """
    ids = vehicle_class_ids(labels.classes)
    if not ids:
        return None
    inside = np.zeros((size[1], size[0]), np.uint8)
    if labels.mask is not None:
        inside[np.isin(labels.mask, list(ids))] = 1
    for instance in labels.instances:
        if instance.class_id in ids:
            box = instance.box
            inside[int(max(box.y0, 0)) : int(np.ceil(box.y1)), int(max(box.x0, 0)) : int(np.ceil(box.x1))] = 1
    margin = max(2, round(VEHICLE_MARGIN * max(size)))
    return cv2.dilate(inside, np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)).astype(np.bool_)
