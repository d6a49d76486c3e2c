"""The plan: which recipes to make. Prompts are built from a template, factors with target shares, and the labels.

Without `targets` a factor's level is drawn from the sample's own seed. With them, the factors that they name fill
quotas over the whole run (see targets.py), and continuous factors take a Sobol sequence by the sample's place among the
sorted ids. Either way a plan is the same in any order and on any number of ranks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from synthgen.factors import OBJECTS, PROMPTS, Range, find_file, load_prompt_file
from synthgen.hardness import HardnessSpec
from synthgen.quotas import Quotas, sobol_points
from synthgen.randomizers.base import Randomizer
from synthgen.seeds import derive_seed
from synthgen.targets import Member, TargetSpec, deal_first_round, make_quotas, parse_targets
from synthgen.types import ConfigError, Extra, Recipe

__all__ = ["PROMPTS", "Member", "Plan", "PlanSpec", "prompts_path"]


class PlanSpec(BaseModel):
    """`prompts` is a file, or the name of one that comes with the package; `fix` holds factors at one level."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    variants: int = Field(default=1, ge=1, le=1000)
    prompts: str = "plain"
    factors: tuple[str, ...] = ()
    """Further factor files (shipped ones by name, or paths); their texts are appended to the template."""
    fix: Mapping[str, str | float] = Field(default_factory=dict)
    targets: tuple[TargetSpec, ...] = ()
    """Shares to be met exactly, in what is planned and, by refilling what checks reject, in what is released."""
    tolerance: float = Field(default=0.02, ge=0, le=1)
    """Refilling ends when the total variation of the released shares to every target is at most this."""
    max_rounds: int = Field(default=5, ge=0, le=100)
    """Rounds of refilling at most; 0 for none."""
    scene: str | None = None
    """A regular expression whose first group is the scene of an image's path; see targets.py for the default."""
    hardness: HardnessSpec | None = None
    """Hard masks get more variants, up to a cap; targets hold over all outputs as before."""

    @field_validator("scene")
    @classmethod
    def _has_a_group(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
            if groups < 1:
                raise ValueError("expected a regular expression with a group, for example ^images/([^_]+)_")
        return pattern


def prompts_path(name: str) -> Path:
    """The prompt file behind `plan.prompts`: a path, or the stem of a file in the package's `prompts` folder.

    Raises:
        ConfigError: there is none; the message lists the shipped ones.
    """
    return find_file(name, PROMPTS, "plan.prompts")


class Plan:
    """Makes the recipe of any (sample, variant, attempt), in any order, always the same."""

    def __init__(self, spec: PlanSpec, run_seed: int, members: Sequence[Member] = ()) -> None:
        """`members` are all samples of the run; without them nothing is known of quotas, and `targets` only read.

        Raises:
            ConfigError: a prompt or factor file that can't be used, or a key of `plan` that does not fit it.
        """
        self.spec = spec
        self.run_seed = run_seed
        self.members = tuple(sorted(members, key=lambda member: member.sample_id))
        path = prompts_path(spec.prompts)
        self.file, self.digest = load_prompt_file(path, spec.factors)
        for factor, level in spec.fix.items():
            self._check_fix(path, factor, level)
        self.targets = parse_targets(spec.targets, self.file.discrete, spec.fix)
        self.quotas: Quotas | None = None
        self._cells: dict[tuple[str, int], int] = {}
        self._member = {member.sample_id: member for member in self.members}
        counts = [spec.variants + member.further for member in self.members]
        self.first_round = sum(counts)
        """How many outputs are planned before any refilling."""
        self._place = dict(zip(self._member, np.cumsum([0, *counts]).tolist(), strict=False))
        if self.targets and self.members:
            self.quotas = make_quotas(self.targets, self.file.discrete, self.members, spec.variants)
            self._cells = deal_first_round(self.quotas, self.members, spec.variants, run_seed, spec.scene)
        self._points = self._sobol(self.first_round)

    def variants_of(self, sample_id: str) -> int:
        """How many outputs of a sample are planned before any refilling."""
        member = self._member.get(sample_id)
        return self.spec.variants + (member.further if member else 0)

    def hardness_of(self, sample_id: str) -> float | None:
        """How hard its label is; None where that is not asked."""
        member = self._member.get(sample_id)
        return member.hardness if member else None

    def _check_fix(self, path: Path, factor: str, level: str | float) -> None:
        if factor not in self.file.factors:
            raise ConfigError(f"plan.fix: {path} has no factor {factor!r} (there: {sorted(self.file.factors)})")
        of_factor = self.file.factors[factor]
        if isinstance(of_factor, Range):
            if isinstance(level, str) or not of_factor.low <= level <= of_factor.high:
                raise ConfigError(f"plan.fix.{factor}: expected {of_factor.low}..{of_factor.high}, got {level!r}")
        elif level not in of_factor:
            raise ConfigError(f"plan.fix.{factor}: no level {level!r} in {path} (there: {sorted(of_factor)})")

    def _sobol(self, count: int, start: int = 0) -> np.ndarray:
        free = [name for name in self.file.continuous if name not in self.spec.fix]
        if not free or not count:
            return np.zeros((0, len(free)))
        return sobol_points(len(free), derive_seed(self.run_seed, "", 0, 0, "sobol"), count, start)

    def recipe(
        self, sample_id: str, variant: int, attempt: int, objects: str = "", extra: Extra | None = None
    ) -> Recipe:
        """The recipe of one output. Factors stay the same over attempts; the noise changes.

        `objects` fills the template's field of that name; `extra` is what a later round asks of this output.
        """
        factors = self._factors(sample_id, variant, extra)
        texts = {OBJECTS: objects}
        control: dict[str, float] = {}
        for name, value in factors.items():
            factor = self.file.factors[name]
            if isinstance(factor, Range):
                texts[name] = factor.text(float(value))
                continue
            level = factor[str(value)]
            texts[name] = level.text
            for kind, scale in level.control.items():
                control[kind] = control.get(kind, 1.0) * scale
        return Recipe(
            sample_id=sample_id,
            variant=variant,
            attempt=attempt,
            seed=derive_seed(self.run_seed, sample_id, variant, attempt),
            prompt=tidy(self.file.template.format(**texts)),
            negative_prompt=self.file.negative,
            factors=factors,
            control=control,
        )

    def again(self, recipe: Recipe) -> Recipe:
        """The next attempt at an output: the same wish, other noise."""
        attempt = recipe.attempt + 1
        seed = derive_seed(self.run_seed, recipe.sample_id, recipe.variant, attempt)
        return replace(recipe, attempt=attempt, seed=seed)

    def randomizers(self, recipe: Recipe) -> list[Randomizer]:
        """The randomizers that the levels of a recipe call for, in order of factor."""
        found: list[Randomizer] = []
        for name, value in recipe.factors.items():
            factor = self.file.factors[name]
            if not isinstance(factor, Range):
                found += factor[str(value)].randomize
            elif factor.drives is not None:
                found.append(factor.drives.randomizer(float(value)))
        return found

    def _factors(self, sample_id: str, variant: int, extra: Extra | None) -> dict[str, str | float]:
        wanted: Mapping[str, str] = {}
        if extra is not None:
            wanted = extra.factors
        elif self.quotas is not None:
            wanted = self.quotas.cell_levels(self._cells[sample_id, variant])
        values: dict[str, str | float] = dict(self.spec.fix) | dict(wanted)
        for name in self.file.discrete:
            if name not in values:
                values[name] = self._level(name, sample_id, variant)
        free = [name for name in self.file.continuous if name not in values]
        for name, place in zip(free, self._point(free, sample_id, variant, extra), strict=True):
            factor = self.file.continuous[name]
            values[name] = factor.low + (factor.high - factor.low) * place
        return {name: values[name] for name in self.file.factors}

    def _point(self, free: Sequence[str], sample_id: str, variant: int, extra: Extra | None) -> list[float]:
        """A place in 0..1 for each free continuous factor."""
        if free and extra is not None:
            return [float(place) for place in self._sobol(1, extra.point)[0]]
        if free and sample_id in self._place:
            return [float(p) for p in self._points[self._place[sample_id] + variant]]
        return [self._draw(name, sample_id, variant) for name in free]

    def _draw(self, factor: str, sample_id: str, variant: int) -> float:
        """A place in 0..1 from the sample's own stream."""
        return (derive_seed(self.run_seed, sample_id, variant, 0, f"factor:{factor}") >> 10) / 2**53

    def _level(self, factor: str, sample_id: str, variant: int) -> str:
        levels = self.file.discrete[factor]
        shares = np.cumsum([level.share for level in levels.values()])
        place = self._draw(factor, sample_id, variant) * shares[-1]
        return list(levels)[int(np.searchsorted(shares, place, side="right"))]


def tidy(prompt: str) -> str:
    """Single spaces; parts between commas that are empty or have been said are left out."""
    prompt = " ".join(prompt.split())
    parts = [part.strip() for part in prompt.split(",")]
    kept = [part for part in dict.fromkeys(parts) if part]
    return prompt if len(kept) == len(parts) else " , ".join(kept)
