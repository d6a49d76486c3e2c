"""People from the dataset's own labels: no model, no threshold, nobody missed whom an annotator saw.

A labelled person is protected whole, whether or not a face is found in it: that is the fail-closed half of detection. A
face detector adds those whom nobody labelled.

`classes: auto` goes by the names of the class table; the rules stand in _classes.py. Labelled faces, heads, number
plates and text are regions too, of their own kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from synthgen.detectors._classes import person_class_ids, region_class_ids
from synthgen.detectors._heads import head_around_face
from synthgen.detectors._labelled import labels_to_regions
from synthgen.detectors.base import Detector, DetectorRun
from synthgen.types import ClassInfo, ConfigError, Region, Sample


class LabelsDetector(Detector):
    """`person` regions, origin `label`: one per instance, one per connected component of the mask outside them."""

    kind: Literal["labels"] = "labels"
    classes: Literal["auto"] | tuple[str, ...] = "auto"
    """`auto`, or the names of the classes that are people or parts of them (case does not matter)."""

    def class_ids(self, classes: tuple[ClassInfo, ...]) -> frozenset[int]:
        """The ids in a class table that are people.

        Raises:
            ConfigError: the table lacks a class that the key `classes` names.
        """
        if self.classes == "auto":
            return person_class_ids(classes)
        ids = {info.name.casefold(): info.id for info in classes}
        missing = [name for name in self.classes if name.casefold() not in ids]
        if missing:
            there = ", ".join(info.name for info in classes) or "none"
            raise ConfigError(f"detect, labels: `classes` names {missing}; the dataset has these classes: {there}")
        return frozenset(ids[name.casefold()] for name in self.classes)

    def check_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        """Refuse a table that lacks a class which the key `classes` names."""
        self.class_ids(classes)

    def load(self, device: str) -> DetectorRun:
        """Nothing to load."""

        def detect(samples: Sequence[Sample]) -> list[list[Region]]:
            return [self._look(sample) if sample.labels.classes else [] for sample in samples]

        return detect

    def _look(self, sample: Sample) -> list[Region]:
        labels = sample.labels
        if self.classes != "auto":
            return labels_to_regions(labels, self.class_ids(labels.classes))
        regions = []
        for kind, ids in region_class_ids(labels.classes).items():
            found = labels_to_regions(labels, ids, kind)
            regions += [head_around_face(region, sample.size) for region in found if kind == "face"]
            regions += found
        return regions
