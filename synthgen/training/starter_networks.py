"""The starter's networks: made with random weights, or read from a starter that is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel

from synthgen.training.kinds import StarterSpec, UnetSpec
from synthgen.training.tokenizer import BEGIN, END, PAD
from synthgen.types import ConfigError
from synthgen.weights import resolve_weights


@dataclass(frozen=True, eq=False)
class StarterNetworks:
    """What is trained together."""

    unet: Any
    text: Any
    canny: Any
    segmentation: Any


def load_autoencoder(ref: str) -> Any:
    """In float32, for reading only."""
    folder = resolve_weights(ref)
    return AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32, use_safetensors=True).eval()


def load_networks(start: str) -> StarterNetworks:
    """The networks of a starter's folder, in float32, to be trained on.

    Raises:
        ConfigError: a part is missing or of another class.
    """
    folder = resolve_weights(start)
    options: dict[str, Any] = {"torch_dtype": torch.float32, "use_safetensors": True}
    try:
        return StarterNetworks(
            unet=UNet2DConditionModel.from_pretrained(folder, subfolder="unet", **options),
            text=CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=torch.float32),
            canny=ControlNetModel.from_pretrained(folder, subfolder="controlnet-canny", **options),
            segmentation=ControlNetModel.from_pretrained(folder, subfolder="controlnet-segmentation", **options),
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"start: {start} is no starter's folder: {error}") from error


def load_tokenizer(start: str) -> Any:
    """The tokenizer of a starter's folder."""
    return AutoTokenizer.from_pretrained(resolve_weights(start) / "tokenizer")


def make_networks(spec: StarterSpec, latent_channels: int, cells: int, vocabulary: int) -> StarterNetworks:
    """With random weights; `cells` is the side in latent cells that a pipeline takes by default."""
    return StarterNetworks(
        unet=make_unet(spec, latent_channels, cells),
        canny=make_controlnet(spec, latent_channels),
        segmentation=make_controlnet(spec, latent_channels),
        text=make_text_encoder(spec, vocabulary),
    )


def check_stride(unet: UnetSpec, stride: int) -> None:
    """Raises ConfigError where a control map shrinks to another size than the autoencoder's latents."""
    if stride != (shrinks := 2 ** (len(unet.conditioning) - 1)):
        raise ConfigError(
            f"unet.conditioning: {len(unet.conditioning)} levels shrink a map {shrinks} times, the "
            f"autoencoder shrinks an image {stride} times; both must be the same"
        )


def _levels(spec: StarterSpec, latent_channels: int) -> dict[str, Any]:
    unet = spec.unet
    return {
        "in_channels": latent_channels,
        "layers_per_block": unet.layers,
        "down_block_types": tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in unet.attention),
        "block_out_channels": unet.channels,
        "cross_attention_dim": spec.text.width,
        "attention_head_dim": unet.head_dim,
        "norm_num_groups": unet.groups,
    }


def make_unet(spec: StarterSpec, latent_channels: int, cells: int) -> Any:
    """The UNet, with random weights; `cells` is the side in latent cells that a pipeline takes by default."""
    up = tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(spec.unet.attention))
    levels = _levels(spec, latent_channels)
    return UNet2DConditionModel(sample_size=cells, out_channels=latent_channels, up_block_types=up, **levels)


def make_controlnet(spec: StarterSpec, latent_channels: int) -> Any:
    """A ControlNet for that UNet, with diffusers' own start; see initialise.py."""
    levels = _levels(spec, latent_channels)
    return ControlNetModel(conditioning_embedding_out_channels=spec.unet.conditioning, **levels)


def make_text_encoder(spec: StarterSpec, vocabulary: int) -> Any:
    """A CLIPTextModel over `vocabulary` words."""
    text = spec.text
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=text.width,
        intermediate_size=text.intermediate,
        num_hidden_layers=text.layers,
        num_attention_heads=text.heads,
        max_position_embeddings=text.length,
        projection_dim=text.width,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    return CLIPTextModel(config)
