"""Noise, timesteps and targets of diffusion training, for any scheduler that a pipeline carries.

With alpha the cumulative product of 1 - beta: x_t = sqrt(alpha) x + sqrt(1 - alpha) n (arXiv 2006.11239). The target is
n (epsilon), sqrt(alpha) n - sqrt(1 - alpha) x (v_prediction, arXiv 2202.00512) or x (sample).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from synthgen.training.loop import Batch
from synthgen.types import ConfigError


def starter_scheduler() -> Any:
    """DDIM with v-prediction, zero terminal SNR and trailing spacing (arXiv 2305.08891): night can be dark."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def draw_noise(shape: tuple[int, int, int], timesteps: int, rngs: Sequence[np.random.Generator]) -> Batch:
    """{"noise": (n, *shape), "timesteps": (n,) int64}, each sample's from its own generator."""
    noise = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in rngs])
    steps = np.array([rng.integers(timesteps) for rng in rngs], dtype=np.int64)
    return {"noise": torch.from_numpy(noise), "timesteps": torch.from_numpy(steps)}


class Diffusion:
    """`noisy` and `target` of (batch, channels, height, width) latents under one scheduler.

    Raises:
        ConfigError: the scheduler has no alphas (flow matching) or another prediction type.
    """

    def __init__(self, scheduler: Any, device: torch.device) -> None:
        alphas = getattr(scheduler, "alphas_cumprod", None)
        self.prediction = scheduler.config.get("prediction_type")
        if alphas is None or self.prediction not in ("epsilon", "v_prediction", "sample"):
            raise ConfigError(
                f"base: {type(scheduler).__name__} ({self.prediction}) is no scheduler of SD1.x, 2.x or SDXL"
            )
        self.timesteps = int(scheduler.config.num_train_timesteps)
        self.signal = alphas.to(device, torch.float32).sqrt()
        self.spread = (1 - alphas.to(device, torch.float32)).sqrt()

    def noisy(self, latents: Tensor, batch: Batch) -> Tensor:
        """x_t."""
        signal, spread = self._factors(batch)
        return signal * latents + spread * batch["noise"]

    def target(self, latents: Tensor, batch: Batch) -> Tensor:
        """What the UNet must predict."""
        signal, spread = self._factors(batch)
        if self.prediction == "epsilon":
            return batch["noise"]
        return latents if self.prediction == "sample" else signal * batch["noise"] - spread * latents

    def _factors(self, batch: Batch) -> tuple[Tensor, Tensor]:
        steps = batch["timesteps"]
        return self.signal[steps][:, None, None, None], self.spread[steps][:, None, None, None]
