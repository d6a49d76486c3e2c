"""One set of class names for the labels of a dataset and for a model that reads them.

Both are carried by name into the names of a palette, or into the dataset's own. Number 0 is what nobody judges on the
label's side (ignore, or mapped to null), and what is always wrong on the model's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthgen.palettes import ClassMap, Palette, PaletteClass, load_palette, map_classes, normal_name
from synthgen.types import BadSample, ClassIds, ClassInfo, ConfigError

SOURCE = "source"
"""In place of a palette: the dataset's own class names."""


@dataclass(frozen=True)
class Vocabulary:
    """`names[number]`; `of_label` has a number for every class id of the dataset, `of_model` for every one of the
    model."""

    names: tuple[str, ...]
    of_label: Mapping[int, int]
    of_model: Mapping[int, int]

    def labelled(self, ids: ClassIds) -> ClassIds:
        """The dataset's ids (height, width), -1 where there is none, as numbers.

        Raises:
            BadSample: `class-unknown` where an id is not in the table.
        """
        return _lookup(ids, {-1: 0, **self.of_label})

    def read(self, ids: ClassIds) -> ClassIds:
        """The model's ids (height, width) as numbers."""
        return _lookup(ids, self.of_model)

    def joined(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """(model's classes, h, w) → (numbers, h, w): the probabilities of what has one number, added."""
        joined = np.zeros((len(self.names), *probabilities.shape[1:]), np.float32)
        for place, number in self.of_model.items():
            joined[number] += probabilities[place]
        return joined


def make_vocabulary(
    classes: Sequence[ClassInfo],
    model_labels: Mapping[int, str],
    palette: str,
    class_map: str | ClassMap,
    model_class_map: str | ClassMap,
) -> Vocabulary:
    """The names in which a dataset's classes and a model's labels meet.

    Raises:
        ConfigError: a class without an entry, or one that no label of the model means; it names the class and the key.
    """
    key = "check.<i>.{} (of the check labels)"
    own = list(dict.fromkeys(info.name for info in classes if not info.ignore))
    names = _source_names(own) if palette == SOURCE else load_palette(palette)
    theirs = list(model_labels.values())
    if palette == SOURCE:
        class_map = {name: name for name in own} | dict({} if isinstance(class_map, str) else class_map)
        meant = {normal_name(name): name for name in own}
        same = {label: meant.get(_first(label)) for label in theirs}
        model_class_map = same | dict({} if isinstance(model_class_map, str) else model_class_map)
    labelled = map_classes(own, class_map, names, key.format("class_map"))
    read = map_classes(theirs, model_class_map, names, key.format("model_class_map"))
    blind = [name for name in own if labelled[name] and labelled[name] not in read.values()]
    if blind:
        raise ConfigError(
            f"check, labels: no label of the model means the class {blind[0]!r} ({len(blind)} of {len(own)} classes); "
            f"add one under model_class_map, or set class_map.{blind[0]}: null to leave it unjudged"
        )
    return Vocabulary(
        names.names,
        {info.id: 0 if info.ignore else labelled[info.name] for info in classes},
        {place: read[label] for place, label in model_labels.items()},
    )


def _source_names(own: Sequence[str]) -> Palette:
    return Palette(SOURCE, tuple(PaletteClass(name, (1, 1, 1)) for name in own))


def _first(label: str) -> str:
    """Of `road, route` the first synonym."""
    return normal_name(label.replace(";", ",").split(",")[0])


def _lookup(ids: ClassIds, numbers: Mapping[int, int]) -> ClassIds:
    values, places = np.unique(ids, return_inverse=True)
    missing = [int(value) for value in values if int(value) not in numbers]
    if missing:
        raise BadSample("class-unknown", f"the label holds ids {missing[:9]}, which the class table does not")
    table = np.array([numbers[int(value)] for value in values], dtype=np.int32)
    return table[places.reshape(ids.shape)]
