from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import DepthAnythingForDepthEstimation, DPTForDepthEstimation

from synthgen.extractors.depth import Depth, inverse_depth_to_gray
from synthgen.types import ConfigError

from .conftest import make_image, make_sample, save_depth_anything, save_dpt, save_segformer

SIZES = [(64, 48), (48, 64), (64, 48)]


@pytest.mark.parametrize(
    ("save", "model_class"),
    [(save_depth_anything, DepthAnythingForDepthEstimation), (save_dpt, DPTForDepthEstimation)],
)
def test_maps_are_the_models_depth_stretched(save, model_class, tmp_path: Path) -> None:
    save(tmp_path)
    samples = [make_sample(make_image(seed, size)) for seed, size in enumerate(SIZES)]
    controls = Depth(model=str(tmp_path), batch_size=2).load("cpu")(samples)
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    model = model_class.from_pretrained(tmp_path).eval()
    for control, sample in zip(controls, samples, strict=True):
        with torch.no_grad():
            depth = model(**processor(images=[sample.image], return_tensors="pt")).predicted_depth
        shape = sample.image.shape[:2]
        depth = torch.nn.functional.interpolate(depth[None], shape, mode="bicubic", align_corners=False)[0, 0].numpy()
        expected = (depth - depth.min()) / (depth.max() - depth.min()) * 255
        assert control.kind == "depth"
        assert control.image.shape == sample.image.shape
        assert (control.image == control.image[..., :1]).all()
        assert np.abs(control.image[..., 0] - expected).max() <= 1


def test_metric_models_are_inverted(tmp_path: Path) -> None:
    save_depth_anything(tmp_path, "metric")
    sample = make_sample(make_image(0, (64, 48)))
    found, forced = (
        Depth(model=str(tmp_path), predicts=predicts).load("cpu")([sample])[0].image.astype(int)[..., 0].ravel()
        for predicts in ("auto", "inverse")
    )
    assert np.corrcoef(found, forced)[0, 1] < -0.5


@pytest.mark.parametrize(
    ("depth", "metric", "gray"),
    [
        ([[0.0, 1.0], [2.0, 4.0]], False, [[0, 64], [128, 255]]),
        ([[-3.0, 1.0]], False, [[0, 255]]),
        ([[1.0, 2.0], [4.0, 1.0]], True, [[255, 85], [0, 255]]),
        ([[5.0, 5.0]], False, [[0, 0]]),
        ([[0.0, 1.0]], True, [[255, 0]]),
    ],
)
def test_inverse_depth_to_gray(depth: list, metric: bool, gray: list) -> None:
    assert inverse_depth_to_gray(np.array(depth, dtype=np.float32), metric).tolist() == gray


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    save_segformer(tmp_path)
    with pytest.raises(ConfigError, match=r"SegformerForSemanticSegmentation.*ForDepthEstimation"):
        Depth(model=str(tmp_path)).load("cpu")


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    save_dpt(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="pickle"):
        Depth(model=str(tmp_path)).load("cpu")
