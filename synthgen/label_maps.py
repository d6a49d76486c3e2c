"""The class at each pixel as a dataset's labels say it: its mask, or its outlined instances."""

from __future__ import annotations

import numpy as np

from synthgen.types import BadSample, ClassIds, Labels


def labels_to_class_ids(labels: Labels, size: tuple[int, int]) -> ClassIds | None:
    """The dataset's class id at each pixel of (height, width); -1 where no instance lies; None without outlines.

    Raises:
        BadSample: `mask-size-mismatch` where a mask is not of the picture's size.
    """
    if labels.mask is not None:
        _check_size(labels.mask.shape, size)
        return labels.mask
    if not labels.instances or any(instance.mask is None for instance in labels.instances):
        return None
    ids = np.full(size, -1, dtype=np.int32)
    outlined = [(instance.class_id, instance.mask) for instance in labels.instances if instance.mask is not None]
    for class_id, mask in sorted(outlined, key=lambda pair: -int(pair[1].sum())):
        _check_size(mask.shape, size)
        ids[mask] = class_id
    return ids


def _check_size(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    if shape != size:
        raise BadSample("mask-size-mismatch", f"a mask of (height, width) {shape} lies on a picture of {size}")
