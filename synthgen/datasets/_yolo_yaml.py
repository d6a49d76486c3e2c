"""The YAML of a YOLO dataset: class names, and which folders or lists make up each split. Nothing outside is believed.

`path` is where the author's copy lies, often absolute: it is not followed, the dataset lies where its YAML does. Nor is
it released: Ultralytics looks there, or below its own folder of datasets, and would train on the originals.
`train: ../train/images`, as Roboflow writes, means `train/images` beside the YAML, as Ultralytics reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from synthgen.datasets._files import read_table, safe_relative
from synthgen.types import ConfigError

NAMES = ("data.yaml", "dataset.yaml", "data.yml")
SPLIT_KEYS = ("train", "val", "test")
MAX_YAML_BYTES = 1 << 20
_PATH_LINE = re.compile(rb"(?m)^path[ \t]*:.*\n?")
_LABEL_KEYS = ("nc", "names", "kpt_shape", "flip_idx", "kpt_names")


@dataclass(frozen=True, eq=False)
class DataYaml:
    """`names` by class number; `places` of a split are folders or lists below the root; `keypoints` as `kpt_shape`.

    `folder` is what `path` names below the root; empty where it is the root, or `path` leads elsewhere.
    """

    names: Mapping[int, str]
    places: Mapping[str, Sequence[str]]
    keypoints: tuple[int, int] | None
    point_names: Mapping[int, tuple[str, ...]]
    value: Mapping[str, Any]
    folder: str

    def without_origin(self) -> dict[str, Any]:
        """What may be released of it: splits, names and keypoints; no path, URL or script."""
        return self._splits() | {key: self.value[key] for key in _LABEL_KEYS if key in self.value}

    def without_path(self, text: bytes) -> bytes:
        """The YAML `text` without its `path`: less that line, or written anew where the splits are relative to it."""
        if not self.value.get("path"):
            return text
        kept = {key: value for key, value in self.value.items() if key != "path"}
        if self.folder:
            return dump_yaml(kept | self._splits())
        rest = _PATH_LINE.sub(b"", text, count=1)
        try:
            return rest if yaml.safe_load(rest) == kept else dump_yaml(kept)
        except yaml.YAMLError:
            return dump_yaml(kept)

    def _splits(self) -> dict[str, Any]:
        return {split: places[0] if len(places) == 1 else list(places) for split, places in self.places.items()}


def dump_yaml(value: Mapping[str, object]) -> bytes:
    """A mapping as YAML, in its order."""
    return yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True).encode()


def find_yaml(root: Path) -> str | None:
    """The YAML in `root` that describes a YOLO dataset by its name, or None."""
    return next((name for name in NAMES if (root / name).is_file()), None)


def read_data_yaml(root: Path, name: str) -> DataYaml:
    """The YAML `name` below `root`.

    Raises:
        ConfigError: not YAML, an alias, no names, names that are not a list or a mapping from numbers, a split that
            leaves the root.
    """
    text = read_table(root / name, root, MAX_YAML_BYTES)
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ConfigError(f"{name}: YAML aliases (*name) are not accepted; write the value out")
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{name}: can't be read as YAML: {error}") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{name}: expected a mapping with names and train, got {type(value).__name__}")
    names = _parse_names(value.get("names"), name)
    base = value.get("path")
    inside = isinstance(base, str) and _is_below(base) and (root / base).is_dir()
    folder = PurePosixPath(safe_relative(base, f"{name}: path")).as_posix() if inside and base not in (".", "") else ""
    places = {
        split: _parse_places(root, folder, value[split], f"{name}: {split}") for split in SPLIT_KEYS if value.get(split)
    }
    if not places:
        raise ConfigError(f"{name}: expected train, val or test, with a folder of images or a list of them")
    point_names = value.get("kpt_names")
    return DataYaml(
        names,
        places,
        _parse_keypoints(value.get("kpt_shape"), name),
        _parse_point_names(point_names) if isinstance(point_names, dict) else {},
        value,
        folder if folder != "." else "",
    )


def _parse_names(value: Any, origin: str) -> dict[int, str]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        raise ConfigError(f"{origin}: expected names, a list or a mapping from class numbers, got {value!r}")
    for number, name in value.items():
        if type(number) is not int or not 0 <= number < 1 << 16 or not isinstance(name, str | int | float):
            raise ConfigError(f"{origin}: names must be a number and a name each, got {number!r}: {name!r}")
    names = {number: str(name) for number, name in sorted(value.items())}
    if len(set(names.values())) < len(names):
        raise ConfigError(f"{origin}: class names that stand twice")
    return names


def _parse_point_names(value: Mapping[Any, Any]) -> dict[int, tuple[str, ...]]:
    return {
        number: tuple(str(name) for name in names)
        for number, names in value.items()
        if type(number) is int and isinstance(names, list)
    }


def _parse_keypoints(value: Any, origin: str) -> tuple[int, int] | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 2 or not all(type(part) is int for part in value):
        raise ConfigError(f"{origin}: kpt_shape must be [keypoints, 2 or 3], got {value!r}")
    count, numbers = value
    if not 0 < count <= 1000 or numbers not in (2, 3):
        raise ConfigError(f"{origin}: kpt_shape must be [keypoints, 2 or 3], got {value!r}")
    return count, numbers


def _parse_places(root: Path, folder: str, value: Any, origin: str) -> list[str]:
    places = []
    for text in value if isinstance(value, list) else [value]:
        if isinstance(text, str) and text.startswith("../"):
            text = text[3:]
        place = safe_relative(text, origin)
        below = PurePosixPath(folder, place).as_posix()
        places.append(below if (root / below).exists() else place)
    return places


def _is_below(text: str) -> bool:
    return not text.startswith("/") and ".." not in PurePosixPath(text).parts and "\\" not in text and ":" not in text
