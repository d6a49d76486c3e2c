"""Regions of what a dataset labels: whatever finds people, these are known to be there."""

from __future__ import annotations

import numpy as np

from synthgen.detectors._classes import region_class_ids
from synthgen.regions import mask_to_regions
from synthgen.types import ClassIds, Labels, Region, RegionKind


def labelled_faces(labels: Labels) -> list[Region]:
    """The faces and heads that a dataset labels as such, by the names of its classes; origin `label`."""
    ids = region_class_ids(labels.classes)
    kinds: tuple[RegionKind, ...] = ("face", "head")
    return [region for kind in kinds if kind in ids for region in labels_to_regions(labels, ids[kind], kind)]


def labels_to_regions(labels: Labels, class_ids: frozenset[int], kind: RegionKind = "person") -> list[Region]:
    """A region for each instance of these classes (crowds too), then those of the mask's pixels that no instance
    covers."""
    regions = [
        Region(kind=kind, box=instance.box, score=1.0, origin="label", mask=instance.mask)
        for instance in labels.instances
        if instance.class_id in class_ids
    ]
    if labels.mask is None:
        return regions
    wanted: ClassIds = np.isin(labels.mask, np.fromiter(class_ids, dtype=np.int64)).astype(np.int32)
    for region in regions:
        if region.mask is not None:
            wanted[region.mask] = 0
    return regions + mask_to_regions(wanted, (1,), kind)
