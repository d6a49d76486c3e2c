"""People whom nobody labelled, by an object detector of transformers or an ONNX file, protected whole.

With a segmenter, a person's region is what it takes for a person inside the box. The box stays where that is too little
to be a person: a mask that misses half of somebody protects half of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from synthgen.detectors._box_model import BoxModel
from synthgen.detectors._classes import person_class_ids
from synthgen.detectors.base import DetectorRun
from synthgen.segmenter import Segmenter
from synthgen.types import Box, ClassInfo, ConfigError, Mask, Region, Sample


class PersonsDetector(BoxModel):
    """A `person` region for each person found, origin `detector`: a box, or a mask inside it."""

    words: ClassVar[frozenset[str]] = frozenset({"person", "people", "pedestrian", "human", "man", "woman", "rider"})
    kind: Literal["persons"] = "persons"
    segmenter: str | None = None
    """Weights reference of a segmenter of transformers that knows people; without, boxes are protected."""
    least_mask: float = Field(default=0.3, ge=0, le=1)
    """A mask that covers less than this share of its box is not believed: the box is protected."""

    @model_validator(mode="after")
    def _some_network(self) -> PersonsDetector:
        if self.model is None and self.file is None:
            raise ValueError("give an object detector: model (hub id with a commit, or a folder) or file (ONNX)")
        return self

    def weights(self) -> tuple[str, ...]:
        """The detector's and the segmenter's."""
        return (*super().weights(), *(() if self.segmenter is None else (self.segmenter,)))

    def load(self, device: str) -> DetectorRun:
        """Load the networks onto `device`.

        Raises:
            ConfigError: a network is missing, of another class, or knows no people.
        """
        find = self.load_finder(device)
        outline = None if self.segmenter is None else _load_outline(self.segmenter, device)

        def detect(samples: Sequence[Sample]) -> list[list[Region]]:
            results = []
            for sample, found in zip(samples, find(samples), strict=True):
                people = outline(sample) if outline is not None and found else None
                results.append(
                    [
                        Region("person", box, score, "detector", mask_inside(people, box, self.least_mask))
                        for box, score in found
                    ]
                )
            return results

        return detect


def mask_inside(people: Mask | None, box: Box, least: float) -> Mask | None:
    """The people's pixels inside a box, or None where they cover less than `least` of it."""
    if people is None:
        return None
    rows = slice(int(box.y0), int(np.ceil(box.y1)))
    columns = slice(int(box.x0), int(np.ceil(box.x1)))
    if people[rows, columns].mean() < least:
        return None
    mask = np.zeros_like(people)
    mask[rows, columns] = people[rows, columns]
    return mask


def _load_outline(ref: str, device: str) -> Callable[[Sample], Mask]:
    segmenter = Segmenter(ref, device, 1)
    table = tuple(ClassInfo(place, name) for place, name in segmenter.labels.items())
    ids = person_class_ids(table)
    if not ids:
        raise ConfigError(f"detect, persons: the segmenter {ref!r} has no class for people; change segmenter")

    def outline(sample: Sample) -> Mask:
        return np.isin(segmenter([sample.image])[0], np.fromiter(ids, dtype=np.int64))

    return outline
