"""What steers the denoising and stays the same through all its steps: text, control maps, sizes, the canvas.

Everything is prepared by the methods of diffusers' own pipeline, in the shapes that it prepares them in, because the
last digits of a row depend on how many rows are computed at once. Ours is only that none of it is done twice.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from synthgen.generators._batch import Batch
from synthgen.generators._options import StableDiffusionFamily

PROMPTS_KEPT = 256
"""Bound of the cache of prompts: 160 MB of SDXL's embeddings in float32, 60 MB of SD 1.5's."""


@dataclass(frozen=True, eq=False)
class Conditions:
    """What UNet and ControlNets read besides latents and time, each with R rows.

    Under classifier-free guidance R is twice the batch, the unconditional rows first; else R is the batch.
    """

    text: Tensor
    """(R, tokens, width)"""
    added: Mapping[str, Tensor] | None
    """SDXL: `text_embeds` (R, width) and `time_ids` (R, 6)."""
    hints: tuple[Tensor, ...]
    """One a ControlNet: the map (R, 3, height, width) in 0..1, or its embedding at the size of the latents."""
    masked: Tensor | None
    """UNets of 9 channels: mask and latents of the canvas without its hole, (R, 5, height / 8, width / 8)."""
    time: Tensor | None
    """UNets with a guidance embedding (LCM): (R, width)."""

    def conditional(self, rows: int) -> Conditions:
        """The last `rows` rows of each: those that the prompt steers. What has no others stays whole."""
        return replace(
            self,
            text=self.text[-rows:],
            added=None if self.added is None else {name: value[-rows:] for name, value in self.added.items()},
            hints=tuple(hint[-rows:] for hint in self.hints),
            masked=None if self.masked is None else self.masked[-rows:],
        )


class PromptCache:
    """Prompts → embeddings, each distinct prompt encoded once and the last `PROMPTS_KEPT` kept.

    Prompts are encoded in the shape of the batch, as the pipeline does it; a row depends on the shape alone, so it is
    the same whatever stands in the others. Positive and negative prompts are encoded alike.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self._kept: OrderedDict[tuple[int, str], tuple[Tensor, ...]] = OrderedDict()

    def __call__(self, prompts: Sequence[str], device: torch.device) -> tuple[Tensor, ...]:
        """(rows, tokens, width), and for SDXL the pooled (rows, width)."""
        rows = len(prompts)
        missing = [prompt for prompt in dict.fromkeys(prompts) if (rows, prompt) not in self._kept]
        if missing:
            padded = [*missing, *[missing[-1]] * (rows - len(missing))]
            encoded = self.pipe.encode_prompt(
                padded, device=device, num_images_per_prompt=1, do_classifier_free_guidance=False
            )
            parts = [part for part in encoded if part is not None]
            for row, prompt in enumerate(missing):
                self._kept[rows, prompt] = tuple(part[row : row + 1].clone() for part in parts)
        found = [self._kept[rows, prompt] for prompt in prompts]
        for prompt in prompts:
            self._kept.move_to_end((rows, prompt))
        while len(self._kept) > PROMPTS_KEPT:
            self._kept.popitem(last=False)
        return tuple(torch.cat(parts) for parts in zip(*found, strict=True))


class ControlNets:
    """The ControlNets of a pipeline, each run only where it acts, and its map embedded once a batch."""

    def __init__(self, spec: StableDiffusionFamily, pipe: Any, pooled: bool) -> None:
        """`pooled`: the pipeline runs the nets in its guess mode, on conditional rows alone."""
        self.spec = spec
        self.pooled = pooled
        nets = getattr(pipe.controlnet, "nets", [pipe.controlnet])
        self.embeddings = [net.controlnet_cond_embedding if spec.cache_conditioning else None for net in nets]
        self.flipped = [net.config.controlnet_conditioning_channel_order == "bgr" for net in nets]
        self.trunks = [_without_embedding(net) if spec.cache_conditioning else net for net in nets]
        if spec.compile:
            self.trunks = [torch.compile(trunk, dynamic=False) for trunk in self.trunks]

    def hints(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What each net is to be given for its map (R, 3, height, width): the map, or its embedding."""
        return tuple(
            image if embedding is None else embedding(image.flip(1) if flipped else image)
            for image, embedding, flipped in zip(maps, self.embeddings, self.flipped, strict=True)
        )

    def scales(self, batch: Batch, device: torch.device) -> list[Any]:
        """The scale of each net; as tensors if compiled, so that another scale is no other graph."""
        return [torch.tensor(scale, device=device) if self.spec.compile else scale for scale in batch.scales]

    def __call__(
        self, latents: Tensor, time: Tensor, conditions: Conditions, scales: Sequence[Any], active: Sequence[bool]
    ) -> tuple[list[Tensor] | None, Tensor | None]:
        """The nets' residuals for the down blocks and the mid block of the UNet, summed; None where no net runs."""
        down: list[Tensor] | None = None
        mid: Tensor | None = None
        for trunk, hint, scale, acts in zip(self.trunks, conditions.hints, scales, active, strict=True):
            if not acts and self.spec.skip_controlnet:
                continue
            more, deepest = trunk(
                latents,
                time,
                encoder_hidden_states=conditions.text,
                controlnet_cond=hint,
                conditioning_scale=scale if acts else scale * 0.0,
                guess_mode=self.pooled,
                added_cond_kwargs=conditions.added,
                return_dict=False,
            )
            down = list(more) if down is None else [one + other for one, other in zip(down, more, strict=True)]
            mid = deepest if mid is None else mid + deepest
        return down, mid


def _without_embedding(net: Any) -> Any:
    """`net` over the same weights, given an embedded map where `net` is given a map. `net` stays as it is."""
    trunk = copy.copy(net)
    trunk._modules = dict(net._modules)
    trunk.controlnet_cond_embedding = torch.nn.Identity()
    trunk.register_to_config(controlnet_conditioning_channel_order="rgb")  # the flip is done before the embedding
    return trunk


def time_ids(pipe: Any, batch: Batch, guided: bool, dtype: torch.dtype, defaults: Mapping[str, Any]) -> Tensor:
    """SDXL's micro-conditioning, (R, 6): original size, crop, target size (or its aesthetic score)."""
    width, height = batch.size
    sizes: list[Any] = [(height, width), defaults["crops_coords_top_left"], (height, width)]
    second = pipe.text_encoder_2.config.projection_dim
    if batch.canvas is None:
        positive = negative = pipe._get_add_time_ids(*sizes, dtype=dtype, text_encoder_projection_dim=second)
    else:
        sizes += [defaults["aesthetic_score"], defaults["negative_aesthetic_score"]]
        positive, negative = pipe._get_add_time_ids(*sizes, dtype=dtype, text_encoder_projection_dim=second)
    rows = positive.repeat(batch.rows, 1)
    return torch.cat([negative.repeat(batch.rows, 1), rows]) if guided else rows
