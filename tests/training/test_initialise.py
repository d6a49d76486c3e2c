from __future__ import annotations

import pytest
import torch
from diffusers import ControlNetModel

from synthgen.training.initialise import initialise_from_scratch


def controlnet() -> ControlNetModel:
    torch.manual_seed(0)
    return ControlNetModel(
        in_channels=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        block_out_channels=(8, 16),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
        conditioning_embedding_out_channels=(4, 8, 8, 8),
    )


def edges() -> torch.Tensor:
    lines = (torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)) < 0.1).float()
    return lines.expand(-1, 3, -1, -1)


@torch.no_grad()
def test_the_embedding_of_real_maps_has_a_deviation_of_one_and_signal_passes() -> None:
    model, maps = controlnet(), edges()
    noisy, text = torch.zeros(4, 4, 8, 8), torch.zeros(4, 2, 8)
    before = model(noisy, 1, text, maps, return_dict=False)[1]
    assert float(before.abs().max()) == 0.0
    initialise_from_scratch(model, maps)
    assert float(model.controlnet_cond_embedding(maps).std()) == pytest.approx(1.0, abs=1e-3)
    shown, blank = (model(noisy, 1, text, m, return_dict=False)[1] for m in (maps, torch.zeros_like(maps)))
    assert float((shown - blank).abs().mean()) > 0.01
    zero = model.controlnet_mid_block
    assert torch.equal(zero.weight[..., 0, 0], 0.5 * torch.eye(16)) and not zero.bias.any()


def test_empty_maps_are_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        initialise_from_scratch(controlnet(), torch.zeros(2, 3, 64, 64))
