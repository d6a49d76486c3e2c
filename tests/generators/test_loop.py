"""Our own denoising loop against the call of diffusers' pipelines: bit for bit, with exact shortcuts and without."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from pydantic import ValidationError

from synthgen.generators import _conditioning
from synthgen.generators._batch import Batch, make_batch
from synthgen.generators._loop import DenoisingLoop, to_bytes, within
from synthgen.generators._options import StableDiffusionFamily
from synthgen.generators._run import PipelineRun, _to_uint8
from synthgen.generators.diffusers import DiffusersPipeline
from synthgen.generators.sd import StableDiffusion
from synthgen.generators.sdxl import StableDiffusionXL
from tests.generators.conftest import SIZE, make_controls, make_recipe

Weights = Callable[..., Path]
KINDS = {"sd": StableDiffusion, "sdxl": StableDiffusionXL}
OFF = {"cache_conditioning": False, "skip_controlnet": False}
ANCESTRAL = ("EulerAncestralDiscreteScheduler", {})
SOLVER = ("DPMSolverMultistepScheduler", {})
DDIM = ("DDIMScheduler", {"timestep_spacing": "trailing"})
LCM = ("LCMScheduler", {})
ALL = [
    *(DDIM, ANCESTRAL, SOLVER, LCM, ("EulerDiscreteScheduler", {}), ("UniPCMultistepScheduler", {})),
    *(("TCDScheduler", {}), ("HeunDiscreteScheduler", {})),
]
"""DDIM keeps no state, Euler's ancestral form, LCM and TCD draw noise, the others remember steps, Heun takes two."""


def load(root: Path, family: str, nets: Sequence[dict[str, Any]] = ({}, {}), **keys: Any) -> PipelineRun:
    kinds = (("canny", "canny"), ("segmentation", "seg"))
    named = [{"map": kind, "model": str(root / name), **net} for (kind, name), net in zip(kinds, nets, strict=False)]
    keys = {"sizes": [SIZE], "batch_size": 2, "steps": 3, "guidance": 2.0, "controlnets": named, **keys}
    run = KINDS[family](model=str(root / "base"), **keys).load("cpu")
    assert isinstance(run, PipelineRun)
    return run


def batch_for(run: PipelineRun, canvas: bool = False, seeds: tuple[int, int] = (1, 2)) -> tuple[Any, Batch]:
    """The pipeline, and a batch of two different samples for it."""
    pipe = run.people if canvas else run.scene
    controls = [make_controls(seed, canvas=canvas) for seed in seeds]
    recipes = [make_recipe(seeds[0]), make_recipe(seeds[1], "day with fog", "night")]
    return pipe, make_batch(run.spec, SIZE, 2, controls, recipes, pipe.vae_scale_factor)


def by_library(run: PipelineRun, canvas: bool = False) -> np.ndarray:
    """(2, height, width, 3) in 0..1, before anything is rounded."""
    pipe, batch = batch_for(run, canvas)
    with torch.inference_mode():
        return np.asarray(pipe(**run.arguments(pipe, batch)).images)


def by_loop(run: PipelineRun, canvas: bool = False, **keys: Any) -> np.ndarray:
    pipe, batch = batch_for(run, canvas)
    with torch.inference_mode():
        images = DenoisingLoop(run.spec.model_copy(update=keys), pipe).images(batch)
    return images.permute(0, 2, 3, 1).float().numpy()


def assert_same(run: PipelineRun, canvas: bool = False) -> None:
    expected = by_library(run, canvas)
    assert expected.dtype == np.float32 and expected.std() > 0.01 and not np.array_equal(*expected)
    np.testing.assert_array_equal(by_loop(run, canvas, **OFF), expected)
    np.testing.assert_array_equal(by_loop(run, canvas), expected)


@pytest.mark.parametrize(
    ("family", "options", "canvas", "schedulers"),
    [
        ("sd", {}, False, ALL),
        ("sd", {}, True, [DDIM, ANCESTRAL, SOLVER, LCM]),
        ("sd", {"channels": 9}, True, [DDIM, ANCESTRAL]),
        ("sdxl", {}, False, [SOLVER, ANCESTRAL]),
        ("sdxl", {}, True, [SOLVER, ANCESTRAL]),
        ("sdxl", {"channels": 9}, True, [SOLVER, ANCESTRAL]),
    ],
)
def test_the_loop_gives_the_librarys_bits(
    weights: Weights, family: str, options: dict[str, Any], canvas: bool, schedulers: Any
) -> None:
    """Two ControlNets, each in a part of the steps, under guidance."""
    run = load(weights(family, **options), family, [{"end": 0.5, "scale": 0.7}, {"start": 0.25}])
    pipe = run.people if canvas else run.scene
    for name, arguments in schedulers:
        pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **arguments)
        assert_same(run, canvas)


@pytest.mark.parametrize(
    ("family", "options", "canvas", "nets", "keys"),
    [
        ("sd", {}, False, [{}], {"guidance": 1.0}),
        ("sd", {}, True, [{"end": 0.4}], {"guidance": 1.0}),
        ("sd", {}, False, [{"scale": 0.0}, {}], {"guidance": None}),
        ("sd", {"latent": 8}, True, [{}], {}),
        ("sd", {"time_cond_proj_dim": 8}, False, [{}], {"guidance": 6.0, "scheduler": "LCMScheduler"}),
        ("sd", {"time_cond_proj_dim": 8}, True, [{}], {"guidance": 6.0, "scheduler": "LCMScheduler"}),
        ("sdxl", {}, False, [{}], {"guidance": 1.0, "batch_size": 2}),
        ("sdxl", {}, False, [{}], {"dtype": "float16"}),
        ("sdxl", {}, True, [{}], {"dtype": "float16"}),
    ],
    ids=str,
)
def test_it_does_so_with_one_net_without_guidance_and_in_half_precision(
    weights: Weights, family: str, options: dict[str, Any], canvas: bool, nets: Any, keys: dict[str, Any]
) -> None:
    assert_same(load(weights(family, **options), family, nets, **keys), canvas)


@pytest.mark.parametrize(
    "config", [{"controlnet_conditioning_channel_order": "bgr"}, {"global_pool_conditions": True}], ids=str
)
def test_it_does_so_for_nets_that_read_bgr_or_pool(weights: Weights, config: dict[str, Any]) -> None:
    run = load(weights("sd"), "sd", [{"map": "segmentation"}])
    plain = by_library(run)
    run.scene.controlnet.register_to_config(**config)
    assert not np.array_equal(by_library(run), plain)
    assert_same(run)


def test_both_loops_release_the_same_bytes_and_a_tiny_autoencoder_fits(weights: Weights, tmp_path: Path) -> None:
    widths = {"encoder_block_out_channels": (8,) * 4, "decoder_block_out_channels": (8,) * 4}
    torch.manual_seed(5)
    diffusers.AutoencoderTiny(latent_channels=4, **widths).save_pretrained(tmp_path)  # type: ignore[attr-defined]
    controls = [make_controls(1, canvas=True)]
    own, library = (
        load(weights("sd"), "sd", vae=str(tmp_path), loop=loop)(SIZE, controls, [make_recipe(1)])
        for loop in ("own", "library")
    )
    np.testing.assert_array_equal(own, library)
    assert own[0].dtype == np.uint8 and own[0].flags.writeable


class Counter:
    """How often a module is run, and on how many rows."""

    def __init__(self, module: Any) -> None:
        self.calls = self.rows = 0
        module.register_forward_hook(self)

    def __call__(self, module: Any, args: Any, output: Any) -> None:
        self.calls += 1
        self.rows += output.shape[0] if isinstance(output, torch.Tensor) else 0


def test_what_has_no_effect_is_not_computed(weights: Weights) -> None:
    run = load(weights("sd"), "sd", [{"end": 0.5}, {}], steps=4)
    first, second = run.scene.controlnet.nets
    embedded, run_first, run_second, words = (
        Counter(part)
        for part in (first.controlnet_cond_embedding, first.conv_in, second.conv_in, run.scene.text_encoder)
    )
    by_loop(run)
    assert (embedded.calls, run_first.calls, run_second.calls) == (1, 2, 4)
    by_loop(run, **OFF)
    assert (embedded.calls, run_first.calls, run_second.calls) == (1 + 4, 2 + 4, 4 + 4)
    words.calls = 0
    pipe, batch = batch_for(run)
    loop = DenoisingLoop(run.spec, pipe)
    for _ in range(3):
        loop(batch)
    assert words.calls == 2, "the prompts once, the negative prompts once"


def test_a_scale_of_zero_runs_nothing(weights: Weights) -> None:
    run = load(weights("sd"), "sd", [{"scale": 0.0}])
    counted = Counter(run.scene.controlnet.conv_in)
    np.testing.assert_array_equal(by_loop(run), by_library(run))
    assert counted.calls == run.spec.steps, "the library's"


def test_outside_its_interval_guidance_costs_nothing_and_is_none(weights: Weights) -> None:
    run = load(weights("sd"), "sd", [{}], steps=4)
    never = by_loop(run, guidance_start=0.9, guidance_end=0.95)
    np.testing.assert_array_equal(never, by_loop(run, guidance=1.0))
    rows = Counter(run.scene.unet.conv_in)
    whole = by_loop(run)
    assert rows.rows == 4 * 4
    rows.rows = 0
    half = by_loop(run, guidance_end=0.5)
    assert rows.rows == 2 * 4 + 2 * 2
    assert not np.array_equal(half, whole) and not np.array_equal(half, never)


@pytest.mark.parametrize(("options", "canvas"), [({}, True), ({"channels": 9}, True)], ids=str)
def test_the_guidance_interval_fits_every_kind_of_unet(weights: Weights, options: dict[str, Any], canvas: bool) -> None:
    run = load(weights("sdxl", **options), "sdxl", [{"end": 0.5}])
    expected = by_loop(run, canvas, guidance=1.0)
    np.testing.assert_array_equal(by_loop(run, canvas, guidance_start=0.9, guidance_end=0.95), expected)
    assert not np.array_equal(by_loop(run, canvas, guidance_end=0.5), expected)


def test_prompts_are_kept_within_bounds_and_change_no_bit(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = load(weights("sdxl"), "sdxl", [{}]).scene
    prompts = ["a photo", "day", "a photo", "night"]
    expected = pipe.encode_prompt(prompts, device="cpu", do_classifier_free_guidance=False)
    monkeypatch.setattr(_conditioning, "PROMPTS_KEPT", 2)
    cache = _conditioning.PromptCache(pipe)
    for _ in range(2):
        text, pooled = cache(prompts, torch.device("cpu"))
        assert torch.equal(text, expected[0]) and torch.equal(pooled, expected[2])
        assert len(cache._kept) == 2
    assert torch.equal(cache(prompts[::-1], torch.device("cpu"))[0], expected[0].flip(0))


def test_bytes_are_rounded_as_numpy_does() -> None:
    """Halves to even, NaN to black, what lies beyond to the ends."""
    values = [float("nan"), float("inf"), -float("inf"), -0.1, 1.5, *np.arange(0, 255.5, 0.5, np.float32) / 255]
    pixels = np.resize(np.array(values, np.float32), (2, 5, 7, 3))
    random = np.random.default_rng(0).random((2, 50, 70, 3), np.float32)
    for images in (pixels, random):
        ours = to_bytes(torch.from_numpy(images).permute(0, 3, 1, 2))
        np.testing.assert_array_equal(ours.numpy(), _to_uint8(images))
    assert pixels.size < len(values) * 2 and [within(step, 4, 0.25, 0.5) for step in range(4)] == [
        False,
        True,
        False,
        False,
    ]


def test_every_shape_is_compiled_once(weights: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tracer is torch's, the code generator is left out: it takes minutes and is not ours."""
    from torch._dynamo.testing import CompileCounter

    graphs, real = CompileCounter(), torch.compile
    monkeypatch.setattr(torch, "compile", lambda module, dynamic: real(module, dynamic=dynamic, backend=graphs))
    compiled, plain = (load(weights("sd"), "sd", [{}], compile=on, guidance=1.0) for on in (True, False))

    def paint(run: PipelineRun, seed: int, scale: float) -> np.ndarray:
        recipe = replace(make_recipe(seed), control={"canny": scale})
        return run(SIZE, [make_controls(seed)], [recipe])[0]

    for seed, scale in ((1, 1.0), (2, 0.3)):
        np.testing.assert_array_equal(paint(compiled, seed, scale), paint(plain, seed, scale))
        assert graphs.frame_count == 2, "the UNet's and the ControlNet's"


def test_how_it_computes_reaches_the_modules(weights: Weights) -> None:
    base = by_loop(load(weights("sd"), "sd"))
    run = load(weights("sd"), "sd", channels_last=True, attention="eager", vae_slicing=True)
    pipe = run.scene
    kinds = {
        type(one).__name__ for part in (pipe.unet, pipe.controlnet.nets[0]) for one in part.attn_processors.values()
    }
    assert kinds == {"AttnProcessor"} and pipe.vae.use_slicing and not pipe.vae.use_tiling
    for module in (pipe.unet.conv_in, pipe.vae.decoder.conv_in, pipe.controlnet.nets[1].conv_in):
        assert module.weight.is_contiguous(memory_format=torch.channels_last)
    assert 0 < np.abs(by_loop(run) - base).max() < 1e-3
    assert load(weights("sd"), "sd", vae_tiling=True).people.vae.use_tiling


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"guidance_start": 0.5, "guidance_end": 0.5}, r"guidance_start \(0.5\) must be less"),
        ({"loop": "library", "guidance_end": 0.5}, "need loop: own"),
        ({"loop": "library", "compile": True}, "need loop: own"),
        ({"loop": "theirs"}, "own.*library"),
        ({"attention": "flash"}, "sdpa.*eager"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        StableDiffusion.model_validate(
            {"model": "m", "controlnets": [{"map": "canny", "model": "x"}], "sizes": [SIZE], **keys}
        )


def test_no_other_family_has_these_keys() -> None:
    own = set(StableDiffusionFamily.model_fields) - set(DiffusersPipeline.model_fields)
    assert own >= {"loop", "cache_conditioning", "skip_controlnet", "guidance_start", "compile", "vae_tiling"}
    assert set(StableDiffusionXL.model_fields) >= own
