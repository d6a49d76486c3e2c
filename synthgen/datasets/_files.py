"""What all formats share: listing a folder in one order, reading its tables with bounds, writing without overwriting.

A source is somebody's folder and may be hostile: paths in label files never leave it, links out of it are not followed,
tables are bounded. Hidden files (a leading dot) and `__MACOSX` are no part of a dataset.
"""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from synthgen.images import SUFFIXES, open_file, read_bytes, sha256
from synthgen.types import BadSample, ConfigError, Finding, Item

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "test", "testing", "dev", "eval"})
_USUAL = {"training": "train", "valid": "val", "validation": "val", "dev": "val", "eval": "val", "testing": "test"}
IMAGE_FOLDERS = ("images", "imgs", "img", "image", "JPEGImages")
LABEL_FOLDERS = ("labels", "masks", "annotations", "gt", "label", "mask", "SegmentationClass")
FOREIGN_SUFFIXES = frozenset(
    {".gif", ".apng", ".psd", ".eps", ".ps", ".fits", ".heic", ".heif", ".avif", ".jp2", ".jxl", ".tga", ".ppm", ".pgm"}
)
"""Images that are not decoded: they are listed as items, so that they are counted and quarantined, not overlooked."""
MAX_TABLE_BYTES = 1 << 28
MAX_JSON_BYTES = 1 << 30
_SHOWN = 20


@dataclass(frozen=True)
class Listing:
    """Files below a root, as posix paths in order of code points, and what could not be listed."""

    files: tuple[str, ...]
    findings: tuple[Finding, ...]


def is_image(path: str) -> bool:
    """Whether the suffix is that of an image, decodable here or not."""
    suffix = PurePosixPath(path).suffix.lower()
    return suffix in SUFFIXES or suffix in FOREIGN_SUFFIXES


def list_files(root: Path) -> Listing:
    """Every file below `root`; links to folders are not followed.

    Raises:
        ConfigError: `root` is no folder, or a folder below it can't be read.
    """
    if not root.is_dir():
        raise ConfigError(f"source.path: {root} is not a folder; unpack archives first")
    files, findings = [], []

    def refuse(error: OSError) -> None:
        raise ConfigError(f"source.path: can't list {error.filename}: {error.strerror}")

    for folder, subfolders, names in os.walk(root, onerror=refuse):
        below = Path(folder).relative_to(root)
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != "__MACOSX"]
        for name in [*names, *(sub for sub in subfolders if Path(folder, sub).is_symlink())]:
            path = (below / name).as_posix()
            if name.startswith("."):
                continue
            if name in subfolders:
                findings.append(Finding("link-not-followed", path, "links to folders are not part of a source"))
            elif not _is_safe(path):
                shown = path.encode("utf-8", "backslashreplace").decode()
                findings.append(Finding("name-not-portable", shown, "left out; use UTF-8, no backslash, no drive"))
            else:
                files.append(path)
    return Listing(tuple(sorted(files)), tuple(sorted(findings, key=lambda finding: finding.subject)))


def _is_safe(text: str) -> bool:
    """Whether a path stays below its folder on every system, and can be written as UTF-8."""
    parts = PurePosixPath(text).parts
    leaves = not parts or text.startswith("/") or text[1:2] == ":" or ".." in parts
    surrogate = any("\ud800" <= char <= "\udfff" for char in text)
    return not (leaves or surrogate or "\\" in text or "\0" in text)


def split_of(parts: Sequence[str]) -> str | None:
    """The first of `parts` when it is the usual name of a split."""
    return parts[0] if len(parts) > 1 and parts[0].lower() in SPLITS else None


def is_number(text: str) -> bool:
    """Whether Python reads a text as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def usual_split(split: str | None) -> str | None:
    """The name out of `train`, `val` and `test` for what others call `training`, `valid`, …; any other name stays."""
    return _USUAL.get(split.lower(), split) if split is not None else None


class FreeNames:
    """Gives each name once, also without its suffix and where case or Unicode form is ignored.

    Formats put label files of the same stem beside images, and some file systems take `A.jpg` and `a.jpg` for one.
    Folders count as equal where they are when joined by `-`, since a format may have room for one folder only.
    """

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], int] = {}
        """The last number that was tried after each name."""

    def take(self, wanted: str, split: str | None = None) -> str:
        """`wanted`, or the first of `wanted-2`, `wanted-3`, … that is free; names in different splits never clash."""
        pure = path = PurePosixPath(wanted)
        first = key = self._key(pure, split)
        number = self._taken.get(first, 1)
        while key in self._taken:
            number += 1
            path = pure.with_stem(f"{pure.stem}-{number}")
            key = self._key(path, split)
        self._taken |= {key: 1, first: number}
        return path.as_posix()

    def _key(self, path: PurePosixPath, split: str | None) -> tuple[str, str]:
        folder = "-".join(path.parts[:-1])
        return (split or "", unicodedata.normalize("NFC", f"{folder}/{path.stem}").casefold())


def not_released(files: Iterable[str]) -> list[Finding]:
    """One finding for each top-level entry that holds files of unknown content: they are not copied to a release."""
    by_top: dict[str, list[str]] = defaultdict(list)
    for path in files:
        by_top[path.partition("/")[0]].append(path)
    findings = []
    for top, paths in sorted(by_top.items()):
        what = "the file is" if paths == [top] else f"{len(paths)} file(s) in it (such as {paths[0]}) are"
        findings.append(Finding("file-not-released", top, f"{what} no part of this format; unknown content stays here"))
    return findings


def name_clashes(ids: Iterable[str]) -> list[Finding]:
    """Names that differ only in case or in Unicode normalisation: one file on some systems, two on others."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in ids:
        groups[unicodedata.normalize("NFC", name).casefold()].append(name)
    message = "differ only in case or Unicode form: some systems keep one; in a run names: pseudonym avoids it"
    return [
        Finding("names-clash", names[0], f"{', '.join(map(repr, names))} {message}")
        for names in groups.values()
        if len(names) > 1
    ]


def equal_images(items: Iterable[Item], root: Path) -> list[Finding]:
    """Image files that are equal byte for byte: their labels may differ, and in two splits they spoil the test.

    Only files of equal length are opened, and only those with an equal start are read whole.
    """
    groups: list[list[Item]] = [list(items)]
    for key in (_length, _start, _digest):
        finer: dict[Any, list[Item]] = defaultdict(list)
        for number, group in enumerate(groups):
            for item in group:
                finer[number, key(item.image, root)].append(item)
        groups = [group for (_, value), group in finer.items() if len(group) > 1 and value is not None]
    findings = []
    for group in groups:
        others = ", ".join(repr(item.id) for item in group[1 : _SHOWN + 1])
        across = "; they lie in several splits" if len({item.split for item in group}) > 1 else ""
        message = f"the same image as {others}{across}; their labels may differ"
        findings.append(Finding("image-duplicate", group[0].id, message))
    return findings


def _length(path: Path, root: Path) -> int | None:
    try:
        return path.lstat().st_size or None
    except OSError:
        return None


def _start(path: Path, root: Path) -> bytes | None:
    try:
        with open_file(path, root) as file:
            return file.read(4096)
    except (BadSample, OSError):
        return None


def _digest(path: Path, root: Path) -> str | None:
    try:
        return sha256(read_bytes(path, root))
    except BadSample:
        return None


def refuse_duplicates(values: Iterable[Any], what: str) -> None:
    """Raise ConfigError with the list of what occurs more than once."""
    twice = sorted((value for value, count in Counter(values).items() if count > 1), key=str)
    if twice:
        more = f" and {len(twice) - _SHOWN} more" if len(twice) > _SHOWN else ""
        raise ConfigError(f"{what}: {', '.join(map(repr, twice[:_SHOWN]))}{more}")


def safe_relative(text: Any, origin: str) -> str:
    """A path out of a label file, normalised, if it stays below the folder that it is relative to.

    Raises:
        ConfigError: not a string, absolute, a UNC path or drive, or with `..`; nothing is read.
    """
    if not isinstance(text, str):
        raise ConfigError(f"{origin}: expected the path of a file, got {text!r}")
    if not _is_safe(text):
        raise ConfigError(f"{origin}: {text!r} must be a relative path with forward slashes that stays in the source")
    return PurePosixPath(text).as_posix()


def name_below(name: str, folder: str) -> str:
    """`name` relative to `folder` (empty for the root): how a label file refers to a released image.

    Raises:
        ConfigError: a new name outside the folder, to which the label file could not refer.
    """
    if folder and not name.startswith(f"{folder}/"):
        raise ConfigError(f"{name}: the new name must stay below {folder}, where its label file looks for it")
    return name[len(folder) + 1 :] if folder else name


def read_table(path: Path, root: Path, limit: int = MAX_TABLE_BYTES) -> bytes:
    """The bytes of a file that the whole source rests on: where an image would be quarantined, this stops the run."""
    try:
        return read_bytes(path, root, limit)
    except BadSample as error:
        raise ConfigError(str(error)) from error


def decode_text(data: bytes, origin: str) -> str:
    """UTF-8, with or without a byte order mark.

    Raises:
        ConfigError: another encoding.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{origin}: expected UTF-8: {error}") from error


def parse_csv(text: str, origin: str) -> tuple[list[str], list[dict[str, str]]]:
    """Header and rows of a CSV file with a header line.

    Raises:
        ConfigError: no header, a column named twice, or a row of another length; the message gives the line.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise ConfigError(f"{origin}: expected a header line, the file is empty")
        refuse_duplicates(header, f"{origin}: columns named twice")
        rows = []
        for values in reader:
            if values and len(values) != len(header):
                raise ConfigError(f"{origin}, line {reader.line_num}: {len(values)} values, {len(header)} columns")
            if values:
                rows.append(dict(zip(header, values, strict=True)))
    except csv.Error as error:
        raise ConfigError(f"{origin}, line {reader.line_num}: {error}") from error
    return header, rows


def parse_json(text: str | bytes, origin: str) -> Any:
    """JSON of bounded depth.

    Raises:
        ConfigError: not JSON, not UTF-8, nested too deep, a number of thousands of digits.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ConfigError(f"{origin}: JSON nested too deep") from error
    except ValueError as error:
        raise ConfigError(f"{origin}: not JSON: {error}") from error


def write_new(out: Path, name: str, data: bytes) -> None:
    """Write `out/name`, which must be new.

    Raises:
        ConfigError: the name leaves `out`, or the file is there already (two names that this file system holds equal).
    """
    target = out / safe_relative(name, "the name of a released file")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as file:
            file.write(data)
    except FileExistsError as error:
        advice = "rename one of the two in the source (a run with names: pseudonym renames all)"
        raise ConfigError(f"{name}: the folder has a file of that name already; {advice}") from error
