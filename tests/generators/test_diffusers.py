"""`kind: diffusers`: other ControlNet families of the library, tiny, random, of the real classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from synthgen.generators.diffusers import DiffusersPipeline
from synthgen.types import ConfigError
from tests.generators.conftest import SIZE, make_controls, make_recipe

Weights = Callable[..., Path]
SHORT = {"max_sequence_length": 16}
SANA = {**SHORT, "complex_human_instruction": None}
XL_UNION, XS = "StableDiffusionXLControlNetUnionPipeline", "StableDiffusionControlNetXSPipeline"
SQUARE = (64, 64)


def spec(root: Path, pipeline: str, nets: tuple[str, ...] = ("canny",), **keys: Any) -> DiffusersPipeline:
    kinds = ("canny", "segmentation")
    named = [{"map": kind, "model": str(root / name)} for kind, name in zip(kinds, nets, strict=False)]
    keys = {"sizes": [SIZE], "batch_size": 3, "steps": 2, "controlnets": named, **keys}
    return DiffusersPipeline(pipeline=pipeline, model=str(root / "base"), **keys)


@pytest.mark.parametrize(
    ("family", "options", "pipeline", "nets", "keys", "canvas"),
    [
        ("flux", {}, "FluxControlNetPipeline", ("canny",), {"arguments": SHORT}, False),
        ("flux", {}, "FluxControlNetPipeline", ("canny", "seg"), {"arguments": SHORT, "guidance": 3.5}, False),
        ("flux", {}, "FluxControlNetInpaintPipeline", ("canny",), {"arguments": SHORT}, True),
        ("sd3", {}, "StableDiffusion3ControlNetPipeline", ("canny",), {"arguments": SHORT}, False),
        ("sd3", {}, "StableDiffusion3ControlNetPipeline", ("canny", "seg"), {"arguments": SHORT}, False),
        ("sana", {}, "SanaControlNetPipeline", ("canny",), {"arguments": SANA, "sizes": [SQUARE]}, False),
        ("qwen", {}, "QwenImageControlNetPipeline", ("canny",), {"arguments": {"true_cfg_scale": 3.0}}, False),
        ("sdxl", {"net": "union"}, XL_UNION, ("union",), {"arguments": {"control_mode": [3]}}, False),
        ("sdxl", {"net": "union"}, XL_UNION, ("union", "union"), {"arguments": {"control_mode": [3, 5]}}, False),
        ("zimage", {}, "ZImageControlNetPipeline", ("canny",), {"guidance": 3.0}, False),
        ("xs", {}, XS, ("canny",), {"guidance": 3.0}, False),
        ("sd", {}, "StableDiffusionControlNetPAGPipeline", ("canny",), {"arguments": {"pag_scale": 1.0}}, False),
    ],
)
def test_a_sample_is_the_same_bytes_whatever_its_slot_and_neighbours(
    weights: Weights,
    family: str,
    options: dict[str, Any],
    pipeline: str,
    nets: tuple[str, ...],
    keys: dict[str, Any],
    canvas: bool,
) -> None:
    size = keys.get("sizes", [SIZE])[0]
    batch = 1 if any(part in pipeline for part in ("Qwen", "ZImage", "Union")) else 3
    run = spec(weights(family, **options), pipeline, nets, **{"batch_size": batch, **keys}).load("cpu")

    def paint(seeds: list[int], map_seed: int = 0) -> list[np.ndarray]:
        prompts = {2: "the street at night with fog and cars", 3: "day"}
        controls = [make_controls(map_seed or seed, size, canvas) for seed in seeds]
        return run(size, controls, [make_recipe(seed, prompts.get(seed, "a photo")) for seed in seeds])

    (first,) = paint([1])
    assert first.shape == (size[1], size[0], 3) and first.dtype == np.uint8 and first.std() > 4
    assert not np.array_equal(first, paint([2])[0]), "the seed changes nothing"
    assert not np.array_equal(first, paint([1], map_seed=7)[0]), "the control changes nothing"
    torch.manual_seed(99)
    np.testing.assert_array_equal(paint([1])[0], first)
    if batch > 1:
        np.testing.assert_array_equal(paint([3, 2, 1])[2], first)
        np.testing.assert_array_equal(paint([2, 1])[1], first)


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("FluxControlNetNothingPipeline", "diffusers has no 'FluxControlNetNothingPipeline'; it has: .*Flux"),
        ("FluxControlNetImg2ImgPipeline", "is not a text-to-image"),
        ("AnimateDiffControlNetPipeline", "is not a text-to-image"),
        ("StableDiffusion3ControlNetInpaintingPipeline", "is not a text-to-image"),
        ("StableDiffusion3ControlNetPipeline", r"FluxPipeline with \['text_encoder_2'|is a FluxControlNetModel"),
    ],
)
def test_a_wrong_class_is_named(weights: Weights, pipeline: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        spec(weights("flux"), pipeline).load("cpu")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"arguments": {"temperature": 1}},
            "generate.arguments.temperature: not an argument of SanaControlNetPipeline",
        ),
        ({"arguments": {"generator": 1}}, "generate.arguments.generator: other keys"),
        ({"end": 0.5}, "SanaControlNetPipeline knows no start and end"),
        ({"sizes": [(64, 48)]}, "SanaControlNetPipeline refuses its arguments: .*divisible by 32"),
    ],
)
def test_what_the_pipeline_does_not_take_is_named(weights: Weights, keys: dict[str, Any], message: str) -> None:
    root = weights("sana")
    net = {"map": "canny", "model": str(root / "canny"), "end": keys.pop("end", 1.0)}
    keys = {"arguments": SANA, "controlnets": [net], **keys}
    with pytest.raises(ConfigError, match=message):
        spec(root, "SanaControlNetPipeline", **keys).load("cpu")(SIZE, [make_controls(1)], [make_recipe(1)])


def test_a_canvas_for_a_scene_pipeline_is_named(weights: Weights) -> None:
    run = spec(weights("flux"), "FluxControlNetPipeline", arguments=SHORT, sizes=[(64, 48)]).load("cpu")
    with pytest.raises(ConfigError, match=r"mode: people is nothing that generate\.kind diffusers"):
        run(SIZE, [make_controls(1, canvas=True)], [make_recipe(1)])


@pytest.mark.parametrize(
    ("pipeline", "message"),
    [
        ("QwenImageControlNetPipeline", "batch_size.*longest"),
        ("ZImageControlNetPipeline", "batch_size.*longest"),
        (XL_UNION, "batch_size.*attend to each other"),
        ("FluxPipeline", "pattern"),
        ("os.system", "pattern"),
    ],
)
def test_a_spec_that_can_not_keep_samples_apart_is_refused(pipeline: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        spec(Path("weights"), pipeline)


def test_an_inpainting_class_serves_people_alone() -> None:
    assert spec(Path("w"), "FluxControlNetInpaintPipeline").modes() == ("people",)
    assert spec(Path("w"), "FluxControlNetPipeline").modes() == ("scene",)


def test_two_models_for_one_union_are_refused(weights: Weights, tmp_path: Path) -> None:
    root = weights("sdxl", net="union")
    (tmp_path / "copy").symlink_to(root / "union")
    nets = [{"map": "canny", "model": str(root / "union")}, {"map": "segmentation", "model": str(tmp_path / "copy")}]
    with pytest.raises(ConfigError, match="takes one model for all maps, got 2"):
        spec(root, XL_UNION, controlnets=nets, batch_size=1, arguments={"control_mode": [3, 5]}).load("cpu")


def test_a_spec_survives_json() -> None:
    one = spec(Path("w"), "FluxControlNetPipeline", arguments={"sigmas": [1.0, 0.5]}, scheduler="DDIMScheduler")
    assert DiffusersPipeline.model_validate(json.loads(one.model_dump_json())) == one
