"""The plan: which recipes to make. Prompts are built from a template and factors with target shares.

A factor's level is drawn from the sample's own seed, so a plan is the same in any order and on any number of ranks.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthgen.seeds import derive_seed
from synthgen.shipped import shipped_folder
from synthgen.types import ConfigError, Recipe

PROMPTS = shipped_folder("prompts")


class Level(BaseModel):
    """One level of a factor: what it puts into the prompt and the share of the outputs that should have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    share: float = Field(default=1.0, ge=0)


class PromptFile(BaseModel):
    """A template with `{factor}` fields and the factors that fill them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    template: str
    negative: str = ""
    factors: Mapping[str, Mapping[str, Level]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fields_are_factors(self) -> PromptFile:
        fields = {name for _, name, _, _ in string.Formatter().parse(self.template) if name is not None}
        unknown = sorted(fields - set(self.factors))
        if unknown:
            raise ValueError(f"the template names {unknown}, which are no factors (there: {sorted(self.factors)})")
        try:
            self.template.format(**dict.fromkeys(self.factors, ""))
        except (ValueError, LookupError, AttributeError) as error:
            raise ValueError(f"the template can't be filled in: {error}; write {{factor}} and nothing more") from error
        empty = [name for name, levels in self.factors.items() if sum(level.share for level in levels.values()) <= 0]
        if empty:
            raise ValueError(f"factors {empty} have no level with a share above 0")
        return self


class PlanSpec(BaseModel):
    """`prompts` is a file, or the name of one that comes with the package; `fix` holds factors at one level."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variants: int = Field(default=1, ge=1, le=1000)
    prompts: str = "plain"
    fix: Mapping[str, str] = Field(default_factory=dict)


def prompts_path(name: str) -> Path:
    """The prompt file behind `plan.prompts`: a path, or the stem of a file in the package's `prompts` folder.

    Raises:
        ConfigError: there is none; the message lists the shipped ones.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"}:
        if path.is_file():
            return path
        raise ConfigError(f"plan.prompts: no file {name}")
    shipped = PROMPTS / f"{name}.yaml"
    if not shipped.is_file():
        there = ", ".join(sorted(file.stem for file in PROMPTS.glob("*.yaml")))
        raise ConfigError(f"plan.prompts: no prompt file {name!r}; give a path to a .yaml, or one of: {there}")
    return shipped


class Plan:
    """Makes the recipe of any (sample, variant, attempt), in any order, always the same."""

    def __init__(self, spec: PlanSpec, run_seed: int) -> None:
        self.spec = spec
        self.run_seed = run_seed
        path = prompts_path(spec.prompts)
        text = path.read_bytes()
        self.digest = hashlib.sha256(text).hexdigest()
        try:
            self.file = PromptFile.model_validate(yaml.safe_load(text))
        except (ValidationError, yaml.YAMLError, RecursionError) as error:
            raise ConfigError(f"{path}: not a prompt file: {error}") from error
        for factor, level in spec.fix.items():
            if factor not in self.file.factors:
                raise ConfigError(f"plan.fix: {path} has no factor {factor!r} (there: {sorted(self.file.factors)})")
            if level not in self.file.factors[factor]:
                levels = sorted(self.file.factors[factor])
                raise ConfigError(f"plan.fix.{factor}: no level {level!r} in {path} (there: {levels})")

    def recipe(self, sample_id: str, variant: int, attempt: int) -> Recipe:
        """The recipe of one output. Factors stay the same over attempts; the noise changes."""
        factors = {name: self._level(name, sample_id, variant) for name in self.file.factors}
        texts = {name: self.file.factors[name][level].text for name, level in factors.items()}
        return Recipe(
            sample_id=sample_id,
            variant=variant,
            attempt=attempt,
            seed=derive_seed(self.run_seed, sample_id, variant, attempt),
            prompt=" ".join(self.file.template.format(**texts).split()),
            negative_prompt=self.file.negative,
            factors=factors,
        )

    def _level(self, factor: str, sample_id: str, variant: int) -> str:
        if factor in self.spec.fix:
            return self.spec.fix[factor]
        levels = self.file.factors[factor]
        seed = derive_seed(self.run_seed, sample_id, variant, 0, f"factor:{factor}")
        shares = np.cumsum([level.share for level in levels.values()])
        place = (seed >> 10) / 2**53 * shares[-1]
        return list(levels)[int(np.searchsorted(shares, place, side="right"))]
