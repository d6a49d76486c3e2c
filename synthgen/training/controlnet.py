"""Adapt a ControlNet to one's own images and labels: all of it, or a LoRA of it; the base stays frozen.

This is what a user runs. The result is what the `sd` and `sdxl` generators load: a ControlNet folder of diffusers, or
an adapter folder in peft's format for a ControlNet's `loras`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import ControlNetModel, StableDiffusionControlNetPipeline, StableDiffusionXLControlNetPipeline
from torch import Tensor, nn

from synthgen.training.controlnet_data import encode_captions, is_xl, load_base, pack_controls
from synthgen.training.data import pick_source
from synthgen.training.kinds import ControlnetSpec, Lora
from synthgen.training.loop import Batch, Task, slot_rng
from synthgen.training.noise import Diffusion, draw_noise
from synthgen.training.pictures import maps_to_tensor, sheet, tensor_to_images
from synthgen.types import ConfigError, Image
from synthgen.weights import digest_weights, resolve_weights

PREVIEWS = 4


class ControlnetLoss(nn.Module):
    """`forward` of {latents (scaled), noise, timesteps, map (0..1), text, and for SDXL pooled and ids}."""

    def __init__(self, controlnet: Any, unet: Any, diffusion: Diffusion) -> None:
        super().__init__()
        self.controlnet, self.diffusion = controlnet, diffusion
        self.frozen = (unet,)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """(mean squared error of the base's prediction with the ControlNet's residuals, {})."""
        latents, steps, text = batch["latents"], batch["timesteps"], batch["text"]
        noisy = self.diffusion.noisy(latents, batch)
        more: dict[str, Any] = {}
        if "pooled" in batch:
            more = {"added_cond_kwargs": {"text_embeds": batch["pooled"], "time_ids": batch["ids"]}}
        down, middle = self.controlnet(noisy, steps, text, batch["map"], return_dict=False, **more)
        predicted = self.frozen[0](
            noisy,
            steps,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
            **more,
        )[0]
        return nn.functional.mse_loss(predicted.float(), self.diffusion.target(latents, batch)), {}


class ControlnetTask(Task):
    """Latents, maps and captions are packed; the text encoders leave the device once the captions are encoded."""

    module: ControlnetLoss

    def __init__(self, spec: ControlnetSpec, accelerator: Accelerator) -> None:
        self.spec, device = spec, accelerator.device
        self.pipeline = load_base(spec).to(device)
        self.packs = [pack_controls(spec, source, self.pipeline, str(device)) for source in spec.sources]
        captions = sorted({note["caption"] for pack in self.packs for note in pack.notes} | {""})
        encoded = encode_captions(self.pipeline, captions, spec.sources[0].size)
        self.captions = dict(zip(captions, encoded, strict=True))
        self.pipeline.to("cpu")
        self.diffusion = Diffusion(_noise_of(self.pipeline), device)
        unet = self.pipeline.unet.to(device).requires_grad_(False).eval()
        torch.manual_seed(spec.seed)
        self.module = ControlnetLoss(make_controlnet(spec, unet), unet, self.diffusion)

    def slots(self, step: int) -> int:
        """The same in every step."""
        return self.spec.optimisation.batch_size

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """What `ControlnetLoss` takes."""
        rngs = [slot_rng(self.spec.seed, step, slot) for slot in slots]
        rows = [self._row(rng) for rng in rngs]
        latents = torch.from_numpy(np.stack([row[0] for row in rows])).float()
        channels, height, width = latents.shape[1:]
        texts = {name: torch.stack([row[2][name] for row in rows]) for name in rows[0][2]}
        noise = draw_noise((channels, height, width), self.diffusion.timesteps, rngs)
        return {"latents": latents, "map": maps_to_tensor([row[1] for row in rows]), **texts, **noise}

    def _row(self, rng: np.random.Generator) -> tuple[Any, Image, dict[str, Tensor]]:
        pack = self.packs[pick_source(self.packs, self.spec.sources, rng)]
        row = int(rng.integers(len(pack)))
        caption = "" if rng.random() < self.spec.drop_caption else pack.notes[row]["caption"]
        return pack["latents"][row], pack["map"][row], self.captions[caption]

    def picture(self) -> Image:
        """Rows of control map and what base and ControlNet paint from it, from one noise."""
        parts = dict(self.pipeline.components)
        cls: Any = StableDiffusionXLControlNetPipeline if is_xl(self.pipeline) else StableDiffusionControlNetPipeline
        unwrapped = self.module.controlnet
        controlnet = unwrapped.get_base_model() if self.spec.lora else unwrapped
        for name in ("safety_checker", "feature_extractor", "image_encoder"):
            parts.pop(name, None)
        checker = {} if is_xl(self.pipeline) else {"safety_checker": None, "feature_extractor": None}
        more = {} if is_xl(self.pipeline) else {"requires_safety_checker": False}
        pipeline = cls(**parts, controlnet=controlnet, **checker, **more).to(controlnet.device)
        pipeline.set_progress_bar_config(disable=True)
        rows: list[list[Image]] = []
        for pack in self.packs:
            for row in np.linspace(0, len(pack) - 1, min(PREVIEWS, len(pack))).astype(int):
                shown = np.asarray(pack["map"][row])
                made = pipeline(
                    prompt=pack.notes[row]["caption"],
                    image=maps_to_tensor([shown]),
                    height=shown.shape[0],
                    width=shown.shape[1],
                    num_inference_steps=self.spec.preview_steps,
                    output_type="pt",
                    generator=torch.Generator().manual_seed(0),
                ).images
                rows.append([shown, *tensor_to_images(made * 2 - 1)])
        for name, module in self.pipeline.components.items():
            if name != "unet" and isinstance(module, nn.Module):
                module.to("cpu")
        return sheet(rows)

    def export(self, folder: Path) -> None:
        """A ControlNet folder (safetensors), or peft's adapter_config.json and adapter_model.safetensors."""
        self.module.controlnet.save_pretrained(folder, safe_serialization=True)

    def digests(self) -> dict[str, str]:
        """The packs, the base and the ControlNet it started from."""
        found = {f"source.{index}": pack.digest for index, pack in enumerate(self.packs)}
        found["base"] = digest_weights(self.spec.base)
        return found if self.spec.controlnet is None else {**found, "controlnet": digest_weights(self.spec.controlnet)}


def make_controlnet(spec: ControlnetSpec, unet: Any) -> Any:
    """The ControlNet to train: from weights or from the UNet; under a LoRA its own weights are frozen.

    Raises:
        ConfigError: no ControlNet, or one for a base of another width.
    """
    if spec.controlnet is None:
        return ControlNetModel.from_unet(unet).requires_grad_(True)
    folder = resolve_weights(spec.controlnet)
    try:
        controlnet = ControlNetModel.from_pretrained(folder, use_safetensors=True, torch_dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise ConfigError(f"controlnet: {spec.controlnet} is no ControlNetModel: {error}") from error
    if controlnet.config.cross_attention_dim != unet.config.cross_attention_dim:
        raise ConfigError(
            f"controlnet: {spec.controlnet} reads text of width {controlnet.config.cross_attention_dim}, "
            f"the base {spec.base} has {unet.config.cross_attention_dim}; use one made for this base"
        )
    return controlnet if spec.lora is None else add_lora(controlnet, spec.lora)


def add_lora(controlnet: Any, lora: Lora) -> Any:
    """The ControlNet as a `PeftModel` of which only the adapter is trained.

    Raises:
        ConfigError: no layer has such a name.
    """
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets)
    )
    try:
        return get_peft_model(controlnet, config)
    except ValueError as error:
        raise ConfigError(f"lora.targets: {error}") from error


def _noise_of(pipeline: Any) -> Any:
    """The base's noise schedule as DDPM's: what it was trained with, whatever it samples with."""
    from diffusers import DDPMScheduler

    return DDPMScheduler.from_config(pipeline.scheduler.config)
