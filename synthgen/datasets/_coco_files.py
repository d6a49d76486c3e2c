"""Which files of a folder are COCO annotations (by where they lie, and the keys they have), and where images lie.

Here and not in `coco.py` because ImageFolder must leave such folders alone, and formats never import each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from synthgen.datasets._files import IMAGE_FOLDERS, safe_relative
from synthgen.images import open_file
from synthgen.types import BadSample

PLACES = ("annotations/*.json", "*.json", "*/_annotations.coco.json")
_BLOCK = 1 << 20
_LONGEST = 256
"""Of a key with its colon, and the white space between them."""
_IMAGES, _OBJECTS = re.compile(rb'"images"\s*:'), re.compile(rb'"(categories|bbox)"\s*:')
_SPLIT = re.compile(r"train|validation|valid|val|test|dev|eval")


def coco_files(root: Path) -> list[str]:
    """Paths below `root` of the files that hold COCO objects, sorted; captions and panoptic files are none.

    Where some are called `instances_*`, those are the objects, and the rest (keypoints, stuff) repeats their images.
    """
    found = sorted({path for place in PLACES for path in root.glob(place) if is_coco(path, root)})
    instances = [path for path in found if path.name.startswith("instances")]
    return [path.relative_to(root).as_posix() for path in instances or found]


def is_coco(path: Path, root: Path) -> bool:
    """Whether a JSON file has images and either categories or boxes: it is read until the keys of both are seen.

    Keys stand in any order, and of a big file the images may lie in the middle.
    """
    if path.name.startswith(("captions", "panoptic", "image_info")):
        return False
    images = objects = False
    try:
        with open_file(path, root) as file:
            text = b""
            while not (images and objects) and (block := file.read(_BLOCK)):
                text = text[-_LONGEST:] + block
                images = images or _IMAGES.search(text) is not None
                objects = objects or _OBJECTS.search(text) is not None
    except (BadSample, OSError):
        return False
    return images and objects


def panoptic_files(root: Path) -> list[str]:
    """Paths below `root` of COCO's panoptic tables, sorted."""
    found = {path for place in ("annotations/panoptic*.json", "panoptic*.json") for path in root.glob(place)}
    return sorted(path.relative_to(root).as_posix() for path in found)


def image_folders(path: str, given: str | None) -> list[str]:
    """Where the images of a JSON file may lie, the likeliest first; empty is the root, `given` is `source.images`."""
    parts = list(dict.fromkeys(part for part in (*_parts(path), json_split(path)) if part))
    if given is not None:
        base = safe_relative(given, "source.images")
        return [*(f"{base}/{part}" for part in parts), base]
    near = [folder for part in parts for folder in (part, *(f"{base}/{part}" for base in IMAGE_FOLDERS))]
    return list(dict.fromkeys([*near, *IMAGE_FOLDERS, path.rpartition("/")[0], ""]))


def looked_in(path: str, given: str | None) -> str:
    """What `image_folders` gives, for a message."""
    return f"looked in {', '.join(folder or 'the root' for folder in image_folders(path, given))}"


def no_images(root: Path, paths: Sequence[str], given: str | None) -> str:
    """The message where no image of any JSON file is there."""
    places = "; ".join(f"for {path} {looked_in(path, given)}" for path in paths[:3])
    return (
        f"{root}: none of the images that {', '.join(paths)} name is there: {places}. Name the folder that their "
        "file_name is relative to as source.images"
    )


def join_folder(folder: str, name: str) -> str:
    """`folder/name`; an empty folder is the root."""
    return f"{folder}/{name}" if folder else name


def json_split(path: str) -> str | None:
    """The split that the name of a JSON file, or its folder, starts with: `instances_train2017` is `train`."""
    parent = PurePosixPath(path).parent.name
    for text in (*_parts(path), parent):
        if found := _SPLIT.match(text.lower()):
            return found.group()
    return None


def _parts(path: str) -> list[str]:
    """What follows the first and the last `_` in the name of a JSON file, and the name (`person_keypoints_train`)."""
    stem = PurePosixPath(path).stem
    return [part for part in dict.fromkeys((stem.partition("_")[2], stem.rpartition("_")[2], stem)) if part]
