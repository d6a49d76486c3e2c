"""EfficientNet-Lite0 up to its pooled features, in plain torch, with the names of its package's state dict."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STAGES = (
    (1, 16, 1, 3, 1),
    (6, 24, 2, 3, 2),
    (6, 40, 2, 5, 2),
    (6, 80, 3, 3, 2),
    (6, 112, 3, 5, 1),
    (6, 192, 4, 5, 2),
    (6, 320, 1, 3, 1),
)
"""(expansion, channels, blocks, kernel, stride of the first block) of each stage."""


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding, which these weights were trained with."""

    def forward(self, pixels: Tensor) -> Tensor:
        size, stride = self.kernel_size[0], self.stride[0]
        pads = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in pixels.shape[-2:]]
        padded = F.pad(pixels, [pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2])
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, 1, self.groups)


def _conv(inner: int, outer: int, kernel: int, stride: int = 1, groups: int = 1) -> _SameConv:
    return _SameConv(inner, outer, kernel, stride, groups=groups, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _Block(nn.Module):
    """Inverted residual without squeeze-and-excitation."""

    def __init__(self, inner: int, outer: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        middle = inner * expansion
        self.expands, self.skips = expansion > 1, stride == 1 and inner == outer
        if self.expands:
            self._expand_conv, self._bn0 = _conv(inner, middle, 1), _norm(middle)
        self._depthwise_conv, self._bn1 = _conv(middle, middle, kernel, stride, middle), _norm(middle)
        self._project_conv, self._bn2 = _conv(middle, outer, 1), _norm(outer)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self._bn2(self._project_conv(F.relu6(self._bn1(self._depthwise_conv(y)))))
        return x + y if self.skips else y


class Lite0Network(nn.Module):
    """From (n, 3, 224, 224) of (rgb − 127) / 128 to (n, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _conv(3, 32, 3, 2), _norm(32)
        blocks, channels = [], 32
        for expansion, outer, count, kernel, stride in STAGES:
            for number in range(count):
                blocks.append(_Block(channels, outer, expansion, kernel, stride if number == 0 else 1))
                channels = outer
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _conv(channels, 1280, 1), _norm(1280)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def taps(self, x: Tensor, blocks: tuple[int, ...]) -> list[Tensor]:
        """The outputs of some blocks, in order, of (n, 3, height, width) of any size; none after the last is run."""
        x, found = F.relu6(self._bn0(self._conv_stem(x))), []
        for place, block in enumerate(self._blocks[: max(blocks) + 1]):
            x = block(x)
            if place in blocks:
                found.append(x)
        return found


def load_network(file: Path) -> Lite0Network:
    """The network with the package's weights, frozen and in eval mode."""
    state = torch.load(file, map_location="cpu", weights_only=True)
    network = Lite0Network()
    network.load_state_dict({name: value for name, value in state.items() if not name.startswith("_fc.")})
    return network.requires_grad_(False).eval()
