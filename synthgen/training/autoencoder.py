"""An autoencoder from scratch or from a folder: L1, chroma, gradient, perceptual and KL losses on small crops.

The gradient term (differences of neighbouring pixels) keeps edges that L1 alone blurs; the KL weight is small, so
latents are close to deterministic and only kept from growing (arXiv 2112.10752, section 3.1).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from synthgen.training.data import Window, cut_image, pack_crops, pick_source
from synthgen.training.kinds import AutoencoderSpec
from synthgen.training.loop import Batch, Task, slot_rng
from synthgen.training.perceptual import load_perceptual
from synthgen.training.photometric import jitter
from synthgen.training.pictures import images_to_tensor, sheet, tensor_to_images
from synthgen.types import ConfigError, Image
from synthgen.weights import digest_weights, resolve_weights

PREVIEWS = 4


class AutoencoderLoss(nn.Module):
    """`forward({"pixels": (batch, 3, side, side) in -1..1})`."""

    def __init__(self, model: Any, spec: AutoencoderSpec, device: torch.device) -> None:
        super().__init__()
        self.model: Any = model
        self.spec = spec
        self.frozen = (load_perceptual().to(device),) if spec.perceptual else ()

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """(loss, {l1, chroma, gradient, kl, perceptual})."""
        pixels, spec = batch["pixels"], self.spec
        encoded = self.model.encode(pixels)
        parts: dict[str, Tensor] = {}
        if spec.model == "AutoencoderKL":
            latents = encoded.latent_dist.sample()
            parts["kl"] = encoded.latent_dist.kl().float().mean() / latents[0].numel()
        else:
            latents = encoded.latents
        output = self.model.decode(latents).sample
        error = output.float() - pixels
        parts["l1"] = error.abs().mean()
        parts["gradient"] = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
        parts["chroma"] = (error - error.mean(1, keepdim=True)).abs().mean()
        loss = parts["l1"] + spec.chroma * parts["chroma"] + spec.gradient * parts["gradient"]
        if "kl" in parts:
            loss = loss + spec.kl * parts["kl"]
        for network in self.frozen:
            parts["perceptual"] = network(output, pixels)
            loss = loss + spec.perceptual * parts["perceptual"]
        return loss, parts


class AutoencoderTask(Task):
    """Square crops of the packed photographs, under a changed light in half of the cases."""

    module: AutoencoderLoss

    def __init__(self, spec: AutoencoderSpec, accelerator: Accelerator) -> None:
        self.spec = spec
        workers = spec.execution.workers
        self.packs = [pack_crops(source, spec.out / "cache", spec.seed, workers=workers) for source in spec.sources]
        torch.manual_seed(spec.seed)
        self.module = AutoencoderLoss(make_autoencoder(spec), spec, accelerator.device)

    def slots(self, step: int) -> int:
        """The same in every step."""
        return self.spec.optimisation.batch_size

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """{"pixels": (slots, 3, crop, crop) in -1..1}."""
        return {"pixels": images_to_tensor([self._crop(slot_rng(self.spec.seed, step, slot)) for slot in slots])}

    def _crop(self, rng: np.random.Generator) -> Image:
        spec = self.spec
        pack = self.packs[pick_source(self.packs, spec.sources, rng)]
        image = pack["image"][int(rng.integers(len(pack)))]
        height, width = image.shape[:2]
        side = min(int(spec.crop / rng.uniform(*spec.crop_scales)), height, width)
        y, x = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
        window = Window(x, y, side, side, bool(rng.random() < 0.5))
        return jitter(cut_image(image, window, (spec.crop, spec.crop)), rng)

    def picture(self) -> Image:
        """For each source a row of photographs and a row of their reconstructions."""
        rows: list[list[Image]] = []
        model = self.module.model
        parameter = next(iter(self.module.parameters()))
        for pack in self.packs:
            images = [pack["image"][index] for index in np.linspace(0, len(pack) - 1, PREVIEWS).astype(int)]
            encoded = model.encode(images_to_tensor(images).to(parameter.device))
            latents = encoded.latent_dist.mode() if self.spec.model == "AutoencoderKL" else encoded.latents
            rows += [images, tensor_to_images(model.decode(latents).sample)]
        return sheet(rows)

    def export(self, folder: Path) -> None:
        """A diffusers folder: config.json and safetensors."""
        self.module.model.save_pretrained(folder)

    def digests(self) -> dict[str, str]:
        """The packed photographs, and the weights it started from."""
        found = {f"source.{index}": pack.digest for index, pack in enumerate(self.packs)}
        return found if self.spec.start is None else {**found, "start": digest_weights(self.spec.start)}


def make_autoencoder(spec: AutoencoderSpec) -> Any:
    """A model of the spec's sizes, or the one under `start`.

    Raises:
        ConfigError: `start` is no folder of that class.
    """
    if spec.start is not None:
        try:
            return getattr(diffusers, spec.model).from_pretrained(resolve_weights(spec.start), use_safetensors=True)
        except (OSError, ValueError) as error:
            raise ConfigError(f"start: {spec.start} is no folder of {spec.model}: {error}") from error
    levels = len(spec.channels)
    if spec.model == "AutoencoderTiny":
        return diffusers.AutoencoderTiny(
            encoder_block_out_channels=spec.channels,
            decoder_block_out_channels=spec.channels,
            num_encoder_blocks=(1, *(spec.layers,) * (levels - 1)),
            num_decoder_blocks=(*(spec.layers,) * (levels - 1), 1),
            latent_channels=spec.latent_channels,
        )
    return diffusers.AutoencoderKL(
        block_out_channels=spec.channels,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        latent_channels=spec.latent_channels,
        norm_num_groups=spec.groups,
        layers_per_block=spec.layers,
        mid_block_add_attention=False,
        sample_size=max(spec.sources[0].size),
    )
