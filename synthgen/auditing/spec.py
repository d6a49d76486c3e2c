"""What an audit does: `configs/audit.yaml` holds these defaults. Unknown keys are errors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError, model_validator

from synthgen.component import components, parse_component
from synthgen.config import load_yaml, set_key
from synthgen.detectors.base import Detector
from synthgen.embedders.base import Embedder
from synthgen.extractors.base import Extractor
from synthgen.recognizers.base import Recognizer
from synthgen.shipped import shipped_folder
from synthgen.types import ConfigError

RegionName = Literal["face", "head", "person"]


def _one_of(family: str) -> BeforeValidator:
    return BeforeValidator(lambda value: None if value is None else parse_component(family, value))


class AttackerSpec(BaseModel):
    """A network that looks at one kind of region: a recogniser, or features that a head is trained on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$")
    recognizer: Annotated[SerializeAsAny[Recognizer] | None, _one_of("recognizers")] = None
    """Tells people apart as it is."""
    features: Annotated[SerializeAsAny[Embedder] | None, _one_of("embedders")] = None
    """Tells pictures apart; a head is trained on people other than those attacked."""
    region: RegionName = "face"

    @property
    def network(self) -> Recognizer | Embedder:
        """The one of them that it has."""
        network = self.recognizer or self.features
        assert network is not None
        return network

    @model_validator(mode="after")
    def _one_network(self) -> AttackerSpec:
        if (self.recognizer is None) == (self.features is None):
            raise ValueError(f"attacker {self.name}: give either recognizer or features")
        return self


class InverterSpec(BaseModel):
    """The network that is trained to undo the anonymisation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(default=400, ge=1, le=100_000)
    batch_size: int = Field(default=16, ge=2, le=256)
    min_pairs: int = Field(default=100, ge=8)
    """Pairs of output and original to train on; with fewer the attack is insufficient."""


class MembershipSpec(BaseModel):
    """Were these photographs in the data that the weights were tuned on?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tuned: bool = False
    """Whether the run's weights were tuned on its source."""
    members: Path | None = None
    outsiders: Path | None = None
    """CSV files with a column `loss`: the denoising loss of each image that was, and was not, trained on."""


class AuditSpec(BaseModel):
    """Attackers, limits and what to skip."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attackers: tuple[AttackerSpec, ...] = Field(min_length=1)
    detect: tuple[components("detectors", Detector), ...] = ()  # type: ignore[valid-type]
    """Find the people in the originals, besides the detectors of the run. Their boxes are those attacked."""
    scenes: Annotated[SerializeAsAny[Embedder], _one_of("embedders")]
    """Features of whole images: scene linkage and copies."""
    maps: tuple[components("extractors", Extractor), ...] = ()  # type: ignore[valid-type]
    """Maps to attack where there is no run to take its extractors from: one of edges, one of classes."""
    dilate: float = Field(default=0.15, ge=0, le=2)
    max_bound: float = Field(default=0.05, gt=0, lt=1)
    """The release passes if the upper bound of every attack is at most this."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    min_positive: float = Field(default=0.8, gt=0, le=1)
    """An attacker who recognises fewer of the people in unprotected photographs proves nothing by failing."""
    seed: int = Field(default=0, ge=0)
    identity: str | None = None
    """The column of the dataset that names the person; None: `identity` if there is one. `folders`: each folder is one
    person."""
    groups: tuple[str, ...] | None = None
    """Columns to report apart; None: all with at most ten values."""
    inverter: InverterSpec | None = InverterSpec()
    text: bool = True
    text_images: int = Field(default=60, ge=1)
    """Originals in which text is looked for, at most: reading is slow."""
    metadata_allow: tuple[str, ...] = ()
    """Findings of the metadata scan that are meant to be there, such as `xmp`."""
    membership: MembershipSpec = MembershipSpec()

    @model_validator(mode="after")
    def _distinct(self) -> AuditSpec:
        names = [attacker.name for attacker in self.attackers]
        if len(set(names)) != len(names):
            raise ValueError(f"attackers: every name may stand once, got {names}")
        return self


def load_audit_spec(path: Path | None = None, assignments: Sequence[str] = ()) -> AuditSpec:
    """The spec of a file, or the shipped one, with each `key=value` applied.

    Raises:
        ConfigError: unreadable, or a wrong key; the message names it.
    """
    path = path or shipped_folder("configs") / "audit.yaml"
    value = load_yaml(path)
    for assignment in assignments:
        value = set_key(value, assignment)
    try:
        return AuditSpec.model_validate(value)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in one['loc']) or '(top)'}: {one['msg']}" for one in error.errors()]
        raise ConfigError("\n  ".join([f"{path}: {error.error_count()} problem(s)", *lines])) from error
