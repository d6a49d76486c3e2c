"""Stages: the same run with more and more taken away. An output that fails its checks is tried again in the next one.

    strength: standard                       # the run's own protect, strength and dilate …
    stages:                                  # … and what each stage has in place of them, mildest first
      - {name: mild}
      - {name: wide, strength: strong, dilate: 0.3}
      - {name: last, strength: strict, dilate: 0.5, scale: {canny: 0.5}}

What fails in the last stage is quarantined. A run without the key has one stage, the run itself. Which stage a picture
is in depends on its own outputs alone, never on another picture, a rank or the time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from synthgen.component import components
from synthgen.protectors.base import STRENGTHS, Protection, Protector, Redactor, Strength

Scale = Annotated[float, Field(ge=0, le=1)]


class StageSpec(BaseModel):
    """What one stage has in place of the run's keys of the same name; what it does not name is the run's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="", max_length=64, pattern=r"^[^\r\n]*$")
    protect: tuple[components("protectors", Protection), ...] | None = None  # type: ignore[valid-type]
    strength: Strength | None = None
    dilate: float | None = Field(default=None, ge=0, le=2)
    scale: Mapping[str, Scale] = Field(default_factory=dict)
    """Map kind → factor on the scale of the ControlNets that read it."""


@dataclass(frozen=True)
class Stage:
    """A stage with everything filled in. `number` counts from 1."""

    number: int
    name: str
    protect: tuple[Protection, ...]
    strength: Strength
    dilate: float
    scale: Mapping[str, float]

    @property
    def title(self) -> str:
        """`2 (wide)`, or the number alone."""
        return f"{self.number} ({self.name})" if self.name else str(self.number)

    @property
    def protectors(self) -> tuple[Protector, ...]:
        """What acts on control maps, at the strength of this stage."""
        return tuple(spec.at(self.strength) for spec in self.protect if isinstance(spec, Protector))

    @property
    def redactors(self) -> tuple[Redactor, ...]:
        """What acts on pixels."""
        return tuple(spec for spec in self.protect if isinstance(spec, Redactor))

    def describe(self) -> str:
        """One line: what is done, how strongly, and where."""
        methods = ", ".join(_with_keys(spec) for spec in self.protect) or "nothing"
        scale = "".join(f", {kind} × {factor:g}" for kind, factor in self.scale.items())
        return f"{self.title}: {methods}; strength {self.strength}, dilate {self.dilate:g}{scale}"


def _with_keys(spec: Protection) -> str:
    """A classic method with its intensity, another protector with what differs from its defaults."""
    keys = spec.model_dump(mode="json", exclude={"kind"}, exclude_defaults=not isinstance(spec, Redactor))
    shown = ", ".join(f"{key} {value}" for key, value in keys.items() if value != "regions")
    return f"{spec.kind} ({shown})" if shown else spec.kind


def fill_stages(
    specs: Sequence[StageSpec], protect: tuple[Protection, ...], strength: Strength, dilate: float
) -> tuple[Stage, ...]:
    """The stages of a run in order: at least one."""
    return tuple(
        Stage(
            number=number,
            name=spec.name,
            protect=protect if spec.protect is None else spec.protect,
            strength=strength if spec.strength is None else spec.strength,
            dilate=dilate if spec.dilate is None else spec.dilate,
            scale=spec.scale,
        )
        for number, spec in enumerate(specs or [StageSpec()], 1)
    )


def refuse_milder(stages: Sequence[Stage]) -> None:
    """A later stage may take away as much or more, never less.

    Raises:
        ValueError: a stage whose strength or dilation is below that of the one before it.
    """
    for before, after in pairwise(stages):
        if STRENGTHS.index(after.strength) < STRENGTHS.index(before.strength):
            raise ValueError(
                f"stages: mildest first, but stage {after.title} has strength {after.strength} after "
                f"{before.strength}; reorder them, or give it strength: {before.strength}"
            )
        if after.dilate < before.dilate:
            raise ValueError(
                f"stages: mildest first, but stage {after.title} has dilate {after.dilate:g} after "
                f"{before.dilate:g}; a stage has the run's value where it names none, so write dilate: "
                f"{before.dilate:g} there too"
            )
