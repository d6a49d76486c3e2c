"""A small U-Net and its encoder, for pictures (n, 3, height, width) of 0..255."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _block(inner: int, outer: int, stride: int = 1) -> nn.Sequential:
    layers = []
    for place, channels in enumerate((inner, outer)):
        layers += [
            nn.Conv2d(channels, outer, 3, stride if place == 0 else 1, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    """From pictures to features at strides 2, 4, 8, …: `depth` + 1 of them."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.channels = [width * 2**step for step in range(depth + 1)]
        pairs = zip([3, *self.channels[:-1]], self.channels, strict=True)
        self.blocks = nn.ModuleList(_block(inner, outer, 2) for inner, outer in pairs)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        x, levels = (pictures.float() - 127) / 64, []
        for block in self.blocks:
            x = block(x)
            levels.append(x)
        return levels


class UNet(nn.Module):
    """Logits at stride 2."""

    def __init__(self, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(width, depth)
        down = self.encoder.channels
        self.blocks = nn.ModuleList(_block(deep + fine, fine) for fine, deep in pairwise(down))
        self.last = nn.Conv2d(width, classes, 1)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        levels = self.encoder(inputs[0])
        x = levels[-1]
        for fine, block in zip(levels[-2::-1], reversed(list(self.blocks)), strict=True):
            x = block(torch.cat([F.interpolate(x, fine.shape[-2:], mode="bilinear"), fine], dim=1))
        return self.last(x)


class ClassNet(nn.Module):
    """One logit a class."""

    def __init__(self, width: int, depth: int, classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(width, depth)
        self.last = nn.Sequential(nn.Dropout(0.2), nn.Linear(self.encoder.channels[-1], classes))

    def forward(self, inputs: list[Tensor]) -> Tensor:
        return self.last(self.encoder(inputs[0])[-1].mean((2, 3)))
