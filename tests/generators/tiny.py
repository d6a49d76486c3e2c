"""Tiny random models of the real classes, a few hundred kB each, saved as a user would have them on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["a", "photo", "of", "the", "street", "at", "night", "day", "with", "people", "and", "cars", "fog", "blurry"]
SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]


def tokenizer(length: int = 16) -> Any:
    vocab = {word: at for at, word in enumerate([*SPECIAL, *WORDS])}
    core = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=length,
    )


def clip(width: int = 16, projection: bool = False) -> Any:
    config = transformers.CLIPTextConfig(
        vocab_size=32,
        hidden_size=width,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        projection_dim=width,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return (transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel)(config)


def t5(width: int = 16) -> Any:
    config = transformers.T5Config(vocab_size=32, d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return transformers.T5EncoderModel(config)


def vae(latent: int = 4, levels: int = 4, **options: Any) -> Any:
    return diffusers.AutoencoderKL(
        block_out_channels=(8,) * levels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        layers_per_block=1,
        latent_channels=latent,
        norm_num_groups=4,
        mid_block_add_attention=False,
        **options,
    )


def unet(latent: int = 4, width: int = 16, layers: int = 1, channels: int = 0, **options: Any) -> Any:
    """`channels`: as many as it reads, if not its latents alone."""
    return diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=channels or latent,
        out_channels=latent,
        block_out_channels=(8, 16),
        layers_per_block=layers,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=2,
        **options,
    )


def stir(module: Any, seed: int) -> Any:
    """Give the zero-initialised layers of a ControlNet something to say."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return module


def controlnet(base: Any, seed: int) -> Any:
    net = diffusers.ControlNetModel.from_unet(base, conditioning_embedding_out_channels=(4, 8, 8, 8))
    return stir(net, seed)


def save(root: Path, pipe: Any, **nets: Any) -> Path:
    """`root/base` in diffusers' format and one folder a ControlNet; returns `root`."""
    pipe.save_pretrained(root / "base", safe_serialization=True)
    for name, net in nets.items():
        net.save_pretrained(root / name, safe_serialization=True)
    return root


def save_sd(root: Path, latent: int = 4, channels: int = 0, **options: Any) -> Path:
    torch.manual_seed(latent)
    base = unet(latent)
    scheduler = diffusers.DDIMScheduler(
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        steps_offset=1,
    )
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae(latent),
        text_encoder=clip(),
        tokenizer=tokenizer(),
        unet=unet(latent, channels=channels, **options) if channels or options else base,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return save(root, pipe, canny=controlnet(base, 1), seg=controlnet(base, 2))


def save_sdxl(root: Path, net: str = "ControlNetModel", channels: int = 0) -> Path:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "transformer_layers_per_block": (1, 1),
        "projection_class_embeddings_input_dim": 64,
        "use_linear_projection": True,
    }
    base = unet(width=32, **options)
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip(),
        text_encoder_2=clip(projection=True),
        tokenizer=tokenizer(),
        tokenizer_2=tokenizer(),
        unet=unet(width=32, channels=channels, **options) if channels else base,
        scheduler=diffusers.EulerDiscreteScheduler(timestep_spacing="leading"),
        add_watermarker=False,
    )
    if net == "ControlNetModel":
        return save(root, pipe, canny=controlnet(base, 1), seg=controlnet(base, 2))
    union = diffusers.ControlNetUnionModel(
        in_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=2,
        conditioning_embedding_out_channels=(4, 8, 8, 8),
        num_trans_channel=8,
        num_trans_head=2,
        num_trans_layer=1,
        num_proj_channel=8,
        **options,
    )
    return save(root, pipe, union=stir(union, 3))


def save_xs(root: Path) -> Path:
    torch.manual_seed(0)
    base = unet(layers=2)
    pipe = diffusers.StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip(),
        tokenizer=tokenizer(),
        unet=base,
        scheduler=diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    adapter = diffusers.ControlNetXSAdapter.from_unet(
        base, size_ratio=1, conditioning_embedding_out_channels=(4, 8, 8, 8)
    )
    return save(root, pipe, canny=stir(adapter, 1))


def save_flux(root: Path) -> Path:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "patch_size": 1,
        "in_channels": 16,
        "num_layers": 1,
        "num_single_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 16,
        "pooled_projection_dim": 16,
        "axes_dims_rope": (4, 4, 8),
    }
    pipe = diffusers.FluxPipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(4, 2, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(),
        tokenizer=tokenizer(),
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(),
        transformer=diffusers.FluxTransformer2DModel(**options),
    )
    nets = {name: stir(diffusers.FluxControlNetModel(**options), at) for at, name in enumerate(("canny", "seg"))}
    return save(root, pipe, **nets)


def save_sd3(root: Path) -> Path:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "sample_size": 16,
        "patch_size": 1,
        "in_channels": 8,
        "out_channels": 8,
        "attention_head_dim": 8,
        "num_attention_heads": 4,
        "joint_attention_dim": 32,
        "caption_projection_dim": 32,
        "pooled_projection_dim": 32,
    }
    pipe = diffusers.StableDiffusion3Pipeline(
        transformer=diffusers.SD3Transformer2DModel(num_layers=2, **options),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(8, 2, shift_factor=0.06, scaling_factor=1.5, use_quant_conv=False, use_post_quant_conv=False),
        text_encoder=clip(projection=True),
        tokenizer=tokenizer(),
        text_encoder_2=clip(projection=True),
        tokenizer_2=tokenizer(),
        text_encoder_3=t5(32),
        tokenizer_3=tokenizer(),
    )
    nets = [stir(diffusers.SD3ControlNetModel(num_layers=1, **options), at) for at in range(2)]
    return save(root, pipe, canny=nets[0], seg=nets[1])


def save_sana(root: Path) -> Path:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "patch_size": 1,
        "in_channels": 4,
        "out_channels": 4,
        "num_layers": 1,
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_cross_attention_heads": 2,
        "cross_attention_head_dim": 8,
        "cross_attention_dim": 16,
        "caption_channels": 16,
        "sample_size": 32,
    }
    autoencoder = diffusers.AutoencoderDC(
        in_channels=3,
        latent_channels=4,
        attention_head_dim=8,
        encoder_block_types=("ResBlock", "EfficientViTBlock"),
        decoder_block_types=("ResBlock", "EfficientViTBlock"),
        encoder_block_out_channels=(16, 16),
        decoder_block_out_channels=(16, 16),
        encoder_qkv_multiscales=((), (5,)),
        decoder_qkv_multiscales=((), (5,)),
        encoder_layers_per_block=(1, 1),
        decoder_layers_per_block=(1, 1),
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        decoder_norm_types="rms_norm",
        decoder_act_fns="silu",
    )
    gemma = transformers.Gemma2Config(
        head_dim=8, hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1,
        num_key_value_heads=2, vocab_size=32, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    pipe = diffusers.SanaPipeline(
        tokenizer=tokenizer(512),
        text_encoder=transformers.Gemma2Model(gemma),
        vae=autoencoder,
        transformer=diffusers.SanaTransformer2DModel(**{**options, "num_layers": 2}),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
    )
    return save(root, pipe, canny=stir(diffusers.SanaControlNetModel(**options), 1))


def save_qwen(root: Path) -> Path:
    torch.manual_seed(0)
    options: dict[str, Any] = {
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 4,
        "num_layers": 1,
        "attention_head_dim": 16,
        "num_attention_heads": 2,
        "joint_attention_dim": 16,
        "axes_dims_rope": (8, 4, 4),
    }
    rope = {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default", "rope_theta": 1e6}
    text = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "num_key_value_heads": 2, "rope_scaling": rope, "rope_parameters": rope, "vocab_size": 32,
    }  # fmt: skip
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    config = transformers.Qwen2_5_VLConfig(text_config=text, vision_config=vision)
    pipe = diffusers.QwenImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=diffusers.AutoencoderKLQwenImage(
            base_dim=24, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
            latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ),
        text_encoder=transformers.Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=tokenizer(1058),
        transformer=diffusers.QwenImageTransformer2DModel(guidance_embeds=False, **options),
    )  # fmt: skip
    return save(root, pipe, canny=stir(diffusers.QwenImageControlNetModel(**options), 1))


def save_zimage(root: Path) -> Path:
    torch.manual_seed(0)
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=16, dim=32, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2, cap_feat_dim=16,
        rope_theta=256.0, axes_dims=[8, 4, 4], axes_lens=[512, 32, 32],
    )  # fmt: skip
    stir(transformer, 4)
    qwen = transformers.Qwen3Config(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=32, head_dim=8,
    )  # fmt: skip
    words = tokenizer(512)
    words.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    pipe = diffusers.ZImagePipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae(16, 2, shift_factor=0.1, scaling_factor=0.4),
        text_encoder=transformers.Qwen3Model(qwen),
        tokenizer=words,
        transformer=transformer,
    )
    net = diffusers.ZImageControlNetModel(
        control_layers_places=[0, 1], control_in_dim=16, dim=32, n_refiner_layers=1, n_heads=2, n_kv_heads=2
    )
    return save(root, pipe, canny=stir(net, 1))
