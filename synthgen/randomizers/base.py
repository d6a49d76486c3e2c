"""What a randomizer must do: change an output, and its labels with it, by values drawn from the sample's own stream.

It acts after generation and before the checks, so what it spoils is rejected like anything else. It never sees a
source: the image is the output, restored to the source's size.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from synthgen.component import Component
from synthgen.types import ClassInfo, Image, Labels


def _as_pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int | float) else value


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"expected [low, high] with low <= high, got {list(value)}")
    return value


Interval = Annotated[tuple[float, float], BeforeValidator(_as_pair), AfterValidator(_ascending)]
"""[low, high], drawn from evenly; a single number stands for itself."""


class Randomizer(Component):
    """(image, labels, stream) → (image, labels). `moves_labels` tells that positions change."""

    moves_labels: ClassVar[bool] = False
    kind: str
    probability: float = Field(default=1.0, ge=0, le=1)
    """The share of the outputs that it changes; the others pass as they are."""

    def check_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        """Refuse a class table that this randomizer can't use, before work starts.

        Raises:
            ConfigError: names the class and the key to change.
        """

    def __call__(self, image: Image, labels: Labels, stream: np.random.Generator) -> tuple[Image, Labels]:
        """`apply`, or nothing, by `probability`."""
        if stream.random() >= self.probability:
            return image, labels
        return self.apply(image, labels, stream)

    @abstractmethod
    def apply(self, image: Image, labels: Labels, stream: np.random.Generator) -> tuple[Image, Labels]:
        """The changed image (height, width, 3), of the same size, and the labels that are true of it."""


def draw(interval: tuple[float, float], stream: np.random.Generator) -> float:
    """A value of an interval."""
    return float(stream.uniform(*interval))
