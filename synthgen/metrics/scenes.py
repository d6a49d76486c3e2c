"""Scenes: the units that are drawn, permuted and resampled, since frames of one scene are no independent images.

Where a scene's name comes from, first rule that applies:
1. the column the user names, else the first attribute of `SCENE_COLUMNS`;
2. the file name's prefix, where names end in a separator and a number (`0001TP_006690`, `Seq05VD_f00330` → `0001TP`,
   `Seq05VD`; other names are scenes by themselves), unless all images or all images of an image class share one, or
   no two images do;
3. the folder, unless folders are classes or there is but one;
4. the image itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.types import ConfigError

SCENE_COLUMNS = ("sequence", "scene", "video", "clip")
MIN_UNITS = 20
"""With fewer scenes a permutation test can't reach a corrected level: they are cut into stretches."""
_FRAME = re.compile(r"(?P<prefix>.*[^\W_])[_.\-]+[A-Za-z]{0,5}\d+")


def scene_names(
    ids: Sequence[str],
    image_classes: Sequence[str | None],
    attributes: Sequence[Mapping[str, Any]],
    column: str | None = None,
) -> tuple[list[str], str]:
    """One scene name an image, and the rule that gave them (`column …`, `file name`, `folder`, `image`).

    Args:
        ids: paths of the images below the root, with forward slashes.
        image_classes: the class of each image, None where it has none.
        attributes: the columns of each image.
        column: the column the user names.

    Raises:
        ConfigError: `column` is in no image's attributes.
    """
    wanted = [column] if column else [name for name in SCENE_COLUMNS if any(name in row for row in attributes)]
    if wanted:
        if ids and not any(wanted[0] in row for row in attributes):
            there = sorted({name for row in attributes for name in row})
            raise ConfigError(f"--scene {wanted[0]}: no image has that column; there are: {', '.join(there) or 'none'}")
        return [f"{wanted[0]}={row.get(wanted[0])}" for row in attributes], f"column {wanted[0]}"
    matches = [_FRAME.fullmatch(PurePosixPath(path).stem) for path in ids]
    prefixes = [match["prefix"] if match else path for match, path in zip(matches, ids, strict=True)]
    classes_by_prefix = {(prefix, name) for prefix, name in zip(prefixes, image_classes, strict=True)}
    a_class_each = any(image_classes) and len({name for _, name in classes_by_prefix}) == len(classes_by_prefix)
    if 1 < len(set(prefixes)) < len(ids) and not a_class_each:
        return prefixes, "file name"
    folders = [str(PurePosixPath(path).parent) for path in ids]
    if len(set(folders)) > 3 and not any(image_classes):
        return folders, "folder"
    return list(ids), "image"


def scene_units(names: Sequence[str], min_units: int = MIN_UNITS) -> tuple[NDArray[np.int64], bool]:
    """Scenes as unit numbers (n,), and whether they had to be cut.

    Fewer than `min_units` scenes are cut into stretches of consecutive images (in the order given) of about equal
    length, at least `min_units` of them where there are as many images. Stretches of one scene are alike, so p values
    and intervals are then too optimistic; the report says so.
    """
    _, unit = np.unique(np.asarray(names, dtype=object).astype(str), return_inverse=True)
    unit = unit.astype(np.int64).reshape(-1)
    scenes, count = int(unit.max(initial=-1)) + 1, len(unit)
    if scenes >= min_units or scenes == count:
        return unit, False
    length = max(1, count // (2 * min_units))
    cut = np.empty(count, dtype=np.int64)
    following = 0
    for scene in range(scenes):
        where = np.flatnonzero(unit == scene)
        stretch = np.arange(len(where)) // length
        cut[where] = following + stretch
        following += int(stretch[-1]) + 1
    return cut, True


def split_units(units: NDArray[np.int64], parts: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Rows of `parts` disjoint sets of about equal size that share no unit.

    Units come in random order, each goes to the set that is smallest by then: exact for single images.
    """
    values, inverse, sizes = np.unique(units, return_inverse=True, return_counts=True)
    order = rng.permutation(len(values))
    if sizes.max(initial=0) <= 1:
        owner = np.empty(len(values), dtype=np.int64)
        owner[order] = np.arange(len(values)) % parts
    else:
        owner, filled = np.empty(len(values), dtype=np.int64), np.zeros(parts)
        for value in order:
            owner[value] = int(np.argmin(filled))
            filled[owner[value]] += sizes[value]
    return [np.flatnonzero(owner[inverse] == part) for part in range(parts)]
