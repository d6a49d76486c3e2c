"""What triage looks for, with which detector, and what it could not look for.

A detector that is not installed finds nothing, and nothing found looks like nothing there. So each thing is either
looked for, by a detector that is named, or said not to have been, with the way to mend it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from synthgen.component import parse_component
from synthgen.detectors.base import Detector, DetectorRun
from synthgen.types import ConfigError, Region, Sample

THINGS = {
    "labels": "what the labels name",
    "centerface": "faces",
    "persons": "people without a face",
    "plates": "number plates",
    "text": "text",
}
"""Detector → what it is for, in the order in which they run."""
NO_PERSONS = "give a detector: --detect '{kind: persons, model: org/name@<commit>}' (or a folder, or an ONNX file)"


@dataclass(frozen=True)
class Looked:
    """One thing to look for: with which detector, or why not. `note` says how far the detector can be trusted."""

    thing: str
    detector: str
    looked: bool
    note: str


@dataclass(frozen=True, eq=False)
class Lookers:
    """The detectors at work. `guessed_plates` tells that plates are found by their text alone."""

    labels: DetectorRun
    others: tuple[DetectorRun, ...]
    looked: tuple[Looked, ...]
    specs: tuple[Detector, ...]
    guessed_plates: bool

    def __call__(self, samples: Sequence[Sample]) -> list[tuple[list[Region], list[Region]]]:
        """The regions of each sample: those of its labels, and those that detectors found."""
        labelled = self.labels(samples)
        found: list[list[Region]] = [[] for _ in samples]
        for detect in self.others:
            for regions, more in zip(found, detect(samples), strict=True):
                regions += more
        return list(zip(labelled, found, strict=True))


def load_lookers(chosen: Sequence[str], device: str) -> Lookers:
    """Load every detector of `THINGS`; `chosen` (YAML, as under `detect` of a run) stands in for those of its kinds.

    Raises:
        ConfigError: a chosen detector can't be had. One that nobody chose is noted as not looked for.
    """
    specs = {spec.kind: spec for spec in map(parse_detector, chosen)}
    loaded: list[tuple[Detector, DetectorRun]] = []
    looked = []
    for kind in dict.fromkeys([*THINGS, *specs]):
        thing = THINGS.get(kind, kind)
        try:
            if kind == "persons" and kind not in specs:
                raise ConfigError(NO_PERSONS)
            spec = specs.get(kind) or parse_detector(kind)
            loaded.append((spec, spec.load(device)))
            looked.append(Looked(thing, kind, True, _trust(spec)))
        except ConfigError as error:
            if kind in specs:
                raise
            looked.append(Looked(thing, kind, False, str(error)))
    runs = {spec.kind: run for spec, run in loaded}
    return Lookers(
        labels=runs["labels"],
        others=tuple(run for spec, run in loaded if spec.kind != "labels"),
        looked=tuple(looked),
        specs=tuple(spec for spec, _ in loaded),
        guessed_plates=any(_guesses(spec) for spec, _ in loaded),
    )


def parse_detector(text: str) -> Detector:
    """A detector's kind, or its mapping, as YAML.

    Raises:
        ConfigError: no YAML, no such kind, a wrong key.
    """
    try:
        value: Any = yaml.safe_load(text)
        spec = parse_component("detectors", value)
    except (ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"--detect {text}: {error}") from error
    assert isinstance(spec, Detector)
    return spec


def _guesses(spec: Detector) -> bool:
    return spec.kind == "plates" and not spec.weights() and getattr(spec, "file", None) is None


def _trust(spec: Detector) -> str:
    if _guesses(spec):
        return "by their text alone: small, slanted and unread plates are missed; give a detector for more"
    return {
        "labels": "as far as the annotators went",
        "centerface": "frontal and half-profile faces from about 16 px",
        "text": "upright lines from about 8 px",
    }.get(spec.kind, "as far as its model goes")
