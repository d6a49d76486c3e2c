"""Memory runs out while a batch is painted: less of it is tried, seeds stay, the run goes on and says so."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from synthgen.generators._backoff import Footprint, ran_out_of_memory, tiles
from synthgen.generators._run import PipelineRun
from synthgen.types import ConfigError
from tests.generators.conftest import SIZE, make_controls, make_recipe
from tests.generators.test_loop import load

Weights = Callable[..., Path]
OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    RuntimeError("MPS backend out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    MemoryError(),
]


def paint(run: PipelineRun, canvas: bool = False, seeds: tuple[int, ...] = (1, 2, 3)) -> Any:
    return run(SIZE, [make_controls(seed, canvas=canvas) for seed in seeds], [make_recipe(seed) for seed in seeds])


def fail(module: Any, when: Callable[[torch.Tensor], bool], error: BaseException = OUT_OF_MEMORY[0]) -> list[int]:
    """Let `module` run out of memory for some inputs; the rows of every input it is given."""
    seen: list[int] = []

    def allocate(module: Any, args: Any) -> None:
        seen.append(args[0].shape[0])
        if when(args[0]):
            raise error

    module.register_forward_pre_hook(allocate)
    return seen


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: f"{type(error).__name__}: {error}"[:40])
def test_every_way_of_saying_so_is_understood(error: BaseException) -> None:
    assert ran_out_of_memory(error)
    assert not ran_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_what_is_tried_in_which_order() -> None:
    tried: list[str] = []
    footprint: Footprint | None = Footprint(6)
    while footprint is not None:
        tried.append(str(footprint))
        footprint = footprint.smaller("cuda")
    ends = ["1 at a time, autoencoder in tiles", "1 at a time, autoencoder in tiles, on the CPU"]
    assert tried == ["6 at a time", "3 at a time", "1 at a time", *ends]
    assert Footprint(1, tiled=True).smaller("cpu") is None


@pytest.mark.parametrize(("loop", "canvas"), [("own", False), ("own", True), ("library", False)])
def test_half_a_batch_keeps_the_seeds_and_is_remembered(
    weights: Weights, loop: str, canvas: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """What it paints is what a run of that batch size paints, bit for bit."""
    keys: dict[str, Any] = {"guidance": 1.0, "loop": loop}
    run = load(weights("sd"), "sd", [{}], batch_size=4, **keys)
    seen = fail(run.scene.unet.conv_in, lambda latents: latents.shape[0] > 2)
    with caplog.at_level(logging.WARNING, "synthgen"):
        images = paint(run, canvas)
    expected = paint(load(weights("sd"), "sd", [{}], batch_size=2, **keys), canvas, (1, 2))
    np.testing.assert_array_equal(images[:2], expected)
    assert len(images) == 3 and images.note == "out of memory: painted 2 at a time" and expected.note == ""
    (record,) = (one for one in caplog.records if one.name == "synthgen")
    assert "64x48" in record.message and "2 at a time" in record.message and "generate.batch_size" in record.message
    assert seen[:2] == [4, 2]
    assert paint(run, canvas).note == images.note and seen.count(4) == 1, "not tried again"
    assert [one.name for one in caplog.records].count("synthgen") == 1


def test_then_the_autoencoder_works_in_tiles(weights: Weights) -> None:
    run = load(weights("sd"), "sd", [{}])
    fail(run.scene.vae.decoder.conv_in, lambda latents: latents.shape[-1] > 4)
    images = paint(run, seeds=(1, 2))
    assert images.note == "out of memory: painted 1 at a time, autoencoder in tiles"
    whole = paint(load(weights("sd"), "sd", [{}], batch_size=1), seeds=(1,))
    assert 0 < np.abs(images[0].astype(int) - whole[0]).mean() < 40
    assert not run.scene.vae.use_tiling, "tiles are this bucket's alone"


def test_then_the_cpu_paints_and_the_next_batch_tries_the_device_again(
    weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no other device here: what is asked for is written down instead."""
    run = load(weights("sd"), "sd", [{}], batch_size=1)
    expected = paint(run, seeds=(1,))
    placed: list[str] = []
    run.device = torch.device("cuda")
    monkeypatch.setattr(run, "_place", lambda pipe, device: placed.append(device.type))
    fail(run.scene.unet.conv_in, lambda latents: placed[-1] == "cuda")
    images = paint(run, seeds=(1,))
    assert images.note == "out of memory: painted 1 at a time, autoencoder in tiles, on the CPU"
    assert placed == ["cuda", "cuda", "cpu"]
    assert (images[0] != expected[0]).mean() < 1, "no tile is larger than the autoencoder's own"
    paint(run, seeds=(2,))
    assert placed[3:] == ["cuda", "cpu"]


def test_without_memory_for_one_image_the_run_stops_with_the_key(weights: Weights) -> None:
    run = load(weights("sd"), "sd", [{}])
    fail(run.scene.unet.conv_in, lambda latents: True, MemoryError())
    with pytest.raises(ConfigError, match=r"no memory for one image of 64x48.*MemoryError.*generate\.sizes"):
        paint(run, seeds=(1,))


def test_another_error_is_not_taken_for_it(weights: Weights) -> None:
    run = load(weights("sd"), "sd", [{}])
    seen = fail(run.scene.unet.conv_in, lambda latents: True, RuntimeError("device-side assert triggered"))
    with pytest.raises(RuntimeError, match="device-side assert"):
        paint(run, seeds=(1,))
    assert len(seen) == 1


def test_tiles_are_half_of_the_picture_and_undone(weights: Weights) -> None:
    vae = load(weights("sd"), "sd", [{}]).scene.vae
    before = (vae.use_tiling, vae.use_slicing, vae.tile_latent_min_size, vae.tile_sample_min_size)
    with tiles(vae, (64, 48), 8):
        assert (vae.use_tiling, vae.use_slicing, vae.tile_latent_min_size, vae.tile_sample_min_size) == (
            True,
            True,
            4,
            32,
        )
    assert (vae.use_tiling, vae.use_slicing, vae.tile_latent_min_size, vae.tile_sample_min_size) == before
