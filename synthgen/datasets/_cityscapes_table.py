"""Cityscapes' own class table, and how object numbers lie in its images.

Ids, names, colours and which classes have single objects are those of `labels.py` in cityscapesScripts. The category
`void` (ids 0 to 6) carries no label. In an `instanceIds` image a pixel is `id × 1000 + number` where its object is told
apart, else `id`: then an object class shows a group. So objects of a class 0 could not be told apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from synthgen.datasets._objects import mask_box
from synthgen.types import ClassIds, ClassInfo, Instance

MAX_ID = 65
"""The largest id whose objects fit in 16 bits."""
PER_CLASS = 1000
_ROWS = (
    *((0, "unlabeled", 0, 0, 0), (1, "ego vehicle", 0, 0, 0), (2, "rectification border", 0, 0, 0)),
    *((3, "out of roi", 0, 0, 0), (4, "static", 0, 0, 0), (5, "dynamic", 111, 74, 0), (6, "ground", 81, 0, 81)),
    *((7, "road", 128, 64, 128), (8, "sidewalk", 244, 35, 232), (9, "parking", 250, 170, 160)),
    *((10, "rail track", 230, 150, 140), (11, "building", 70, 70, 70), (12, "wall", 102, 102, 156)),
    *((13, "fence", 190, 153, 153), (14, "guard rail", 180, 165, 180), (15, "bridge", 150, 100, 100)),
    *((16, "tunnel", 150, 120, 90), (17, "pole", 153, 153, 153), (18, "polegroup", 153, 153, 153)),
    *((19, "traffic light", 250, 170, 30), (20, "traffic sign", 220, 220, 0), (21, "vegetation", 107, 142, 35)),
    *((22, "terrain", 152, 251, 152), (23, "sky", 70, 130, 180), (24, "person", 220, 20, 60), (25, "rider", 255, 0, 0)),
    *((26, "car", 0, 0, 142), (27, "truck", 0, 0, 70), (28, "bus", 0, 60, 100), (29, "caravan", 0, 0, 90)),
    *((30, "trailer", 0, 0, 110), (31, "train", 0, 80, 100), (32, "motorcycle", 0, 0, 230)),
    (33, "bicycle", 119, 11, 32),
)
STANDARD = tuple(ClassInfo(number, name, (r, g, b), ignore=number <= 6) for number, name, r, g, b in _ROWS)
COUNTED = frozenset({"person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle"})
"""Classes with single objects."""


def read_objects(numbers: NDArray[np.int32], classes: Sequence[ClassInfo]) -> tuple[Instance, ...]:
    """The objects of an `instanceIds` image (height, width), in order of number; groups are crowds."""
    groups = {info.id for info in classes if info.name in COUNTED}
    known = {info.id for info in classes if not info.ignore}
    found = []
    for number in np.unique(numbers).tolist():
        class_id = number // PER_CLASS if number >= PER_CLASS else number
        if class_id in known and (number >= PER_CLASS or class_id in groups):
            mask = numbers == number
            found.append(Instance(class_id, mask_box(mask), mask, crowd=number < PER_CLASS))
    return tuple(found)


def draw_objects(mask: ClassIds, instances: Sequence[Instance]) -> tuple[NDArray[np.uint16], int]:
    """An `instanceIds` image, smaller objects on top, and how many objects lose pixels.

    An object has no pixels where the mask (height, width) has another class: `labelIds` and `instanceIds` agree.
    """
    drawn = mask.astype(np.uint16)
    next_of: dict[int, int] = {}
    numbered = []
    for one in instances:
        if one.mask is not None and not one.crowd:
            number = next_of.get(one.class_id, 0)
            next_of[one.class_id] = number + 1
            if number < PER_CLASS:
                numbered.append((one.class_id * PER_CLASS + number, one.mask & (mask == one.class_id), one.mask))
    for number, visible, _ in sorted(numbered, key=lambda entry: -int(entry[1].sum())):
        drawn[visible] = number
    hidden = sum(bool((whole & (drawn != number)).any()) for number, _, whole in numbered)
    return drawn, hidden + sum(max(0, count - PER_CLASS) for count in next_of.values())
