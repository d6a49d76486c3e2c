"""Who is in which photograph: read from a CSV file, a column of the dataset, or its folders.

The CSV has the columns `file` and `identity`; every other column is an attribute to report apart. `file` is the path of
an image below the dataset's root, or the end of it, as long as it fits one image.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from synthgen.types import ConfigError

FOLDERS = "folders"
COLUMN = "identity"
MAX_VALUES = 10
"""A column with more values is no attribute to report apart."""


@dataclass(frozen=True)
class Identities:
    """`person`: image id → identity; `attributes`: column → identity → value."""

    person: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_identities(path: Path, ids: Sequence[str]) -> Identities:
    """The identities of a CSV file for the images `ids` of a dataset.

    Raises:
        ConfigError: unreadable, without its columns, two identities for one image, or images that are not there.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if not {"file", COLUMN} <= set(columns):
                raise ConfigError(f"{path}: expected the columns file and {COLUMN}, got {', '.join(columns) or 'none'}")
            rows = [row for row in reader if row["file"]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"--identities {path}: can't be read: {error}") from error
    ends: dict[str, list[str]] = defaultdict(list)
    for one in ids:
        parts = PurePosixPath(one).parts
        for start in range(len(parts)):
            ends["/".join(parts[start:])].append(one)
    person: dict[str, str] = {}
    attributes: dict[str, dict[str, str]] = {}
    missing = []
    for row in rows:
        found = ends.get(row["file"].removeprefix("./").replace("\\", "/"), [])
        found = [row["file"]] if row["file"] in found else found
        if len(found) > 1:
            raise ConfigError(f"{path}: {row['file']} may be {found[0]} or {found[1]}; write the path below the root")
        if not found:
            missing.append(row["file"])
            continue
        name = (row[COLUMN] or "").strip()
        if not name:
            continue
        if person.setdefault(found[0], name) != name:
            raise ConfigError(f"{path}: {row['file']} has two identities")
        for column in columns:
            if column not in {"file", COLUMN} and row[column]:
                attributes.setdefault(column, {}).setdefault(name, row[column])
    if missing:
        raise ConfigError(f"{path}: names {len(missing)} image(s) that the dataset hasn't, first: {missing[0]}")
    return Identities(person, attributes)


def dataset_identities(rows: Mapping[str, Mapping[str, Any]], column: str | None) -> Identities:
    """The identities that a dataset tells: image id → its columns.

    Args:
        column: the column; None takes `identity` where it is there; `folders` takes each image's folder.

    Raises:
        ConfigError: a named column that no image has.
    """
    if column == FOLDERS:
        return Identities({one: str(PurePosixPath(one).parent) for one in rows})
    wanted = column or COLUMN
    person = {one: str(row[wanted]) for one, row in rows.items() if row.get(wanted) not in (None, "")}
    if column is not None and not person:
        there = sorted({name for row in rows.values() for name in row})
        raise ConfigError(f"identity: no image has the column {column!r}; there are: {', '.join(there) or 'none'}")
    attributes: dict[str, dict[str, str]] = {}
    for one, name in person.items():
        for key, value in rows[one].items():
            if key != wanted and isinstance(value, str | int | bool) and value != "":
                attributes.setdefault(key, {}).setdefault(name, str(value))
    return Identities(person, attributes)


def group_columns(identities: Identities, wanted: tuple[str, ...] | None) -> dict[str, Mapping[str, str]]:
    """The columns to report apart.

    Raises:
        ConfigError: a wanted column that is not there.
    """
    there = identities.attributes
    if wanted is None:
        return {name: column for name, column in there.items() if 1 < len(set(column.values())) <= MAX_VALUES}
    for name in wanted:
        if name not in there:
            raise ConfigError(f"groups: no column {name!r}; there are: {', '.join(sorted(there)) or 'none'}")
    return {name: there[name] for name in wanted}
