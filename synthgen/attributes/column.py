"""What a column of the dataset says of an image; `image_class` is the class of its folder.

A column is the source's word: the output inherits it, and it is not read off pixels. So it tells who was accepted and
how well they were treated, not what regeneration made of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import model_validator

from synthgen.attributes.base import IMAGE_CLASS, Attribute, AttributeRun, Reading, Subject

MANY_NUMBERS = 12


class Column(Attribute):
    """Groups are the column's values as text, those that `values` renames them to, or bins of numbers."""

    measured: ClassVar[bool] = False
    kind: Literal["column"] = "column"
    name: str = ""
    """Defaults to the column."""
    column: str
    values: Mapping[str, str | None] = {}
    """Value → group; null makes it unknown. Values that are not named stay."""
    bins: tuple[float, ...] = ()
    """Ascending bounds, the lower one included: [18, 60] makes `<18`, `18..60` and `≥60`."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, dict) and "name" not in value and "column" in value:
            return {**value, "name": str(value["column"])}
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Column:
        if list(self.bins) != sorted(set(self.bins)):
            raise ValueError(f"bins: expected ascending numbers, got {list(self.bins)}")
        if self.bins and self.values:
            raise ValueError("bins and values can't both be given")
        return self

    @property
    def groups(self) -> tuple[str, ...]:
        """Those of the bins; else found."""
        if not self.bins:
            return ()
        inner = [f"{low:g}..{high:g}" for low, high in zip(self.bins, self.bins[1:], strict=False)]
        return (f"<{self.bins[0]:g}", *inner, f"≥{self.bins[-1]:g}")

    @property
    def column_read(self) -> str | None:
        """As `Attribute`."""
        return self.column

    def fitted(self, values: Sequence[object]) -> Column:
        """Bins at the quartiles for a column of numbers with more than `MANY_NUMBERS` values and none of its own."""
        there = [value for value in values if value not in (None, "")]
        numbers = [number for value in there if (number := _number(value)) is not None]
        if self.bins or self.values or len(numbers) < len(there) or len(set(numbers)) <= MANY_NUMBERS:
            return self
        bounds = sorted({float(bound) for bound in np.quantile(numbers, [0.25, 0.5, 0.75])})
        return self.model_copy(update={"bins": tuple(bounds)})

    def load(self, device: str) -> AttributeRun:
        """Nothing to load."""

        def read(subjects: Sequence[Subject]) -> list[Reading]:
            return [self._read(subject) for subject in subjects]

        return read

    def _read(self, subject: Subject) -> Reading:
        labels = subject.labels
        value = labels.image_class if self.column == IMAGE_CLASS else labels.attributes.get(self.column)
        if value is None or value == "":
            return Reading()
        if not self.bins:
            text = str(value)
            return Reading(self.values.get(text, text))
        number = _number(value)
        if number is None:
            return Reading()
        return Reading(self.groups[int(np.searchsorted(self.bins, number, side="right"))], number)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
