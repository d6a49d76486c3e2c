"""Class ids as a PNG: what the formats that write masks share."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image as PIL

from synthgen.types import ClassIds, ClassInfo, ConfigError

MAX_ID = (1 << 16) - 1
"""The largest id that a PNG of gray values can show, and that a class table may have."""


def refuse_large_ids(classes: Sequence[ClassInfo], form: str) -> None:
    """Nothing, where every id has a place in a mask and in `classes.csv`.

    Raises:
        ConfigError: an id out of 0 to `MAX_ID`.
    """
    outside = [info for info in classes if not 0 <= info.id <= MAX_ID]
    if outside:
        raise ConfigError(
            f"format {form}: class ids are 0 to {MAX_ID}, and {outside[0].name!r} has {outside[0].id}; "
            "number the classes of the source anew"
        )


def encode_ids(mask: ClassIds) -> bytes:
    """(height, width) class ids of 0 to `MAX_ID` as a gray PNG of 8 bits or, above 255, 16."""
    buffer = io.BytesIO()
    PIL.fromarray(mask.astype(np.uint8 if mask.max(initial=0) < 1 << 8 else np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()
