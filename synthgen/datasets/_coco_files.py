"""Which files of a folder are COCO annotations: by where they lie, then by a look at their ends, without parsing.

Here and not in `coco.py` because ImageFolder must leave such folders alone, and formats never import each other.
"""

from __future__ import annotations

from pathlib import Path

from synthgen.images import open_file
from synthgen.types import BadSample

PLACES = ("annotations/*.json", "*.json", "*/_annotations.coco.json")
_LOOK = 1 << 16


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
