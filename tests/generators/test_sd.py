"""`kind: sd` and `kind: sdxl` on tiny random weights of the real classes, read from folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from synthgen.generators.base import GeneratorRun
from synthgen.generators.sd import StableDiffusion
from synthgen.generators.sdxl import StableDiffusionXL
from synthgen.types import ConfigError
from tests.generators import tiny
from tests.generators.conftest import SIZE, make_controls, make_recipe

Weights = Callable[..., Path]
NETS = (("canny", "canny"), ("segmentation", "seg"))


def spec(root: Path, nets: int = 2, cls: Any = StableDiffusion, **keys: Any) -> Any:
    named = [{"map": kind, "model": str(root / name)} for kind, name in NETS[:nets]]
    keys = {"sizes": [SIZE], "batch_size": 3, "steps": 2, "guidance": 2.0, "controlnets": named, **keys}
    return cls(model=str(root / "base"), **keys)


def make(**keys: Any) -> StableDiffusion:
    return StableDiffusion.model_validate({"sizes": [SIZE], **keys})


def paint(run: GeneratorRun, seeds: list[int], canvas: bool = False) -> list[np.ndarray]:
    prompts = {2: "the street at night with fog and cars", 3: "day"}
    controls = [make_controls(seed, canvas=canvas) for seed in seeds]
    return run(SIZE, controls, [make_recipe(seed, prompts.get(seed, "a photo")) for seed in seeds])


@pytest.mark.parametrize(
    ("family", "options", "cls", "nets", "canvas"),
    [
        ("sd", {}, StableDiffusion, 1, False),
        ("sd", {}, StableDiffusion, 2, False),
        ("sd", {"latent": 8}, StableDiffusion, 2, False),
        ("sd", {}, StableDiffusion, 2, True),
        ("sd", {"latent": 8}, StableDiffusion, 1, True),
        ("sdxl", {}, StableDiffusionXL, 1, False),
        ("sdxl", {}, StableDiffusionXL, 2, False),
        ("sdxl", {}, StableDiffusionXL, 2, True),
    ],
)
def test_a_sample_is_the_same_bytes_whatever_its_slot_and_neighbours(
    weights: Weights, family: str, options: dict[str, Any], cls: Any, nets: int, canvas: bool
) -> None:
    run = spec(weights(family, **options), nets, cls).load("cpu")
    first, second, third = paint(run, [1, 2, 3], canvas)
    assert first.shape == (SIZE[1], SIZE[0], 3) and first.dtype == np.uint8
    assert first.std() > 4 and not np.array_equal(first, second)
    torch.manual_seed(99)
    for seeds, slot in (([1], 0), ([3, 1], 1), ([2, 3, 1], 2)):
        np.testing.assert_array_equal(paint(run, seeds, canvas)[slot], first)
    np.testing.assert_array_equal(paint(run, [3, 2], canvas), [third, second])


def test_every_controlnet_reads_its_own_map_of_its_own_sample(weights: Weights) -> None:
    run = spec(weights("sd"), 2).load("cpu")
    base = make_controls(1)
    recipes = [make_recipe(1), make_recipe(1)]
    for kind in ("canny", "segmentation"):
        other = type(base)({**base.maps, kind: make_controls(7).maps[kind]}, base.size)
        same, changed = run(SIZE, [base, other], recipes)
        assert (same != changed).mean() > 0.01, kind
    swapped = [{"map": "segmentation", "model": str(weights("sd") / "canny")}]
    alone = spec(weights("sd"), controlnets=swapped).load("cpu")(SIZE, [base], recipes[:1])
    assert not np.array_equal(alone, spec(weights("sd"), 1).load("cpu")(SIZE, [base], recipes[:1]))


def test_prompt_negative_prompt_seed_scale_and_interval_reach_the_pipeline(weights: Weights) -> None:
    root = weights("sd")
    run = spec(root, 1, batch_size=1).load("cpu")
    controls = [make_controls(1)]
    base = run(SIZE, controls, [make_recipe(1)])[0]
    for recipe in (make_recipe(2), make_recipe(1, "day"), make_recipe(1, negative="fog")):
        assert not np.array_equal(run(SIZE, controls, [recipe])[0], base)
    net = {"map": "canny", "model": str(root / "canny")}
    for change in ({"scale": 0.3}, {"end": 0.5}):
        other = spec(root, batch_size=1, controlnets=[{**net, **change}]).load("cpu")
        assert not np.array_equal(other(SIZE, controls, [make_recipe(1)])[0], base)


def test_inpainting_keeps_the_canvas_outside_the_hole_and_nothing_of_it_inside(weights: Weights) -> None:
    run = spec(weights("sd", latent=8), 1).load("cpu")
    controls = make_controls(1, canvas=True)
    assert controls.hole is not None and controls.canvas is not None
    (image,) = run(SIZE, [controls], [make_recipe(1)])
    np.testing.assert_array_equal(image[~controls.hole], controls.canvas[~controls.hole])
    assert (image[controls.hole] != 127).mean() > 0.9
    whole = type(controls)(controls.maps, controls.size, controls.canvas, None)
    np.testing.assert_array_equal(run(SIZE, [whole], [make_recipe(1)])[0], controls.canvas)


def test_inpainting_with_eight_latent_channels_sees_the_canvas_around_the_hole(weights: Weights) -> None:
    run = spec(weights("sd", latent=8), 1, steps=4).load("cpu")
    controls = make_controls(1, canvas=True)
    assert controls.hole is not None and controls.canvas is not None
    dark = np.where(controls.hole[..., None], controls.canvas, 0).astype(np.uint8)
    (light,) = run(SIZE, [controls], [make_recipe(1)])
    (night,) = run(SIZE, [type(controls)(controls.maps, controls.size, dark, controls.hole)], [make_recipe(1)])
    assert not np.array_equal(light[controls.hole], night[controls.hole])


def test_schedulers_by_name_and_another_autoencoder(weights: Weights, tmp_path: Path) -> None:
    root = weights("sd")
    base = paint(spec(root, 1).load("cpu"), [1])[0]
    ancestral = spec(root, 1, scheduler="EulerAncestralDiscreteScheduler").load("cpu")
    np.testing.assert_array_equal(paint(ancestral, [2, 1])[1], paint(ancestral, [1])[0])
    assert not np.array_equal(paint(ancestral, [1])[0], base)
    import diffusers

    torch.manual_seed(5)
    widths = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    tiny_vae: Any = diffusers.AutoencoderTiny(latent_channels=4, **widths)
    tiny_vae.save_pretrained(tmp_path)
    assert not np.array_equal(paint(spec(root, 1, vae=str(tmp_path)).load("cpu"), [1])[0], base)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision(weights: Weights, dtype: str) -> None:
    exact = paint(spec(weights("sd"), 1).load("cpu"), [1])[0]
    half = paint(spec(weights("sd"), 1, dtype=dtype).load("cpu"), [1])[0]
    assert 0 < np.abs(half.astype(int) - exact).mean() < 8


def save_lora(module: Any, folder: Path, targets: list[str]) -> None:
    """An adapter as `synthgen train` saves it: peft's format, with something learnt."""
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(module, LoraConfig(r=2, lora_alpha=4, target_modules=targets))
    torch.manual_seed(3)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    adapted.save_pretrained(str(folder), safe_serialization=True)


def test_lora_on_a_controlnet_and_on_the_unet(weights: Weights, tmp_path: Path) -> None:
    import diffusers

    root = weights("sd")
    base = paint(spec(root, 1).load("cpu"), [1])[0]
    attention = ["to_q", "to_v"]
    save_lora(diffusers.ControlNetModel.from_pretrained(root / "canny"), tmp_path / "net", attention)
    save_lora(diffusers.UNet2DConditionModel.from_pretrained(root / "base" / "unet"), tmp_path / "unet", attention)
    net = {"map": "canny", "model": str(root / "canny")}

    def with_net(scale: float) -> np.ndarray:
        lora = {"model": str(tmp_path / "net"), "scale": scale}
        return paint(spec(root, controlnets=[{**net, "loras": [lora]}]).load("cpu"), [1])[0]

    assert not np.array_equal(with_net(1.0), base)
    assert not np.array_equal(with_net(1.0), with_net(0.5))
    np.testing.assert_array_equal(with_net(0.0), base)
    unet = paint(spec(root, 1, loras=[{"model": str(tmp_path / "unet")}]).load("cpu"), [1])[0]
    assert not np.array_equal(unet, base)


def test_lora_in_the_format_of_diffusers(weights: Weights, tmp_path: Path) -> None:
    import diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    root = weights("sd")
    unet = diffusers.UNet2DConditionModel.from_pretrained(root / "base" / "unet")
    unet.add_adapter(LoraConfig(r=2, lora_alpha=2, target_modules=["to_q", "to_v"]))
    for name, parameter in unet.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    diffusers.StableDiffusionPipeline.save_lora_weights(
        tmp_path, get_peft_model_state_dict(unet), weight_name="mine.safetensors", safe_serialization=True
    )
    lora = {"model": str(tmp_path), "weight_name": "mine.safetensors"}
    base = paint(spec(root, 1).load("cpu"), [1])[0]
    assert not np.array_equal(paint(spec(root, 1, loras=[lora]).load("cpu"), [1])[0], base)
    np.testing.assert_array_equal(paint(spec(root, 1, loras=[{**lora, "scale": 0}]).load("cpu"), [1])[0], base)


def test_weights_are_listed_once_each_with_their_maps(weights: Weights) -> None:
    one = spec(weights("sd"), vae="starter/vae", loras=[{"model": "a/b@" + "0" * 40}])
    assert one.map_kinds() == ("canny", "segmentation")
    assert [ref.rsplit("/", 1)[-1] for ref in one.weights()] == ["base", "canny", "seg", "vae", "b@" + "0" * 40]
    assert one.modes() == ("scene", "people")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "org/name@main"}, "unpinned"),
        ({"model": "./no-such-folder"}, "no-such-folder"),
        ({"scheduler": "NoScheduler"}, "generate.scheduler.name.*NoScheduler"),
        ({"scheduler": "AutoencoderKL"}, "generate.scheduler.name.*AutoencoderKL"),
        (
            {"scheduler": {"name": "DDIMScheduler", "arguments": {"spacing": 1}}},
            "generate.scheduler.arguments.*spacing",
        ),
        ({"safety_checker": True}, "generate.safety_checker"),
    ],
)
def test_a_wrong_key_is_named(weights: Weights, change: dict[str, Any], message: str) -> None:
    root = weights("sd")
    keys = spec(root).model_dump(mode="json") | change
    with pytest.raises(ConfigError, match=message):
        StableDiffusion(**keys).load("cpu")


def test_weights_of_another_family_are_named(weights: Weights) -> None:
    sd, sdxl, flux = weights("sd"), weights("sdxl"), weights("flux")
    for root, folder, message in (
        (sdxl, sdxl / "canny", "text_encoder_2.*use another kind"),
        (sd, sdxl / "canny", "text of width 32, the base model .* has 16"),
        (sd, flux / "canny", "is a FluxControlNetModel.*takes ControlNetModel"),
        (sd, sd / "base" / "unet", "names 'UNet2DConditionModel'"),
        (sd, sd / "base", "a model of diffusers has a config.json"),
        (sd / "canny", sd / "canny", "a base model in diffusers' format has a model_index.json"),
    ):
        net = [{"map": "canny", "model": str(folder)}]
        model = str(root / "base") if (root / "base").is_dir() else str(root)
        with pytest.raises(ConfigError, match=message):
            make(model=model, controlnets=net).load("cpu")
    with pytest.raises(ConfigError, match=r"generate\.vae.*8 latent channels, the base model has 4"):
        spec(sd, vae=str(weights("sd", latent=8) / "base" / "vae")).load("cpu")


def test_a_base_model_with_pickles_alone_is_refused(weights: Weights, tmp_path: Path) -> None:
    shutil.copytree(weights("sd") / "base", tmp_path / "base")
    tensors = tmp_path / "base" / "unet" / "diffusion_pytorch_model.safetensors"
    tensors.rename(tensors.with_suffix(".bin"))
    keys = spec(weights("sd")).model_dump(mode="json") | {"model": str(tmp_path / "base")}
    with pytest.raises(ConfigError, match=r"unet/diffusion_pytorch_model\.bin is a pickle"):
        StableDiffusion(**keys).load("cpu")


def test_controls_that_do_not_fit_are_named(weights: Weights) -> None:
    run = spec(weights("sd")).load("cpu")
    controls, recipe = make_controls(1), make_recipe(1)
    missing = type(controls)({"canny": controls.maps["canny"]}, controls.size)
    for batch, message in (
        ([missing], "generate.controlnets.1.map: the controls have no 'segmentation' map .there: canny"),
        ([make_controls(1, (32, 32))], "canny map is 32x32, the bucket is 64x48"),
        ([controls] * 4, "batch_size is 3, got 4"),
        ([], "batch_size is 3, got 0"),
        ([controls, make_controls(1, canvas=True)], "one mode"),
    ):
        with pytest.raises(ConfigError, match=message):
            run(SIZE, batch, [recipe] * len(batch))


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 2.5},
        {"start": 0.6, "end": 0.5},
        {"start": -0.1},
        {"weight": 1},
        {"loras": [{"model": "a", "weight_name": "../x.bin"}]},
    ],
)
def test_controlnet_keys_are_bounded(change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make(model="starter", controlnets=[{"map": "canny", "model": "x", **change}])


def test_a_scheduler_whose_noise_belongs_to_the_batch_is_refused() -> None:
    net = [{"map": "canny", "model": "x"}]
    with pytest.raises(ValidationError, match="belongs to a batch"):
        make(model="starter", controlnets=net, scheduler="DPMSolverSDEScheduler")


def test_a_flagged_image_comes_out_black(weights: Weights, tmp_path: Path) -> None:
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    shutil.copytree(weights("sd") / "base", tmp_path / "base")
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    config = CLIPConfig(vision_config={**vision, "image_size": 32, "patch_size": 16}, projection_dim=8)
    checker = StableDiffusionSafetyChecker(config)
    torch.nn.init.constant_(checker.concept_embeds_weights, -2.0)
    checker.save_pretrained(tmp_path / "base" / "safety_checker")
    CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32).save_pretrained(
        tmp_path / "base" / "feature_extractor"
    )
    index = tmp_path / "base" / "model_index.json"
    value = json.loads(index.read_text())
    value["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    value["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    index.write_text(json.dumps(value))
    keys = spec(weights("sd"), 1).model_dump(mode="json") | {"model": str(tmp_path / "base"), "batch_size": 1}
    assert paint(StableDiffusion(**keys | {"safety_checker": True}).load("cpu"), [1])[0].max() == 0
    assert paint(StableDiffusion(**keys).load("cpu"), [1])[0].max() > 0


def test_the_vocabulary_covers_the_prompts() -> None:
    ids = tiny.tokenizer()("the street at night", padding="max_length", max_length=16).input_ids
    assert len(ids) == 16 and ids[0] == 1 and 3 not in ids
