"""Is anybody in the output still the person who stood there? A recogniser's answer, at the places where people were.

Each face (or person) of the source is compared with what stands in its place, at the **source's** box: whether a
detector still finds a face there says nothing (a blurred face is found by no detector and known by a recogniser). What
is too similar to its source rejects the output.

One comparison of the two pictures as they are would pass a blurred face (on photographs of 150 people it passed 44 %
at σ = 5 % of the face's width), because a blur moves every embedding to one side. So the source is blurred as well, and
then both, as an attacker would do. Each `Look` has its own threshold, at which hardly any two people are taken for one.

A box too small for the recogniser says nothing. Its region was emptied before the generator saw anything, so by default
it is counted (`identity-<kind>:unchecked` in the ledger) and does not reject; `too_small: reject` does. The same holds
for people in whom no face was found, when faces are compared.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import ClassVar, Literal

import cv2
import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from synthgen.checks.base import Candidate, Check, CheckRun, Learned
from synthgen.component import components
from synthgen.recognizers.base import Embeddings, LoadedRecognizer, Recognizer, Subject, paired_distances
from synthgen.types import Box, Image, Region, Sample, Score

REMEMBERED = 512
"""Sources whose embeddings are kept for their further attempts and variants."""


class Look(BaseModel):
    """One way to compare: blurs as shares of the box's width (standard deviation), and a threshold.

    `threshold` is a share of the recogniser's own: at or below it the two are taken for one identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: float = Field(default=0.0, ge=0, le=0.5)
    output: float = Field(default=0.0, ge=0, le=0.5)
    threshold: float = Field(default=1.0, gt=0, le=2)


LOOKS = (
    Look(),
    Look(source=0.05, threshold=0.75),
    Look(source=0.08, threshold=0.58),
    Look(source=0.08, output=0.08, threshold=0.5),
)
"""Set with dlib on photographs of 150 people, for 1 in 1,000 pairs of two people (1 in 200 in the first). Of 100 faces
together they rejected every copy, every blur (σ 5 % and 9 % of the face's width) and every mosaic of 11 or 16 blocks a
face, a third of those of 6, and 1 or 2 of each kind of replacement: another person, a black box, noise, a fill."""


class IdentityCheck(Check):
    """The score's value is the least distance, as a share of its threshold: at or below 1 the output is rejected.

    None where there was nothing to compare.
    """

    escalates: ClassVar[bool] = True
    kind: Literal["identity"] = "identity"
    recognizer: components("recognizers", Recognizer)  # type: ignore[valid-type]
    looks: tuple[Look, ...] = Field(default=LOOKS, min_length=1)
    """The thresholds of the default hold for `dlib`; with another recogniser set them on pairs of two people."""
    threshold: float | None = Field(default=None, gt=0)
    """Euclidean distance of embeddings; the recogniser's own if none is given."""
    min_side: float = Field(default=16.0, ge=1)
    """Boxes whose shorter side (pixels) is less can't be checked. At 16, dlib still named 69 % of 70 people rightly."""
    too_small: Literal["count", "reject"] = "count"
    """What becomes of an output in which somebody can't be checked."""

    def weights(self) -> tuple[str, ...]:
        """Those of the recogniser."""
        refs: tuple[str, ...] = self.recognizer.weights()
        return refs

    def load(self, device: str, learned: Learned) -> CheckRun:
        """Load the recogniser."""
        gate = _Gate(self, self.recognizer.load(device))
        name, subject = f"identity-{self.recognizer.kind}", self.recognizer.subject

        def check(candidate: Candidate) -> Score:
            boxes, faceless = boxes_of(candidate.regions, subject)
            large = [box for box in boxes if min(box.width, box.height) >= self.min_side]
            counts = {"checked": len(large), "too-small": len(boxes) - len(large), "faceless": faceless}
            unchecked = counts["too-small"] + faceless
            value = gate.nearest(candidate, large) if large else None
            if value is not None and value <= 1:
                message = f"somebody is still recognised: distance {value:.2f} of the threshold"
                return Score(name, value, False, message, counts)
            if unchecked and self.too_small == "reject":
                return Score(name, value, None, f"{unchecked} of {unchecked + len(large)} can't be checked", counts)
            return Score(name, value, True, "", counts)

        return check


class _Gate:
    """The recogniser with the embeddings of the sources that it saw last."""

    def __init__(self, spec: IdentityCheck, recognizer: LoadedRecognizer) -> None:
        self._recognizer = recognizer
        own = recognizer.threshold if spec.threshold is None else spec.threshold
        self._looks = [(look.source, look.output, look.threshold * own) for look in spec.looks]
        self._sources: OrderedDict[tuple[str, tuple[Box, ...]], dict[float, Embeddings]] = OrderedDict()
        self._lock = Lock()

    def nearest(self, candidate: Candidate, boxes: Sequence[Box]) -> float:
        """The least distance over boxes and looks, as a share of the look's threshold; ends at the first within it."""
        known = self._source(candidate.sample, tuple(boxes))
        made: dict[float, Embeddings] = {}
        nearest = np.inf
        for source, output, threshold in self._looks:
            if output not in made:
                made[output] = self._embed(candidate.generated.image, boxes, output)
            nearest = min(nearest, float((paired_distances(known[source], made[output]) / threshold).min()))
            if nearest <= 1:
                break
        return nearest

    def _source(self, sample: Sample, boxes: tuple[Box, ...]) -> dict[float, Embeddings]:
        """The source's embeddings by blur: made once, not at every attempt."""
        key = sample.digest, boxes
        with self._lock:
            if key not in self._sources:
                blurs = {source for source, _, _ in self._looks}
                self._sources[key] = {blur: self._embed(sample.image, boxes, blur) for blur in sorted(blurs)}
                if len(self._sources) > REMEMBERED:
                    self._sources.popitem(last=False)
            return self._sources[key]

    def _embed(self, image: Image, boxes: Sequence[Box], blur: float) -> Embeddings:
        parts = [cut(image, box, blur) for box in boxes]
        return self._recognizer.embed([part for part, _ in parts], [box for _, box in parts])


def boxes_of(regions: Sequence[Region], subject: Subject) -> tuple[list[Box], int]:
    """The boxes to compare, and how many people have none.

    Persons are compared by their own boxes. Faces are: those found, and the heads and persons in which none was found
    are counted alone, since a recogniser of faces makes nothing of a box that holds no face.
    """
    persons = [region.box for region in regions if region.kind == "person"]
    if subject == "person":
        return persons, 0
    faces = [region.box for region in regions if region.kind == "face"]
    heads = [region.box for region in regions if region.kind == "head"]
    faceless = [box for box in persons if not any(_holds(box, face) for face in faces)]
    bare = [box for box in heads if not any(_holds(box, face) for face in faces)]
    alone = [box for box in bare if not any(_holds(person, box) for person in faceless)]
    return faces, len(faceless) + len(alone)


def _holds(outer: Box, inner: Box) -> bool:
    x, y = (inner.x0 + inner.x1) / 2, (inner.y0 + inner.y1) / 2
    return outer.x0 <= x < outer.x1 and outer.y0 <= y < outer.y1


def cut(image: Image, box: Box, blur: float) -> tuple[Image, Box]:
    """The surroundings of a box (half its longer side on every side), blurred by `blur` × its width; the box in them.

    Blurring all of a large picture for each of its faces would cost more than the recogniser.
    """
    if blur == 0:
        return image, box
    reach = max(box.width, box.height) / 2
    x0, y0 = max(int(box.x0 - reach), 0), max(int(box.y0 - reach), 0)
    part = image[y0 : int(box.y1 + reach) + 1, x0 : int(box.x1 + reach) + 1]
    blurred = cv2.GaussianBlur(part, (0, 0), max(blur * box.width, 1e-3)).astype(np.uint8)
    return blurred, Box(box.x0 - x0, box.y0 - y0, box.x1 - x0, box.y1 - y0)
