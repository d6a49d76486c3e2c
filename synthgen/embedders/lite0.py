"""EfficientNet-Lite0 (ImageNet, 1280 features) from an installed package: the default, since it needs no hub.

The weights are a state dict, read with `weights_only`. Images are squashed to 224×224 by Pillow's bicubic filter, which
widens when it shrinks (arXiv 2104.11222 on what other filters do to such distances).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL

from synthgen.embedders._preparation import digest_of
from synthgen.embedders.base import Embedder, EmbedderRun
from synthgen.lite0 import file_digest, weights_file
from synthgen.types import Image

SIDE = 224


class Lite0(Embedder):
    """No key but `batch_size`: the package has one set of weights."""

    title: ClassVar[str] = "EfficientNet-Lite0"
    kind: Literal["lite0"] = "lite0"

    def weights(self) -> tuple[str, ...]:
        """None: the package brings them."""
        return ()

    def digest(self) -> str:
        """As `Embedder`; of the file in the package."""
        return digest_of("lite0 1", file_digest(_file()))

    def load(self, device: str) -> EmbedderRun:
        """As `Embedder`."""
        import torch

        from synthgen.lite0.network import load_network

        network = load_network(_file()).to(device)

        def run(images: Sequence[Image]) -> NDArray[np.float32]:
            resized = [PIL.fromarray(image).resize((SIDE, SIDE), PIL.Resampling.BICUBIC) for image in images]
            pixels = torch.from_numpy(np.stack([np.asarray(image) for image in resized])).to(device)
            with torch.inference_mode():
                features: NDArray[np.float32] = network((pixels.permute(0, 3, 1, 2).float() - 127) / 128).cpu().numpy()
            return features

        return run


def _file() -> Path:
    return weights_file("features lite0", "choose another --features")
