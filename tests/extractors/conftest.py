"""Tiny random models of the very classes that users load, saved as safetensors with their processors.

Each writes only what its hub repository holds: config, processor, weights (and OneFormer's tokenizer).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    CLIPTokenizer,
    ConvNextConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    Mask2FormerConfig,
    Mask2FormerForUniversalSegmentation,
    OneFormerConfig,
    OneFormerForUniversalSegmentation,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SwinConfig,
    UperNetConfig,
    UperNetForSemanticSegmentation,
)
from transformers.models.dpt.image_processing_pil_dpt import DPTImageProcessorPil
from transformers.models.mask2former.image_processing_pil_mask2former import Mask2FormerImageProcessorPil
from transformers.models.oneformer.image_processing_pil_oneformer import OneFormerImageProcessorPil
from transformers.models.segformer.image_processing_pil_segformer import SegformerImageProcessorPil

from synthgen.types import Image, Item, Labels, Sample

LABELS = ("unknown", "sky", "building", "road", "tree", "person", "hair")


@pytest.fixture(autouse=True)
def reproducible(monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread, the same random weights in every run, and no network."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def make_image(seed: int = 0, size: tuple[int, int] = (64, 48)) -> Image:
    """A picture of (width, height): smooth gradients and a few rectangles, other for every seed."""
    width, height = size
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 / width, y * 255 / height, (x + y) * 127 / width], axis=2)
    for _ in range(4):
        top, left = rng.integers(0, height - 12), rng.integers(0, width - 12)
        image[top : top + 12, left : left + 12] = rng.integers(0, 256, 3)
    return image.clip(0, 255).astype(np.uint8)


def make_sample(image: Image, labels: Labels | None = None, name: str = "a.png") -> Sample:
    return Sample(Item(name, Path(name)), image, labels or Labels(), digest="0" * 64)


def _names(labels: tuple[str, ...]) -> dict[str, dict]:
    return {
        "id2label": dict(enumerate(labels)),
        "label2id": {name: place for place, name in enumerate(labels)},
    }


def save_segformer(folder: Path, labels: tuple[str, ...] = LABELS) -> None:
    config = SegformerConfig(
        depths=[1] * 4,
        hidden_sizes=[8, 8, 16, 16],
        num_attention_heads=[1, 1, 2, 2],
        decoder_hidden_size=16,
        **_names(labels),
    )
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessorPil(size={"height": 48, "width": 64}).save_pretrained(folder)


def save_upernet(folder: Path, labels: tuple[str, ...] = LABELS) -> None:
    backbone = ConvNextConfig(
        depths=[1] * 4, hidden_sizes=[8, 8, 16, 16], out_features=["stage1", "stage2", "stage3", "stage4"]
    )
    config = UperNetConfig(
        backbone_config=backbone, hidden_size=16, use_auxiliary_head=False, pool_scales=[1, 2], **_names(labels)
    )
    UperNetForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessorPil(size={"height": 64, "width": 64}).save_pretrained(folder)


def _swin() -> SwinConfig:
    return SwinConfig(
        image_size=64,
        embed_dim=8,
        depths=[1] * 4,
        num_heads=[1] * 4,
        window_size=2,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )


def save_mask2former(folder: Path, labels: tuple[str, ...] = LABELS) -> None:
    config = Mask2FormerConfig(
        backbone_config=_swin(),
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=2,
        decoder_layers=2,
        num_attention_heads=2,
        num_queries=6,
        **_names(labels),
    )
    model = Mask2FormerForUniversalSegmentation(config)
    model.class_predictor.weight.data *= 50  # so that a random model says more than one class
    model.save_pretrained(folder)
    Mask2FormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)


def save_oneformer(folder: Path, labels: tuple[str, ...] = LABELS) -> None:
    config = OneFormerConfig(
        backbone_config=_swin(),
        is_training=False,
        hidden_dim=32,
        mask_dim=32,
        conv_dim=32,
        encoder_feedforward_dim=16,
        dim_feedforward=16,
        encoder_layers=2,
        decoder_layers=2,
        query_dec_layers=2,
        num_attention_heads=2,
        num_queries=6,
        task_seq_len=20,
        max_seq_len=20,
        text_encoder_width=16,
        text_encoder_context_length=20,
        text_encoder_num_layers=1,
        text_encoder_vocab_size=600,
        **_names(labels),
    )
    model = OneFormerForUniversalSegmentation(config)
    model.model.transformer_module.decoder.class_embed.weight.data *= 50
    model.save_pretrained(folder)
    OneFormerImageProcessorPil(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    processor = folder / "preprocessor_config.json"
    settings = json.loads(processor.read_text())
    settings |= {"class_info_file": "ade20k_panoptic.json", "repo_path": "shi-labs/oneformer_demo"}
    processor.write_text(json.dumps(settings))
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)


def save_depth_anything(folder: Path, estimates: str = "relative") -> None:
    backbone = Dinov2Config(
        image_size=56,
        patch_size=14,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=16,
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=8,
        head_hidden_size=8,
        depth_estimation_type=estimates,
        max_depth=20 if estimates == "metric" else 1,
    )
    DepthAnythingForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessorPil(size={"height": 56, "width": 56}, ensure_multiple_of=14).save_pretrained(folder)


def save_dpt(folder: Path) -> None:
    config = DPTConfig(
        image_size=32,
        patch_size=8,
        hidden_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=16,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 8, 8],
        fusion_hidden_size=8,
        head_in_index=-1,
    )
    DPTForDepthEstimation(config).save_pretrained(folder)
    DPTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
