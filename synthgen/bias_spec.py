"""What `synthgen bias` is asked for: attributes, targets and thresholds, in a YAML of its own.

It is no part of a run's config: it changes no pixel, and one run can be looked at in several ways.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthgen.attributes.base import Attribute
from synthgen.component import components
from synthgen.config import load_yaml
from synthgen.detectors.base import Detector
from synthgen.metrics.bias_table import BiasSettings
from synthgen.types import ConfigError


class Thresholds(BaseModel):
    """See `BiasSettings`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    min_n: int = Field(default=30, ge=2)
    ratio: float = Field(default=0.8, gt=0, le=1)
    tolerance: float = Field(default=0.02, ge=0, lt=1)
    level: float = Field(default=0.05, gt=0, lt=1)
    explore: float = Field(default=0.05, gt=0, lt=1)
    label_checks: tuple[str, ...] = ("labels",)
    draws: int = Field(default=1999, ge=99, le=99999)

    def settings(self, seed: int) -> BiasSettings:
        """As the metrics take them."""
        return BiasSettings(**self.model_dump(), seed=seed)


class BiasSpec(BaseModel):
    """`attributes: auto` is skin tone of faces, the image's class, and every column with few values."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attributes: Literal["auto"] | tuple[components("attributes", Attribute), ...] = "auto"  # type: ignore[valid-type]
    intersections: tuple[tuple[str, ...], ...] | None = None
    """Names of attributes to cross; null crosses each pair."""
    detect: tuple[components("detectors", Detector), ...] | None = None  # type: ignore[valid-type]
    """Finds the faces; null takes the detectors of the run."""
    scene: str | None = None
    """The column that names scenes; null goes by file names (see metrics/scenes.py)."""
    seed: int = Field(default=0, ge=0)
    thresholds: Thresholds = Thresholds()

    @model_validator(mode="after")
    def _consistent(self) -> BiasSpec:
        if self.attributes == "auto":
            return self
        names = [one.name for one in self.attributes]
        if len(set(names)) < len(names):
            raise ValueError(f"attributes: every name may stand once, got {names}")
        for crossed in self.intersections or ():
            if len(crossed) < 2 or not set(crossed) <= set(names):
                raise ValueError(f"intersections: {list(crossed)}: expected two or more of {names}")
        return self


def load_bias_spec(path: Path | None) -> BiasSpec:
    """Read the YAML; the defaults without one.

    Raises:
        ConfigError: every wrong key on its own line.
    """
    if path is None:
        return BiasSpec()
    try:
        return BiasSpec.model_validate(load_yaml(path))
    except ValidationError as error:
        lines = [f"{path}: {error.error_count()} problem(s)"]
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "(top)"
            unknown = problem["type"] == "extra_forbidden"
            message = "unknown key; remove it or correct its spelling" if unknown else problem["msg"]
            lines.append(f"  {key}: {message.removeprefix('Value error, ')}")
        raise ConfigError("\n".join(lines)) from error
