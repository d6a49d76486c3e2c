"""The keys that every diffusion generator has: base model, ControlNets, adapters, sampler, number format.

A kind adds only which pipeline classes it stands for. The weights are loaded by `_load`, the batches run by `_run`;
both import torch, so nothing here does: `synthgen check` reads a config in milliseconds.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from synthgen.component import Component
from synthgen.generators.base import Generator, GeneratorRun


class LoraSpec(Component):
    """A low-rank adapter, merged into the weights when they are loaded; safetensors only.

    In peft's format (`adapter_config.json`, as `synthgen train` writes it) or, on the base model, in diffusers'
    (`pytorch_lora_weights.safetensors`, or the file that `weight_name` names).
    """

    model: str
    weight_name: str | None = Field(default=None, pattern=r"^[\w.-]+\.safetensors$")
    scale: float = Field(default=1.0, ge=0, le=2)


class ControlNetSpec(Component):
    """One ControlNet and the control map that it reads.

    It acts from the share `start` of the steps to the share `end`; `loras` are merged into this ControlNet.
    """

    map: str
    model: str
    scale: float = Field(default=1.0, ge=0, le=2)
    start: float = Field(default=0.0, ge=0, le=1)
    end: float = Field(default=1.0, ge=0, le=1)
    loras: tuple[LoraSpec, ...] = ()

    @model_validator(mode="after")
    def _interval(self) -> ControlNetSpec:
        if self.start >= self.end:
            raise ValueError(f"start ({self.start}) must be less than end ({self.end})")
        return self


class SchedulerSpec(Component):
    """A scheduler class of diffusers by name; `arguments` override the model's scheduler config."""

    name: str
    arguments: Mapping[str, Any] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _repeatable(cls, name: str) -> str:
        if name == "DPMSolverSDEScheduler":
            raise ValueError(
                "its noise belongs to a batch and not to a sample; use DPMSolverMultistepScheduler with "
                "arguments: {algorithm_type: sde-dpmsolver++}"
            )
        return name


class DiffusionGenerator(Generator):
    """A ControlNet pipeline of diffusers.

    With `mode: people` (controls with a canvas) the inpainting pipeline of the same weights paints inside the hole, and
    the canvas is laid over the result everywhere else, byte for byte.
    """

    model: str
    """The base model: a folder or a pinned hub id in diffusers' format."""
    controlnets: tuple[ControlNetSpec, ...] = Field(min_length=1)
    loras: tuple[LoraSpec, ...] = ()
    """Adapters on the base model's UNet or transformer."""
    vae: str | None = None
    """Another autoencoder of the same latent space, such as an AutoencoderTiny."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    scheduler: SchedulerSpec | None = None
    """None: the one the model comes with."""
    steps: int = Field(default=20, ge=1, le=1000)
    guidance: float | None = Field(default=None, ge=0, le=50)
    """Classifier-free guidance scale; None: the pipeline's own default."""

    @field_validator("scheduler", mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"name": value} if isinstance(value, str) else value

    @abstractmethod
    def pipelines(self) -> tuple[str | None, str | None]:
        """Names of the diffusers classes for `mode: scene` and `mode: people`; None where there is none."""

    def pipeline_arguments(self) -> Mapping[str, Any]:
        """Further arguments of the pipeline's call."""
        return {}

    def components(self) -> Mapping[str, Any]:
        """Arguments of the pipeline's `from_pretrained` that replace components of the repository."""
        return {}

    def modes(self) -> tuple[str, ...]:
        """The config's `mode` values that it can paint."""
        return tuple(mode for mode, name in zip(("scene", "people"), self.pipelines(), strict=True) if name)

    def map_kinds(self) -> tuple[str, ...]:
        """The maps of its ControlNets, in their order."""
        return tuple(net.map for net in self.controlnets)

    def weights(self) -> tuple[str, ...]:
        """Base model, ControlNets, autoencoder and adapters, each once."""
        nets = [ref for net in self.controlnets for ref in (net.model, *(lora.model for lora in net.loras))]
        others = [self.vae] if self.vae else []
        return tuple(dict.fromkeys([self.model, *nets, *others, *(lora.model for lora in self.loras)]))

    def load(self, device: str) -> GeneratorRun:
        """Load the pipelines onto `device`.

        Raises:
            ConfigError: weights missing, unpinned, not safetensors or of a class that the pipeline does not take.
        """
        from synthgen.generators._load import load_pipelines
        from synthgen.generators._run import PipelineRun

        scene, people = load_pipelines(self, device)
        return PipelineRun(self, scene, people)
