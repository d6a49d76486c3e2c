"""`classes.csv`, the class table of formats that have no place of their own for one: ids, names, colours, void."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from synthgen.datasets._files import parse_csv, refuse_duplicates
from synthgen.types import ClassInfo, ConfigError


def format_classes(classes: Sequence[ClassInfo]) -> bytes:
    """A class table as `parse_classes` reads it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "name", "r", "g", "b", "note"])
    for info in classes:
        writer.writerow([info.id, info.name, *(info.color or ("", "", "")), "ignore" if info.ignore else ""])
    return text.getvalue().encode()


def parse_classes(text: str, origin: str) -> tuple[ClassInfo, ...]:
    """A class table: CSV with `id,name`, optional `r,g,b` (0 to 255, all or none) and `note` (`ignore`).

    Raises:
        ConfigError: a missing column, an id that is no number or stands twice, a colour out of range, no rows.
    """
    header, rows = parse_csv(text, origin)
    if not {"id", "name"} <= set(header):
        raise ConfigError(f"{origin}: expected the columns id,name[,r,g,b][,note], got {','.join(header)}")
    classes = []
    for number, row in enumerate(rows, start=2):
        cells = [row.get(channel, "").strip() for channel in "rgb"]
        try:
            class_id = int(row["id"])
            color = tuple(int(cell) for cell in cells) if any(cells) else None
        except ValueError as error:
            raise ConfigError(f"{origin}, row {number}: id, r, g and b are whole numbers: {error}") from error
        if not 0 <= class_id < 1 << 16 or (color and not all(0 <= value <= 255 for value in color)):
            raise ConfigError(f"{origin}, row {number}: id is 0 to 65535, r, g and b 0 to 255; got {class_id} {color}")
        ignore = row.get("note", "").strip().lower() == "ignore"
        rgb = (color[0], color[1], color[2]) if color else None
        classes.append(ClassInfo(class_id, row["name"].strip(), rgb, ignore))
    if not classes:
        raise ConfigError(f"{origin}: no class in the table")
    refuse_duplicates((info.id for info in classes), f"{origin}: ids that stand twice")
    refuse_duplicates((info.name for info in classes), f"{origin}: names that stand twice")
    return tuple(classes)
