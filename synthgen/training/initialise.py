"""How a ControlNet starts when its base is not pretrained.

ControlNet's own start (arXiv 2302.05543: zero convolutions, a small conditioning embedding) is made for a frozen,
trained UNet. Trained together from scratch it passes no signal: the embedding shrinks the map to about a thousandth and
the zero convolutions hold that back. So the conditioning convolutions start by Kaiming's rule, scaled so that the
embedding of real maps has a standard deviation of 1, and the zero convolutions start as half the identity.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


@torch.no_grad()
def initialise_from_scratch(controlnet: Any, maps: Tensor) -> None:
    """Change a diffusers `ControlNetModel` in place.

    Args:
        maps: real control maps, (batch, 3, height, width), 0..1; a batch that shows something.

    Raises:
        ValueError: the maps are all alike, so nothing can be scaled by them.
    """
    embedding = controlnet.controlnet_cond_embedding
    for module in embedding.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    spread = embedding(maps).std()
    if not torch.isfinite(spread) or spread <= 0:
        raise ValueError("the control maps are empty: no conditioning embedding can be scaled by them")
    embedding.conv_out.weight.div_(spread)
    for convolution in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
        nn.init.dirac_(convolution.weight)
        convolution.weight.mul_(0.5)
        nn.init.zeros_(convolution.bias)
