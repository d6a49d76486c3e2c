"""The starter: text encoder, UNet and two ControlNets trained together from scratch on cached latents.

Small enough for two cores and of the very classes of Stable Diffusion 1.5, so whatever loads that loads this. What
makes it work from scratch: ControlNets that pass signal from the first step (initialise.py), controls and captions that
are dropped now and then (so that each ControlNet alone, and guidance, work), the edges of protected regions dropped as
a run drops them, and small crops first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from synthgen.palettes import Palette, load_palette
from synthgen.training.initialise import initialise_from_scratch
from synthgen.training.kinds import StarterSpec, View
from synthgen.training.loop import Batch, Task, slot_rng
from synthgen.training.noise import Diffusion, draw_noise, starter_scheduler
from synthgen.training.pictures import maps_to_tensor
from synthgen.training.spec import Pair
from synthgen.training.starter_data import StarterSource, prepare_source
from synthgen.training.starter_io import preview_starter, write_starter
from synthgen.training.tokenizer import BEGIN, END, PAD, word_tokenizer
from synthgen.types import ConfigError, Image
from synthgen.weights import digest_weights, resolve_weights

INITIAL_MAPS = 16
"""Crops that scale the conditioning embeddings."""


class StarterLoss(nn.Module):
    """`forward` of {latents (scaled), noise, timesteps, edges, classes (uint8; 1 and 3 channels), tokens, keep}."""

    def __init__(
        self, spec: StarterSpec, latent_channels: int, cells: int, vocabulary: int, diffusion: Diffusion
    ) -> None:
        super().__init__()
        self.diffusion = diffusion
        self.unet = make_unet(spec, latent_channels, cells)
        self.canny = make_controlnet(spec, latent_channels)
        self.segmentation = make_controlnet(spec, latent_channels)
        self.text = make_text_encoder(spec, vocabulary)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """(mean squared error of the prediction, {})."""
        latents, steps = batch["latents"], batch["timesteps"]
        noisy = self.diffusion.noisy(latents, batch)
        hidden = self.text(batch["tokens"])[0]
        down: list[Tensor] = []
        middle = torch.zeros((), device=latents.device)
        maps = ((self.canny, batch["edges"]), (self.segmentation, batch["classes"]))
        for place, (controlnet, shown) in enumerate(maps):
            keep = batch["keep"][:, place, None, None, None]
            shown = shown.float().div(255).expand(-1, 3, -1, -1)
            residuals, last = controlnet(noisy, steps, hidden, shown, return_dict=False)
            kept = [residual * keep for residual in residuals]
            down = [a + b for a, b in zip(down, kept, strict=True)] if down else kept
            middle = middle + last * keep
        predicted = self.unet(
            noisy,
            steps,
            hidden,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return nn.functional.mse_loss(predicted.float(), self.diffusion.target(latents, batch)), {}


class StarterTask(Task):
    """One source and one view (crop of latent cells) a step."""

    module: StarterLoss

    def __init__(self, spec: StarterSpec, accelerator: Accelerator) -> None:
        self.spec, self.palette = spec, load_palette(spec.palette)
        vae = AutoencoderKL.from_pretrained(resolve_weights(spec.autoencoder), use_safetensors=True).eval()
        vae.to(accelerator.device)
        self.vae = vae
        self.stride = 2 ** (len(vae.config.block_out_channels) - 1)
        if self.stride != (shrinks := 2 ** (len(spec.unet.conditioning) - 1)):
            raise ConfigError(
                f"unet.conditioning: {len(spec.unet.conditioning)} levels shrink a map {shrinks} times, the "
                f"autoencoder shrinks an image {self.stride} times; both must be the same"
            )
        self.sources = [prepare_source(spec, source, self.palette, vae) for source in spec.sources]
        self.scale = latent_scale([source.latents["latents"] for source in self.sources])
        self.tokenizer = word_tokenizer(spec.text.length, spec.text.words)
        self.tokens = [self._tokenize(source) for source in self.sources]
        self.parts = part_lookup(self.palette)
        self.diffusion = Diffusion(starter_scheduler(), accelerator.device)
        torch.manual_seed(spec.seed)
        channels, *cells = self.sources[0].latents["latents"].shape[1:]
        self.module = StarterLoss(spec, channels, max(cells), len(self.tokenizer), self.diffusion)
        self._initialise()

    def slots(self, step: int) -> int:
        """As many samples as make up the view's latent cells."""
        chosen, view = self._draw(step)
        height, width = self._cells(chosen, view)
        return max(view.cells // (height * width), 1)

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """What `StarterLoss` takes."""
        chosen, view = self._draw(step)
        height, width = self._cells(chosen, view)
        rngs = [slot_rng(self.spec.seed, step, slot) for slot in slots]
        rows = [self._sample(chosen, (height, width), rng) for rng in rngs]
        latents = torch.from_numpy(np.stack([row["latents"] for row in rows])).float() * self.scale
        return {
            "latents": latents,
            "edges": torch.from_numpy(np.stack([row["edges"] for row in rows]))[:, None],
            "classes": torch.from_numpy(np.stack([self.palette.paint(row["ids"]) for row in rows])).movedim(3, 1),
            "tokens": torch.from_numpy(np.stack([row["tokens"] for row in rows])),
            "keep": torch.from_numpy(np.stack([row["keep"] for row in rows])),
            **draw_noise((latents.shape[1], height, width), self.diffusion.timesteps, rngs),
        }

    def picture(self) -> Image:
        """For each source a few samples: photograph, edges, classes and what each preview prompt makes of them."""
        return preview_starter(self)

    def export(self, folder: Path) -> None:
        """A diffusers pipeline folder, with `controlnet-canny` and `controlnet-segmentation` beside the rest."""
        write_starter(self, folder)

    def digests(self) -> dict[str, str]:
        """Latents, maps and the autoencoder."""
        found = {f"source.{index}.latents": source.latents.digest for index, source in enumerate(self.sources)}
        found |= {f"source.{index}.maps": source.maps.digest for index, source in enumerate(self.sources)}
        return {**found, "autoencoder": digest_weights(self.spec.autoencoder)}

    def _draw(self, step: int) -> tuple[int, View]:
        rng = np.random.default_rng((self.spec.seed, step))
        done = (step + 1) / self.spec.optimisation.max_steps
        phase = next(phase for phase in self.spec.phases if done <= phase.until)
        sources = np.array([source.share for source in self.spec.sources])
        views = np.array([view.share for view in phase.views])
        chosen = int(rng.choice(len(sources), p=sources / sources.sum()))
        return chosen, phase.views[int(rng.choice(len(views), p=views / views.sum()))]

    def _cells(self, chosen: int, view: View) -> Pair:
        """(height, width) in latent cells."""
        height, width = self.sources[chosen].latents["latents"].shape[-2:]
        if view.crop is None:
            return height, width
        short, long = view.crop
        tall, wide = (short, long) if width >= height else (long, short)
        return min(tall, height), min(wide, width)

    def _sample(self, chosen: int, cells: Pair, rng: np.random.Generator) -> dict[str, NDArray[Any]]:
        spec, source = self.spec, self.sources[chosen]
        latents = source.latents["latents"]
        row = int(rng.integers(len(latents)))
        crop = source.latents.notes[row]["crop"]
        y, x = (int(rng.integers(0, whole - part + 1)) for whole, part in zip(latents.shape[-2:], cells, strict=True))
        stride = self.stride
        part = np.s_[y * stride : (y + cells[0]) * stride, x * stride : (x + cells[1]) * stride]
        edges, ids = np.array(source.maps["edges"][crop][part]), np.asarray(source.crops["ids"][crop][part])
        if rng.random() < spec.protect_share:
            edges[source.maps["protected"][crop][part]] = 0
        if rng.random() < spec.drop_edges:
            edges[:] = 0
        if rng.random() < spec.merge_parts:
            ids = self.parts[ids]
        tokens = self.tokens[chosen][row] if rng.random() >= spec.drop_caption else self._pad([BEGIN, END])
        return {
            "latents": latents[row, :, y : y + cells[0], x : x + cells[1]],
            "edges": edges,
            "ids": ids,
            "tokens": tokens,
            "keep": (rng.random(2) >= np.array(spec.drop_controls)).astype(np.float32),
        }

    def _tokenize(self, source: StarterSource) -> NDArray[np.int64]:
        length = self.spec.text.length
        return np.stack(
            [
                self._pad(self.tokenizer(note["caption"], truncation=True, max_length=length)["input_ids"])
                for note in source.latents.notes
            ]
        )

    def _pad(self, tokens: Sequence[int]) -> NDArray[np.int64]:
        """To the length to which a pipeline pads, so that training sees what it will be given."""
        return np.array([*tokens, *[PAD] * (self.spec.text.length - len(tokens))], dtype=np.int64)

    def _initialise(self) -> None:
        source = self.sources[0]
        rows = np.linspace(0, len(source.maps) - 1, min(INITIAL_MAPS, len(source.maps))).astype(int)
        edges = [np.repeat(source.maps["edges"][row][..., None], 3, axis=2) for row in rows]
        painted = [self.palette.paint(source.crops["ids"][row]) for row in rows]
        try:
            initialise_from_scratch(self.module.canny, maps_to_tensor(edges))
            initialise_from_scratch(self.module.segmentation, maps_to_tensor(painted))
        except ValueError as error:
            raise ConfigError(f"sources.0: {error}; lower the thresholds of `canny`, or mend the class map") from error


def latent_scale(packs: Sequence[NDArray[Any]]) -> float:
    """1 over the standard deviation of all latents: the autoencoder's `scaling_factor`."""
    count, total, squares = 0, 0.0, 0.0
    for pack in packs:
        for start in range(0, len(pack), 256):
            part = np.asarray(pack[start : start + 256], dtype=np.float64)
            count, total, squares = count + part.size, total + part.sum(), squares + (part**2).sum()
    return 1 / math.sqrt(squares / count - (total / count) ** 2)


def part_lookup(palette: Palette) -> NDArray[np.uint8]:
    """Id → the id of the whole that it is a part of, or itself."""
    lookup = np.arange(len(palette.names), dtype=np.uint8)
    for entry in palette.classes:
        if entry.part_of is not None:
            lookup[palette.id_of(entry.name)] = palette.id_of(entry.part_of)
    return lookup


def _levels(spec: StarterSpec, latent_channels: int) -> dict[str, Any]:
    unet = spec.unet
    return {
        "in_channels": latent_channels,
        "layers_per_block": unet.layers,
        "down_block_types": tuple("CrossAttnDownBlock2D" if here else "DownBlock2D" for here in unet.attention),
        "block_out_channels": unet.channels,
        "cross_attention_dim": spec.text.width,
        "attention_head_dim": unet.head_dim,
        "norm_num_groups": unet.groups,
    }


def make_unet(spec: StarterSpec, latent_channels: int, cells: int) -> Any:
    """The UNet, with random weights; `cells` is the side in latent cells that a pipeline takes by default."""
    up = tuple("CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(spec.unet.attention))
    levels = _levels(spec, latent_channels)
    return UNet2DConditionModel(sample_size=cells, out_channels=latent_channels, up_block_types=up, **levels)


def make_controlnet(spec: StarterSpec, latent_channels: int) -> Any:
    """A ControlNet for that UNet, with diffusers' own start; see initialise.py."""
    levels = _levels(spec, latent_channels)
    return ControlNetModel(conditioning_embedding_out_channels=spec.unet.conditioning, **levels)


def make_text_encoder(spec: StarterSpec, vocabulary: int) -> Any:
    """A CLIPTextModel over `vocabulary` words."""
    text = spec.text
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=text.width,
        intermediate_size=text.intermediate,
        num_hidden_layers=text.layers,
        num_attention_heads=text.heads,
        max_position_embeddings=text.length,
        projection_dim=text.width,
        bos_token_id=BEGIN,
        eos_token_id=END,
        pad_token_id=PAD,
    )
    return CLIPTextModel(config)
