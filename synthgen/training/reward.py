"""What segmenters read in what the sampler makes, as a loss: the layout must be there for someone who looks for it.

The diffusion loss asks for the likeliest picture and is nearly blind to a pole or to a pavement that looks like road.
ControlNet++ (arXiv 2404.07987) decodes the network's one-step guess of the picture, lets a frozen segmenter read it and
takes the cross-entropy to the control map as a further loss. There the guesses start from noised photographs, which
still show the layout. Here they start where the sampler itself is after some steps from pure noise (as in ReFL, arXiv
2304.05977): what it has got wrong so far it must mend from the control maps.

A frozen reader can be pleased by textures that no one else reads: after 290 steps with one, it found 0.90 of its own
mIoU in the outputs, and a judge of another kind 0.67. So readers of different kinds take turns; each sees a random
window, enlarged, in another exposure, now and then blurred, with a little noise; the diffusion loss stays; and a model
that was none of the readers must judge the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler
from torch import Tensor
from transformers import AutoModelForSemanticSegmentation

from synthgen.palettes import Palette
from synthgen.pretrained import architecture_of, processor_and_model
from synthgen.training.kinds import Reward
from synthgen.training.segmenter import IGNORED
from synthgen.types import ConfigError
from synthgen.weights import resolve_weights

EXPOSURE, NOISE = 0.15, 0.05
"""Deviation of the logarithm of each channel's gain, and the greatest deviation of the noise on pixels in 0..1."""
BLURRED, SHRUNK = 0.4, (0.6, 0.95)
"""How often pixels are blurred before they are read, and the factors by which they are then shrunk and enlarged."""
Predict = Callable[[Tensor, Tensor], Tensor]
"""(noisy latents, timesteps (batch,)) → the UNet's prediction under the batch's controls and captions."""


class LayoutReward:
    """Cross-entropy of frozen segmenters on the sampler's guesses, against the classes that the control map paints."""

    def __init__(
        self, spec: Reward, palette: Palette, vae: Any, scale: float, scheduler: Any, device: torch.device
    ) -> None:
        """Raises ConfigError for a segmenter of other classes than the palette's, or a class weight without a class."""
        self.spec, self.scale, self.device = spec, scale, device
        self.vae = vae.requires_grad_(False)
        self.scheduler = DDIMScheduler.from_config(scheduler.config)
        self.scheduler.set_timesteps(spec.steps)
        self.readers = tuple(load_reader(ref, palette, device) for ref in spec.segmenters)
        if unknown := sorted(set(spec.class_weights) - set(palette.names)):
            raise ConfigError(f"reward.class_weights: {unknown} are no classes of the palette {palette.name}")
        self.weights = torch.tensor([spec.class_weights.get(name, 1.0) for name in palette.names], device=device)

    def loss(self, predict: Predict, noise: Tensor, ids: Tensor, learn: list[int]) -> tuple[Tensor, Tensor]:
        """(mean loss over the steps `learn`, share of known pixels read right in the last of them).

        Args:
            noise: where the sampler starts, (batch, channels, height, width).
            ids: palette ids at the pixels' size, (batch, height, width) int64; `unknown` does not count.
            learn: places in the sampler's steps, rising.
        """
        latents, losses = noise, []
        right = torch.zeros((), device=noise.device)
        for place, step in enumerate(self.scheduler.timesteps[: learn[-1] + 1]):
            with torch.set_grad_enabled(place in learn):
                predicted = predict(latents, step.to(noise.device).expand(len(noise)))
                moved = self.scheduler.step(predicted, int(step), latents)
            if place in learn:
                loss, right = self._read(moved.pred_original_sample, ids)
                losses.append(loss)
            latents = moved.prev_sample.detach()
        return torch.stack(losses).mean(), right

    def _read(self, latents: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        pixels = self.vae.decode(latents / self.scale).sample.float().add(1).div(2).clamp(-0.1, 1.1)
        pixels, ids = self._window(pixels, ids)
        reader = self.readers[int(torch.randint(len(self.readers), ()))]
        logits = F.interpolate(reader(_changed(pixels)), ids.shape[-2:], mode="bilinear")
        known = ids != 0  # a window may show nothing but `unknown`
        labels = torch.where(known, ids, IGNORED)
        total = F.cross_entropy(logits, labels, self.weights, ignore_index=IGNORED, reduction="sum")
        loss = total / self.weights[ids[known]].sum().clamp(min=1)
        return loss, ((logits.argmax(1) == ids) & known).sum() / known.sum().clamp(min=1)

    def _window(self, pixels: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """One window for the batch, at the size of the whole."""
        size = ids.shape[-2:]
        share = self.spec.zoom + (1 - self.spec.zoom) * float(torch.rand(()))
        tall, wide = (max(int(side * share), 1) for side in size)
        y, x = (int(torch.randint(whole - part + 1, ())) for whole, part in zip(size, (tall, wide), strict=True))
        pixels = F.interpolate(pixels[..., y : y + tall, x : x + wide], size, mode="bilinear")
        cut = ids[:, None, y : y + tall, x : x + wide].float()
        return pixels, F.interpolate(cut, size, mode="nearest")[:, 0].long()


def _changed(pixels: Tensor) -> Tensor:
    """Pixels in another exposure, sometimes less sharp, with noise."""
    size = pixels.shape[-2:]
    pixels = pixels * torch.randn(len(pixels), 3, 1, 1, device=pixels.device).mul(EXPOSURE).exp()
    if float(torch.rand(())) < BLURRED:
        factor = float(torch.empty(()).uniform_(*SHRUNK))
        pixels = F.interpolate(pixels, scale_factor=factor, mode="bilinear", antialias=True)
        pixels = F.interpolate(pixels, size, mode="bilinear")
    return pixels + NOISE * float(torch.rand(())) * torch.randn_like(pixels)


def load_reader(ref: str, palette: Palette, device: torch.device) -> Callable[[Tensor], Tensor]:
    """A frozen segmenter in float32: (batch, 3, height, width) in 0..1 to logits of a size of its own.

    Raises:
        ConfigError: no segmenter there, one of other classes, or one that lets no gradient through to the pixels.
    """
    try:
        folder = resolve_weights(ref)
        architecture_of(folder, ref, ("ForSemanticSegmentation",))
        processor, model = processor_and_model(AutoModelForSemanticSegmentation, folder, ref, str(device))
    except ConfigError as error:
        raise ConfigError(f"reward.segmenters: {error}") from error
    if {int(index): name for index, name in model.config.id2label.items()} != dict(enumerate(palette.names)):
        raise ConfigError(f"reward.segmenters: {ref} has other classes than the palette {palette.name}")
    model.requires_grad_(False)
    mean, std = (
        torch.tensor(values, device=device)[:, None, None] for values in (processor.image_mean, processor.image_std)
    )

    def read(pixels: Tensor) -> Tensor:
        logits: Tensor = model(pixel_values=(pixels - mean) / std).logits.float()
        return logits

    if not read(torch.zeros(1, 3, 64, 64, device=device, requires_grad=True)).requires_grad:
        raise ConfigError(f"reward.segmenters: nothing can be learnt from {ref}, it hides its pixels; name another")
    return read
