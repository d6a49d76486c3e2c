"""The runs under `configs/`: each is whole, and names its weights in a form that can't move."""

from __future__ import annotations

from pathlib import Path

import pytest

from synthgen.config import RunConfig, load_yaml, parse_config
from synthgen.generators._diffusion import DiffusionGenerator
from synthgen.types import ConfigError
from synthgen.weights import COMMIT, verify_reference

CONFIGS = Path(__file__).parents[2] / "configs"
READY = ("starter", "camvid", "camvid-checked", "sd15-canny-seg", "sdxl-canny", "flux", "people-only")
UNPINNED = {"InstantX/FLUX.1-dev-Controlnet-Canny@main"}
"""No source for its commit; `synthgen check --pin` writes it."""


def read(name: str) -> RunConfig:
    path = CONFIGS / f"{name}.yaml"
    return parse_config({"source": {"format": "imagefolder", "path": "images"}, **load_yaml(path)}, str(path))


@pytest.mark.parametrize("name", READY)
def test_a_ready_config_is_whole_and_pinned(name: str) -> None:
    config = read(name)
    assert config.name == name and config.check and config.protect
    assert isinstance(config.generate, DiffusionGenerator)
    assert config.mode in config.generate.modes()
    for ref in config.generate.weights():
        if ref in UNPINNED:
            with pytest.raises(ConfigError, match="unpinned"):
                verify_reference(ref)
        elif not ref.startswith("starter"):
            assert COMMIT.fullmatch(ref.rpartition("@")[2]), ref
            verify_reference(ref)


def test_a_run_that_keeps_the_background_takes_the_people_out_of_its_canvas() -> None:
    config = read("people-only")
    assert config.mode == "people" and "canvas" in [protector.kind for protector in config.protect]
