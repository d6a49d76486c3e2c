"""Stable Diffusion 1.5 and XL with a ControlNet in their real shapes, with random weights: enough to measure time.

The shapes are those of the configs that the models are published with. Nothing is downloaded; the tokenizer knows its
special tokens only, since time does not depend on what a prompt says. `tiny` gives the same classes in miniature.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

SD15_UNET = {"sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8}
"""Everything else is the class's default: 320, 640, 1280, 1280 channels, two layers a block."""
SDXL_UNET = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "latent_channels": 4,
}
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
CLIP_G = {"hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 20}
HINTS = (16, 32, 96, 256)
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}

TINY_UNET = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4, "sample_size": 8}
TINY_BLOCKS = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 2,
}
TINY_SD = {**TINY_UNET, **TINY_BLOCKS, "cross_attention_dim": 16}
TINY_SDXL = {
    **SDXL_UNET,
    **TINY_UNET,
    **TINY_BLOCKS,
    "cross_attention_dim": 32,
    "transformer_layers_per_block": 1,
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
}
TINY_VAE = {**VAE, "block_out_channels": (8,) * 4, "layers_per_block": 1, "norm_num_groups": 4}
TINY_CLIP = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY_HINTS = (4, 8, 8, 8)


def save_sd15(folder: Path, tiny: bool = False) -> None:
    """`folder/base` and `folder/controlnet`, in half precision as they are published."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(**(TINY_SD if tiny else SD15_UNET))
    pipe = diffusers.StableDiffusionPipeline(
        vae=diffusers.AutoencoderKL(**(TINY_VAE if tiny else VAE)),
        text_encoder=_text_encoder(TINY_CLIP if tiny else CLIP_L),
        tokenizer=_tokenizer(),
        unet=unet,
        scheduler=diffusers.PNDMScheduler(**SCHEDULE, skip_prk_steps=True),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    _save(folder, pipe, unet, tiny)


def save_sdxl(folder: Path, tiny: bool = False) -> None:
    """As `save_sd15`."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(**(TINY_SDXL if tiny else SDXL_UNET))
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=diffusers.AutoencoderKL(**(TINY_VAE if tiny else VAE), scaling_factor=0.13025, force_upcast=False),
        text_encoder=_text_encoder(TINY_CLIP if tiny else CLIP_L),
        text_encoder_2=_text_encoder(TINY_CLIP if tiny else CLIP_G, pooled=True),
        tokenizer=_tokenizer(),
        tokenizer_2=_tokenizer(),
        unet=unet,
        scheduler=diffusers.EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="leading"),
        add_watermarker=False,
    )
    _save(folder, pipe, unet, tiny)


def _save(folder: Path, pipe: Any, unet: Any, tiny: bool) -> None:
    hints = TINY_HINTS if tiny else HINTS
    net = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=hints)
    for module in (net, *(part for part in pipe.components.values() if isinstance(part, torch.nn.Module))):
        module.to(torch.float16)
    pipe.save_pretrained(folder / "base", safe_serialization=True)
    net.save_pretrained(folder / "controlnet", safe_serialization=True)


def _text_encoder(shape: Mapping[str, Any], pooled: bool = False) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=49408,
        max_position_embeddings=77,
        projection_dim=shape["hidden_size"],
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        **shape,
    )
    return (transformers.CLIPTextModelWithProjection if pooled else transformers.CLIPTextModel)(config)


def _tokenizer() -> Any:
    special = {"<|startoftext|>": 0, "<|endoftext|>": 1, "<unk>": 2}
    core = Tokenizer(models.WordLevel(special, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="<|startoftext|> $A <|endoftext|>", special_tokens=list(special.items())[:2]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|startoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        unk_token="<unk>",
        model_max_length=77,
    )
