"""Batches of one size and one shape, so that a network's map of a picture depends on that picture alone.

A convolution may round otherwise in a batch of another shape; one gray level of difference is enough to change an
output's bytes. So pictures are grouped by size and a partial batch is filled by repeating its last picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from synthgen.types import Image


def predict_by_size(
    images: Sequence[Image], batch_size: int, predict: Callable[[NDArray[np.uint8]], Sequence[NDArray]]
) -> list[NDArray]:
    """Run `predict` over pictures of any sizes; results in the order of the pictures.

    Args:
        images: (height, width, 3) RGB, 0..255, sizes may differ.
        predict: (batch_size, height, width, 3) uint8 → `batch_size` results.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        groups.setdefault(image.shape, []).append(place)
    results: dict[int, NDArray] = {}
    for places in groups.values():
        for start in range(0, len(places), batch_size):
            batch = places[start : start + batch_size]
            filled = batch + batch[-1:] * (batch_size - len(batch))
            predicted = predict(np.stack([images[place] for place in filled]))
            results.update(zip(batch, predicted, strict=False))
    return [results[place] for place in range(len(images))]
