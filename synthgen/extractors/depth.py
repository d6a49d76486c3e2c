"""Depth through `transformers` (Depth Anything, DPT/MiDaS …), as the public depth ControlNets expect it.

They were trained on MiDaS maps: inverse depth, near is bright, stretched per picture to 0..255, three equal channels.
Depth Anything and DPT predict inverse depth; Depth Anything's metric variants predict metres, which are inverted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthgen.batches import predict_by_size
from synthgen.extractors.base import Extractor, ExtractorRun
from synthgen.pretrained import architecture_of, processor_and_model
from synthgen.types import ConfigError, ControlMap, Sample
from synthgen.weights import resolve_weights

MIN_METRES = 1e-3


class Depth(Extractor):
    """Near is white, far is black."""

    kind: Literal["depth"] = "depth"
    model: str
    """Weights reference: a local folder, or `org/name@<commit>`."""
    predicts: Literal["auto", "inverse", "metric"] = "auto"
    """What the model gives: `auto` reads it from Depth Anything's config and takes others for inverse depth."""
    batch_size: int = Field(default=1, ge=1)
    """Pictures at once; a partial batch is filled up, so a large one pays only where as many come together."""

    def weights(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    def load(self, device: str) -> ExtractorRun:
        """Raises ConfigError where the model is missing or no depth estimator."""
        import torch
        from transformers import AutoModelForDepthEstimation

        folder = resolve_weights(self.model)
        config, _ = architecture_of(folder, self.model, ("ForDepthEstimation",))
        metric = self.predicts == "metric" or (
            self.predicts == "auto" and getattr(config, "depth_estimation_type", "relative") == "metric"
        )
        processor, model = processor_and_model(AutoModelForDepthEstimation, folder, self.model, device)
        if not hasattr(processor, "post_process_depth_estimation"):
            raise ConfigError(f"extract depth: the processor of {self.model} gives no depth; choose another model")

        def predict(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
            inputs = processor(images=list(images), return_tensors="pt").to(device)
            with torch.inference_mode():
                outputs = model(**inputs)
            sizes = [images.shape[1:3]] * len(images)
            depths = processor.post_process_depth_estimation(outputs, target_sizes=sizes)
            return [inverse_depth_to_gray(entry["predicted_depth"].cpu().numpy(), metric) for entry in depths]

        def run(samples: Sequence[Sample]) -> list[ControlMap]:
            maps = predict_by_size([sample.image for sample in samples], self.batch_size, predict)
            return [ControlMap(self.kind, np.repeat(gray[:, :, None], 3, axis=2)) for gray in maps]

        return run


def inverse_depth_to_gray(depth: NDArray, metric: bool = False) -> NDArray[np.uint8]:
    """Stretch (height, width) inverse depth (metres where `metric`) to 0..255, near bright; flat depth gives 0."""
    inverse = 1 / np.maximum(depth.astype(np.float64), MIN_METRES) if metric else depth.astype(np.float64)
    near, far = inverse.max(), inverse.min()
    if near == far:
        return np.zeros(depth.shape, dtype=np.uint8)
    return np.round((inverse - far) / (near - far) * 255).astype(np.uint8)
