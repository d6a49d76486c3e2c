"""What a training's YAML may say. Unknown keys are errors; everything outside `execution` belongs to its identity.

A training that is resumed must be the one that was started, so `identity` is compared key by key with what the output
folder holds. What changes no weight (where it lies, how often it saves, how long it may run) is under `execution`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, model_validator

from synthgen.datasets.base import Dataset, resolve_source

Pair = tuple[int, int]


class Spec(BaseModel):
    """Base: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Execution(Spec):
    """How the work is done; nothing here changes a weight."""

    max_minutes: float | None = Field(default=None, gt=0)
    """Minutes of training, all resumed parts together; then it stops, saves and writes what it has."""
    checkpoint_steps: int = Field(default=500, ge=1)
    checkpoint_minutes: float = Field(default=5.0, gt=0)
    """A checkpoint is written when either is due."""
    keep: int = Field(default=2, ge=1)
    validate_steps: int = Field(default=500, ge=1)
    log_steps: int = Field(default=50, ge=1)
    workers: int = Field(default=1, ge=1, le=64)
    """Threads that make batches ahead of the step."""
    queue: int = Field(default=4, ge=1)
    """Batches made ahead: bounds the memory."""


class Optimisation(Spec):
    """One optimizer step = `accumulate` batches of `batch_size` samples, over all ranks together."""

    max_steps: int = Field(ge=1)
    batch_size: int = Field(default=16, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    schedule: Literal["constant", "linear", "cosine", "stable-cosine", "polynomial"] = "cosine"
    """`stable-cosine` holds the rate for the share `stable` of the steps and lets it fall by a cosine from there."""
    stable: float = Field(default=0.35, ge=0, lt=1)
    floor: float = Field(default=0.01, ge=0, lt=1)
    """The last learning rate as a share of the first (cosine, stable-cosine, polynomial)."""
    warmup: int = Field(default=200, ge=0)
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = Field(default=0.01, ge=0)
    """Not applied to biases and norms."""
    clip: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    ema: float = Field(default=0.999, ge=0, lt=1)
    """Decay of the average that is written in the end, reached as (1 + step) / (10 + step); 0: the last weights."""
    precision: Literal["no", "bf16", "fp16"] = "no"


class Captions(Spec):
    """Where a sample's caption comes from: exactly one of the keys."""

    rule: Literal["street", "people"] | None = None
    """From the pixels (light, sky, colours of what is worn), as a prompt of that domain would say it."""
    column: str | None = None
    """A column of the dataset's metadata (`Labels.attributes`)."""
    prompts: str | None = None
    """A prompt file: each sample draws its levels from the training's seed."""

    @model_validator(mode="after")
    def _one(self) -> Captions:
        given = [name for name in ("rule", "column", "prompts") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of rule, column and prompts must be given, got {given or 'none'}")
        return self


class Source(Spec):
    """One dataset as training sees it: crops of one size, painted in the training's palette."""

    dataset: Annotated[SerializeAsAny[Dataset], BeforeValidator(resolve_source)]
    """`{format, path}` (the format is recognised when it is left out)."""
    split: str | None = None
    """Only this split; null takes all."""
    class_map: str = "auto"
    """From the dataset's class names to the palette's: a file, a name that comes with the package, or `auto`."""
    size: Pair = (256, 192)
    """(width, height) of a crop, pixels."""
    crops: int = Field(default=1, ge=1)
    """Crops an image; the first is as large as the image allows."""
    scales: tuple[float, float] = (0.62, 1.0)
    """A further crop's height as a share of the image's."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """The chance of a crop to be mirrored."""
    share: float = Field(default=1.0, gt=0)
    """How often a sample is drawn from here, against the other sources."""
    unknown: Literal["learn", "ignore"] = "learn"
    """Whether pixels without a class are the class `unknown` (a background) or no label (void); segmenter only."""
    captions: Captions | None = None
    """What to say to the text encoder; starter and controlnet only."""
    variants: int = Field(default=0, ge=0, le=4)
    """Photometric variants (night, sunset, fog, overcast) of each crop, encoded beside it; starter only."""
    protect_classes: tuple[str, ...] = ("person",)
    """Palette classes (with their parts) whose edges a run would drop; starter only."""

    @model_validator(mode="after")
    def _sizes(self) -> Source:
        if any(side < 8 or side % 8 for side in self.size):
            raise ValueError(f"size: both sides must be positive multiples of 8, got {self.size}")
        if not 0 < self.scales[0] <= self.scales[1] <= 1:
            raise ValueError(f"scales: expected 0 < low <= high <= 1, got {self.scales}")
        return self


class TrainSpec(Spec):
    """What every kind has."""

    kind: str
    out: Path
    """The output folder: weights/, checkpoints/, cache/, validation/, metrics.jsonl, train.yaml."""
    seed: int = Field(default=0, ge=0)
    device: Literal["auto", "cpu"] = "auto"
    """`auto` (what accelerate finds) or `cpu`."""
    threads: int = Field(default=1, ge=1)
    """Torch threads a process; another number rounds otherwise, so it belongs to the identity."""
    channels_last: bool = True
    sources: tuple[Source, ...] = Field(min_length=1)
    optimisation: Optimisation
    execution: Execution = Execution()


def dump_train_spec(spec: TrainSpec) -> str:
    """The resolved config as YAML."""
    return yaml.safe_dump(spec.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def identity(spec: TrainSpec) -> dict[str, Any]:
    """The part of a config that decides the weights, flat: dotted key to value. Where data lies doesn't count."""
    flat = _flat(spec.model_dump(mode="json", exclude={"execution", "out"}))
    return {key: value for key, value in flat.items() if not key.endswith(".dataset.path")}


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict) and value:
        return {k: v for key, child in value.items() for k, v in _flat(child, f"{prefix}{key}.").items()}
    if isinstance(value, list) and value:
        return {k: v for index, child in enumerate(value) for k, v in _flat(child, f"{prefix}{index}.").items()}
    return {prefix.rstrip("."): value}
