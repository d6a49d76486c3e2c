"""The denoising loop of the Stable Diffusion family, in place of the call of diffusers' pipelines.

It takes the steps of `StableDiffusion[XL]ControlNet[Inpaint]Pipeline.__call__` (diffusers 0.42) in the same order on
the same shapes, so that the pixels are the same bit for bit; what it leaves out is what has no effect: embedding a map
anew at every step, running a ControlNet outside its interval, encoding a prompt twice. Outside the guidance interval it
computes no unconditional rows, which the library can't do. Images stay on the device until they are bytes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from synthgen.generators._batch import Batch
from synthgen.generators._conditioning import Conditions, ControlNets, PromptCache, time_ids
from synthgen.generators._options import StableDiffusionFamily

Blend = Callable[[Tensor, int], Tensor]
"""(latents after a step, the step) → latents with the canvas laid over them outside the hole."""


class DenoisingLoop:
    """A batch through one pipeline's components, for `mode: scene` or, if the pipeline inpaints, `mode: people`."""

    def __init__(self, spec: StableDiffusionFamily, pipe: Any) -> None:
        self.spec = spec
        self.pipe = pipe
        self.defaults: Mapping[str, Any] = {
            name: parameter.default for name, parameter in inspect.signature(type(pipe).__call__).parameters.items()
        }
        self.inpaints = "mask_image" in self.defaults
        self.xl = hasattr(pipe, "text_encoder_2")
        self.guidance: float = self.defaults["guidance_scale"] if spec.guidance is None else spec.guidance
        self.embeds_guidance = pipe.unet.config.time_cond_proj_dim is not None and not self.inpaints
        self.guided = self.guidance > 1 and not self.embeds_guidance
        pooled = getattr(pipe.controlnet, "nets", [pipe.controlnet])[0].config.global_pool_conditions
        self.nets = ControlNets(spec, pipe, pooled and not (self.xl and self.inpaints))
        self.unet = torch.compile(pipe.unet, dynamic=False) if spec.compile else pipe.unet
        self.prompts = PromptCache(pipe)
        if spec.compile:
            _allow_graphs(8 * len(spec.sizes) * (1 + len(spec.controlnets)))

    def __call__(self, batch: Batch) -> NDArray[np.uint8]:
        """(rows, height, width, 3); a NaN, and an image that a safety checker flags, come out black."""
        with torch.inference_mode():
            return to_bytes(self.images(batch)).cpu().numpy()

    def images(self, batch: Batch) -> Tensor:
        """(rows, 3, height, width) in 0..1 on the device, not yet rounded."""
        device, pipe = self.pipe.unet.device, self.pipe
        text, pooled = self._text(batch, device)
        pipe.scheduler.set_timesteps(self.spec.steps, device=device)
        if self.inpaints:
            times, _ = pipe.get_timesteps(self.spec.steps, 1.0, device)
            latents, masked, blend = self._inpainting(batch, text.dtype, device, times)
        else:
            times, masked, blend = pipe.scheduler.timesteps, None, None
            width, height = batch.size
            shape = batch.rows, pipe.unet.config.in_channels, height, width
            latents = pipe.prepare_latents(*shape, text.dtype, device, batch.generators)
        added = None
        if pooled is not None:
            ids = time_ids(pipe, batch, self.guided, text.dtype, self.defaults)
            added = {"text_embeds": pooled, "time_ids": ids.to(device)}
        conditions = Conditions(text, added, self._hints(batch, device), masked, self._time(batch, latents))
        latents = self._denoise(batch, latents, times, conditions, blend)
        return self._decode(latents, batch, text.dtype)

    def _denoise(
        self, batch: Batch, latents: Tensor, times: Tensor, conditions: Conditions, blend: Blend | None
    ) -> Tensor:
        scheduler, rows, count = self.pipe.scheduler, batch.rows, len(times)
        extra = self.pipe.prepare_extra_step_kwargs(batch.generators, self.defaults["eta"])
        scales = self.nets.scales(batch, latents.device)
        conditional = conditions.conditional(rows)
        for step, time in enumerate(times):
            guided = self.guided and within(step, count, self.spec.guidance_start, self.spec.guidance_end)
            read = conditions if guided else conditional
            seen = scheduler.scale_model_input(torch.cat([latents] * 2) if guided else latents, time)
            active = [
                scale != 0 and within(step, count, net.start, net.end)
                for scale, net in zip(batch.scales, self.spec.controlnets, strict=True)
            ]
            if self.nets.pooled:
                down, mid = self.nets(seen[-rows:], time, conditional, scales, active)
                if guided and down is not None and mid is not None:
                    down, mid = [_zeros_before(part) for part in down], _zeros_before(mid)
            else:
                down, mid = self.nets(seen, time, read, scales, active)
            noise = self.unet(
                seen if read.masked is None else torch.cat([seen, read.masked], dim=1),
                time,
                encoder_hidden_states=read.text,
                timestep_cond=read.time,
                down_block_additional_residuals=down,
                mid_block_additional_residual=mid,
                added_cond_kwargs=read.added,
                return_dict=False,
            )[0]
            if guided:
                without, prompted = noise.chunk(2)
                noise = without + self.guidance * (prompted - without)
            latents = scheduler.step(noise, time, latents, **extra, return_dict=False)[0]
            latents = latents if blend is None else blend(latents, step)
        return latents

    def _text(self, batch: Batch, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Embeddings of the prompts and, for SDXL, the pooled ones; the negative prompts' before them if guided."""
        parts = self.prompts(batch.prompts, device)
        if self.guided:
            negative = self.prompts(batch.negative_prompts, device)
            parts = tuple(torch.cat(pair) for pair in zip(negative, parts, strict=True))
        return parts[0], parts[1] if self.xl else None

    def _hints(self, batch: Batch, device: torch.device) -> tuple[Tensor, ...]:
        options: dict[str, Any] = {"do_classifier_free_guidance": self.guided, "guess_mode": self.nets.pooled}
        if self.inpaints:
            prepare = self.pipe.prepare_control_image
            options |= {"crops_coords": None, "resize_mode": "default"}
        else:
            prepare = self.pipe.prepare_image
        (width, height), dtype = batch.size, self.pipe.controlnet.dtype
        return self.nets.hints(
            [prepare(image, width, height, batch.rows, 1, device, dtype, **options) for image in batch.maps]
        )

    def _time(self, batch: Batch, latents: Tensor) -> Tensor | None:
        """The guidance scale as an embedding, for a UNet that was distilled to read it (LCM).

        Like the library's, the inpainting form leaves it out.
        """
        if not self.embeds_guidance:
            return None
        scale = torch.tensor(self.guidance - 1).repeat(batch.rows)
        width = self.pipe.unet.config.time_cond_proj_dim
        embedding: Tensor = self.pipe.get_guidance_scale_embedding(scale, embedding_dim=width)
        return embedding.to(device=latents.device, dtype=latents.dtype)

    def _inpainting(
        self, batch: Batch, dtype: torch.dtype, device: torch.device, times: Tensor
    ) -> tuple[Tensor, Tensor | None, Blend | None]:
        """First latents; what a UNet of 9 channels reads of the canvas; how a UNet of 4 keeps it between steps."""
        pipe, (width, height) = self.pipe, batch.size
        canvas = pipe.image_processor.preprocess(batch.canvas, height=height, width=width).to(torch.float32)
        mask = pipe.mask_processor.preprocess(batch.holes, height=height, width=width)
        reads_mask = pipe.unet.config.in_channels == 9
        latents, noise, *kept = pipe.prepare_latents(
            *(batch.rows, pipe.vae.config.latent_channels, height, width, dtype, device, batch.generators),
            image=canvas,
            return_noise=True,
            return_image_latents=not reads_mask,
        )
        mask, masked = pipe.prepare_mask_latents(
            *(mask, canvas * (mask < 0.5), batch.rows, height, width, dtype, device, batch.generators, self.guided)
        )
        if reads_mask:
            return latents, torch.cat([mask, masked], dim=1), None
        (original,), paint = kept, mask[: batch.rows]

        def blend(latents: Tensor, step: int) -> Tensor:
            around = original
            if step < len(times) - 1:
                around = pipe.scheduler.add_noise(original, noise, times[step + 1 : step + 2])
            return (1 - paint) * around + paint * latents

        return latents, None, blend

    def _decode(self, latents: Tensor, batch: Batch, dtype: torch.dtype) -> Tensor:
        pipe, vae = self.pipe, self.pipe.vae
        if not self.xl:
            decoded = vae.decode(latents / vae.config.scaling_factor, return_dict=False, generator=batch.generators)[0]
            decoded, flagged = pipe.run_safety_checker(decoded, latents.device, dtype)
            shown = None if flagged is None else [not flag for flag in flagged]
            return pipe.image_processor.postprocess(decoded, output_type="pt", do_denormalize=shown)
        overflows = vae.dtype == torch.float16 and vae.config.force_upcast
        if overflows:
            vae.to(dtype=torch.float32)
            latents = latents.to(torch.float32)
        latents = latents / vae.config.scaling_factor if self.inpaints else _denormalized(latents, vae.config)
        decoded = vae.decode(latents, return_dict=False)[0]
        if overflows:
            vae.to(dtype=torch.float16)
        return pipe.image_processor.postprocess(decoded, output_type="pt")


def within(step: int, count: int, start: float, end: float) -> bool:
    """Whether step `step` of `count` lies wholly in the share from `start` to `end` of them."""
    return step / count >= start and (step + 1) / count <= end


def to_bytes(images: Tensor) -> Tensor:
    """(rows, 3, height, width) in 0..1 → (rows, height, width, 3) in 0..255, rounded half to even; NaN → 0."""
    pixels = images.permute(0, 2, 3, 1).float().nan_to_num(nan=0.0).clamp(0, 1)
    return (pixels * 255).round().to(torch.uint8).contiguous()


def _allow_graphs(count: int) -> None:
    """One for each bucket, and for more or fewer rows, with or without residuals, before torch gives up compiling."""
    torch._dynamo.config.recompile_limit = max(count, torch._dynamo.config.recompile_limit)


def _zeros_before(part: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(part), part])


def _denormalized(latents: Tensor, config: Any) -> Tensor:
    """Latents as the autoencoder decodes them: unscaled, and with its mean and deviation where it has them."""
    mean, deviation = getattr(config, "latents_mean", None), getattr(config, "latents_std", None)
    if mean is None or deviation is None:
        return latents / config.scaling_factor
    mean, deviation = (
        torch.tensor(value).view(1, -1, 1, 1).to(latents.device, latents.dtype) for value in (mean, deviation)
    )
    return latents * deviation / config.scaling_factor + mean
