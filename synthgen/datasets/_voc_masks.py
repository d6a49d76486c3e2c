"""Pascal VOC's label images: class indices and object numbers as palette PNGs, and the tables that name the indices.

Index 0 is background, 255 is void. Without a `labelmap.txt` the indices are those of the twenty VOC classes; with one
(`name:r,g,b:parts:actions` a line, as CVAT and Datumaro write it) they are its lines. In `SegmentationObject` the
number n is the n-th object of the XML; where it does not fit that object's box, the best one that does.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL

from synthgen.datasets._objects import mask_box
from synthgen.types import BadSample, Box, ClassIds, ClassInfo, ConfigError, Instance, Mask

VOID = 255
_NAMES = [
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]
_LEAST_OVERLAP = 0.5


def voc_colour(index: int) -> tuple[int, int, int]:
    """VOC's colour of an index in 0..255: the bits of the index, dealt out to red, green and blue from the top.

    Source: VOCcode/VOClabelcolormap.m of the development kit.
    """
    red = green = blue = 0
    for shift in range(8):
        red |= (index >> (3 * shift) & 1) << (7 - shift)
        green |= (index >> (3 * shift + 1) & 1) << (7 - shift)
        blue |= (index >> (3 * shift + 2) & 1) << (7 - shift)
    return red, green, blue


def table_of(names: Sequence[str], colours: Sequence[tuple[int, int, int]] | None = None) -> tuple[ClassInfo, ...]:
    """Classes by index, and void."""
    infos = [
        ClassInfo(index, name, colours[index] if colours else voc_colour(index)) for index, name in enumerate(names)
    ]
    return (*infos, ClassInfo(VOID, "void", voc_colour(VOID), ignore=True))


STANDARD = table_of(_NAMES)
"""The twenty classes of VOC with background and void."""


def parse_labelmap(text: str, origin: str) -> tuple[ClassInfo, ...]:
    """The classes of a `labelmap.txt`.

    Raises:
        ConfigError: a line of another form, a name that stands twice, or more than 255 classes.
    """
    names, colours = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = line.rsplit(":", 3)
        name, parts = fields[0], fields[1].split(",") if len(fields) == 4 else []
        if not name.strip() or len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
            raise ConfigError(f"{origin}, line {number}: expected name:r,g,b:parts:actions, got {line[:80]!r}")
        red, green, blue = (int(part) for part in parts)
        names.append(name.strip())
        colours.append((red, green, blue))
    if len(set(names)) < len(names) or not 0 < len(names) <= VOID:
        raise ConfigError(f"{origin}: expected 1 to {VOID} classes, each once; got {len(names)}")
    if max(value for colour in colours for value in colour) > 255:
        raise ConfigError(f"{origin}: colours are 0 to 255")
    return table_of(names, colours)


def format_labelmap(classes: Sequence[ClassInfo]) -> bytes:
    """A `labelmap.txt` of classes in order of index, without void."""
    lines = ["# label:color_rgb:parts:actions"]
    for info in classes:
        if not info.ignore:
            red, green, blue = info.color or voc_colour(info.id)
            lines.append(f"{info.name}:{red},{green},{blue}::")
    return ("\n".join(lines) + "\n").encode()


def class_mask(raw: NDArray[Any], classes: Sequence[ClassInfo], origin: str) -> ClassIds:
    """A stored label image (indices or colours) as ids of the table.

    Raises:
        BadSample: `class-unknown`.
    """
    if raw.ndim == 3:
        raw = _indices_of_colours(raw, classes, origin)
    unknown = sorted(set(np.unique(raw).tolist()) - {info.id for info in classes})
    if unknown:
        message = f"{origin} has the indices {unknown[:10]}, which the class table does not name (labelmap.txt)"
        raise BadSample("class-unknown", message)
    return raw.astype(np.int32)


def _indices_of_colours(raw: NDArray[Any], classes: Sequence[ClassInfo], origin: str) -> NDArray[Any]:
    by_colour = {info.color: info.id for info in reversed(classes)}
    colours, inverse = np.unique(raw.reshape(-1, 3), axis=0, return_inverse=True)
    ids = [by_colour.get((red, green, blue)) for red, green, blue in colours.tolist()]
    if None in ids:
        colour = colours[ids.index(None)].tolist()
        raise BadSample("class-unknown", f"{origin}: the class table has no colour {colour}")
    return np.array(ids, dtype=np.int32)[inverse].reshape(raw.shape[:2])


def object_numbers(raw: NDArray[Any]) -> NDArray[np.int32]:
    """A stored object image (numbers, or VOC's colours of them) as numbers; void is 0."""
    numbers = object_indices(raw)
    return np.where(numbers == VOID, 0, numbers).astype(np.int32)


def object_indices(raw: NDArray[Any]) -> NDArray[np.int32]:
    """A stored object image (numbers, or VOC's colours of them) as numbers, void as `VOID`."""
    if raw.ndim == 3:
        packed = raw.astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
        table = {(r << 16 | g << 8 | b): n for n in range(256) for r, g, b in [voc_colour(n)]}
        colours, inverse = np.unique(packed, return_inverse=True)
        raw = np.array([table.get(colour, 0) for colour in colours.tolist()])[inverse].reshape(packed.shape)
    return raw.astype(np.int32)


def outline_objects(instances: Sequence[Instance], numbers: NDArray[np.int32]) -> tuple[Instance, ...]:
    """The objects with the masks of `numbers` (height, width); each mask goes to one object at most.

    The n-th object takes mask n where their boxes overlap by half; what is left goes by the largest overlap.
    """
    masks = {number: numbers == number for number in np.unique(numbers).tolist() if number}
    taken: dict[int, Mask] = {}
    for place, instance in enumerate(instances):
        if place + 1 in masks and _overlap(instance.box, mask_box(masks[place + 1])) >= _LEAST_OVERLAP:
            taken[place] = masks.pop(place + 1)
    boxes = {number: mask_box(mask) for number, mask in masks.items()}
    pairs = sorted(
        (-_overlap(instance.box, box), place, number)
        for place, instance in enumerate(instances)
        if place not in taken
        for number, box in boxes.items()
    )
    for overlap, place, number in pairs:
        if -overlap >= _LEAST_OVERLAP and place not in taken and number in masks:
            taken[place] = masks.pop(number)
    return tuple(replace(instance, mask=taken.get(place)) for place, instance in enumerate(instances))


def _overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.width * a.height + b.width * b.height - width * height)


def encode_palette(indices: NDArray[np.uint8], classes: Sequence[ClassInfo] = ()) -> bytes:
    """A palette PNG of (height, width) indices in VOC's colours, or in those of the classes."""
    colours = [voc_colour(index) for index in range(256)]
    for info in classes:
        colours[info.id] = info.color or colours[info.id]
    picture = PIL.fromarray(indices, mode="P")
    picture.putpalette([value for colour in colours for value in colour])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
