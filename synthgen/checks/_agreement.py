"""Does a reading of the output agree with the label: per class, per object, and beside a reading of the source?

A model that reads a class badly on the real picture says nothing about the output by reading it badly there, so every
number is taken against what the same model reached on the source, and what it could not read there is not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.types import ClassIds, Labels, Mask

LEAST_PIXELS = 16
"""A patch of a mask with fewer pixels is no object."""
CONNECTED = 8


@dataclass(frozen=True, eq=False)
class Thing:
    """An object of a label: `mask` is the part of (height, width) under `where`; `small` ones are counted apart."""

    number: int
    where: tuple[slice, slice]
    mask: Mask
    small: bool

    def share(self, numbers: ClassIds) -> float:
        """Of its pixels those that a reading gives to its class."""
        return float((numbers[self.where][self.mask] == self.number).mean())


def class_ious(label: ClassIds, read: ClassIds) -> dict[int, float]:
    """Number of each class in the label → its intersection over union, where there is a label (number above 0)."""
    there = label > 0
    label, read = label[there], read[there]
    found = {}
    for number in np.unique(label):
        own, theirs = label == number, read == number
        found[int(number)] = float((own & theirs).sum() / (own | theirs).sum())
    return found


def agreement(output: Mapping[int, float], source: Mapping[int, float], least: float) -> dict[int, float]:
    """IoU on the output ÷ IoU on the source, at most 1, of each class that the model read with `least` IoU there."""
    return {number: min(1.0, output.get(number, 0.0) / iou) for number, iou in source.items() if iou >= least}


def mean_agreement(output: Mapping[int, float], source: Mapping[int, float], least: float) -> float | None:
    """mIoU on the output ÷ mIoU on the source, at most 1, over the classes that `agreement` judges; None for none.

    Classes that are not in `output` at all (their label was taken away) are left out on both sides.
    """
    judged = [number for number, iou in source.items() if iou >= least and number in output]
    if not judged:
        return None
    return min(1.0, sum(output[number] for number in judged) / sum(source[number] for number in judged))


def list_things(label: ClassIds, labels: Labels, numbers: Mapping[int, int], small: float) -> list[Thing]:
    """The objects of a label: its outlined instances, and the connected patches of every class that has none.

    Args:
        label: (height, width) numbers, 0 where nothing is judged.
        numbers: the dataset's class id → number.
        small: up to this share of the picture an object is small.
    """
    limit = small * label.size
    things = []
    for instance in labels.instances:
        number = numbers.get(instance.class_id, 0)
        if instance.mask is not None and number and not instance.crowd and instance.mask.sum() >= LEAST_PIXELS:
            things.append(_cut(number, instance.mask, limit))
    outlined = {thing.number for thing in things}
    for number in np.unique(label):
        if number > 0 and number not in outlined:
            things += list(_patches(int(number), label == number, limit))
    return things


def _patches(number: int, mask: Mask, limit: float) -> Iterator[Thing]:
    count, patches, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=CONNECTED)
    for place in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[place])
        if area >= LEAST_PIXELS:
            where = slice(y, y + height), slice(x, x + width)
            yield Thing(number, where, patches[where] == place, area <= limit)


def _cut(number: int, mask: Mask, limit: float) -> Thing:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    where = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return Thing(number, where, mask[where], bool(mask.sum() <= limit))


def union(things: Sequence[Thing], shape: tuple[int, ...]) -> Mask:
    """(height, width), True inside any of them."""
    found: Mask = np.zeros(shape, np.bool_)
    for thing in things:
        found[thing.where] |= thing.mask
    return found


def pixel_losses(probabilities: NDArray[np.float32], label: ClassIds) -> NDArray[np.float32]:
    """Cross-entropy in nats of a label's number at each pixel (height, width); 0 where there is none.

    `probabilities` (numbers, h, w) are of any resolution; they are interpolated linearly.
    """
    losses: NDArray[np.float32] = np.zeros(label.shape, np.float32)
    size = label.shape[1], label.shape[0]
    for number in np.unique(label):
        if number > 0:
            own = label == number
            likely = cv2.resize(probabilities[number], size, interpolation=cv2.INTER_LINEAR)
            losses[own] = -np.log(np.maximum(likely[own], 1e-6))
    return losses
