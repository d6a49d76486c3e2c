"""Signs that images have labels beside them, which a plain folder of images would leave behind without a word.

ImageFolder takes any folder, so it must leave alone what another format, one folder deeper or with one file more, would
read with its labels: a release without them looks whole. Class folders are no sign, nor are captions (`a.txt` in
words): folders called `mask`, as in sets of face masks, count only beside an image folder or with label files in them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from synthgen.datasets._coco_files import coco_files, is_coco, panoptic_files
from synthgen.datasets._files import IMAGE_FOLDERS, LABEL_FOLDERS, is_image, is_number, list_files
from synthgen.images import open_file
from synthgen.types import BadSample

_YAMLS = frozenset({"data.yaml", "dataset.yaml", "data.yml"})
_TOP = frozenset(name.lower() for name in LABEL_FOLDERS) | _YAMLS | {"classes.csv", "leftimg8bit", "jpegimages"}
"""Entries of the root, empty folders too."""
_MAYBE = frozenset({"mask", "label", "gt"})
_DEEP = frozenset(
    {"labels", "masks", "annotations", "segmentationclass", "segmentationobject", "jpegimages", "imagesets"}
) | {"leftimg8bit", "gtfine", "gtcoarse"}
"""Folders at any depth."""
_IMAGE_FOLDERS = frozenset(name.lower() for name in IMAGE_FOLDERS)
_BESIDE = frozenset({".txt", ".xml", ".json"})
_TABLES = frozenset({".csv", ".json", ".txt", ".xml"})
_BOX_COLUMNS = frozenset({"xmin", "xmax", "x_min", "x_max", "x1", "bbox"})
_MOST_FILES, _LOOK = 50, 1 << 14
_ADVICE = {
    ".txt": "rows of YOLO need a data.yaml with names, train and val in the root (source.format: yolo)",
    ".xml": "format voc reads XML files in Annotations/ of images in JPEGImages/, both in the root",
    ".json": "COCO objects are read with source.format: coco, the file under source.annotations and the image folder "
    "under source.images; convert other JSON to COCO first",
    ".csv": "convert the table to COCO, or name it metadata.csv with a column file_name (then it holds attributes)",
    ".png": "label images need classes.csv with id,name in the root, and folders images/ and labels/ "
    "(source.format: masks)",
}


@dataclass(frozen=True)
class LabelSign:
    """`path` below the root is what shows that there are labels, `advice` how they may be read."""

    path: str
    advice: str


def find_labels(root: Path) -> LabelSign | None:
    """The first sign of labels; None where there are images alone, in class folders or not, or no images."""
    files = list_files(root).files
    if not any(map(is_image, files)):
        return None
    path = (
        next((entry.name for entry in sorted(root.iterdir()) if entry.name.lower() in _TOP), None)
        or next(iter(coco_files(root) or panoptic_files(root)), None)
        or _label_folder(files)
        or _label_file(files, root)
        or _label_table(files, root)
    )
    return LabelSign(path, _advice(path, files)) if path is not None else None


def _advice(path: str, files: Iterable[str]) -> str:
    """By the first label file below `path`, which may be the file itself."""
    inside = [name for name in files if name == path or name.startswith(f"{path}/")]
    suffixes = [PurePosixPath(name).suffix.lower() for name in inside]
    return next((_ADVICE[suffix] for suffix in suffixes if suffix in _ADVICE), "give the folder of the set itself")


def _label_folder(files: Sequence[str]) -> str | None:
    inner = {PurePosixPath(path.rpartition("/")[0]) for path in files}
    folders = {folder.as_posix() for path in inner for folder in (path, *path.parents)} - {"."}
    lower = {folder.lower() for folder in folders}
    told = {PurePosixPath(path).parent.as_posix() for path in files if PurePosixPath(path).suffix.lower() in _BESIDE}
    for folder in sorted(folders):
        name, parent = PurePosixPath(folder).name.lower(), PurePosixPath(folder).parent
        if name in _DEEP:
            return folder
        beside = any((parent / image).as_posix().lower() in lower for image in _IMAGE_FOLDERS)
        if name in _MAYBE and (beside or folder in told):
            return folder
    return next((path for path in files if PurePosixPath(path).name in _YAMLS), None)


def _label_file(files: Sequence[str], root: Path) -> str | None:
    """A file that has the name of an image: `a.xml`, `a.json`, `a.jpg.json`, or `a.txt` that is mostly numbers."""
    names = {PurePosixPath(path).name for path in files if is_image(path)}
    stems = names | {PurePosixPath(name).stem for name in names}
    beside = [path for path in files if PurePosixPath(path).suffix.lower() in _BESIDE]
    beside = [path for path in beside if PurePosixPath(path).stem in stems]
    texts = [path for path in beside if path.lower().endswith(".txt")]
    other = next((path for path in beside if path not in set(texts)), None)
    return other or next((path for path in texts[:_MOST_FILES] if _holds_numbers(_start(root / path, root))), None)


def _holds_numbers(text: str) -> bool:
    words = text.split()
    return sum(is_number(word) for word in words) > len(words) / 2


def _label_table(files: Sequence[str], root: Path) -> str | None:
    """A file with the labels of many images: called annotations, a CSV with boxes, or COCO's JSON."""
    tables = [path for path in files if PurePosixPath(path).suffix.lower() in _TABLES]
    for path in tables[:_MOST_FILES]:
        pure = PurePosixPath(path)
        if "annotation" in pure.name.lower() or (pure.suffix == ".json" and is_coco(root / path, root)):
            return path
        if pure.suffix == ".csv" and pure.name != "metadata.csv":
            header = _start(root / path, root).partition("\n")[0]
            if _BOX_COLUMNS & {cell.strip().strip('"').lower() for cell in header.split(",")}:
                return path
    return None


def _start(path: Path, root: Path) -> str:
    try:
        with open_file(path, root) as file:
            return file.read(_LOOK).decode("utf-8", "replace")
    except (BadSample, OSError):
        return ""
