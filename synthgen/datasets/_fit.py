"""Labels of any format made to fit another: converted where that says the same, counted as lost where there is no room.

A mask becomes one outline for each class and image where a format has outlines only; outlines become a mask where it
has masks only. Names of classes become such as every table can hold (`_class_names.py`). What is lost is counted by
kind, with the first image as an example.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from synthgen.datasets._class_names import clean_name, fit_names
from synthgen.datasets._objects import areas_beside_objects, paint_objects
from synthgen.datasets._records import Held, Record
from synthgen.datasets._tally import Tally
from synthgen.types import ClassInfo, Finding, Instance, Labels


class Fitting:
    """Fits records one by one; `classes` is the table that the fitted labels refer to."""

    def __init__(self, classes: Sequence[ClassInfo], holds: frozenset[Held]) -> None:
        self._holds = holds
        self._tally = Tally()
        void = next((info for info in classes if info.ignore), None)
        if void is None:
            number = max((info.id for info in classes), default=-1) + 1
            void = ClassInfo(number, "unlabelled", (0, 0, 0), ignore=True)
        self._void = void.id
        self._ignored = {info.id for info in classes if info.ignore}
        table = (*classes, void) if "mask" in holds and not self._ignored else tuple(classes)
        self.classes, self._renamed = fit_names(table)
        pairs = sorted(zip(table, self.classes, strict=True), key=lambda pair: not pair[0].ignore)
        self._name_of = {old.name: new.name for old, new in pairs}
        """Of two classes of one name the one that carries a label."""
        self._coloured = any(info.color for info in classes if not info.ignore)

    def fit(self, record: Record) -> Record:
        """The record with what the format has room for."""
        labels = self._fit_mask(record, self._fit_objects(record))
        image_class, attributes = labels.image_class, labels.attributes
        if image_class is not None and "image class" not in self._holds:
            self._lose("class-not-held", "image(s) lose the class that they have as a whole", record)
            image_class = None
        elif image_class is not None:
            image_class = self._name_of.get(image_class) or clean_name(image_class) or None
        if attributes and "attributes" not in self._holds:
            self._lose("attributes-not-held", "image(s) lose their attributes (columns of metadata)", record)
            attributes = {}
        if record.split is not None and "splits" not in self._holds:
            self._lose("split-not-held", "image(s) lose the split that they are in", record)
        fitted = replace(labels, classes=self.classes, image_class=image_class, attributes=attributes)
        return replace(record, labels=fitted)

    def findings(self) -> tuple[Finding, ...]:
        """What was lost so far."""
        table = []
        if self._coloured and "colours" not in self._holds:
            table.append(Finding("colours-not-held", "the class table", "the colours of classes have no place"))
        return (*self._renamed, *table, *self._tally.findings())

    def _lose(self, code: str, message: str, record: Record, count: int = 1) -> None:
        self._tally.add(code, message, record.name, count)

    def _fit_objects(self, record: Record) -> Labels:
        """Objects without what has no room; areas of the mask among them where only outlines have."""
        found = [one for one in record.labels.instances if one.class_id not in self._ignored]
        ignored = len(record.labels.instances) - len(found)
        self._lose("object-ignored", "object(s) of classes that carry no label are left out", record, ignored)
        if "crowds" not in self._holds:
            crowds = sum(one.crowd for one in found)
            self._lose("crowd-not-held", "group(s) outlined as one object are left out", record, crowds)
            found = [one for one in found if not one.crowd]
        if "outlines" not in self._holds:
            boxes = sum(one.mask is None for one in found)
            told = "object(s) are no longer told apart; their pixels keep the class"
            lost = "object(s) with an outline are left out"
            self._lose("box-not-held", "object(s) with a box only are left out", record, boxes)
            outlined = len(found) - boxes
            self._lose("object-not-held", told if "mask" in self._holds else lost, record, outlined)
        else:
            if "boxes" not in self._holds:
                boxes = sum(one.mask is None for one in found)
                self._lose("box-not-held", "object(s) with a box only are left out", record, boxes)
                found = [one for one in found if one.mask is not None]
            found = [self._fit_object(record, one) for one in found]
            if "mask" not in self._holds:
                areas = list(areas_beside_objects(record.labels, record.size))
                message = "area(s) of a mask become outlined objects, one for each class and image"
                self._lose("mask-as-objects", message, record, len(areas))
                found += areas
        return replace(record.labels, instances=tuple(found))

    def _fit_object(self, record: Record, one: Instance) -> Instance:
        if one.keypoints is not None and "keypoints" not in self._holds:
            self._lose("keypoints-not-held", "object(s) lose their keypoints", record)
            one = replace(one, keypoints=None)
        if one.attributes and "object attributes" not in self._holds:
            self._lose("attributes-not-held", "object(s) lose their attributes (truncated, difficult, …)", record)
            one = replace(one, attributes={})
        return one

    def _fit_mask(self, record: Record, labels: Labels) -> Labels:
        if "mask" in self._holds:
            if labels.mask is not None:
                mask = labels.mask
            else:
                painted = paint_objects(labels.instances, self._void, record.size)
                if painted is None and "boxes" in self._holds:
                    return labels  # no mask is no label there; elsewhere every image needs one
                width, height = record.size
                mask = np.full((height, width), self._void, np.int32) if painted is None else painted
            return replace(labels, mask=mask, instances=labels.instances if "outlines" in self._holds else ())
        if labels.mask is not None and "outlines" not in self._holds:
            self._lose("mask-not-held", "image(s) lose their mask", record)
        return replace(labels, mask=None, instances=labels.instances if "outlines" in self._holds else ())
