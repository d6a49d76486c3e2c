"""Segmentation maps, painted in the palette that the ControlNet was trained with.

The dataset's own labels come first: a mask, or outlined instances (the larger first, so that the smaller lie on top; a
pixel that no instance covers is unknown). Boxes are no outlines: such a sample, like one with no labels, goes to a
segmenter. Both carry class names into the palette through a class map; see synthgen/palettes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator, model_validator

from synthgen.extractors.base import Extractor, ExtractorRun
from synthgen.label_maps import labels_to_class_ids
from synthgen.palettes import CLASS_MAPS, PALETTES, Palette, load_class_map, load_palette, map_classes, parse_palette
from synthgen.segmenter import Segmenter
from synthgen.types import BadSample, ClassIds, ClassInfo, ConfigError, ControlMap, Sample

ClassMapSpec = str | dict[str, str | dict[str, str | None] | None]


class Segmentation(Extractor):
    """Class ids of a palette, and their colours.

    A YAML file named by `palette`, `class_map` or `model_class_map` is read into the config: the config then holds
    everything that decides the map, and so does the run id.
    """

    kind: Literal["segmentation"] = "segmentation"
    palette: str | list[dict[str, Any]] = "starter"
    """`ade20k` (public ControlNets), `starter`, a YAML file, or its entries {name, color, part_of}."""
    class_map: ClassMapSpec = "auto"
    """The dataset's classes → palette names: `auto` (by class names), a shipped map, a YAML file, or the mapping."""
    model: str | None = "starter/segmenter"
    """The segmenter's weights reference, for samples without a mask; null: such samples are quarantined."""
    model_class_map: ClassMapSpec = "auto"
    """The segmenter's labels → palette names, as `class_map`."""
    prefer: Literal["labels", "model"] = "labels"
    batch_size: int = Field(default=1, ge=1)
    """Pictures at once for the model; a partial batch is filled up."""

    @field_validator("palette")
    @classmethod
    def _palette_into_config(cls, value: Any) -> Any:
        try:
            if isinstance(value, str):
                palette = load_palette(value)
                return value if value in PALETTES else _palette_entries(palette)
            return _palette_entries(parse_palette(value, "of the config"))
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @field_validator("class_map", "model_class_map")
    @classmethod
    def _class_map_into_config(cls, value: Any) -> Any:
        try:
            if not isinstance(value, str) or value in ("auto", *CLASS_MAPS):
                return value
            return dict(load_class_map(value))
        except ConfigError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _has_a_model_to_prefer(self) -> Segmentation:
        if self.prefer == "model" and self.model is None:
            raise ValueError("prefer: model needs a model; name one, or set prefer: labels")
        return self

    @cached_property
    def parsed_palette(self) -> Palette:
        """The palette that `palette` names or holds."""
        if isinstance(self.palette, str):
            return load_palette(self.palette)
        return parse_palette(self.palette, "of the config")

    def weights(self) -> tuple[str, ...]:
        """The segmenter's, if there is one."""
        return () if self.model is None else (self.model,)

    def check_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        """Raises ConfigError where a class that is not ignored has no entry in the class map."""
        if self.prefer == "labels":
            self._class_ids(classes)

    def load(self, device: str) -> ExtractorRun:
        """Raises ConfigError where the segmenter is missing, of another kind, or has labels without an entry."""
        segmenter = None if self.model is None else Segmenter(self.model, device, self.batch_size)
        model_ids = {} if segmenter is None else self._model_ids(segmenter)

        def run(samples: Sequence[Sample]) -> list[ControlMap]:
            found = {place: ids for place, sample in enumerate(samples) if (ids := self._painted(sample)) is not None}
            rest = [place for place in range(len(samples)) if place not in found]
            if rest and segmenter is None:
                raise BadSample(
                    "segmentation-no-labels", "no mask, no outlined instances, and extract.<i>.model is null: name one"
                )
            if rest and segmenter is not None:
                predicted = segmenter([samples[place].image for place in rest])
                found |= {place: _lookup(ids, model_ids) for place, ids in zip(rest, predicted, strict=True)}
            return [self._map(found[place], place not in rest) for place in range(len(samples))]

        return run

    def _map(self, ids: ClassIds, from_labels: bool) -> ControlMap:
        return ControlMap(self.kind, self.parsed_palette.paint(ids), ids, self.parsed_palette.names, from_labels)

    def _painted(self, sample: Sample) -> ClassIds | None:
        """Palette ids from the sample's labels; None where the model must look, or the labels outline nothing."""
        if self.prefer == "model":
            return None
        ids = labels_to_class_ids(sample.labels, (sample.image.shape[0], sample.image.shape[1]))
        if ids is None:
            return None
        return _lookup(ids, {-1: 0, **self._class_ids(sample.labels.classes)})

    def _class_ids(self, classes: tuple[ClassInfo, ...]) -> dict[int, int]:
        key = "extract.<i>.class_map (of the extractor segmentation)"
        names = [info.name for info in classes if not info.ignore]
        targets = map_classes(names, self.class_map, self.parsed_palette, key)
        return {info.id: 0 if info.ignore else targets[info.name] for info in classes}

    def _model_ids(self, segmenter: Segmenter) -> dict[int, int]:
        key = f"extract.<i>.model_class_map (the labels of {self.model})"
        targets = map_classes(segmenter.labels.values(), self.model_class_map, self.parsed_palette, key)
        return {place: targets[name] for place, name in segmenter.labels.items()}


def _lookup(ids: ClassIds, targets: Mapping[int, int]) -> ClassIds:
    """Replace every id by its target; BadSample `unknown-class` where one has none."""
    values, places = np.unique(ids, return_inverse=True)
    missing = [int(value) for value in values if int(value) not in targets]
    if missing:
        raise BadSample("unknown-class", f"the mask holds ids {missing[:9]}; the class table has {sorted(targets)}")
    table = np.array([targets[int(value)] for value in values], dtype=np.int32)
    return table[places.reshape(ids.shape)]


def _palette_entries(palette: Palette) -> list[dict[str, Any]]:
    return [
        {"name": entry.name, "color": list(entry.color)} | ({"part_of": entry.part_of} if entry.part_of else {})
        for entry in palette.classes
    ]
