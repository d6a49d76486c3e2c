"""Which files of a folder are COCO annotations (by where they lie, and a look at their ends), and where images lie.

Here and not in `coco.py` because ImageFolder must leave such folders alone, and formats never import each other.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from synthgen.datasets._files import IMAGE_FOLDERS, safe_relative
from synthgen.images import open_file
from synthgen.types import BadSample

PLACES = ("annotations/*.json", "*.json", "*/_annotations.coco.json")
_LOOK = 1 << 16
_SPLIT = re.compile(r"train|validation|valid|val|test|dev|eval")


def coco_files(root: Path) -> list[str]:
    """Paths below `root` of the files that hold COCO objects, sorted; captions and panoptic files are none.

    Where some are called `instances_*`, those are the objects, and the rest (keypoints, stuff) repeats their images.
    """
    found = sorted({path for place in PLACES for path in root.glob(place) if _is_coco(path, root)})
    instances = [path for path in found if path.name.startswith("instances")]
    return [path.relative_to(root).as_posix() for path in instances or found]


def _is_coco(path: Path, root: Path) -> bool:
    """Whether the ends of a JSON file show images and either categories or boxes."""
    if path.name.startswith(("captions", "panoptic", "image_info")):
        return False
    try:
        with open_file(path, root) as file:
            ends = file.read(_LOOK)
            file.seek(max(_LOOK, path.stat().st_size - _LOOK))
            ends += file.read(_LOOK)
    except (BadSample, OSError):
        return False
    return b'"images"' in ends and (b'"categories"' in ends or b'"bbox"' in ends)


def panoptic_files(root: Path) -> list[str]:
    """Paths below `root` of COCO's panoptic tables, sorted."""
    found = {path for place in ("annotations/panoptic*.json", "panoptic*.json") for path in root.glob(place)}
    return sorted(path.relative_to(root).as_posix() for path in found)


def image_folders(path: str, given: str | None) -> list[str]:
    """Where the images of a JSON file may lie, the likeliest first; empty is the root, `given` is `source.images`."""
    parts = _parts(path)
    if given is not None:
        base = safe_relative(given, "source.images")
        return [*(f"{base}/{part}" for part in parts), base]
    near = [folder for part in parts for folder in (part, *(f"{base}/{part}" for base in IMAGE_FOLDERS))]
    return list(dict.fromkeys([*near, *IMAGE_FOLDERS, path.rpartition("/")[0], ""]))


def join_folder(folder: str, name: str) -> str:
    """`folder/name`; an empty folder is the root."""
    return f"{folder}/{name}" if folder else name


def json_split(path: str) -> str | None:
    """The split that the name of a JSON file, or its folder, starts with: `instances_train2017` is `train`."""
    parent, stem = PurePosixPath(path).parent.name, PurePosixPath(path).stem
    for text in (*_parts(path), stem, parent):
        if found := _SPLIT.match(text.lower()):
            return found.group()
    return None


def _parts(path: str) -> list[str]:
    """What follows the first and the last `_` in the name of a JSON file: `person_keypoints_train2017`."""
    stem = PurePosixPath(path).stem
    return [part for part in dict.fromkeys((stem.partition("_")[2], stem.rpartition("_")[2])) if part and part != stem]
