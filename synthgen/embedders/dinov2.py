"""DINOv2's class token after the last norm (arXiv 2304.07193): near human judgement in arXiv 2306.04675."""

from __future__ import annotations

from typing import ClassVar, Literal

from synthgen.embedders._preparation import digest_of, load_transformer
from synthgen.embedders.base import Embedder, EmbedderRun
from synthgen.weights import digest_weights


class Dinov2(Embedder):
    """`model` is a local folder or a pinned hub id of a DINOv2, such as `facebook/dinov2-large@<commit>`."""

    title: ClassVar[str] = "DINOv2"
    kind: Literal["dinov2"] = "dinov2"
    model: str

    def weights(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    def digest(self) -> str:
        """As `Embedder`."""
        return digest_of("dinov2 1", digest_weights(self.model))

    def load(self, device: str) -> EmbedderRun:
        """As `Embedder`."""
        allowed = ("Dinov2Model", "Dinov2WithRegistersModel")
        return load_transformer(self.model, "AutoModel", allowed, lambda out: out.pooler_output, device)
