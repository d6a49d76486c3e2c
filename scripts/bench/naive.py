"""The naive script that a run is held against: one photograph after the other, as a user would write it with diffusers.

Load the image, find its edges, call the pipeline on this one, save a PNG. Nobody is looked for or protected, nothing is
checked, and a kill loses track of what was done. It runs on its own:

    python scripts/bench/naive.py PHOTOS OUT --model BASE --controlnet CANNY [--steps 20] [--guidance 7.5]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import cv2
import diffusers
import numpy as np
import torch
from PIL import Image


def load(model: Path, controlnet: Path, device: str, dtype: torch.dtype, xl: bool = False) -> Any:
    """The pipeline with one ControlNet, as the library's documentation loads it."""
    net = diffusers.ControlNetModel.from_pretrained(controlnet, torch_dtype=dtype)
    if xl:
        pipe = diffusers.StableDiffusionXLControlNetPipeline.from_pretrained(model, controlnet=net, torch_dtype=dtype)
    else:
        pipe = diffusers.StableDiffusionControlNetPipeline.from_pretrained(
            model, controlnet=net, torch_dtype=dtype, safety_checker=None, requires_safety_checker=False
        )
    pipe.to(device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def regenerate(pipe: Any, photos: list[Path], out: Path, prompt: str, size: tuple[int, int], **arguments: Any) -> None:
    """Paint every photograph anew and save it as a PNG of its old size; `arguments` go to the pipeline's call."""
    out.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(photos):
        photo = Image.open(path).convert("RGB")
        edges = cv2.Canny(np.array(photo.resize(size)), 100, 200)
        control = Image.fromarray(np.stack([edges] * 3, axis=2))
        generator = torch.Generator("cpu").manual_seed(number)
        result = pipe(prompt, image=control, generator=generator, width=size[0], height=size[1], **arguments).images[0]
        result.resize(photo.size).save(out / f"{path.stem}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--controlnet", type=Path, required=True)
    parser.add_argument("--xl", action="store_true")
    parser.add_argument("--prompt", default="a photo")
    parser.add_argument("--size", type=int, nargs=2, default=(512, 512))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=7.5)
    options = parser.parse_args()
    cuda = torch.cuda.is_available()
    dtype = torch.float16 if cuda else torch.float32
    pipe = load(options.model, options.controlnet, "cuda" if cuda else "cpu", dtype, options.xl)
    photos = sorted(path for path in options.photos.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    arguments = {"num_inference_steps": options.steps, "guidance_scale": options.guidance}
    regenerate(pipe, photos, options.out, options.prompt, tuple(options.size), **arguments)


if __name__ == "__main__":
    main()
