"""Persons (or faces) by an image model of `transformers`: ViT, DINOv2, Swin … by hub id or local folder.

Such a network was not trained to tell people apart; trained on whole pictures it still finds the same clothes, hair and
build again, which is how people are recognised whose faces are gone (arXiv 2010.06307). A model fine-tuned for
re-identification has the same classes and is the better attacker.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from synthgen.pretrained import architecture_of, processor_and_model
from synthgen.recognizers._crop import cropped_box
from synthgen.recognizers.base import Embeddings, LoadedRecognizer, Recognizer, Subject, unit_rows
from synthgen.types import Box, ConfigError, Image
from synthgen.weights import digest_weights, resolve_weights

ARCHITECTURES = ("Model", "ForImageClassification", "WithProjection")


class TransformersRecognizer(Recognizer):
    """Embeddings are scaled to unit length: a distance d is a cosine of 1 − d²/2."""

    kind: Literal["transformers"] = "transformers"
    subject: Subject = "person"
    model: str
    """Weights reference: a local folder, or `org/name@<commit>`."""
    threshold: float = Field(gt=0, le=2)
    """No default: it depends on the model. Take the distance that 1 in 1,000 pairs of two people fall below."""
    margin: float = Field(default=0.05, ge=0, le=1)
    """By what share of its sides a box grows on every side."""
    batch_size: int = Field(default=8, ge=1)

    def weights(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    def digest(self) -> str:
        """As `Recognizer`."""
        return hashlib.sha256(f"transformers 1\x1f{digest_weights(self.model)}\x1f{self.margin}".encode()).hexdigest()

    def load(self, device: str) -> LoadedRecognizer:
        """As `Recognizer`.

        Raises:
            ConfigError: also a model that gives no vector for an image.
        """
        from transformers import AutoModel

        folder = resolve_weights(self.model)
        architecture_of(folder, self.model, ARCHITECTURES)
        processor, model = processor_and_model(AutoModel, folder, self.model, device)
        return _LoadedTransformer(self, processor, model, device)


class _LoadedTransformer(LoadedRecognizer):
    def __init__(self, spec: TransformersRecognizer, processor: Any, model: Any, device: str) -> None:
        self.threshold = spec.threshold
        self._spec, self._processor, self._model, self._device = spec, processor, model, device
        self.width = self._run([np.zeros((32, 32, 3), np.uint8)]).shape[1]

    def embed(self, images: Sequence[Image], boxes: Sequence[Box]) -> Embeddings:
        """As `LoadedRecognizer`; batches are filled up, so that a row does not depend on the others."""
        pairs = zip(images, boxes, strict=True)
        crops = [cropped_box(image, box, self._spec.margin, None) for image, box in pairs]
        rows = []
        for start in range(0, len(crops), self._spec.batch_size):
            batch = crops[start : start + self._spec.batch_size]
            filled = batch + batch[-1:] * (self._spec.batch_size - len(batch))
            rows.append(self._run(filled)[: len(batch)])
        return unit_rows(np.concatenate(rows)) if rows else np.zeros((0, self.width), np.float32)

    def _run(self, crops: list[Image]) -> Embeddings:
        import torch

        inputs = self._processor(images=crops, return_tensors="pt").to(self._device)
        with torch.inference_mode():
            out = self._model(**inputs)
        pooled = getattr(out, "pooler_output", None)
        if pooled is None and getattr(out, "last_hidden_state", None) is not None:
            pooled = out.last_hidden_state[:, 0] if out.last_hidden_state.ndim == 3 else None
        if pooled is None:
            raise ConfigError(f"recognizer transformers: {self._spec.model!r} gives no vector for an image")
        rows: Embeddings = pooled.float().flatten(1).cpu().numpy()
        return rows
