"""What a generator must do: paint controls by recipes, in batches of one fixed shape."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar

from pydantic import Field, field_validator

from synthgen.component import Component
from synthgen.types import Controls, Image, Recipe

Size = tuple[int, int]
"""(width, height) in pixels."""
GeneratorRun = Callable[[Size, Sequence[Controls], Sequence[Recipe]], list[Image]]
"""(bucket, controls, recipes) → one image each, in order, (bucket height, bucket width, 3).

At most `batch_size` samples come in; fewer are padded to it by repeating the last, so that a sample's pixels depend on
neither its neighbours nor its slot. Every sample's noise comes from a CPU generator seeded by its recipe.
The recipes of a batch agree in `control`.
"""


class Painted(list[Image]):
    """Images of one batch, and in `note` how they were painted if not as the config says (memory ran out)."""

    def __init__(self, images: Iterable[Image], note: str = "") -> None:
        super().__init__(images)
        self.note = note


class Generator(Component):
    """(controls, recipe) → image. It never receives a `Sample`."""

    paints: ClassVar[bool] = True
    """False for the kind that makes no image: the run is a classic redaction, see `synthgen.types.Redacted`."""
    kind: str
    sizes: tuple[Size, ...] = Field(min_length=1)
    """Buckets (width, height) to generate at; a source goes to the one nearest in aspect ratio."""
    batch_size: int = Field(default=4, ge=1)

    @field_validator("sizes")
    @classmethod
    def _positive(cls, sizes: tuple[Size, ...]) -> tuple[Size, ...]:
        if any(side < 8 or side % 8 for size in sizes for side in size):
            raise ValueError("every side must be a positive multiple of 8")
        return sizes

    @abstractmethod
    def load(self, device: str) -> GeneratorRun:
        """Load the weights onto `device` and return the runnable.

        Raises:
            ConfigError: a model that is missing, unpinned, not safetensors, or not of the expected class.
        """

    @abstractmethod
    def map_kinds(self) -> tuple[str, ...]:
        """The kinds of control map that it consumes, in the order of its ControlNets."""

    def weights(self) -> tuple[str, ...]:
        """The hub ids or local folders of the weights that it loads; their digests enter the run id."""
        return ()

    def bucket(self, size: Size) -> Size:
        """The bucket nearest to `size` in log aspect ratio; the first of equals."""
        aspect = math.log(size[0] / size[1])
        return min(self.sizes, key=lambda bucket: abs(math.log(bucket[0] / bucket[1]) - aspect))
