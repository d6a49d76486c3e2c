"""The measured form of a set of images, and what a metric says of two of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["pass", "fail", "insufficient"]
Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """n images as arrays; a part that was not measured is None.

    Attributes:
        units: (n,) number of each image's scene.
        features: (n, d) of an embedder.
        lab: (n, 3, bins), `scalars`: (n, 3): see metrics/descriptors.py.
        objects: (n,), positions: (n, grid²), sizes: (n, bins): what the labels show.
        classes: (n, classes) of 0 and 1, columns as in `class_names`.
        groups: the columns of the dataset, one value an image (None where it has none).
    """

    units: NDArray[np.int64]
    features: Floats | None = None
    lab: Floats | None = None
    scalars: Floats | None = None
    objects: Floats | None = None
    positions: Floats | None = None
    sizes: Floats | None = None
    classes: Floats | None = None
    class_names: tuple[str, ...] = ()
    groups: Mapping[str, tuple[str | None, ...]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.units)

    def take(self, rows: NDArray[Any]) -> ImageSet:
        """The images of `rows` (indices or bool)."""
        index = np.flatnonzero(rows) if rows.dtype == bool else rows
        arrays: dict[str, Any] = {
            name: None if value is None else value[index]
            for name in ("features", "lab", "scalars", "objects", "positions", "sizes", "classes")
            for value in [getattr(self, name)]
        }
        groups = {name: tuple(values[i] for i in index) for name, values in self.groups.items()}
        return replace(self, units=self.units[index], groups=groups, **arrays)

    def with_classes(self, names: tuple[str, ...]) -> ImageSet:
        """The same set with the class columns of `names`; classes it does not know are 0."""
        if self.classes is None:
            return self
        columns = np.zeros((len(self), len(names)), dtype=np.float32)
        for position, name in enumerate(self.class_names):
            columns[:, names.index(name)] = self.classes[:, position]
        return replace(self, classes=columns, class_names=names)


@dataclass(frozen=True)
class Measurement:
    """One metric on one subset.

    Attributes:
        subset: `all`, or `<column>=<value>`.
        value: synthetic against real; None where it could not be measured.
        floor: the same for real-A against real-B, of half the size; `matched` is synthetic against real-A at that size.
        interval: 95 %, of `interval_of`.
        p: of the test; None where the metric has none (then it is shown, and gates nothing).
        level: what p had to reach, corrected for all tests; None without a test.
        details: further values, such as k of n or the names of lost classes.
    """

    metric: str
    subset: str
    n_real: int
    n_synthetic: int
    verdict: Verdict
    value: float | None = None
    floor: float | None = None
    matched: float | None = None
    interval: tuple[float, float] | None = None
    interval_of: str = "value"
    p: float | None = None
    level: float | None = None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)


def insufficient(metric: str, subset: str, sizes: tuple[int, int], reason: str, **known: Any) -> Measurement:
    """A measurement that says why there is no verdict."""
    return Measurement(metric, subset, sizes[0], sizes[1], "insufficient", reason=reason, **known)
