"""The starter's folder and its validation pictures: the trained modules as the pipeline that a run loads."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import StableDiffusionControlNetPipeline, StableDiffusionPipeline

from synthgen.training.noise import starter_scheduler
from synthgen.training.pictures import maps_to_tensor, sheet, tensor_to_images
from synthgen.types import Image

if TYPE_CHECKING:
    from synthgen.training.starter import StarterTask

CONTROLNETS = ("canny", "segmentation")
PREVIEWS, PREVIEW_STEPS, PREVIEW_GUIDANCE = 2, 12, 2.0


def _scaled_vae(task: StarterTask) -> Any:
    vae = copy.deepcopy(task.vae)
    vae.register_to_config(scaling_factor=task.scale)
    return vae


def write_starter(task: StarterTask, folder: Path) -> None:
    """model_index.json, unet, vae, text_encoder, tokenizer, scheduler, controlnet-canny, controlnet-segmentation.

    Weights are safetensors, float16 with `half`.
    """
    modules = task.module
    trained = (modules.unet, modules.text, modules.canny, modules.segmentation)
    copies = [copy.deepcopy(module) for module in trained]
    vae = _scaled_vae(task)
    if task.spec.half:
        vae.half()
        copies = [module.half() for module in copies]
    unet, text, canny, segmentation = copies
    pipeline: Any = StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=task.tokenizer,
        unet=unet,
        scheduler=starter_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    for name, controlnet in zip(CONTROLNETS, (canny, segmentation), strict=True):
        controlnet.save_pretrained(folder / f"controlnet-{name}")


def preview_starter(task: StarterTask) -> Image:
    """Rows of (decoded photograph, protected edges, classes, one picture for each preview prompt)."""
    modules = task.module
    pipeline: Any = StableDiffusionControlNetPipeline(
        vae=_scaled_vae(task),
        text_encoder=modules.text,
        tokenizer=task.tokenizer,
        unet=modules.unet,
        controlnet=[modules.canny, modules.segmentation],
        scheduler=starter_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    rows: list[list[Image]] = []
    for source in task.sources:
        for row in np.linspace(0, len(source.maps) - 1, PREVIEWS).astype(int):
            edges = np.where(source.maps["protected"][row], 0, source.maps["edges"][row]).astype(np.uint8)
            shown = np.repeat(edges[..., None], 3, axis=2)
            painted = task.palette.paint(source.crops["ids"][row])
            made = [_generate(pipeline, prompt, shown, painted) for prompt in task.spec.preview]
            rows.append([np.asarray(source.crops["image"][row]), shown, painted, *made])
    return sheet(rows)


def _generate(pipeline: Any, prompt: str, edges: Image, painted: Image) -> Image:
    maps = [maps_to_tensor([edges]), maps_to_tensor([painted])]
    result = pipeline(
        prompt=[prompt],
        image=maps,
        height=edges.shape[0],
        width=edges.shape[1],
        num_inference_steps=PREVIEW_STEPS,
        guidance_scale=PREVIEW_GUIDANCE,
        output_type="pt",
        generator=torch.Generator().manual_seed(0),
    )
    return tensor_to_images(result.images * 2 - 1)[0]
