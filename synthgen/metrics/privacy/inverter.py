"""Undoing the anonymisation: a small U-Net learns the way from output to original, on people other than those attacked.

Many methods that look safe are not: 11 of 15 were partly reversible (arXiv 2210.10651). The network is of the kind of
Ronneberger, Fischer and Brox (arXiv 1505.04597), small enough for a CPU; what it can't undo in a few hundred steps a
larger one may, so a success proves a leak and a failure proves little. Baselines: the mean original, and the original
of the training output that is nearest.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from synthgen.metrics.privacy.matching import squared_distances

SIDE = 64
"""Pixels a side of what the network sees."""
WIDTHS = (24, 48, 96)
RATE = 2e-3
Crops = NDArray[np.uint8]
"""(n, SIDE, SIDE, 3)."""
Inverter = Callable[[Crops], Crops]


def train_inverter(outputs: Crops, originals: Crops, steps: int, batch_size: int, seed: int) -> Inverter:
    """Train on pairs and return the way back. The same pairs and seed give the same network on one machine.

    Args:
        outputs, originals: (n, SIDE, SIDE, 3), row i of the one made of row i of the other.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _UNet()
    sources, targets = _tensor(outputs), _tensor(originals)
    random = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(network.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=max(steps, 2))
    for _ in range(steps):
        rows = torch.from_numpy(random.integers(0, len(outputs), batch_size))
        source, target = sources[rows], targets[rows]
        if random.random() < 0.5:
            source, target = source.flip(3), target.flip(3)
        made = network(source)
        loss = (made - target).abs().mean() + _edges(made, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    network.eval()

    def invert(crops: Crops) -> Crops:
        with torch.inference_mode():
            parts = [network(_tensor(crops[start : start + 64])) for start in range(0, len(crops), 64)]
        pixels = torch.cat(parts).permute(0, 2, 3, 1).mul(255).round().clamp(0, 255)
        return pixels.to(torch.uint8).numpy()

    return invert


def nearest_originals(outputs: Crops, trained_outputs: Crops, trained_originals: Crops) -> Crops:
    """For each output the original of the nearest output (Euclidean, over pixels) that was trained on."""
    flat = [crops.reshape(len(crops), -1).astype(np.float32) for crops in (outputs, trained_outputs)]
    near = squared_distances(flat[0], flat[1]).argmin(axis=1)
    return trained_originals[near]


def _tensor(crops: Crops) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).float().div(255)


def _edges(made: Tensor, target: Tensor) -> Tensor:
    """Mean difference of the gradients: L1 alone gives blurred faces, which recognisers don't know."""
    down = (made.diff(dim=2) - target.diff(dim=2)).abs().mean()
    across = (made.diff(dim=3) - target.diff(dim=3)).abs().mean()
    return down + across


def _block(inner: int, outer: int) -> nn.Module:
    first = (nn.Conv2d(inner, outer, 3, padding=1), nn.GroupNorm(8, outer), nn.SiLU())
    return nn.Sequential(*first, nn.Conv2d(outer, outer, 3, padding=1), nn.GroupNorm(8, outer), nn.SiLU())


class _UNet(nn.Module):
    """(n, 3, SIDE, SIDE) of 0..1 to the same; it works at half the side and below."""

    def __init__(self) -> None:
        super().__init__()
        pairs = list(pairwise(WIDTHS))
        self.first = nn.Conv2d(3, WIDTHS[0], 5, stride=2, padding=2)
        self.down = nn.ModuleList([_block(WIDTHS[0], WIDTHS[0]), *(_block(a, b) for a, b in pairs)])
        self.up = nn.ModuleList([_block(a + b, a) for a, b in reversed(pairs)])
        self.last = nn.Conv2d(WIDTHS[0] + 3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """The original of each output, as far as it is known."""
        kept: list[Tensor] = []
        y = self.first(x)
        for number, part in enumerate(self.down):
            y = part(nn.functional.avg_pool2d(y, 2) if number else y)
            kept.append(y)
        for part, skip in zip(self.up, reversed(kept[:-1]), strict=True):
            y = part(torch.cat([nn.functional.interpolate(y, scale_factor=2.0), skip], dim=1))
        y = nn.functional.interpolate(y, scale_factor=2.0, mode="bilinear")
        out: Tensor = self.last(torch.cat([y, x], dim=1))
        return out
