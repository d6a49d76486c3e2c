"""Objects of a VOC image that an output lost: they leave the XML, and the numbers of the object image close up.

In `SegmentationObject` the number n is the n-th object of the XML, so taking one out of the XML renumbers the others.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from synthgen.datasets._voc_masks import VOID, encode_palette
from synthgen.types import Instance, Mask


def lost_objects(instances: Sequence[Instance], where: Mask) -> frozenset[int]:
    """The places of the outlined objects that have no pixel outside `where` (height, width)."""
    return frozenset(
        place for place, one in enumerate(instances) if one.mask is not None and bool((where | ~one.mask).all())
    )


def without_objects(
    indices: NDArray[np.int32], instances: Sequence[Instance], lost: Collection[int], where: Mask
) -> bytes:
    """An object image as a palette PNG in which `where` is void and the objects that are left are numbered from 1.

    Args:
        indices: (height, width), void as `VOID`.
        instances: the objects of the XML in their order, with the masks that `outline_objects` gave them.

    Numbers that belong to no object of the XML follow those that do.
    """
    numbers: NDArray[np.uint8] = np.where((indices == VOID) | where, VOID, 0).astype(np.uint8)
    free: Mask = (numbers == 0) & (indices > 0)
    left = [one for place, one in enumerate(instances) if place not in lost]
    for number, one in enumerate(left, start=1):
        if one.mask is not None:
            numbers[one.mask & free] = number
            free &= ~one.mask
    for number, old in enumerate(np.unique(indices[free]).tolist(), start=len(left) + 1):
        numbers[free & (indices == old)] = number
    return encode_palette(numbers)
