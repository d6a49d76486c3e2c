"""From one dataset format to another: `synthgen convert` of a source and `synthgen export --format` of a run.

Any format is read into `Labels`, fitted to what the new format has a place for, and written by it. Whatever has no
place there becomes a finding, so nothing is lost without a word; images that can't be read stay behind, each with its
reason. The new folder appears whole or not at all.
"""

from __future__ import annotations

import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from synthgen.component import component_class, kinds
from synthgen.config import set_key
from synthgen.datasets.base import Dataset, FreeNames, Record, Written, resolve_source, usual_split
from synthgen.images import encode_image, parse_header
from synthgen.launch import select_items
from synthgen.rundir import RunDir
from synthgen.shards import sync_folder
from synthgen.types import (
    BadSample,
    ClassInfo,
    ConfigError,
    Finding,
    Item,
    SourceIndex,
    SynthgenError,
)

_CONTAINERS = frozenset({"images", "imgs", "img", "image", "jpegimages", "leftimg8bit", "data"})
_SHARD = re.compile(r".+-\d{5,6}(-of-\d{5,6})?")
_SPLIT = re.compile(r"(train|training|val|valid|validation|test|testing|dev|eval)(\d{4})?")


@dataclass(frozen=True)
class Conversion:
    """`left_out` are images that could not be read, `findings` what else is not as it was."""

    out: Path
    format: str
    counts: Mapping[str, int]
    left_out: tuple[Finding, ...]
    findings: tuple[Finding, ...]

    def record(self) -> dict[str, Any]:
        """For `--json`."""

        def rows(findings: Iterable[Finding]) -> list[dict[str, str]]:
            return [{"code": one.code, "subject": one.subject, "message": one.message} for one in findings]

        return {
            "out": str(self.out),
            "format": self.format,
            **self.counts,
            "left_out": rows(self.left_out),
            "findings": rows(self.findings),
        }


def format_conversion(conversion: Conversion, shown: int = 10) -> str:
    """For the terminal: the counts, then the findings, at most `shown` of a code."""
    counts = ", ".join(f"{count} {what}" for what, count in conversion.counts.items())
    lines = [f"{conversion.out}: {conversion.format}, {counts}, {len(conversion.left_out)} left out"]
    seen: Counter[str] = Counter()
    for finding in (*conversion.left_out, *conversion.findings):
        seen[finding.code] += 1
        if seen[finding.code] <= shown:
            lines.append(f"  {finding.code}: {finding.subject}: {finding.message}")
    lines += [f"  {code}: and {count - shown} more (--json lists all)" for code, count in seen.items() if count > shown]
    return "\n".join(lines)


def dataset_format(name: str) -> type[Dataset]:
    """The class of a format.

    Raises:
        ConfigError: no such format; the message lists those there are.
    """
    if name not in kinds("datasets"):
        raise ConfigError(f"--format {name}: there is no such format; there are {', '.join(kinds('datasets'))}")
    found = component_class("datasets", name)
    assert issubclass(found, Dataset)
    return found


def convert_folder(path: Path, name: str, out: Path, assignments: Sequence[str] = ()) -> Conversion:
    """Write the dataset in a folder as format `name` in `out`; `assignments` are `key=value` of its source.

    Raises:
        ConfigError: as `convert_dataset`, or `path` is no dataset.
    """
    value: dict[str, Any] = {"path": str(path)}
    for assignment in assignments:
        value = set_key(value, assignment)
    dataset_format(name)
    try:
        source = resolve_source(value)
    except ValidationError as error:
        raise ConfigError(_list_problems(error, path)) from error
    except ValueError as error:
        raise ConfigError(str(error)) from error
    index, items = select_items(source)
    return convert_dataset(source, index, items, name, out)


def _list_problems(error: ValidationError, path: Path) -> str:
    """Every wrong key of a source on a line of its own."""
    lines = [f"{path}: {error.error_count()} problem(s)"]
    for problem in error.errors():
        unknown = problem["type"] == "extra_forbidden"
        message = "unknown key; remove it or correct its spelling" if unknown else problem["msg"]
        lines.append(f"  {'.'.join(map(str, ('source', *problem['loc'])))}: {message.removeprefix('Value error, ')}")
    return "\n".join(lines)


def convert_dataset(source: Dataset, index: SourceIndex, items: Sequence[Item], name: str, out: Path) -> Conversion:
    """Write `items` of a source as format `name` in the new or empty folder `out`.

    Images that need no turning keep their bytes, metadata included.

    Raises:
        ConfigError: an unknown format, a folder that holds something, a class table that the format can't express.
        SynthgenError: no image could be read; the message says of the first ones why.
    """
    left_out: list[Finding] = []
    turned: list[Finding] = []

    def records(namer: Namer) -> Iterator[Record]:
        for item in items:
            try:
                sample = source.read(item)
                data = source.encoded(item)
                orientation, _ = parse_header(io.BytesIO(data), item.id)
            except BadSample as error:
                left_out.append(Finding(error.code, item.id, error.message))
                continue
            if orientation != 1:
                data = encode_image(sample.image, PurePosixPath(item.id).suffix)
                turned.append(Finding("image-turned", item.id, "turned as EXIF says, and encoded anew"))
            yield Record(namer.name(item.id, item.split), item.split, data, sample.size, sample.labels)

    written = _write_whole(records, index.classes, name, out, left_out)
    return Conversion(out, name, written.counts, tuple(left_out), (*index.findings, *turned, *written.findings))


def convert_run(run: RunDir, name: str, out: Path) -> Conversion:
    """Write a run's outputs, with the labels of their source, as format `name` in the new or empty folder `out`.

    Raises:
        ConfigError: as `convert_dataset`.
    """
    config = run.config()
    index, items = select_items(config.source)
    by_id = {item.id: item for item in items}
    without = config.source.held_back(config.names == "keep")

    def records(namer: Namer) -> Iterator[Record]:
        for one in run.released(by_id, run.names(config)):
            _, size = parse_header(io.BytesIO(one.data), one.name)
            labels = one.labels(config.source.labels_of(one.item))
            left = {key: value for key, value in labels.attributes.items() if key not in without}
            labels = replace(labels, attributes=left)
            yield Record(namer.name(one.name, one.item.split), one.item.split, one.data, size, labels)

    written = _write_whole(records, index.classes, name, out)
    return Conversion(out, name, written.counts, (), (*index.findings, *written.findings))


class Namer:
    """Names of records: paths below their split, each once in the sense of `FreeNames`.

    Splits that formats write as one (`val` and `valid`, `train` and none) share their names.
    """

    def __init__(self, splits_apart: bool) -> None:
        self._splits_apart = splits_apart
        self._free = FreeNames()
        self.findings: list[Finding] = []

    def name(self, path: str, split: str | None) -> str:
        """The name for an image at `path` below the source root: without what only says its split or layout."""
        folders, last = path.split("/")[:-1], path.rpartition("/")[2]
        while folders and (folders[0] == split or _is_layout(folders[0])):
            folders.pop(0)
        wanted = PurePosixPath(*folders, last.replace("_leftImg8bit.", ".")).as_posix()
        name = self._free.take(wanted, usual_split(split) or "train" if self._splits_apart else None)
        if name != wanted:
            message = f"becomes {name}: another image has that name but for its folder, suffix or case"
            self.findings.append(Finding("image-renamed", path, message))
        return name


def _is_layout(folder: str) -> bool:
    """Whether a folder only holds images, a split or a shard."""
    return folder.lower() in _CONTAINERS or any(known.fullmatch(folder) for known in (_SPLIT, _SHARD))


def _write_whole(
    records: Callable[[Namer], Iterator[Record]],
    classes: Sequence[ClassInfo],
    name: str,
    out: Path,
    left_out: Sequence[Finding] = (),
) -> Written:
    """Write to a folder beside `out`, then rename it; `left_out` tells why where no image is left."""
    chosen = dataset_format(name)
    namer = Namer(chosen.split_folders)
    with whole_folder(out) as partial:
        written = chosen.write_fitted(records(namer), classes, partial)
        if not written.counts["images"]:
            raise SynthgenError(f"{out}: not written: there is no image that could be read{_first_of(left_out)}")
    return Written(written.counts, (*namer.findings, *written.findings))


def _first_of(left_out: Sequence[Finding], shown: int = 3) -> str:
    """The first findings as lines below a message."""
    lines = [f"\n  {one.code}: {one.subject}: {one.message}" for one in left_out[:shown]]
    return "".join(lines) + (f"\n  and {len(left_out) - shown} more" if len(left_out) > shown else "")


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """A folder to write into, which becomes `out` when nothing went wrong and is deleted when something did.

    Raises:
        ConfigError: `out` is no folder, holds something, is the one that we work in, or can't be made.
    """
    if os.path.abspath(out) == os.getcwd():
        raise ConfigError(f"{out}: is the folder you are in, which can't be exchanged; choose a new one, such as ./new")
    out = Path(os.path.abspath(out))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out}: holds something already; choose a folder that is new or empty")
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"{out}: can't be written ({error.strerror}); choose another folder") from error
    try:
        yield partial
        if out.exists():
            out.rmdir()
        os.replace(partial, out)
        sync_folder(out.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
