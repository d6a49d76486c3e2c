"""CLIP's image embeddings (arXiv 2103.00020), projected, as CMMD uses them (arXiv 2401.09603: ViT-L/14 at 336 px)."""

from __future__ import annotations

from typing import ClassVar, Literal

from synthgen.embedders._preparation import digest_of, load_transformer
from synthgen.embedders.base import Embedder, EmbedderRun
from synthgen.weights import digest_weights


class Clip(Embedder):
    """`model` is a local folder or a pinned hub id of a CLIP, such as `openai/clip-vit-large-patch14-336@<commit>`."""

    title: ClassVar[str] = "CLIP"
    mmd_name: ClassVar[str] = "CMMD"
    kind: Literal["clip"] = "clip"
    model: str

    def weights(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    def digest(self) -> str:
        """As `Embedder`."""
        return digest_of("clip 1", digest_weights(self.model))

    def load(self, device: str) -> EmbedderRun:
        """As `Embedder`."""
        allowed = ("CLIPModel", "CLIPVisionModelWithProjection")
        return load_transformer(
            self.model, "CLIPVisionModelWithProjection", allowed, lambda out: out.image_embeds, device
        )
