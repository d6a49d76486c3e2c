"""People from the dataset's own labels: no model, no threshold, nobody missed whom an annotator saw.

A labelled person is protected whole, whether or not a face is found in it: that is the fail-closed half of detection. A
face detector adds those whom nobody labelled.

`classes: auto` goes by the names of the class table:

- a class whose name holds a word for a person ("Pedestrian", "human--rider--bicyclist") is a person;
- in a table with two or more parts of the body or things worn (by the last word of the name: "upper arms", "t-shirt",
  but not "hair drier"), each of those is part of a person;
- such a table that has nothing of a scene (sky, road, wall …) is that of a people-parsing dataset: there every class
  but the background is worn, carried or the body itself, so what this file has no word for is covered too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np

from synthgen.detectors.base import Detector, DetectorRun
from synthgen.regions import mask_to_regions
from synthgen.types import ClassIds, ClassInfo, ConfigError, Labels, Region, Sample


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


PERSON_WORDS = _set_of(
    """person persons people human humans individual individuals pedestrian pedestrians rider riders bicyclist
    bicyclists cyclist cyclists motorcyclist motorcyclists biker bikers skater skaters skier skiers man men woman women
    boy boys girl girls child children kid kids baby babies toddler infant adult adults crowd player players worker
    workers face faces"""
)
PART_WORDS = _set_of(
    """hair skin head eye eyes ear ears nose mouth lip lips neck torso arm arms hand hands leg legs foot feet
    accessories belt blazer blouse bodysuit boots bra bracelet cape cardigan clogs clothes coat dress earrings flats
    footwear glasses glove gloves hat heels helmet hoodie intimate jacket jeans jumper jumpsuits leggings loafers
    necklace panties pants pumps romper sandals scarf shirt shoe shoes shorts skirt sneakers socks stockings suit
    sunglasses sweater sweatshirt swimwear tie tights top trousers uniform vest watch wedges"""
)
SCENE_WORDS = _set_of(
    """sky building house road street sidewalk pavement tree vegetation terrain grass mountain sea water wall floor
    ceiling car bus truck train bicycle motorcycle fence pole sign table chair sofa bed dog cat horse bird"""
)
BACKGROUND_WORDS = _set_of("background null void none unlabelled unlabeled ignore other bg")


def _words(name: str) -> list[str]:
    """The lower-case words of a class name, split at anything that is no letter and at capitals ("TrafficCone")."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def person_class_ids(classes: tuple[ClassInfo, ...]) -> frozenset[int]:
    """The ids of the classes that are people, their parts or what they wear (the rule of the module's docstring)."""
    named = {info.id: _words(info.name) for info in classes if not info.ignore}
    people = frozenset(id_ for id_, words in named.items() if PERSON_WORDS.intersection(words))
    parts = frozenset(id_ for id_, words in named.items() if words and words[-1] in PART_WORDS)
    if len(parts) < 2:
        return people
    if any(SCENE_WORDS.intersection(words) for words in named.values()):
        return people | parts
    return frozenset(id_ for id_, words in named.items() if not BACKGROUND_WORDS.intersection(words))


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
            return [
                labels_to_regions(sample.labels, self.class_ids(sample.labels.classes)) if sample.labels.classes else []
                for sample in samples
            ]

        return detect


def labels_to_regions(labels: Labels, class_ids: frozenset[int]) -> list[Region]:
    """A region for each instance of these classes (crowds too), then those of the mask's pixels that no instance
    covers."""
    regions = [
        Region(kind="person", box=instance.box, score=1.0, origin="label", mask=instance.mask)
        for instance in labels.instances
        if instance.class_id in class_ids
    ]
    if labels.mask is None:
        return regions
    wanted: ClassIds = np.isin(labels.mask, np.fromiter(class_ids, dtype=np.int64)).astype(np.int32)
    for region in regions:
        if region.mask is not None:
            wanted[region.mask] = 0
    return regions + mask_to_regions(wanted, (1,), "person")
