"""One look at the labels of the real set: scenes, splits, and what there is to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from synthgen.datasets.base import Dataset
from synthgen.metrics.scenes import scene_names, scene_units
from synthgen.seeds import derive_seed
from synthgen.types import BadSample, ClassInfo, ConfigError, Item, Labels
from synthgen.utility.pictures import Vocabulary, vocabulary_of_table
from synthgen.utility.spec import UtilitySpec


class Survey:
    """What the labels of each readable picture hold; no pixel of them is kept.

    Attributes:
        scene_of: id → scene; `rule`: where the names of scenes come from.
    """

    def __init__(self, source: Dataset, items: Sequence[Item], column: str | None) -> None:
        self._splits = {item.id: item.split for item in items}
        self._image_classes: set[str] = set()
        self._masks = self._outlines = self._objects = self._stuff = False
        facts = [self._look(source, item) for item in items]
        names, self.rule = scene_names(
            [item.id for item in items], [one for one, _ in facts], [a for _, a in facts], column
        )
        self.scene_of = {item.id: name for item, name in zip(items, names, strict=True)}

    def _look(self, source: Dataset, item: Item) -> tuple[str | None, dict[str, object]]:
        try:
            labels = source.labels_of(item)
        except BadSample:
            labels = Labels()
        if labels.image_class is not None:
            self._image_classes.add(labels.image_class)
        self._masks = self._masks or labels.mask is not None
        self._objects = self._objects or bool(labels.instances)
        self._outlines = self._outlines or any(instance.mask is not None for instance in labels.instances)
        self._stuff = self._stuff or _labels_more_than_objects(labels)
        return labels.image_class, dict(labels.attributes)

    def units(self, ids: Sequence[str]) -> tuple[NDArray[np.int64], int, bool]:
        """The scene of each as a number, how many scenes there are, and whether they had to be cut."""
        names = [self.scene_of[one] for one in ids]
        units, cut = scene_units(names)
        return units, len(set(names)), cut

    def known(self, train: Sequence[str], test: Sequence[str]) -> int:
        """How many pictures of the test are of scenes that are trained on as well."""
        scenes = {self.scene_of[one] for one in train}
        return sum(self.scene_of[one] in scenes for one in test)

    def split(self, spec: UtilitySpec) -> tuple[list[str], list[str]]:
        """Ids to train on and to test on, each in order of id.

        Raises:
            ConfigError: a split that holds nothing, or a single scene of which none can be held back.
        """
        if spec.train is not None and spec.test is not None:
            return (
                ids_of_splits("train", spec.train, self._splits),
                ids_of_splits("test", spec.test, self._splits),
            )
        names = sorted(set(self.scene_of.values()))
        names.sort(key=lambda name: derive_seed(spec.seed, name, 0, 0, "utility-test"))
        held = set(names[: max(1, round(spec.test_share * len(names)))])
        if len(held) == len(names):
            raise ConfigError("train, test: the source has one scene, so none can be held back; name splits for both")
        rest, test = (
            [one for one, name in self.scene_of.items() if (name in held) is inside] for inside in (False, True)
        )
        return rest, test

    def vocabulary(self, spec: UtilitySpec, classes: Sequence[ClassInfo]) -> Vocabulary:
        """The classes to learn: of pixels or objects where there are any, else of pictures.

        Raises:
            ConfigError: nothing to learn, or a wrong `merge`.
        """
        if self._image_classes and not self._masks and not self._objects:
            if len(self._image_classes) < 2:
                raise ConfigError("the source has one image class; a classifier needs two")
            if spec.merge:
                raise ConfigError("merge: is for classes of pixels and objects; the source has class folders")
            return Vocabulary(tuple(sorted(self._image_classes)), {}, from_folders=True)
        if not classes:
            raise ConfigError("the source has no labels to learn: no masks, objects or class folders")
        return vocabulary_of_table(classes, spec.merge, outlined=self._outlines and not self._stuff)


def ids_of_splits(key: str, splits: Sequence[str], split_of: Mapping[str, str | None]) -> list[str]:
    """The ids that lie in some splits.

    Raises:
        ConfigError: none does.
    """
    found = [one for one, split in split_of.items() if split in splits]
    if not found:
        there = sorted({str(split) for split in split_of.values()})
        raise ConfigError(
            f"{key}: no picture lies in the split(s) {list(splits)}; the source has {there}. Name others, or set "
            "train and test to null to hold back a share of the scenes"
        )
    return found


def _labels_more_than_objects(labels: Labels) -> bool:
    """Whether the mask has a class where no outlined object lies: then it says itself what the background is."""
    if labels.mask is None:
        return False
    nothing = [-1, *(info.id for info in labels.classes if info.ignore)]
    labelled = ~np.isin(labels.mask, nothing)
    for instance in labels.instances:
        if instance.mask is not None and instance.mask.shape == labelled.shape:
            labelled &= ~instance.mask
    return bool(labelled.any())
