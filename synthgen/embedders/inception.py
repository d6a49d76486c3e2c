"""Inception-v3's 2,048 pooled features: the only ones on which a Fréchet distance is called FID.

Published FIDs come from the graph of 2015-12-05, whose layers torch-fidelity and pytorch-fid rebuilt; they ship it as
a pickle, so it has to be saved once as safetensors (same names of tensors). `timm/inception_v3.tf_in1k` has the same
layers but other weights: its distances are comparable among themselves only. Resizing is that graph's: bilinear
without half-pixel centres and without a wider filter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from synthgen.embedders._preparation import digest_of
from synthgen.embedders.base import Embedder, EmbedderRun
from synthgen.types import ConfigError, Image
from synthgen.weights import digest_weights, resolve_weights

SIDE = 299


class Inception(Embedder):
    """`model` is a local folder or a pinned hub id with one .safetensors of Inception-v3."""

    title: ClassVar[str] = "Inception-v3"
    frechet_name: ClassVar[str] = "FID"
    kind: Literal["inception"] = "inception"
    model: str

    def weights(self) -> tuple[str, ...]:
        """The model."""
        return (self.model,)

    def digest(self) -> str:
        """As `Embedder`."""
        return digest_of("inception 1", digest_weights(self.model))

    def load(self, device: str) -> EmbedderRun:
        """As `Embedder`; `fc` and `AuxLogits` are not read."""
        import torch
        from safetensors.torch import load_file

        from synthgen.embedders._inception import build_inception

        files = sorted(resolve_weights(self.model).glob("*.safetensors"))
        if len(files) != 1:
            raise ConfigError(f"features inception: {self.model} has {len(files)} .safetensors files, expected one")
        network = build_inception()
        state = {name: value for name, value in load_file(files[0]).items() if not name.startswith(("fc.", "AuxLo"))}
        try:
            network.load_state_dict(state)
        except RuntimeError as error:
            raise ConfigError(
                f"features inception: {files[0].name} of {self.model} is no Inception-v3: {error}"
            ) from error
        network.eval().to(device)

        def run(images: Sequence[Image]) -> NDArray[np.float32]:
            pixels = torch.from_numpy(np.stack([resize_bilinear(image, SIDE) for image in images])).to(device)
            with torch.inference_mode():
                features: NDArray[np.float32] = network((pixels.permute(0, 3, 1, 2) - 128) / 128).cpu().numpy()
            return features

        return run


def resize_bilinear(image: Image, side: int) -> NDArray[np.float32]:
    """(height, width, 3) to (side, side, 3), 0..255, as TensorFlow 1's `resize_bilinear`: source = target · scale."""
    pixels = image.astype(np.float32)
    for axis in (0, 1):
        length = pixels.shape[axis]
        where = np.arange(side, dtype=np.float32) * np.float32(length / side)
        low = np.floor(where).astype(np.int64)
        high = np.minimum(low + 1, length - 1)
        weight = (where - low.astype(np.float32)).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        below, above = pixels.take(low, axis), pixels.take(high, axis)
        pixels = below + (above - below) * weight
    return pixels
