"""Factors and templates as they lie in `prompts/`: what may vary in an output, and where each level acts.

A prompt file is a template with `{factor}` fields, and the factors, written out or taken from `prompts/factors/`:

    template: "a street scene , {time} {weather} , {objects}"      # {objects}: what the labels say is in the scene
    use: [time, weather]                                           # factor files: shipped ones by name, or paths
    factors:
      light: {soft: {text: soft light, share: 2}, hard: {text: hard light}}

A factor has levels, or is continuous:

    night: {text: night, share: 0.3, control: {canny: 0.5}, randomize: [{kind: photometric, night: [0.3, 0.6]}]}
    {low: 0, high: 0.6, bands: [{upto: 0.2, text: haze}, {upto: 1, text: fog}], drives: {kind: photometric, key: fog}}

A level acts where it acts best: in the prompt (`text`), on the strength of a ControlNet (`control`: a factor on the
scale of each map), and on the finished output (`randomize`).
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    ValidationError,
    field_validator,
    model_validator,
)

from synthgen.component import kinds, parse_component
from synthgen.randomizers.base import Randomizer
from synthgen.shipped import shipped_folder
from synthgen.types import ConfigError

PROMPTS = shipped_folder("prompts")
OBJECTS = "objects"
"""The field that is filled from the labels."""


def _parse_randomizer(value: Any) -> Any:
    return parse_component("randomizers", value)


AnyRandomizer = Annotated[SerializeAsAny[Randomizer], BeforeValidator(_parse_randomizer)]


class Level(BaseModel):
    """One level of a factor: what it puts into the prompt and the share of the outputs that should have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    share: float = Field(default=1.0, ge=0)
    control: Mapping[str, Annotated[float, Field(ge=0, le=2)]] = Field(default_factory=dict)
    """Map kind → factor on the scale of the ControlNets that read it; 0 switches them off."""
    randomize: tuple[AnyRandomizer, ...] = ()

    @field_validator("control")
    @classmethod
    def _known_maps(cls, control: Mapping[str, float]) -> Mapping[str, float]:
        unknown = sorted(set(control) - set(kinds("extractors")))
        if unknown:
            raise ValueError(f"{unknown} are no control maps (there: {', '.join(kinds('extractors'))})")
        return control


class Band(BaseModel):
    """The words for the values of a continuous factor up to and with `upto`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upto: float
    text: str


class Drive(BaseModel):
    """A randomizer of `kind` whose key `key` takes the value of the factor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    key: str

    def randomizer(self, value: float) -> Randomizer:
        """The randomizer at one value.

        Raises:
            ValueError: no such kind or key, or a value that it does not take.
        """
        spec = parse_component("randomizers", {"kind": self.kind, self.key: [value, value]})
        assert isinstance(spec, Randomizer)
        return spec


class Range(BaseModel):
    """A continuous factor: values spread evenly over low..high, words for bands of it, a randomizer that it drives."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    low: float
    high: float
    bands: tuple[Band, ...] = ()
    drives: Drive | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be less than high ({self.high})")
        ends = [band.upto for band in self.bands]
        if ends != sorted(set(ends)) or (ends and ends[-1] < self.high):
            raise ValueError(f"bands must rise in upto, the last to high ({self.high}) or more; got {ends}")
        if self.drives is not None:
            for value in (self.low, self.high):
                self.drives.randomizer(value)
        return self

    def text(self, value: float) -> str:
        """The words for a value; empty where there are no bands."""
        return next((band.text for band in self.bands if value <= band.upto), "")


Factor = Mapping[str, Level] | Range


def _parse_factor(value: Any) -> Any:
    """Levels and ranges look alike to a parser that guesses; low and high, both numbers, decide."""
    if isinstance(value, Mapping) and all(isinstance(value.get(key), int | float) for key in ("low", "high")):
        return Range.model_validate(value)
    if isinstance(value, Mapping):
        return {name: Level.model_validate(level) for name, level in value.items()}
    return value


class PromptFile(BaseModel):
    """A template with `{factor}` fields and the factors that fill them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str
    negative: str = ""
    factors: Mapping[str, Annotated[Factor, BeforeValidator(_parse_factor)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fields_are_factors(self) -> PromptFile:
        fields = {name for _, name, _, _ in string.Formatter().parse(self.template) if name is not None}
        unknown = sorted(fields - set(self.factors) - {OBJECTS})
        if unknown:
            raise ValueError(f"the template names {unknown}, which are no factors (there: {sorted(self.factors)})")
        if OBJECTS in self.factors:
            raise ValueError(f"{OBJECTS!r} is filled from the labels; give the factor another name")
        try:
            self.template.format(**dict.fromkeys([*self.factors, OBJECTS], ""))
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"the template can't be filled in: {error}; write {{factor}} and nothing more") from error
        empty = [name for name, levels in self.discrete.items() if sum(level.share for level in levels.values()) <= 0]
        if empty:
            raise ValueError(f"factors {empty} have no level with a share above 0")
        return self

    @property
    def discrete(self) -> dict[str, Mapping[str, Level]]:
        """The factors with levels."""
        return {name: factor for name, factor in self.factors.items() if not isinstance(factor, Range)}

    @property
    def continuous(self) -> dict[str, Range]:
        """The continuous factors."""
        return {name: factor for name, factor in self.factors.items() if isinstance(factor, Range)}

    @property
    def uses_objects(self) -> bool:
        """Whether the template asks for what the labels hold."""
        return f"{{{OBJECTS}}}" in self.template

    def randomizers(self) -> list[Randomizer]:
        """Every randomizer that a level or a continuous factor may call for."""
        levels = [level for factor in self.discrete.values() for level in factor.values()]
        driven = [factor.drives.randomizer(factor.low) for factor in self.continuous.values() if factor.drives]
        return [*(spec for level in levels for spec in level.randomize), *driven]


def find_file(name: str, folder: Path, key: str) -> Path:
    """The file behind a name: a path to a .yaml, or the stem of one in `folder`.

    Raises:
        ConfigError: there is none; the message lists the shipped ones.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return path
        raise ConfigError(f"{key}: no file {name}")
    shipped = folder / f"{name}.yaml"
    if not shipped.is_file():
        there = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise ConfigError(f"{key}: no file {name!r}; give a path to a .yaml, or one of: {there}")
    return shipped


def load_prompt_file(path: Path, further: Sequence[str]) -> tuple[PromptFile, str]:
    """A prompt file with all its factors, and the SHA-256 (hex) of everything that was read.

    `further` names factor files as `use` does; texts of theirs that the template has no field for are appended to it.

    Raises:
        ConfigError: not a prompt file, or a factor that stands twice or is not there.
    """
    text = path.read_bytes()
    digest = hashlib.sha256(text)
    try:
        value = yaml.safe_load(text)
        if isinstance(value, dict):
            used = value.pop("use", [])
            if not isinstance(used, list) or not all(isinstance(name, str) for name in used):
                raise ConfigError(f"{path}: use: expected a list of factor files, got {used!r}")
            own = dict(value.get("factors") or {})
            found = dict(_read_factor(name, f"{path}: use", path.parent, digest) for name in used)
            found |= dict(_read_factor(name, "plan.factors", Path(), digest) for name in further)
            doubles = sorted(set(own) & set(found))
            if doubles:
                raise ConfigError(f"{path}: the factors {doubles} stand here and in a factor file; rename one")
            value["factors"] = {**found, **own}
            if isinstance(value.get("template"), str):
                fields = [f" , {{{Path(name).stem}}}" for name in further]
                value["template"] += "".join(field for field in fields if field[3:] not in value["template"])
        return PromptFile.model_validate(value), digest.hexdigest()
    except (ValidationError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: not a prompt file: {error}") from error


def _read_factor(name: str, key: str, beside: Path, digest: Any) -> tuple[str, Any]:
    near = beside / name
    is_path = near.suffix in {".yaml", ".yml"}
    path = near if is_path and near.is_file() else find_file(name, PROMPTS / "factors", key)
    text = path.read_bytes()
    digest.update(text)
    return path.stem, yaml.safe_load(text)
