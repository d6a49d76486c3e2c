"""Each tiny model is saved once a session, and read back by folder as a user's would be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from synthgen.types import ControlMap, Controls, Recipe
from tests.generators import tiny

SIZE = (64, 48)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`weights("sd", latent=8)` is the folder that `tiny.save_sd(root, latent=8)` has filled."""
    made: dict[str, Path] = {}

    def get(family: str, **options: object) -> Path:
        key = f"{family}{options or ''}"
        if key not in made:
            made[key] = getattr(tiny, f"save_{family}")(tmp_path_factory.mktemp(family), **options)
        return made[key]

    return get


def make_controls(seed: int, size: tuple[int, int] = SIZE, canvas: bool = False) -> Controls:
    """Random canny and segmentation maps; with `canvas`, a gray canvas whose middle is the hole."""
    width, height = size
    random = np.random.default_rng(seed)
    edges = np.where(random.random((height, width, 1)) < 0.2, 255, 0).astype(np.uint8).repeat(3, axis=2)
    blocks = random.integers(0, 256, (height // 16, width // 16, 3), dtype=np.uint8)
    maps = {
        "canny": ControlMap("canny", edges),
        "segmentation": ControlMap("segmentation", blocks.repeat(16, 0).repeat(16, 1)),
    }
    if not canvas:
        return Controls(maps, size)
    hole = np.zeros((height, width), np.bool_)
    hole[height // 4 : height // 2 + 3, width // 4 : width // 2 + 5] = True
    picture = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    picture[hole] = 127
    return Controls(maps, size, picture, hole)


def make_recipe(seed: int, prompt: str = "a photo of the street", negative: str = "blurry") -> Recipe:
    return Recipe(f"image-{seed}.png", 0, 0, seed, prompt, negative)
