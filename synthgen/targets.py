"""`plan.targets`: the shares that a config asks for, and the outputs that they are filled from.

    targets:
      - {factors: [time], shares: {day: 0.7, night: 0.3}}                           # a margin
      - {factors: [time, weather], shares: {day/rain: 0.1, day/clear: 0.6, …}}      # jointly, levels joined by /
      - {factors: [style], per: class}                                              # in every class; shares of the file

Outputs are stratified within scenes. A scene is the folder of an image and its file name less a number at the end
(`train/0001TP_006690.jpg` → `train/0001TP`), which is how videos are usually cut into frames; `plan.scene` gives
another rule, a regular expression whose first group is the scene.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from synthgen.factors import Level
from synthgen.quotas import InfeasibleError, Quotas, Target
from synthgen.seeds import derive_seed
from synthgen.types import ConfigError

SUM_TOLERANCE = 1e-3
_FRAME = re.compile(r"[\W_]*\d+$")


class TargetSpec(BaseModel):
    """Shares of one factor, or of several jointly; without `shares`, those of the factor files, independently."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factors: tuple[str, ...] = Field(min_length=1)
    shares: Mapping[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Level (or levels joined by `/`, in the order of `factors`) → share; combinations left out get none."""
    per: Literal["all", "class"] = "all"

    @model_validator(mode="after")
    def _whole(self) -> TargetSpec:
        if len(set(self.factors)) < len(self.factors):
            raise ValueError(f"factors: every factor may stand once, got {list(self.factors)}")
        total = sum(self.shares.values())
        if self.shares and abs(total - 1) > SUM_TOLERANCE:
            raise ValueError(f"shares must add up to 1, they add up to {total:g}")
        return self


@dataclass(frozen=True)
class Member:
    """One source image as the plan sees it; `image_class` is "" where no target is per class.

    `further` outputs are made of it beyond `plan.variants`, since its label is `hardness` hard (None: not measured).
    """

    sample_id: str
    image_class: str = ""
    further: int = 0
    hardness: float | None = None


def scene_of(sample_id: str, pattern: str | None = None) -> str:
    """The scene of an image by its id. An id that `pattern` does not match is a scene of its own."""
    if pattern is not None:
        found = re.search(pattern, sample_id)
        return found.group(1) if found and found.group(1) is not None else sample_id
    path = PurePosixPath(sample_id)
    return str(path.parent / _FRAME.sub("", path.stem))


def parse_targets(
    specs: Sequence[TargetSpec], discrete: Mapping[str, Mapping[str, Level]], fixed: Mapping[str, object]
) -> list[Target]:
    """Targets with every level looked up.

    Raises:
        ConfigError: a factor or level that is not there, is continuous or is fixed, or a target that stands twice.
    """
    targets = []
    for place, spec in enumerate(specs):
        key = f"plan.targets.{place}"
        for factor in spec.factors:
            if factor not in discrete:
                raise ConfigError(f"{key}.factors: no factor {factor!r} with levels (there: {sorted(discrete)})")
            if factor in fixed:
                raise ConfigError(f"{key}.factors: {factor!r} is held by plan.fix; remove one of the two")
        levels = [discrete[factor] for factor in spec.factors]
        targets.append(Target(spec.factors, _parse_shares(spec, levels, key), spec.per == "class"))
    doubles = [name for name, count in Counter(target.name for target in targets).items() if count > 1]
    if doubles:
        raise ConfigError(f"plan.targets: {doubles} stand twice")
    return targets


def _parse_shares(spec: TargetSpec, levels: Sequence[Mapping[str, Level]], key: str) -> dict[tuple[str, ...], float]:
    known = {"/".join(names): names for names in itertools.product(*levels)}
    if not spec.shares:
        total = [sum(level.share for level in factor.values()) for factor in levels]
        shares = {}
        for names in known.values():
            share = 1.0
            for name, factor, whole in zip(names, levels, total, strict=True):
                share *= factor[name].share / whole
            shares[names] = share
        return shares
    for name in spec.shares:
        if name not in known:
            there = ", ".join(list(known)[:12])
            raise ConfigError(f"{key}.shares: {name!r} is no combination of {'/'.join(spec.factors)} (there: {there})")
    whole = sum(spec.shares.values())
    return {known[name]: share / whole for name, share in spec.shares.items()}


def make_quotas(
    targets: Sequence[Target], discrete: Mapping[str, Mapping[str, Level]], members: Sequence[Member], variants: int
) -> Quotas:
    """The joint table over the members.

    Raises:
        ConfigError: targets that contradict each other, or too many combinations.
    """
    named = list(dict.fromkeys(factor for target in targets for factor in target.factors))
    sizes: Counter[str] = Counter()
    for member in members:
        sizes[member.image_class] += variants + member.further
    class_sizes = {name: sizes[name] for name in sorted(sizes)}
    try:
        return Quotas(targets, {name: list(discrete[name]) for name in named}, class_sizes)
    except InfeasibleError as error:
        raise ConfigError(
            f"plan.targets: no joint distribution has all these shares; {targets[error.place].name} is missed by "
            f"{error.gap:.3g}: make the margins of overlapping targets agree"
        ) from error
    except ValueError as error:
        raise ConfigError(f"plan.targets: {error}; target fewer factors or levels together") from error


def deal_first_round(
    quotas: Quotas, members: Sequence[Member], variants: int, run_seed: int, scene_pattern: str | None
) -> dict[tuple[str, int], int]:
    """The cell of every (sample, variant), the same in whatever order the members come.

    Outputs stand in order of scene, scenes and outputs within a scene in an order drawn by their own seeds.
    """
    scenes = {member.sample_id: scene_of(member.sample_id, scene_pattern) for member in members}
    drawn = {scene: derive_seed(run_seed, scene, 0, 0, "scene") for scene in set(scenes.values())}
    row = {name: place for place, name in enumerate(quotas.classes)}
    outputs = []
    for member in members:
        scene = scenes[member.sample_id]
        for variant in range(variants + member.further):
            seed = derive_seed(run_seed, member.sample_id, variant, 0, "quota")
            outputs.append((drawn[scene], scene, seed, member.sample_id, variant, row[member.image_class]))
    outputs.sort()
    cells = quotas.deal(quotas.counts(quotas.sizes), [output[5] for output in outputs])
    return {(output[3], output[4]): cell for output, cell in zip(outputs, cells, strict=True)}
