"""What learns on top of a frozen EfficientNet-Lite0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TAPS = {2: 24, 4: 40, 10: 112, 15: 320}
"""Block → channels of its output: strides 4, 8, 16 and 32."""


class PyramidHead(nn.Module):
    """The levels, each through a 1×1 convolution, summed at the finest (2017's feature pyramid, arXiv 1612.03144)."""

    def __init__(self, channels: Sequence[int], width: int, classes: int) -> None:
        super().__init__()
        self.sides = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.mix = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, levels: list[Tensor]) -> Tensor:
        size = levels[0].shape[-2:]
        sides = [F.interpolate(side(x), size, mode="bilinear") for side, x in zip(self.sides, levels, strict=True)]
        return self.last(self.mix(torch.stack(sides).sum(0)))


class PooledHead(nn.Module):
    """A linear layer on normalised features."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(channels), nn.Dropout(0.2), nn.Linear(channels, classes))

    def forward(self, features: list[Tensor]) -> Tensor:
        return self.layers(features[0])
