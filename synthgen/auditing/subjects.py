"""Where the people are in the originals: boxes found once, and used on outputs, maps and reconstructions alike.

An attacker never asks a detector about an output. "No face found" would be taken for "nobody to be recognised", and a
recogniser still matches faces that no detector finds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from synthgen.auditing.spec import RegionName
from synthgen.detectors.base import Detector, DetectorRun
from synthgen.regions import Size, clip_box
from synthgen.shards import write_atomic
from synthgen.types import Box, ConfigError, Region, Sample

Step = Callable[[int, int], None]
HEAD_SHARE = 0.25
"""Where a person is known but no face: the head is the top quarter of the person."""


@dataclass(frozen=True)
class Subject:
    """One person in one original. A box is missing where nothing of that kind was found.

    `identity` is None where nobody says who it is.
    """

    photo: str
    number: int
    identity: str | None
    boxes: Mapping[RegionName, Box]

    @property
    def name(self) -> str:
        """A unit of its own where the identity is not known."""
        return self.identity if self.identity is not None else f"{self.photo}#{self.number}"


class RegionFinder:
    """Detectors with a memory on disk, keyed by the detector and the image's content."""

    def __init__(self, cached: Sequence[Detector], others: Sequence[Detector], folder: Path | None) -> None:
        self._cached, self._others = list(cached), [spec for spec in others if spec not in cached]
        specs = json.dumps([spec.model_dump(mode="json") for spec in self._cached], sort_keys=True)
        name = hashlib.sha256(specs.encode()).hexdigest()[:32]
        self._file = None if folder is None else folder / f"regions-{name}.json"
        self._known: dict[str, list[list[float | str]]] = {}
        self._runs: dict[int, DetectorRun] = {}
        if self._file is not None and self._file.is_file():
            try:
                self._known = json.loads(self._file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ConfigError(f"{self._file}: no cache of regions ({error}); delete this file") from error

    def __call__(self, sample: Sample) -> list[Region]:
        """All regions of an original."""
        if sample.digest not in self._known:
            found = [region for spec in self._cached for region in self._run(spec, sample)]
            self._known[sample.digest] = [
                [region.kind, region.box.x0, region.box.y0, region.box.x1, region.box.y1, region.score]
                for region in found
            ]
        rows = self._known[sample.digest]
        cached = [Region(kind, Box(*box), score, "detector") for kind, *box, score in rows]  # type: ignore[arg-type]
        return [*cached, *(region for spec in self._others for region in self._run(spec, sample))]

    def save(self) -> None:
        """Write what was found."""
        if self._file is not None and self._known:
            write_atomic(self._file, json.dumps(self._known).encode())

    def _run(self, spec: Detector, sample: Sample) -> list[Region]:
        if id(spec) not in self._runs:
            self._runs[id(spec)] = spec.load("cpu")
        return self._runs[id(spec)]([sample])[0]


def find_subjects(sample: Sample, regions: Iterable[Region], identity: str | None) -> list[Subject]:
    """The people of an original.

    With an identity, the one it names: the largest face, discounted by its distance from the middle, or else the
    largest person. Without, everyone who was found.
    """
    people = _people(list(regions), sample.size)
    if identity is None:
        return [Subject(sample.item.id, number, None, boxes) for number, boxes in enumerate(people)]
    if not people:
        return []
    main = max(people, key=lambda boxes: _prominence(boxes, sample.size))
    return [Subject(sample.item.id, 0, identity, main)]


def _people(regions: list[Region], size: Size) -> list[dict[RegionName, Box]]:
    """Faces with the head and the person around them, then persons without a face."""
    faces = [region.box for region in regions if region.kind == "face"]
    heads = [region.box for region in regions if region.kind == "head"]
    persons = [region.box for region in regions if region.kind == "person"]
    people: list[dict[RegionName, Box]] = []
    taken: set[Box] = set()
    for face in faces:
        boxes: dict[RegionName, Box] = {"face": face}
        for name, around in (("head", heads), ("person", persons)):
            inside = [box for box in around if _holds(box, face)]
            if inside:
                boxes[name] = min(inside, key=lambda box: box.width * box.height)  # type: ignore[index]
        taken.update(boxes.values())
        people.append(boxes)
    for person in persons:
        if person not in taken:
            head = Box(person.x0, person.y0, person.x1, person.y0 + HEAD_SHARE * person.height)
            people.append({"person": person, "head": head})
    clipped = [{name: clip_box(box, size) for name, box in boxes.items()} for boxes in people]
    return [{name: box for name, box in boxes.items() if box is not None} for boxes in clipped]


def _holds(outer: Box, inner: Box) -> bool:
    x, y = (inner.x0 + inner.x1) / 2, (inner.y0 + inner.y1) / 2
    return outer.x0 <= x <= outer.x1 and outer.y0 <= y <= outer.y1


def _prominence(boxes: Mapping[RegionName, Box], size: Size) -> tuple[bool, float]:
    box = boxes.get("face") or boxes.get("person") or next(iter(boxes.values()))
    away = abs((box.x0 + box.x1) - size[0]) + abs((box.y0 + box.y1) - size[1])
    return "face" in boxes, float((box.width * box.height) ** 0.5 - away / 4)
