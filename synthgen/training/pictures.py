"""What tasks share when they turn arrays into tensors and tensors into validation pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from synthgen.types import Image


def images_to_tensor(images: Sequence[Image]) -> Tensor:
    """uint8 images (height, width, 3) of one size → float32 (n, 3, height, width) in -1..1."""
    return maps_to_tensor(images) * 2 - 1


def maps_to_tensor(maps: Sequence[Image]) -> Tensor:
    """uint8 maps (height, width, 3) of one size → float32 (n, 3, height, width) in 0..1."""
    return torch.from_numpy(np.stack(maps)).permute(0, 3, 1, 2).float() / 255


def tensor_to_images(pixels: Tensor) -> list[Image]:
    """(n, 3, height, width) in -1..1 → uint8 images; what lies outside is clipped."""
    scaled = ((pixels.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round()
    return list(scaled.byte().permute(0, 2, 3, 1).numpy())


def sheet(rows: Sequence[Sequence[Image]]) -> Image:
    """Pictures in rows, padded with black on the right and below where sizes differ."""
    height = [max(image.shape[0] for image in row) for row in rows]
    width = max(sum(image.shape[1] for image in row) for row in rows)
    canvas = np.zeros((sum(height), width, 3), dtype=np.uint8)
    y = 0
    for row, tall in zip(rows, height, strict=True):
        x = 0
        for image in row:
            canvas[y : y + image.shape[0], x : x + image.shape[1]] = image
            x += image.shape[1]
        y += tall
    return canvas
