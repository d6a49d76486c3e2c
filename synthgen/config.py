"""One YAML = one run. Unknown keys are errors; the resolved config is written beside its run.

`run_id` hashes everything that decides pixels or labels: the config without `execution` and `card`, the digest of the
source index, the prompt file, and the weights. Two runs with one id give the same bytes on one kind of device and
library.
"""

from __future__ import annotations

import copy
import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from synthgen.checks.base import Check
from synthgen.component import components
from synthgen.datasets.base import Dataset, resolve_source
from synthgen.detectors.base import Detector
from synthgen.extractors.base import Extractor
from synthgen.generators.base import Generator
from synthgen.plan import PlanSpec
from synthgen.protectors.base import Protection, Strength
from synthgen.randomizers.base import Randomizer
from synthgen.redaction import secret_keys
from synthgen.stages import Stage, StageSpec, fill_stages, refuse_milder
from synthgen.types import ConfigError

MAX_YAML_BYTES = 1 << 20
MAX_YAML_DEPTH = 32
_YAML: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same loader in C where PyYAML was built with it; ten times as fast."""


def _parse_source(value: Any) -> Any:
    return resolve_source(value)


class RaySpec(BaseModel):
    """The Ray cluster of `launcher: ray`, and what a worker takes of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    address: str | None = None
    """Of a running cluster (`auto`, `HOST:6379`, `ray://HOST:10001`); else RAY_ADDRESS, else one for this run alone."""
    num_cpus: float | None = Field(default=None, gt=0)
    """Cores a worker; without it `threads`."""
    num_gpus: float | None = Field(default=None, ge=0)
    """GPUs a worker, a part of one too; without it 1 where the device is a GPU."""
    workers: int | None = Field(default=None, ge=1)
    """At most so many at once; without it as many as the cluster has room for at the time."""


class Execution(BaseModel):
    """How the work is done; nothing here changes a pixel, so none of it enters the run id."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    launcher: Literal["local", "ray"] = "local"
    """`local` is one process or the ranks of `accelerate launch`; `ray` the workers of a Ray cluster."""
    ray: RaySpec = RaySpec()
    retries: int = Field(default=3, ge=0)
    """How often a shard whose Ray worker was lost, or whose task failed, is handed out again."""
    rank_timeout: float = Field(default=300.0, gt=0)
    """Seconds of silence after which a rank counts as lost and the others end."""
    cache: Path | None = None
    """Where copies of remote sources and the working folders of remote runs lie; default `~/.cache/synthgen`."""
    shard_size: int = Field(default=64, ge=1)
    """Samples a shard: the unit that is redone after a kill."""
    workers: int = Field(default=2, ge=1)
    """Threads that read, detect, extract and protect ahead of the generator."""
    queue: int = Field(default=2, ge=1)
    """Batches prepared ahead, and batches waiting to be written: bounds the memory."""
    lock_timeout: float = Field(default=0.0, ge=0)
    """Seconds to wait for another process that holds the output folder."""


class CardSpec(BaseModel):
    """What the release's card says that only its owner knows; nothing here changes a pixel or enters the run id.

    `license` is an id of the Hugging Face hub (`cc-by-4.0`, `other`, …) or the address of a licence.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    license: str | None = Field(default=None, min_length=1, max_length=200)
    pretty_name: str | None = Field(default=None, min_length=1, max_length=200)
    description: str = Field(default="", max_length=20000)
    creator: str | None = Field(default=None, min_length=1, max_length=200)
    url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    published: date | None = None
    citation: str | None = Field(default=None, min_length=1, max_length=5000)


class RunConfig(BaseModel):
    """What one run does. `synthgen check CONFIG` prints it fully resolved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    seed: int = Field(default=0, ge=0)
    source: Annotated[SerializeAsAny[Dataset], BeforeValidator(_parse_source)]
    names: Literal["keep", "pseudonym"] = "pseudonym"
    mode: Literal["scene", "people"] = "scene"
    no_region: Literal["quarantine", "release"] = "quarantine"
    """Where the background is kept (mode `people`, `generate: none`): what becomes of an image in which nobody was
    found. Released, it is the source's, pixel for pixel: only where it is known that such images show nobody."""
    device: str = "auto"
    """`auto` (cuda, then mps, then cpu), `cpu`, `cuda`, `mps`; with several ranks each takes its own."""
    threads: int = Field(default=1, ge=1)
    """Torch threads a process on a CPU. Part of the run id: another number of threads rounds otherwise."""
    detect: tuple[components("detectors", Detector), ...] = ()  # type: ignore[valid-type]
    extract: tuple[components("extractors", Extractor), ...] = ()  # type: ignore[valid-type]
    protect: tuple[components("protectors", Protection), ...] = ()  # type: ignore[valid-type]
    strength: Strength = "standard"
    """How much of a region's coarse shape is left in the control maps: the scale of protectors/base.py."""
    dilate: float = Field(default=0.15, ge=0, le=2)
    """Regions grow by this share of their box's longer side (at least 2 px) before they are protected."""
    stages: tuple[StageSpec, ...] = Field(default=(), max_length=16)
    """What an output goes through that its checks reject, mildest first; without any, the run itself is the one stage.
    """
    plan: PlanSpec = PlanSpec()
    generate: components("generators", Generator)  # type: ignore[valid-type]
    randomize: tuple[components("randomizers", Randomizer), ...] = ()  # type: ignore[valid-type]
    """Applied to every output in this order, after the randomizers of its factor levels and before the checks."""
    check: tuple[components("checks", Check), ...] = ()  # type: ignore[valid-type]
    attempts: int = Field(default=3, ge=1, le=100)
    """How often one output may be tried in a stage, each time with another seed, before it goes to the next one; in the
    last stage it is quarantined."""
    execution: Execution = Execution()
    card: CardSpec = CardSpec()

    @model_validator(mode="before")
    @classmethod
    def _copy_source(cls, value: Any) -> Any:
        """Copy a remote source to where `execution.cache` says."""
        execution = value.get("execution") if isinstance(value, dict) else None
        cache = execution.get("cache") if isinstance(execution, dict) else None
        if not isinstance(cache, str) or not value.get("source"):
            return value
        return {**value, "source": resolve_source(value["source"], Path(cache))}

    @model_validator(mode="after")
    def _consistent(self) -> RunConfig:
        extracted = [extractor.kind for extractor in self.extract]
        if len(set(extracted)) != len(extracted):
            raise ValueError(f"extract: every kind may stand once, got {extracted}")
        missing = [kind for kind in self.generate.map_kinds() if kind not in extracted]
        if missing:
            raise ValueError(f"generate needs the control maps {missing}; add them under extract (there: {extracted})")
        stages = self.resolved_stages
        refuse_milder(stages)
        for stage in stages:
            self._check_stage(stage)
        if self.names == "keep" and self.plan.variants > 1:
            raise ValueError("names: keep needs plan.variants: 1 (several outputs can't share one name); use pseudonym")
        if self.names == "keep" and self.plan.hardness is not None:
            raise ValueError("names: keep allows no plan.hardness (outputs can't share one name); use pseudonym")
        several = self.plan.variants > 1 or self.plan.hardness is not None
        if not self.generate.paints and (several or self.plan.targets or self.extract):
            raise ValueError(
                "generate: none paints nothing: plan.variants must be 1, and plan.targets, plan.hardness and extract "
                "empty (a classic method reads pixels, not maps or prompts)"
            )
        return self

    def _check_stage(self, stage: Stage) -> None:
        kinds = [spec.kind for spec in stage.protect]
        where = f"stage {stage.title}: " if self.stages else ""
        unread = [kind for kind in stage.scale if kind not in self.generate.map_kinds()]
        if unread:
            raise ValueError(f"{where}scale names the maps {unread}; generate reads {list(self.generate.map_kinds())}")
        if self.generate.paints:
            if self.mode == "people" and not (self.detect and "canvas" in kinds):
                raise ValueError(
                    f"{where}mode: people needs a detector under detect, and canvas under protect to remove the people"
                )
            return
        if not stage.redactors:
            raise ValueError(
                f"{where}generate: none needs a classic method under protect (blur, pixelate, solid, …), or the source "
                "would be released as it is"
            )
        if stage.protectors:
            named = [spec.kind for spec in stage.protectors]
            raise ValueError(f"{where}{named} act on control maps, which generate: none does not have; remove them")
        if not self.detect and not all(spec.region == "all" for spec in stage.redactors):
            raise ValueError(f"{where}nothing finds the regions; name a detector under detect, or set region: all")

    @property
    def resolved_stages(self) -> tuple[Stage, ...]:
        """The stages with everything filled in, mildest first; one where `stages` is empty."""
        return fill_stages(self.stages, self.protect, self.strength, self.dilate)


def load_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping safely: no Python objects, no aliases, at most 1 MiB.

    Raises:
        ConfigError: missing, too large, not YAML, not a mapping.
    """
    try:
        size = path.stat().st_size
        if size > MAX_YAML_BYTES:
            raise ConfigError(f"{path}: {size} bytes; a config has at most {MAX_YAML_BYTES}")
        text = path.read_text(encoding="utf-8")
        _refuse_bombs(text, path)
        _refuse_duplicates(yaml.compose(text, Loader=_YAML), path)
        value = yaml.load(text, Loader=_YAML)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: can't be read as YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a mapping of keys, got {type(value).__name__}")
    return value


def _refuse_bombs(text: str, path: Path) -> None:
    """Read the events one by one, so that nothing is built of what is refused."""
    depth = 0
    for event in yaml.parse(text, Loader=_YAML):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError(f"{path}: YAML aliases (*name) are not accepted; write the value out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_YAML_DEPTH:
            raise ConfigError(f"{path}: nested deeper than {MAX_YAML_DEPTH}; no key of a config lies that deep")


def _refuse_duplicates(node: yaml.Node | None, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise ConfigError(f"{path}: the key {key.value!r} stands twice (line {key.start_mark.line + 1})")
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
            _refuse_duplicates(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _refuse_duplicates(value, path)


def set_key(config: dict[str, Any], assignment: str) -> dict[str, Any]:
    """A copy of `config` with `a.b.0.c=value` applied; the value is read as YAML.

    Raises:
        ConfigError: no `=`, or a path through something that is neither a mapping nor a list.
    """
    path, equals, text = assignment.partition("=")
    if not equals or not path:
        raise ConfigError(f"--set {assignment}: expected key=value, for example plan.variants=2")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {assignment}: the value is not YAML: {error}") from error
    result = copy.deepcopy(config)
    node: Any = result
    keys = path.split(".")
    for depth, key in enumerate(keys):
        last = depth == len(keys) - 1
        if isinstance(node, list):
            if not key.isdecimal() or int(key) >= len(node):
                raise ConfigError(f"--set {assignment}: {key!r} is not an index of a list of {len(node)}")
            if last:
                node[int(key)] = value
            else:
                node = node[int(key)]
        elif isinstance(node, dict):
            if last:
                node[key] = value
            else:
                if node.get(key) is None:
                    node[key] = {}
                node = node[key]
        else:
            raise ConfigError(f"--set {assignment}: {'.'.join(keys[:depth])} holds a plain value, not keys")
    return result


def parse_config(value: dict[str, Any], origin: str) -> RunConfig:
    """Validate a config.

    Raises:
        ConfigError: every wrong key on its own line: the key, what came, what was expected; or a secret under a key.
    """
    if secret := secret_keys(value):
        raise ConfigError(
            f"{origin}: {', '.join(secret)}: holds a token or a password, and a run keeps a copy of its config; "
            "take it out, and give it by the environment (HF_TOKEN, AWS_SECRET_ACCESS_KEY, …)"
        )
    try:
        return RunConfig.model_validate(value)
    except ValidationError as error:
        lines = [f"{origin}: {error.error_count()} problem(s)"]
        for problem in error.errors():
            key = ".".join(_one_line(part) for part in problem["loc"]) or "(top)"
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                message = "unknown key; remove it or correct its spelling"
            lines.append(f"  {key}: {message}")
        raise ConfigError("\n".join(lines)) from error


def _one_line(part: str | int) -> str:
    """A part of a key, in quotes where it would break the line or not be seen."""
    text = str(part)
    return text if text.isprintable() and text.strip() else repr(text)


def dump_config(config: RunConfig) -> str:
    """The resolved config as YAML; loading it again gives an equal config."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def config_identity(config: RunConfig) -> dict[str, Any]:
    """The part of a config that decides the output: all but `execution`, `card`, `name`, and where the source lies."""
    value = config.model_dump(mode="json", exclude={"execution", "card", "name"})
    for where in ("path", "url"):
        value["source"].pop(where, None)
    return value


def run_id(config: RunConfig, digests: dict[str, str]) -> str:
    """12 hex digits of SHA-256 over the canonical config and the digests (source index, prompts, weights)."""
    identity = {"config": config_identity(config), "digests": digests}
    canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]
