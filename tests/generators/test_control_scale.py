"""A recipe's own control scales: as the config's would be, and one set of them in a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthgen.component import parse_component
from synthgen.types import ConfigError
from tests.generators.conftest import SIZE, make_controls, make_recipe


@pytest.fixture
def load(weights: Callable[..., Path]) -> Callable[..., Any]:
    """The tiny SD with its two ControlNets at given scales."""

    def get(canny: float = 1.0, segmentation: float = 1.0) -> Any:
        root = weights("sd")
        nets = [
            {"map": "canny", "model": str(root / "canny"), "scale": canny},
            {"map": "segmentation", "model": str(root / "seg"), "scale": segmentation},
        ]
        spec = {
            "kind": "sd",
            "model": str(root / "base"),
            "controlnets": nets,
            "sizes": [SIZE],
            "batch_size": 2,
            "steps": 2,
        }
        return parse_component("generators", spec).load("cpu")

    return get


def test_a_recipes_scale_multiplies_the_configs(load: Callable[..., Any]) -> None:
    controls, recipe = make_controls(1), make_recipe(1)
    (plain,) = load()(SIZE, [controls], [recipe])
    (half,) = load(canny=0.5)(SIZE, [controls], [replace(recipe, control={"canny": 0.5})])
    (quarter,) = load(canny=0.25)(SIZE, [controls], [recipe])
    assert np.array_equal(half, quarter) and not np.array_equal(half, plain)


def test_scale_zero_makes_the_map_meaningless_and_a_map_that_is_not_used_is_ignored(load: Callable[..., Any]) -> None:
    run, recipe = load(), make_recipe(1)
    one, other = make_controls(1), make_controls(2)
    mixed = replace(one, maps={**one.maps, "canny": other.maps["canny"]})
    off = replace(recipe, control={"canny": 0.0, "depth": 0.3})
    assert np.array_equal(run(SIZE, [one], [off])[0], run(SIZE, [mixed], [off])[0])
    assert not np.array_equal(run(SIZE, [one], [recipe])[0], run(SIZE, [mixed], [recipe])[0])


def test_a_batch_has_one_set_of_scales(load: Callable[..., Any]) -> None:
    recipes = [make_recipe(1), replace(make_recipe(2), control={"canny": 0.5})]
    with pytest.raises(ConfigError, match="control scales"):
        load()(SIZE, [make_controls(1), make_controls(2)], recipes)
