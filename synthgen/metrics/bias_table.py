"""The table that all bias metrics read: one row for each subject of each output, with its reading before and after.

A subject is a face (or whatever the attributes look at); an output without any has one row. What an image has as a
whole (a column, its labels, whether it was accepted) stands in each of its rows, and `first` picks one row an output,
so that an image with five faces counts once where images are counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = "unknown"
Codes = NDArray[np.int64]
"""Number of the group; −1 is unknown."""
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AttributeColumn:
    """One attribute in n rows.

    Attributes:
        groups: their names; `source` and `output` hold numbers into it. An output that was rejected, or whose attribute
            could not be read, is −1. For an attribute that is not read off pixels the output has the source's.
        values: (source, output) of an attribute that is a number, NaN where unknown; None for one that is not.
        per_image: whether it belongs to the image and not to a subject in it.
        measured: whether it was read off pixels, so that source and output can differ.
        target: shares that the release should have, by group.
        confusion: (groups, groups) counts of a reader on known truth, rows the truth; None where unknown.
        truth: (n,) known group of the source, where a column tells it.
    """

    name: str
    kind: str
    groups: tuple[str, ...]
    source: Codes
    output: Codes
    values: tuple[Floats, Floats] | None = None
    per_image: bool = True
    measured: bool = False
    target: Mapping[str, float] | None = None
    confusion: Floats | None = None
    truth: Codes | None = None


@dataclass(frozen=True, eq=False)
class BiasTable:
    """n rows.

    Attributes:
        sample: (n,) number of the source image; `unit`: (n,) number of its scene.
        first: (n,) True in one row of each output.
        accepted: (n,) whether the output was.
        labels: (n, labels) whether the image's labels show a class.
        scores: by check, (n,) NaN where it did not run.
    """

    sample: NDArray[np.int64]
    unit: NDArray[np.int64]
    first: Bools
    accepted: Bools
    attributes: tuple[AttributeColumn, ...]
    labels: Bools
    label_names: tuple[str, ...] = ()
    scores: Mapping[str, Floats] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.sample)

    def rows(self, *attributes: AttributeColumn) -> Bools:
        """The rows that count for these attributes: one an output if all of them belong to the image, else all."""
        return self.first if all(one.per_image for one in attributes) else np.ones(len(self), dtype=np.bool_)


@dataclass(frozen=True)
class BiasSettings:
    """Levels and bounds.

    Attributes:
        min_n: fewer subjects in a cell say nothing.
        ratio: a rate under this share of the best group's is flagged.
        tolerance: a total variation, a change of share, an nPMI shift or an amplification under this matters to nobody;
            so does a shift of a mean under this many standard deviations of the source.
        level: family-wise error of the gates (Holm); `explore`: false discovery rate of the rest.
        label_checks: checks whose score is the share of labels that survived, 0..1.
        draws: of the tests that draw; those of exploration may take more, so that a corrected level can be reached.
    """

    min_n: int = 30
    ratio: float = 0.8
    tolerance: float = 0.02
    level: float = 0.05
    explore: float = 0.05
    label_checks: tuple[str, ...] = ("labels",)
    draws: int = 1999
    seed: int = 0


def group_names(values: Sequence[Any]) -> tuple[str, ...]:
    """The distinct known values as text, numbers in their order, then words in theirs."""
    known = {str(value) for value in values if value is not None} - {UNKNOWN}
    return tuple(sorted(known, key=lambda text: (not _is_number(text), float(text) if _is_number(text) else 0.0, text)))


def to_codes(values: Sequence[str | None], groups: Sequence[str]) -> Codes:
    """Numbers into `groups`; −1 where there is no value or none of these."""
    place = {name: number for number, name in enumerate(groups)}
    return np.array([-1 if value is None else place.get(value, -1) for value in values], dtype=np.int64)


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
