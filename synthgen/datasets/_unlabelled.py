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

from synthgen.images import decode_label
from synthgen.types import BadSample, ClassInfo, Labels, ignore_class


def without_labels(labels: Labels, unlabelled: bytes, origin: str) -> Labels:
    """`labels` with *ignore* where the PNG `unlabelled` is white; as they are where it is empty.

    Raises:
        BadSample: `mask-size-mismatch` where it is not of the mask's size.
    """
    ignore = ignore_class(labels.classes)
    if not unlabelled or labels.mask is None or ignore is None:
        return labels
    where = decode_label(unlabelled, origin) > 0
    _check_size(where.shape, labels.mask.shape, origin)
    return replace(labels, mask=np.where(where, ignore.id, labels.mask).astype(np.int32))


def unlabel(data: bytes, unlabelled: bytes, classes: Sequence[ClassInfo], origin: str) -> bytes:
    """A label file's bytes (ids or colours, of the image as shown) with *ignore* where the PNG `unlabelled` is white.

    Raises:
        BadSample: `mask-size-mismatch` where the two differ in size, `class-ignore-missing` where the table has no
            class for it, or the file shows colours and that class has none.
    """
    where = decode_label(unlabelled, origin) > 0
    stored = PIL.open(io.BytesIO(data))
    opened = PIL.fromarray(np.array(stored).astype(np.uint8)) if stored.mode == "1" else stored
    pixels = np.array(opened)
    _check_size(where.shape, pixels.shape[:2], origin)
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


def _check_size(shape: tuple[int, ...], expected: tuple[int, ...], origin: str) -> None:
    if shape != expected:
        raise BadSample("mask-size-mismatch", f"{origin}: pixels without a label are {shape}, the label is {expected}")
