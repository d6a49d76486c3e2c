"""The starter: text encoder, UNet and two ControlNets trained together from scratch on cached latents.

Small enough for two cores and of the very classes of Stable Diffusion 1.5, so whatever loads that loads this. What
makes it work from scratch: ControlNets that pass signal from the first step (initialise.py), controls and captions that
are dropped now and then (so that each ControlNet alone, and guidance, work), the edges of protected regions dropped as
a run drops them, and small crops first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from synthgen.palettes import Palette, load_palette
from synthgen.training.captions import shorten_caption
from synthgen.training.initialise import initialise_from_scratch
from synthgen.training.kinds import StarterSpec, View
from synthgen.training.loop import Batch, Task, slot_rng
from synthgen.training.noise import Diffusion, draw_noise, starter_scheduler
from synthgen.training.pictures import maps_to_tensor
from synthgen.training.reward import LayoutReward
from synthgen.training.spec import Pair
from synthgen.training.starter_data import StarterSource, autoencoder_ref, prepare_source
from synthgen.training.starter_io import preview_starter, write_starter
from synthgen.training.starter_networks import (
    StarterNetworks,
    check_stride,
    load_autoencoder,
    load_networks,
    load_tokenizer,
    make_networks,
)
from synthgen.training.tokenizer import BEGIN, END, PAD, word_tokenizer
from synthgen.types import ConfigError, Image
from synthgen.weights import digest_weights

INITIAL_MAPS = 16
"""Crops that scale the conditioning embeddings."""


class StarterLoss(nn.Module):
    """`forward` of {latents (scaled), noise, timesteps, edges, classes (uint8; 1 and 3 channels), tokens, keep}."""

    def __init__(self, networks: StarterNetworks, diffusion: Diffusion) -> None:
        super().__init__()
        self.diffusion = diffusion
        self.rewards: tuple[tuple[LayoutReward, float], ...] = ()
        """The reward and its weight, if there is one: in a tuple, since it is frozen and no part of this module."""
        self.unet, self.text = networks.unet, networks.text
        self.canny, self.segmentation = networks.canny, networks.segmentation

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """(mean squared error of the prediction + weight × reward's loss, {mse, reward, agreement} with a reward)."""
        latents = batch["latents"]
        hidden = self.text(batch["tokens"])[0]
        predicted = self._predict(self.diffusion.noisy(latents, batch), batch["timesteps"], hidden, batch)
        loss = nn.functional.mse_loss(predicted.float(), self.diffusion.target(latents, batch))
        parts: dict[str, Tensor] = {}
        for reward, weight in self.rewards:
            first = {name: value[: reward.spec.samples] for name, value in batch.items() if name != "learn"}
            first["keep"] = torch.ones_like(first["keep"])
            hidden = hidden[: reward.spec.samples]
            predict = partial(self._predict, hidden=hidden, batch=first)
            missed, right = reward.loss(predict, first["start"], first["ids"], batch["learn"].tolist())
            parts = {"mse": loss, "reward": missed, "agreement": right}
            loss = loss + weight * missed
        return loss, parts

    def _predict(self, noisy: Tensor, steps: Tensor, hidden: Tensor, batch: Batch) -> Tensor:
        """What the UNet says of noisy latents at timesteps (batch,) under the text and both ControlNets."""
        down: list[Tensor] = []
        middle = torch.zeros((), device=noisy.device)
        maps = ((self.canny, batch["edges"]), (self.segmentation, batch["classes"]))
        for place, (controlnet, shown) in enumerate(maps):
            keep = batch["keep"][:, place, None, None, None]
            shown = shown.float().div(255).expand(-1, 3, -1, -1)
            residuals, last = controlnet(noisy, steps, hidden, shown, return_dict=False)
            kept = [residual * keep for residual in residuals]
            down = [a + b for a, b in zip(down, kept, strict=True)] if down else kept
            middle = middle + last * keep
        predicted: Tensor = self.unet(
            noisy,
            steps,
            hidden,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            return_dict=False,
        )[0]
        return predicted


class StarterTask(Task):
    """One source and one view (crop of latent cells) a step."""

    module: StarterLoss

    def __init__(self, spec: StarterSpec, accelerator: Accelerator) -> None:
        self.spec, self.palette = spec, load_palette(spec.palette)
        vae = load_autoencoder(autoencoder_ref(spec)).to(accelerator.device)
        self.vae = vae
        self.stride = 2 ** (len(vae.config.block_out_channels) - 1)
        self.sources = [prepare_source(spec, source, self.palette, vae) for source in spec.sources]
        self.diffusion = Diffusion(starter_scheduler(), accelerator.device)
        torch.manual_seed(spec.seed)
        networks = self._make_networks() if spec.start is None else self._load_networks(spec.start)
        self.module = StarterLoss(networks, self.diffusion)
        self.tokens = [self._tokenize(source) for source in self.sources]
        self.parts = part_lookup(self.palette)
        if spec.reward is not None:
            reward = LayoutReward(spec.reward, self.palette, vae, self.scale, starter_scheduler(), accelerator.device)
            self.module.rewards = ((reward, spec.reward.weight),)

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
        rewarded = self._reward_inputs(step, rows, rngs)
        latents = torch.from_numpy(np.stack([row["latents"] for row in rows])).float() * self.scale
        return {
            "latents": latents,
            "edges": torch.from_numpy(np.stack([row["edges"] for row in rows]))[:, None],
            "classes": torch.from_numpy(np.stack([self.palette.paint(row["painted"]) for row in rows])).movedim(3, 1),
            "tokens": torch.from_numpy(np.stack([row["tokens"] for row in rows])),
            "keep": torch.from_numpy(np.stack([row["keep"] for row in rows])),
            **draw_noise((latents.shape[1], height, width), self.diffusion.timesteps, rngs),
            **rewarded,
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
        found["autoencoder"] = digest_weights(autoencoder_ref(self.spec))
        if self.spec.start is not None:
            found["start"] = digest_weights(self.spec.start)
        if self.spec.reward is not None:
            found |= {f"reward.{ref}": digest_weights(ref) for ref in self.spec.reward.segmenters}
        return found

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
        painted = self.parts[ids] if rng.random() < spec.merge_parts else ids
        short = int(rng.random() < spec.shorten_caption)
        tokens = self.tokens[chosen][row, short] if rng.random() >= spec.drop_caption else self._pad([BEGIN, END])
        return {
            "latents": latents[row, :, y : y + cells[0], x : x + cells[1]],
            "edges": edges,
            "painted": painted,
            "shown": np.where(painted == ids, ids, 0),
            "tokens": tokens,
            "keep": (rng.random(2) >= np.array(spec.drop_controls)).astype(np.float32),
        }

    def _reward_inputs(
        self, step: int, rows: list[dict[str, NDArray[Any]]], rngs: Sequence[np.random.Generator]
    ) -> Batch:
        """{start: the sampler's noise, ids: int64, learn: places in its steps}; nothing without a reward.

        Where parts were merged the map says less than a segmenter of parts would, so there nothing is asked of it.
        """
        reward = self.spec.reward
        if reward is None:
            return {}
        places = np.random.default_rng((self.spec.seed, step, 1)).choice(reward.steps, reward.learn, replace=False)
        shape = rows[0]["latents"].shape
        noise = [rng.standard_normal(shape, dtype=np.float32) for rng in rngs]
        return {
            "start": torch.from_numpy(np.stack(noise)),
            "ids": torch.from_numpy(np.stack([row["shown"] for row in rows]).astype(np.int64)),
            "learn": torch.from_numpy(np.sort(places)),
        }

    def _tokenize(self, source: StarterSource) -> NDArray[np.int64]:
        """(rows, whole or shortened, length)."""
        whole = [note["caption"] for note in source.latents.notes]
        return np.stack(
            [
                np.stack([self._pad(self._tokens_of(caption)) for caption in (caption, shorten_caption(caption))])
                for caption in whole
            ]
        )

    def _tokens_of(self, caption: str) -> Sequence[int]:
        tokens: list[int] = self.tokenizer(caption, truncation=True)["input_ids"]
        return tokens

    def _pad(self, tokens: Sequence[int]) -> NDArray[np.int64]:
        """To the length to which a pipeline pads, so that training sees what it will be given."""
        return np.array([*tokens, *[PAD] * (self.tokenizer.model_max_length - len(tokens))], dtype=np.int64)

    def _make_networks(self) -> StarterNetworks:
        """From scratch, for the autoencoder's latents and the sources' maps.

        Sets the scale of the latents and the tokenizer.
        """
        spec, source = self.spec, self.sources[0]
        check_stride(spec.unet, self.stride)
        self.scale = latent_scale([packed.latents["latents"] for packed in self.sources])
        self.tokenizer = word_tokenizer(spec.text.length, spec.text.words)
        channels, *cells = source.latents["latents"].shape[1:]
        networks = make_networks(spec, channels, max(cells), len(self.tokenizer))
        rows = np.linspace(0, len(source.maps) - 1, min(INITIAL_MAPS, len(source.maps))).astype(int)
        edges = [np.repeat(source.maps["edges"][row][..., None], 3, axis=2) for row in rows]
        painted = [self.palette.paint(source.crops["ids"][row]) for row in rows]
        try:
            initialise_from_scratch(networks.canny, maps_to_tensor(edges))
            initialise_from_scratch(networks.segmentation, maps_to_tensor(painted))
        except ValueError as error:
            raise ConfigError(f"sources.0: {error}; lower the thresholds of `canny`, or mend the class map") from error
        return networks

    def _load_networks(self, start: str) -> StarterNetworks:
        """Those of another starter, with its scale of the latents and its tokenizer."""
        self.scale = float(self.vae.config.scaling_factor)
        self.tokenizer = load_tokenizer(start)
        return load_networks(start)


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
