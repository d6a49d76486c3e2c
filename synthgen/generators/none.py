"""No generator: the classic methods alone make the output (`protect: [{kind: pixelate}]`).

Such a run is a redaction run: detection, ledger, checks, stages and release are those of every run, so one report
compares all methods. What it releases are source pictures whose regions a `Redactor` treated from their own pixels
(`synthgen.types.Redacted`), byte for byte the source's elsewhere. Nothing is painted, so no `Controls` are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from synthgen.generators.base import Generator, GeneratorRun, Size
from synthgen.types import ConfigError, Controls, Image, Recipe


class NoGenerator(Generator):
    """Nothing is painted; pictures are treated at their own size."""

    paints: ClassVar[bool] = False
    kind: Literal["none"] = "none"
    sizes: tuple[Size, ...] = Field(default=(), max_length=0)

    def load(self, device: str) -> GeneratorRun:
        """A run that refuses whatever it is given."""

        def refuse(size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]) -> list[Image]:
            raise ConfigError("generate: kind none paints nothing; name another kind")

        return refuse

    def map_kinds(self) -> tuple[str, ...]:
        """None."""
        return ()

    def bucket(self, size: Size) -> Size:
        """The picture's own size."""
        return size
