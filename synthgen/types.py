"""The values that flow through a run, in the order in which they come to be.

A `Sample` is read from the source; detectors find `Region`s in it; extractors turn it into `SourceMaps`; protectors
take the identity out of them; `seal` turns what is left into `Controls`. Generators receive `Controls` and a `Recipe`
and nothing else, so no code path leads from a protected source pixel to a generator: the privacy boundary is this file.

Classic redaction goes another way: blurred or pixelated, the pixels of a region become a `Redacted`, which is an output
and no input. It has nothing in common with `Controls`, nothing turns one into the other, and no generator takes it.

Images are `uint8` arrays of shape (height, width, 3) in RGB. Boxes are pixels of the image as it is shown (after EXIF
orientation), half-open: x0 <= x < x1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
"""(height, width, 3), RGB, 0..255."""
Mask = NDArray[np.bool_]
"""(height, width), True inside."""
ClassIds = NDArray[np.int32]
"""(height, width), one class id a pixel."""
Points = NDArray[np.float64]
"""(n, 2) x and y in pixels; (n, 3) with a visibility."""
RegionKind = Literal["face", "head", "person", "plate", "text"]
Verdict = Literal["accepted", "quarantined"]


class SynthgenError(Exception):
    """What a user can mend: the message names the file or key, what was expected, what came and what to change."""


class ConfigError(SynthgenError):
    """A run that cannot start: a wrong key, a missing model, an unwritable folder."""


class BadSample(SynthgenError):
    """One sample that cannot be used; it becomes a ledger row with this code and the run goes on.

    `code` is a stable, lower-case, hyphenated word such as `image-corrupt` or `mask-size-mismatch`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class ClassInfo:
    """One row of a class table. `ignore` classes carry no label (void).

    `keypoints` names the points of a class in order; `skeleton` joins them by their numbers, from 1, as COCO does.
    """

    id: int
    name: str
    color: tuple[int, int, int] | None = None
    ignore: bool = False
    keypoints: tuple[str, ...] = ()
    skeleton: tuple[tuple[int, int], ...] = ()


def ignore_class(classes: Iterable[ClassInfo]) -> ClassInfo | None:
    """The class that means "no label here": of several the one of the least id; None where the table has none."""
    return min((info for info in classes if info.ignore), key=lambda info: info.id, default=None)


@dataclass(frozen=True)
class Box:
    """Pixels, half-open, x0 < x1 and y0 < y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        """In pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """In pixels."""
        return self.y1 - self.y0


@dataclass(frozen=True, eq=False)
class Instance:
    """One labelled object; `mask` when the label outlines it, else only its box.

    `polygons` are the (n, 2) outlines, x and y in pixels, that `mask` was painted from, where the label has them.
    `keypoints` is (k, 3): x, y and 0 not labelled, 1 labelled but hidden, 2 visible. `attributes` are what else the
    label says of this object (`truncated`, `difficult`, …).
    """

    class_id: int
    box: Box
    mask: Mask | None = None
    crowd: bool = False
    polygons: tuple[Points, ...] = ()
    keypoints: Points | None = None
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Labels:
    """What the dataset says about one image. `classes` is the table that `mask` and `instances` refer to."""

    classes: tuple[ClassInfo, ...] = ()
    mask: ClassIds | None = None
    instances: tuple[Instance, ...] = ()
    image_class: str | None = None
    attributes: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)

    def class_name(self, class_id: int) -> str:
        """The name behind an id; KeyError where the table has none."""
        for info in self.classes:
            if info.id == class_id:
                return info.name
        raise KeyError(class_id)


@dataclass(frozen=True)
class Item:
    """Where one sample lies. `id` is its image's path below the source root, with forward slashes: unique, private."""

    id: str
    image: Path
    label: Path | None = None
    split: str | None = None


@dataclass(frozen=True)
class Finding:
    """Something worth telling about a source or a run: a coded reason, what it is about, and a sentence."""

    code: str
    subject: str
    message: str


@dataclass(frozen=True)
class SourceIndex:
    """All items of a source in order of id, its class table, and what was wrong with it (missing images or labels)."""

    items: tuple[Item, ...]
    classes: tuple[ClassInfo, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class Sample:
    """One image with its labels, decoded. `digest` is the SHA-256 (hex) of the image file's bytes."""

    item: Item
    image: Image
    labels: Labels
    digest: str

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass(frozen=True, eq=False)
class Region:
    """A place that may identify someone. `mask` is (height, width) of the image where the outline is known."""

    kind: RegionKind
    box: Box
    score: float
    origin: Literal["label", "detector"]
    mask: Mask | None = None


@dataclass(frozen=True, eq=False)
class ControlMap:
    """A map that steers a ControlNet: `image` is (height, width, 3); `ids`/`names` say what a segmentation painted.

    `names[ids[y, x]]` is the palette's class at a pixel; id 0 is `unknown`, painted black. `from_labels` tells that it
    was painted from the dataset's own labels, not found by a model.
    """

    kind: str
    image: Image
    ids: ClassIds | None = None
    names: tuple[str, ...] = ()
    from_labels: bool = False


@dataclass(frozen=True, eq=False)
class SourceMaps:
    """What the extractors saw: still the source's. `canvas` is the source image (mode `people`)."""

    maps: Mapping[str, ControlMap]
    canvas: Image | None = None
    hole: Mask | None = None

    def with_map(self, control: ControlMap) -> SourceMaps:
        """A copy in which `control` replaces the map of its kind."""
        return replace(self, maps={**self.maps, control.kind: control})


@dataclass(frozen=True, eq=False)
class Controls:
    """What a generator may see. Made by `seal` alone, after every protector has run.

    `canvas` (mode `people` only) has had the pixels under `hole` removed; the generator paints inside `hole`.
    """

    maps: Mapping[str, ControlMap]
    size: tuple[int, int]
    canvas: Image | None = None
    hole: Mask | None = None


def seal(protected: SourceMaps, protected_mask: Mask, size: tuple[int, int]) -> Controls:
    """Turn protected maps into `Controls`.

    `protected_mask` is the union of the dilated regions, (height, width); the hole of a canvas must cover it.

    Raises:
        BadSample: `canvas-not-protected` where the hole of a canvas does not cover the protected mask.
    """
    hole = np.zeros_like(protected_mask) if protected.hole is None else protected.hole
    if protected.canvas is not None and (protected_mask & ~hole).any():
        raise BadSample("canvas-not-protected", "the canvas still shows pixels of a protected region")
    return Controls(protected.maps, size, protected.canvas, protected.hole)


@dataclass(frozen=True, eq=False)
class Redacted:
    """A source picture whose regions a classic method treated **from their own pixels**: the output of a run whose
    generator is `none`, and of no other.

    The one place beside `Sample` where something of a protected region's pixels is left, so it is a type of its own:
    a generator takes `Controls`, and mypy refuses this in their place. `image` is (height, width, 3) of the source's
    size; outside `treated` (height, width) it is the source's, byte for byte.
    """

    image: Image
    treated: Mask


@dataclass(frozen=True)
class Recipe:
    """Everything that decides one output besides the controls. `seed` is 0 <= seed < 2**63."""

    sample_id: str
    variant: int
    attempt: int
    seed: int
    prompt: str
    negative_prompt: str = ""
    factors: Mapping[str, str | float] = field(default_factory=dict)
    control: Mapping[str, float] = field(default_factory=dict)
    """Map kind → factor on the scale of the ControlNets that read it; 1 where a kind is missing."""


@dataclass(frozen=True)
class Extra:
    """An output that was planned after the first round: to refill a quota that rejections left short, or in place of
    one that an audit withdrew.

    `factors` holds the levels that it must have; `point` is its place in the sequence of the continuous factors;
    `stage` is where it begins.
    """

    sample_id: str
    variant: int
    factors: Mapping[str, str]
    point: int
    stage: int = 1


@dataclass(frozen=True, eq=False)
class Generated:
    """One output at the source's size, (height, width, 3)."""

    image: Image
    recipe: Recipe


@dataclass(frozen=True)
class Score:
    """What one check found. `passed` None means that it could not tell (then the sample fails closed).

    `counts` stand beside the value in the ledger, as `<check>:<name>`: how many were checked, how many could not be.
    `columns` stand there under the names that they have here.

    `unlabel` (height, width) is True where the label does not hold in this output; released, it is *ignore* there. A
    score that did not pass and is `mendable` would have passed without the labels of those pixels: after the last try
    the output may be released so.
    """

    check: str
    value: float | None
    passed: bool | None
    message: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    columns: Mapping[str, float | None] = field(default_factory=dict)
    unlabel: Mask | None = field(default=None, compare=False)
    mendable: bool = False

    def to_columns(self) -> dict[str, float | None]:
        """The value, the counts and the further columns by their names in the ledger."""
        counts = {f"{self.check}:{name}": float(n) for name, n in self.counts.items()}
        return {self.check: self.value, **counts, **self.columns}


@dataclass(frozen=True)
class Row:
    """One line of the ledger: one (sample, variant), whatever became of it. Private."""

    sample_id: str
    variant: int
    verdict: Verdict
    code: str
    message: str
    source_digest: str
    output_digest: str
    split: str | None
    width: int
    height: int
    attempts: int
    seed: int
    prompt: str
    factors: Mapping[str, str | float] = field(default_factory=dict)
    scores: Mapping[str, float | None] = field(default_factory=dict)
    regions: Mapping[str, int] = field(default_factory=dict)
    stage: int = 0
    """The stage of the last attempt, from 1, which released the output if it was accepted; 0 where none was begun."""
    small_people: int = 0
    """People too small for a face detector or a check to say anything about; they are protected all the same."""

    def to_record(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}
