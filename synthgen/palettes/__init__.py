"""Palettes (class names and their colours) and class maps (a dataset's class names → a palette's names).

A segmentation ControlNet reads colours, not names: it means nothing unless a map is painted in the palette that it was
trained with. So a dataset's classes are carried by name into a palette first. Both are plain YAML beside this file and
both may come from the user's own file:

    palette:    - {name: hair, color: [90, 50, 0], part_of: person}      # the order gives the ids 1..N
    class map:  Pedestrian: person                                       # in every palette
                coat: {ade20k: person, starter: upper clothes}           # a name for each palette
                Void: null                                               # nothing: unknown, black

Id 0 is always `unknown`, black. Class names are compared without regard to case, and with `_` and `-` as spaces;
where a model names synonyms (`road, route`), the first counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from synthgen.types import ClassIds, ConfigError, Image

UNKNOWN = "unknown"
PALETTES = ("ade20k", "starter")
CLASS_MAPS = ("ade20k", "starter", "camvid", "cityscapes", "clothing", "coco", "voc")
"""The maps that come with the package, in the order in which `auto` tries them."""
MAX_YAML_BYTES = 1 << 20
_FOLDER = Path(__file__).parent

Target = str | None | Mapping[str, str | None]
"""What a class becomes: a palette name, None (unknown), or one of these for each palette by its name."""
ClassMap = Mapping[str, Target]
"""Class name → target."""


@dataclass(frozen=True)
class PaletteClass:
    """One entry; `part_of` names the entry that it is a part of (`hair` is a part of `person`)."""

    name: str
    color: tuple[int, int, int]
    part_of: str | None = None


@dataclass(frozen=True)
class Palette:
    """`name` is that of a shipped palette, or `custom`: class maps with a target for each palette look it up."""

    name: str
    classes: tuple[PaletteClass, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Name by id: `unknown`, then the entries in order."""
        return (UNKNOWN, *(entry.name for entry in self.classes))

    @property
    def colors(self) -> NDArray[np.uint8]:
        """(N + 1, 3) RGB by id; row 0 is black."""
        return np.array([(0, 0, 0), *(entry.color for entry in self.classes)], dtype=np.uint8)

    def id_of(self, name: str) -> int:
        """Raises KeyError where the palette has no such name."""
        names = self.names
        if name not in names:
            raise KeyError(name)
        return names.index(name)

    def paint(self, ids: ClassIds) -> Image:
        """Ids (height, width) in 0..N → RGB (height, width, 3)."""
        return self.colors[ids]


def load_palette(name: str) -> Palette:
    """A shipped palette by name, or one from a YAML file.

    Raises:
        ConfigError: no such palette or file, or an entry that is not {name, color, part_of}.
    """
    if name in PALETTES:
        return _shipped_palette(name)
    return parse_palette(_read_yaml(name, "palette", PALETTES), name)


def parse_palette(entries: Any, origin: str, name: str = "custom") -> Palette:
    """Validate a list of {name, color: [r, g, b], part_of} in 0..255.

    Raises:
        ConfigError: what is wrong and where: not a list, a missing or double name, a bad or black colour, a part of
            something that the palette lacks.
    """
    if not isinstance(entries, list | tuple) or not entries:
        raise ConfigError(
            f"palette {origin}: expected a list of {{name, color: [r, g, b]}}, got {type(entries).__name__}"
        )
    classes = tuple(_parse_entry(entry, f"palette {origin}, entry {place}") for place, entry in enumerate(entries, 1))
    names = [entry.name for entry in classes]
    doubles = sorted({entry for entry in names if names.count(entry) > 1} | {UNKNOWN} & set(names))
    if doubles:
        raise ConfigError(f"palette {origin}: every name may stand once and {UNKNOWN!r} is taken (id 0): {doubles}")
    for entry in classes:
        if entry.part_of is not None and entry.part_of not in names:
            raise ConfigError(f"palette {origin}: {entry.name!r} is a part of {entry.part_of!r}, which is no entry")
    return Palette(name, classes)


def _parse_entry(entry: Any, where: str) -> PaletteClass:
    if isinstance(entry, PaletteClass):
        return entry
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise ConfigError(f"{where}: expected {{name, color: [r, g, b]}}, got {entry!r}")
    extra = sorted(str(key) for key in set(entry) - {"name", "color", "part_of"})
    part_of = entry.get("part_of")
    if extra or not (part_of is None or isinstance(part_of, str)):
        raise ConfigError(f"{where} ({entry['name']}): expected name, color and part_of (a name), got {entry!r}")
    color = entry.get("color")
    if (
        not isinstance(color, list | tuple)
        or len(color) != 3
        or not all(type(v) is int and 0 <= v < 256 for v in color)
    ):
        raise ConfigError(f"{where} ({entry['name']}): color must be three whole numbers in 0..255, got {color!r}")
    if not any(color):
        raise ConfigError(f"{where} ({entry['name']}): black is the colour of {UNKNOWN!r}; choose another")
    return PaletteClass(entry["name"], (color[0], color[1], color[2]), part_of)


def part_of(name: str, palette: str = "starter") -> str:
    """The whole that a class is a part of in `palette` (`hair` → `person`), or the name itself.

    People's parts say more about a person than an outline does, so a protector may paint the whole in their place.
    """
    for entry in load_palette(palette).classes:
        if entry.name == name and entry.part_of is not None:
            return entry.part_of
    return name


def load_class_map(name: str) -> ClassMap:
    """A shipped class map by name, or one from a YAML file.

    Raises:
        ConfigError: no such map or file, or not a mapping of class names to targets.
    """
    if name in CLASS_MAPS:
        return _shipped_class_map(name)
    return parse_class_map(_read_yaml(name, "class map", CLASS_MAPS), name)


def parse_class_map(value: Any, origin: str) -> ClassMap:
    """Validate a mapping of class names to targets; names that differ only in case or `_` are one.

    Raises:
        ConfigError: not a mapping, a key that is no text, a target of another kind, or a class that stands twice.
    """
    if not isinstance(value, Mapping) or not value:
        raise ConfigError(f"class map {origin}: expected a mapping of class names, got {type(value).__name__}")
    seen: set[str] = set()
    for key, target in value.items():
        targets = target.values() if isinstance(target, Mapping) else (target,)
        if not isinstance(key, str) or not all(part is None or isinstance(part, str) for part in targets):
            raise ConfigError(
                f"class map {origin}: {key!r}: {target!r} is not `class: palette name`, `class: null` or "
                "`class: {palette: name}` (write a class called null in quotes)"
            )
        if normal_name(key) in seen:
            raise ConfigError(f"class map {origin}: the class {key!r} stands twice")
        seen.add(normal_name(key))
    return dict(value)


def map_classes(names: Iterable[str], class_map: str | ClassMap, palette: Palette, key: str) -> dict[str, int]:
    """Every class name → its id in the palette; 0 where the map says null, and for a class called `unknown`.

    Args:
        class_map: a map, or `auto`: the palette's own names, else the first shipped map that holds every class.
        key: the config key that an error tells the user to change.

    Raises:
        ConfigError: names the class that has no entry, or whose target is not in the palette, and `key`.
    """
    unique = list(dict.fromkeys(names))
    wanted = [name for name in unique if normal_name(name) != UNKNOWN]
    if class_map == "auto":
        class_map = _matching_map(wanted, palette, key)
    elif isinstance(class_map, str):
        class_map = load_class_map(class_map)
    entries = {normal_name(name): target for name, target in class_map.items()}
    result = dict.fromkeys(unique, 0)
    for name in wanted:
        found = _entry_of(name, entries)
        if found is None:
            raise ConfigError(f"the class {name!r} has no entry in the class map; add it (or null for unknown): {key}")
        result[name] = _palette_id(name, entries[found], palette, key)
    return result


def normal_name(name: str) -> str:
    """Lower case, `_` and `-` as spaces, single spaces."""
    return " ".join(name.lower().replace("_", " ").replace("-", " ").split())


def _matching_map(wanted: list[str], palette: Palette, key: str) -> ClassMap:
    candidates: dict[str, ClassMap] = {"the palette's own names": {name: name for name in palette.names[1:]}}
    candidates |= {name: _shipped_class_map(name) for name in CLASS_MAPS}
    missing: dict[str, list[str]] = {}
    for origin, candidate in candidates.items():
        entries = {normal_name(name): target for name, target in candidate.items()}
        missing[origin] = [name for name in wanted if _entry_of(name, entries) is None]
        if not missing[origin]:
            return candidate
    nearest = min(missing, key=lambda origin: len(missing[origin]))
    raise ConfigError(
        f"no shipped class map holds every class; the nearest, {nearest}, has no entry for the class "
        f"{missing[nearest][0]!r} ({len(missing[nearest])} of {len(wanted)} missing); set {key} to one of "
        f"{', '.join(CLASS_MAPS)}, to a YAML file, or to a mapping {{class: palette name}}"
    )


def _entry_of(name: str, entries: Mapping[str, Target]) -> str | None:
    """The key of `entries` for a class name: all of it, else its first synonym."""
    whole, first = normal_name(name), normal_name(name.replace(";", ",").split(",")[0])
    return next((key for key in (whole, first) if key in entries), None)


def _palette_id(name: str, target: Target, palette: Palette, key: str) -> int:
    if isinstance(target, Mapping):
        if palette.name not in target:
            raise ConfigError(
                f"the class {name!r} has targets for {', '.join(target)} but none for the palette {palette.name}: {key}"
            )
        target = target[palette.name]
    if target is None or target == UNKNOWN:
        return 0
    if target not in palette.names:
        raise ConfigError(
            f"the class {name!r} maps to {target!r}, which the palette {palette.name} lacks "
            f"(it has {len(palette.classes)} names, e.g. {', '.join(palette.names[1:6])}): {key}"
        )
    return palette.id_of(target)


@cache
def _shipped_palette(name: str) -> Palette:
    return parse_palette(_read_yaml(str(_FOLDER / f"{name}.yaml"), "palette", PALETTES), name, name)


@cache
def _shipped_class_map(name: str) -> ClassMap:
    return parse_class_map(_read_yaml(str(_FOLDER / "classmaps" / f"{name}.yaml"), "class map", CLASS_MAPS), name)


def _read_yaml(name: str, what: str, shipped: tuple[str, ...]) -> Any:
    path = Path(name)
    if path.suffix not in (".yaml", ".yml") or not path.is_file():
        raise ConfigError(f"no {what} {name!r}: expected one of {', '.join(shipped)}, or the path of a .yaml file")
    try:
        if path.stat().st_size > MAX_YAML_BYTES:
            raise ConfigError(f"{what} {name}: larger than {MAX_YAML_BYTES} bytes")
        text = path.read_text(encoding="utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise ConfigError(f"{what} {name}: YAML aliases (*name) are not accepted; write the value out")
        return yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{what} {name}: can't be read as YAML: {error}") from error
