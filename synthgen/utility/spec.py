"""What `synthgen utility` is asked: the real set, the arms, the models, and the margin, fixed before anything is seen.

An *arm* is a named training set: `real` is always one; the others replace every picture of it by an output. A *cell* is
one training: an arm or a mixture, a model, a seed. All cells have the same pictures (as many, and of the same scenes),
the same number of steps, and batches drawn by the same seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from synthgen.component import components
from synthgen.config import load_yaml, set_key
from synthgen.learners.base import Learner
from synthgen.types import ConfigError

REAL = "real"
MIN_SEEDS = 3
"""With fewer there is no verdict: what differs could be one lucky training."""
ArmName = str


class ArmSpec(BaseModel):
    """One training set: the release of a finished `run`, or the run of a `config` that is made first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    run: Path | None = None
    labels: Literal["release", "source"] = "release"
    """Of a run: its own label files, in which pixels may have become *ignore*, or the source's, in which none have."""
    config: str | None = None
    """A ready config by its name, or a YAML file."""
    set: Mapping[str, Any] = Field(default_factory=dict)
    """Keys, dotted or not, and their values, as for `synthgen run --set`."""

    @model_validator(mode="after")
    def _one_origin(self) -> ArmSpec:
        if (self.run is None) == (self.config is None):
            raise ValueError("give either run (the folder of a finished run) or config (a config that is run first)")
        if self.set and self.config is None:
            raise ValueError("set changes a config; a finished run is taken as it is")
        return self


class MixtureSpec(BaseModel):
    """Real pictures of which a share is replaced by those of the arm `of`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    of: ArmName
    shares: tuple[float, ...] = (0.1, 0.25, 0.5)
    """Besides 0 (real) and 1 (the arm), which are trained anyway."""

    @field_validator("shares")
    @classmethod
    def _between(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if not shares or any(not 0 < share < 1 for share in shares) or len(set(shares)) != len(shares):
            raise ValueError("expected different numbers between 0 and 1, which are trained anyway")
        return tuple(sorted(shares))


class QuickSpec(BaseModel):
    """What `--quick` takes instead."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=100, ge=1)
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    shares: tuple[float, ...] = (0.5,)
    variants: int = Field(default=1, ge=1, le=16)


class UtilitySpec(BaseModel):
    """Sets, models, effort and margins."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Mapping[str, Any] = Field(default_factory=dict)
    """The real dataset, as `source` of a run; without a path, the source of the first arm that is a run."""
    train: tuple[str, ...] | None = ("train",)
    """Splits to train on; None: no splits, a share of the scenes is held back for the test."""
    test: tuple[str, ...] | None = ("test",)
    test_share: float = Field(default=0.3, gt=0, lt=1)
    """Where `train` and `test` are null."""
    scene: str | None = None
    """The column that names scenes; None: as `synthgen compare` finds them."""
    images: int | None = Field(default=None, ge=2)
    """Pictures to train on, at most."""
    arms: Mapping[ArmName, ArmSpec] = Field(min_length=1)
    mixtures: tuple[MixtureSpec, ...] = ()
    merge: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """New class → classes that are taken for one."""
    present: float = Field(default=0.002, ge=0, lt=1)
    """A class is in a picture if it covers at least this share of it (labels that are masks)."""
    models: tuple[components("learners", Learner), ...] = Field(min_length=1)  # type: ignore[valid-type]
    seeds: tuple[int, ...] = Field(default=(0, 1, 2), min_length=1)
    size: tuple[int, int] = (192, 144)
    """(width, height) at which everything is trained and tested."""
    steps: int = Field(default=300, ge=1)
    batch_size: int = Field(default=8, ge=2)
    variants: int = Field(default=3, ge=1, le=16)
    """Views of a picture: as it is, and flipped, cropped, brighter or darker by its own seed."""
    margin: float = Field(default=0.05, gt=0, lt=1)
    """Non-inferior: worse than real by less than this, in mIoU or mean average precision (0..1)."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    bootstraps: int = Field(default=1000, ge=100)
    min_scenes: int = Field(default=20, ge=2)
    """With fewer scenes in the test nothing passes; with fewer stretches of them there is no verdict."""
    seed: int = Field(default=0, ge=0)
    """Of the order of the pictures, held-back scenes, views and the bootstrap."""
    device: str = "auto"
    threads: int = Field(default=1, ge=1)
    quick: QuickSpec = QuickSpec()

    @model_validator(mode="after")
    def _consistent(self) -> UtilitySpec:
        if REAL in self.arms:
            raise ValueError(f"arms: {REAL} is always one; choose another name")
        if bad := [name for name in self.arms if not name or len(name) > 48 or "/" in name or name.startswith(".")]:
            raise ValueError(f"arms: {bad}: a name has 1 to 48 characters, no / and no dot in front")
        if unknown := [mixture.of for mixture in self.mixtures if mixture.of not in self.arms]:
            raise ValueError(f"mixtures: of {unknown} is no arm; there are {list(self.arms)}")
        mixed = [mixture.of for mixture in self.mixtures]
        if twice := sorted({one for one in mixed if mixed.count(one) > 1}):
            raise ValueError(f"mixtures: of {twice} stands twice; give its shares in one list")
        shares = {share for mixture in self.mixtures for share in (*mixture.shares, *self.quick.shares)}
        if taken := sorted({mixture_name(one, share) for one in mixed for share in shares} & set(self.arms)):
            raise ValueError(f"arms: {taken} is what a mixture is called; choose another name")
        bare = [model.model_dump_json(exclude={"name"}) for model in self.models]
        if len(set(bare)) != len(bare):
            raise ValueError("models: two of them differ in nothing but the name, which is one model")
        names = [model.name for model in self.models]
        if len(set(names)) != len(names) or len(set(self.seeds)) != len(self.seeds):
            raise ValueError("models and seeds: every name and every seed may stand once")
        if (self.train is None) != (self.test is None):
            raise ValueError("train and test: name splits for both, or set both to null")
        if self.train and self.test and set(self.train) & set(self.test):
            raise ValueError(f"train and test share {sorted(set(self.train) & set(self.test))}")
        return self

    def quickened(self) -> UtilitySpec:
        """The same question with the effort of `quick`."""
        quick = self.quick
        mixtures = tuple(mixture.model_copy(update={"shares": quick.shares}) for mixture in self.mixtures)
        effort = {"steps": quick.steps, "seeds": quick.seeds, "variants": quick.variants}
        return self.model_copy(update={**effort, "mixtures": mixtures})

    def digest(self) -> str:
        """SHA-256 (hex) of the resolved spec: what was asked, before anything was seen."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def mixture_name(of: ArmName, share: float) -> ArmName:
    """What a mixture is called."""
    return f"{of} {100 * share:g} %"


def load_utility_spec(path: Path, source: Path | str | None, assignments: Sequence[str]) -> UtilitySpec:
    """The spec of a file, with the source of the command line and each `key=value` applied.

    Raises:
        ConfigError: unreadable, or a wrong key; the message names it.
    """
    value = load_yaml(path)
    if source is not None:
        value["source"] = {**(value.get("source") or {}), "path": str(source)}
    for assignment in assignments:
        value = set_key(value, assignment)
    try:
        return UtilitySpec.model_validate(value)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in one['loc']) or '(top)'}: {one['msg']}" for one in error.errors()]
        raise ConfigError("\n  ".join([f"{path}: {error.error_count()} problem(s)", *lines])) from error
