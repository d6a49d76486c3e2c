"""Labels that do not hold in an output: their pixels become *ignore*, in memory and in a released label file.

A check finds the pixels (an object that is not in the picture, a class that was painted as another). Every other pixel
of the file, its mode, palette and format stay as they are.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image as PIL

from synthgen.datasets._objects import mask_box
from synthgen.images import decode_label, encode_label
from synthgen.types import BadSample, ClassInfo, Instance, Labels, Mask, ignore_class


def without_labels(labels: Labels, unlabelled: bytes, origin: str) -> Labels:
    """`labels` with *ignore* where the PNG `unlabelled` is white; as they are where it is empty.

    Outlined objects lose these pixels too, and their corners with them; one that has none left is gone.

    Raises:
        BadSample: `mask-size-mismatch` where it is not of the mask's size.
    """
    ignore = ignore_class(labels.classes)
    if not unlabelled or labels.mask is None or ignore is None:
        return labels
    where = white_pixels(unlabelled, labels.mask.shape, origin)
    instances = tuple(left for one in labels.instances if (left := _cut(one, where)) is not None)
    return replace(labels, mask=np.where(where, ignore.id, labels.mask).astype(np.int32), instances=instances)


def white_pixels(unlabelled: bytes, shape: tuple[int, ...], origin: str) -> Mask:
    """The PNG `unlabelled` as (height, width), True where no label holds.

    Raises:
        BadSample: `mask-size-mismatch` where it is not of `shape`.
    """
    where: Mask = decode_label(unlabelled, origin) > 0
    if where.shape != shape:
        raise BadSample("mask-size-mismatch", f"{origin}: pixels without a label are {where.shape}, the label {shape}")
    return where


def _cut(one: Instance, where: Mask) -> Instance | None:
    """An object without the pixels `where`; None where it has none left."""
    if one.mask is None or not (one.mask & where).any():
        return one
    left = one.mask & ~where
    return replace(one, mask=left, box=mask_box(left), polygons=()) if left.any() else None


def unlabel(data: bytes, unlabelled: bytes, classes: Sequence[ClassInfo], origin: str) -> bytes:
    """A label file's bytes (ids or colours, of the image as shown) with *ignore* where the PNG `unlabelled` is white.

    Raises:
        BadSample: as `decode_label`; `mask-size-mismatch` where the two differ in size, `class-ignore-missing` where
            the table has no class for it, or the file shows colours and that class has none.
    """
    stored = PIL.open(io.BytesIO(encode_label(data, 1, origin)))  # Pillow stretches ids of 2 and 4 bits
    opened = PIL.fromarray(np.array(stored).astype(np.uint8)) if stored.mode == "1" else stored
    pixels = np.array(opened)
    where = white_pixels(unlabelled, pixels.shape[:2], origin)
    ignore = ignore_class(classes)
    coloured = opened.mode in {"RGB", "RGBA"}
    if ignore is None or (coloured and ignore.color is None):
        raise BadSample("class-ignore-missing", f"{origin}: the class table has no ignore class to write here")
    value = (*ignore.color, 255) if coloured and ignore.color is not None else (ignore.id, 255)
    pixels[where] = value[: len(opened.getbands())]
    changed = PIL.frombytes(opened.mode, opened.size, pixels.tobytes())
    if opened.mode in {"P", "PA"}:
        colours = opened.getpalette() or []
        changed.putpalette(colours + [0] * (3 * (ignore.id + 1) - len(colours)))
    buffer = io.BytesIO()
    changed.save(buffer, format=stored.format)
    return buffer.getvalue()
