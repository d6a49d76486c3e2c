"""Synthetic datasets, tiny configs and one trained tiny starter for the tests of training."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from PIL import Image

from synthgen.training.run import train

STREET = {0: "Sky", 1: "Building", 3: "Road", 8: "Car", 9: "Pedestrian", 11: "Unlabelled"}
PEOPLE = {0: "null", 19: "hair", 39: "pants", 41: "skin", 52: "top"}


@pytest.fixture(autouse=True)
def fresh_accelerate() -> Iterator[None]:
    """Each training has its own precision; accelerate keeps the first one's for the whole process."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    torch.set_num_threads(1)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def write_dataset(
    root: Path, classes: dict[int, str], bands: list[tuple[int, tuple[int, int, int]]], size: Any
) -> Path:
    """Four images of horizontal bands (class id, colour) with a little noise, and their masks."""
    rng = np.random.default_rng(0)
    width, height = size
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(4):
        edges = np.linspace(0, height, len(bands) + 1).astype(int) + number * np.r_[0, [1] * (len(bands) - 1), 0]
        image = np.zeros((height, width, 3), dtype=np.uint8)
        mask = np.zeros((height, width), dtype=np.uint8)
        for (class_id, colour), top, bottom in zip(bands, edges, edges[1:], strict=False):
            image[top:bottom] = colour
            mask[top:bottom] = class_id
        noise = rng.integers(-8, 8, image.shape)
        Image.fromarray(np.clip(image + noise, 0, 255).astype(np.uint8)).save(root / "images" / f"{number}.png")
        Image.fromarray(mask).save(root / "labels" / f"{number}.png")
    rows = "".join(f"{class_id},{name}\n" for class_id, name in classes.items())
    (root / "classes.csv").write_text("id,name\n" + rows)
    return root


@pytest.fixture(scope="session")
def street(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bands = [(0, (60, 100, 180)), (1, (200, 180, 160)), (9, (120, 20, 20)), (3, (140, 140, 145))]
    return write_dataset(tmp_path_factory.mktemp("street") / "data", STREET, bands, (96, 72))


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    bands = [(0, (230, 230, 230)), (19, (30, 25, 25)), (41, (220, 180, 150)), (52, (170, 35, 40)), (39, (30, 40, 75))]
    return write_dataset(tmp_path_factory.mktemp("people") / "data", PEOPLE, bands, (64, 96))


def run_config(folder: Path, name: str, config: dict[str, Any], *overrides: str) -> Path:
    """Train `config` and return the folder of the weights."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return train(path, list(overrides))


def autoencoder_config(source: Path, out: Path, steps: int, **more: Any) -> dict[str, Any]:
    return {
        "kind": "autoencoder",
        "out": str(out),
        "device": "cpu",
        "channels": [8, 8, 16, 16],
        "latent_channels": 4,
        "groups": 4,
        "crop": 16,
        "sources": [{"dataset": str(source), "size": [64, 48]}],
        "optimisation": {"max_steps": steps, "batch_size": 4, "learning_rate": 0.005, "warmup": 2},
        "execution": {"log_steps": 5, "checkpoint_steps": 1000},
        **more,
    }


def starter_config(street: Path, people: Path, autoencoder: Path, out: Path, steps: int) -> dict[str, Any]:
    sources = [
        {"dataset": str(street), "size": [64, 48], "crops": 2, "variants": 2, "captions": {"rule": "street"}},
        {"dataset": str(people), "class_map": "clothing", "size": [48, 64], "captions": {"rule": "people"}},
    ]
    return {
        "kind": "starter",
        "out": str(out),
        "device": "cpu",
        "autoencoder": str(autoencoder),
        "text": {"width": 16, "intermediate": 16, "layers": 1, "heads": 2, "length": 24},
        "unet": {
            "channels": [8, 16],
            "attention": [False, True],
            "head_dim": 4,
            "groups": 4,
            "conditioning": [4, 4, 8, 8],
        },
        "phases": [
            {"until": 0.5, "views": [{"crop": [4, 4], "cells": 64, "share": 0.9}, {"cells": 96, "share": 0.1}]},
            {"until": 1.0, "views": [{"cells": 96}]},
        ],
        "preview": ["a street scene , night"],
        "sources": sources,
        "optimisation": {"max_steps": steps, "learning_rate": 0.005, "warmup": 1},
        "execution": {"log_steps": 2, "validate_steps": steps, "checkpoint_steps": 1000},
    }


@pytest.fixture(scope="session")
def trained_autoencoder(street: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("autoencoder")
    config = autoencoder_config(street, folder / "out", 30)
    return run_config(folder, "autoencoder", config)


@pytest.fixture(scope="session")
def trained_starter(
    street: Path, people: Path, trained_autoencoder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("starter")
    return run_config(folder, "starter", starter_config(street, people, trained_autoencoder, folder / "out", 4))
