"""Between objects and masks: a mask painted from outlined objects, objects cut from a mask, polygons around a mask.

Formats that hold the one and not the other need these, whichever format the labels came from.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from synthgen.types import Box, ClassIds, ClassInfo, Instance, Labels, Mask, Points

Size = tuple[int, int]
"""(width, height) in pixels."""


def paint_objects(instances: Sequence[Instance], void: int, size: Size) -> ClassIds | None:
    """Class ids (height, width) from outlines, crowds first, then large to small; None where there is no outline.

    Pixels outside every outline are `void`.
    """
    outlined = [(instance, instance.mask) for instance in instances if instance.mask is not None]
    if not outlined:
        return None
    ids = np.full((size[1], size[0]), void, dtype=np.int32)
    for instance, mask in sorted(outlined, key=lambda pair: (not pair[0].crowd, -int(pair[1].sum()))):
        ids[mask] = instance.class_id
    return ids


def areas_beside_objects(labels: Labels, size: Size) -> Iterator[Instance]:
    """What the mask says and the objects do not: one outlined area for each class, in order of id.

    Classes that carry no label are no areas; neither are classes with an object that has only a box, since its pixels
    can't be told from the rest.
    """
    if labels.mask is None:
        return
    skip = {info.id for info in labels.classes if info.ignore}
    skip |= {instance.class_id for instance in labels.instances if instance.mask is None}
    painted = paint_objects(labels.instances, -1, size)
    left = np.ones(labels.mask.shape, np.bool_) if painted is None else labels.mask != painted
    for class_id in np.unique(labels.mask[left]).tolist():
        if class_id not in skip:
            area = (labels.mask == class_id) & left
            yield Instance(class_id, mask_box(area), area)


def mask_box(mask: Mask) -> Box:
    """The box around a mask that is not empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    return Box(float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))


def polygon_mask(polygons: Iterable[Points], size: Size) -> Mask:
    """The union of (n, 2) polygons as a mask (height, width), rasterised as COCO does."""
    rings = [polygon.ravel().tolist() for polygon in polygons]
    merged = coco_mask.merge(coco_mask.frPyObjects(rings, size[1], size[0]))
    return coco_mask.decode(merged).astype(np.bool_)


def mask_rings(mask: Mask) -> list[Points]:
    """The borders of a mask along the edges of its pixels, as closed (n, 2) rings, those of holes too.

    Filled by the even-odd rule they give the mask again, to the pixel. Where two pixels touch at a corner only, the
    rings stay apart.
    """
    after: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    padded = np.pad(mask, 1)
    # Every edge runs with the inside on its right: to the right along the top of a pixel, down its right side, ….
    inside, above, left = padded[1:-1, 1:-1], padded[:-2, 1:-1], padded[1:-1, :-2]
    below, right = padded[2:, 1:-1], padded[1:-1, 2:]
    for edges, start, end in (
        (inside & ~above, (0, 0), (1, 0)),
        (inside & ~right, (1, 0), (1, 1)),
        (inside & ~below, (1, 1), (0, 1)),
        (inside & ~left, (0, 1), (0, 0)),
    ):
        for y, x in np.argwhere(edges).tolist():
            after[x + start[0], y + start[1]].append((x + end[0], y + end[1]))
    rings = []
    while after:
        rings.append(_ring(next(iter(after)), after))
    return rings


def _ring(first: tuple[int, int], after: dict[tuple[int, int], list[tuple[int, int]]]) -> Points:
    """Take one ring out of the edges; at a corner where two meet it turns right, so that it stays with its pixel."""
    corners: list[tuple[int, int]] = []
    here, step = first, (0, 0)
    while True:
        ends = after[here]
        right = (here[0] - step[1], here[1] + step[0])
        there = right if len(ends) > 1 and right in ends else ends[0]
        ends.remove(there)
        if not ends:
            del after[here]
        turn = (there[0] - here[0], there[1] - here[1])
        if turn != step:
            corners.append(here)
        here, step = there, turn
        if here == first:
            return np.array(corners, dtype=np.float64)


def join_rings(rings: Sequence[Points]) -> Points:
    """One ring out of several, by bridges that are walked both ways and so enclose nothing (as Ultralytics does)."""
    joined: NDArray[Any] = rings[0]
    for ring in rings[1:]:
        here = int(((joined - ring[0]) ** 2).sum(axis=1).argmin())
        joined = np.concatenate([joined[: here + 1], ring, ring[:1], joined[here:]])
    return joined


def outline(instance: Instance) -> tuple[Points, ...]:
    """The polygons of an outlined object: those of its label, else the rings around its mask."""
    if instance.polygons or instance.mask is None:
        return instance.polygons
    return tuple(mask_rings(instance.mask))


def dense_ids(classes: Sequence[ClassInfo], first: int) -> dict[int, int]:
    """Ids without gaps from `first`, in order of the old ones, for the classes that carry a label."""
    kept = sorted(info.id for info in classes if not info.ignore)
    return {class_id: number for number, class_id in enumerate(kept, start=first)}
