"""Content that may be a picture of the source in disguise: no release has it, whatever happens to names.

`names: keep` copies what nobody has looked at (captions, columns of any kind). That is for text and plain values: a
second photograph, a crop of a face, or pixels as an array beside the image would be the source's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from synthgen.datasets._files import FOREIGN_SUFFIXES
from synthgen.images import SUFFIXES

MAX_TEXT_BYTES = 1 << 20
_PICTURES = frozenset(
    {".jpe", ".jfif", ".jif", ".j2k", ".jpx", ".svg", ".svgz", ".ico", ".dds", ".exr", ".hdr", ".pbm", ".pnm", ".pfm",
     ".xpm", ".xbm", ".pcx", ".dcm", ".nii", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".mp4",
     ".m4v", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".mjpg", ".mjpeg", ".wmv", ".flv", ".3gp", ".ogv", ".ts",
     ".h264", ".h265", ".wav", ".mp3", ".flac", ".ogg", ".m4a"}
)  # fmt: skip
"""Further images, and videos and sound."""
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{1000,}")
_LATE = re.compile("[p-z]")
"""Letters that base64 has and COCO's compressed RLE lacks."""
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")
UNKNOWN = "no plain value and no label that is known; released only with names: keep"
OPAQUE = "may hold a picture of the source; never released, with names: keep neither"
"""What findings say of content that is not released."""


def is_picture_name(extension: str) -> bool:
    """Whether an extension (`face.jpg`, without the leading dot) ends as that of an image, a video or sound does."""
    suffix = f".{extension.rpartition('.')[2].lower()}"
    return suffix in SUFFIXES or suffix in FOREIGN_SUFFIXES or suffix in _PICTURES


def is_text(data: bytes) -> bool:
    """Whether bytes are UTF-8 text of at most `MAX_TEXT_BYTES`, with nothing binary written out in it."""
    try:
        text = data.decode("utf-8") if len(data) <= MAX_TEXT_BYTES else "\0"
    except UnicodeDecodeError:
        return False
    return not _CONTROL.search(text) and not is_encoded(text)


def is_encoded(text: str) -> bool:
    """Whether a text has a run of characters as only binary content in base64 does."""
    return any(_LATE.search(run) for run in _BASE64.findall(text.replace("\\/", "/")))


def encoded_columns(rows: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The columns in which a text has binary content written out."""
    return frozenset(key for row in rows for key, value in row.items() if isinstance(value, str) and is_encoded(value))
