"""What a released file holds besides pixels: found by reading its structure, since libraries skip what they don't know.

An allowlist: the segments and chunks that a decoder needs, and colour values that say nothing of origin. All else has a
name here: `exif`, `gps`, `thumbnail`, `xmp`, `icc`, `iptc`, `comment`, `text`, `timestamp`, `c2pa`, `trailing-bytes`
(after the end of the picture, where another picture fits), or the name of the unknown part. What can't be followed to
its end is `unreadable`.

Formats: JPEG (ISO/IEC 10918-1 annex B), PNG (ISO/IEC 15948), WebP (RFC 9649), TIFF 6.0, BMP.
"""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator

from PIL import Image as PIL

_JPEG_BARE = {0x01, *range(0xD0, 0xD8)}
_JPEG_NEEDED = {0xC4, 0xDB, 0xDD, *(code for code in range(0xC0, 0xD0) if code not in {0xC4, 0xC8, 0xCC})}
_JPEG_NAMES = {0xFE: "comment", 0xE2: "icc", 0xEB: "c2pa", 0xED: "iptc"}
_PNG_NEEDED = {"IHDR", "PLTE", "tRNS", "IDAT", "IEND", "gAMA", "cHRM", "sRGB", "sBIT", "bKGD"}
_PNG_NAMES = {"iCCP": "icc", "tIME": "timestamp", "caBX": "c2pa", "tEXt": "text", "zTXt": "text"}
_WEBP_NEEDED = {"VP8 ", "VP8L", "VP8X", "ALPH"}
_WEBP_NAMES = {"XMP ": "xmp", "ICCP": "icc", "C2PA": "c2pa"}
_TIFF_NEEDED = {254, 256, 257, 258, 259, 262, 266, 273, 274, 277, 278, 279, 282, 283, 284, 296, 317, 320}
_TIFF_NEEDED |= {322, 323, 324, 325, 338, 339, 347, 530, 531, 532}
_TIFF_NAMES = {700: "xmp", 33723: "iptc", 34665: "exif", 34675: "icc", 34853: "gps", 306: "timestamp"}


def image_metadata(data: bytes) -> list[str]:
    """The names of all that an image file holds besides its picture, sorted; empty for a clean file."""
    heads = {
        b"\xff\xd8": _jpeg,
        b"\x89PNG": _png,
        b"RIFF": _webp,
        b"II*\0": _tiff,
        b"MM\0*": _tiff,
        b"BM": _bmp,
    }
    read = next((reader for head, reader in heads.items() if data.startswith(head)), None)
    if read is None:
        return ["unreadable"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sorted(set(read(data)))
    except Exception:  # a parser fed with hostile bytes may raise anything
        return ["unreadable"]


def _jpeg(data: bytes) -> Iterator[str]:
    place = 2
    while True:
        if data[place] != 0xFF:
            raise ValueError
        while data[place] == 0xFF:
            place += 1
        code = data[place]
        place += 1
        if code == 0xD9:
            break
        if code in _JPEG_BARE:
            continue
        (length,) = struct.unpack(">H", data[place : place + 2])
        body = data[place + 2 : place + length]
        place += length
        yield from _jpeg_segment(code, body)
        if code == 0xDA:
            place = _skip_scan(data, place)
    if data[place:].strip(b"\0"):
        yield "trailing-bytes"


def _jpeg_segment(code: int, body: bytes) -> Iterator[str]:
    if code in _JPEG_NEEDED or code == 0xDA or (code == 0xEE and body.startswith(b"Adobe")):
        return
    if code == 0xE0 and body.startswith(b"JFIF\0"):
        if len(body) > 14:
            yield "thumbnail"
    elif code == 0xE1 and body.startswith(b"Exif\0\0"):
        yield from _exif(body[6:])
    elif code == 0xE1:
        yield "xmp"
    else:
        yield _JPEG_NAMES.get(code, f"jpeg-{code:02x}")


def _skip_scan(data: bytes, place: int) -> int:
    """The place of the next marker after entropy-coded bytes (0xFF00 and restarts belong to them)."""
    while True:
        place = data.index(b"\xff", place)
        if data[place + 1] != 0 and not 0xD0 <= data[place + 1] <= 0xD7:
            return place
        place += 2


def _exif(block: bytes) -> Iterator[str]:
    yield "exif"
    try:
        exif = PIL.Exif()
        exif.load(b"Exif\0\0" + block)
        if 0x8825 in exif:
            yield "gps"
        (first,) = struct.unpack("<I" if block.startswith(b"II") else ">I", block[4:8])
        order = "<" if block.startswith(b"II") else ">"
        (entries,) = struct.unpack(order + "H", block[first : first + 2])
        (second,) = struct.unpack(order + "I", block[first + 2 + 12 * entries : first + 6 + 12 * entries])
        if second:
            yield "thumbnail"
    except Exception:  # as above; that there is EXIF is known
        return


def _png(data: bytes) -> Iterator[str]:
    place = 8
    kind = ""
    while kind != "IEND":
        length, raw = struct.unpack(">I4s", data[place : place + 8])
        kind, body = raw.decode("latin-1"), data[place + 8 : place + 8 + length]
        place += 12 + length
        if kind == "iTXt":
            yield "xmp" if body.startswith(b"XML:com.adobe.xmp") else "text"
        elif kind == "eXIf":
            yield from _exif(body)
        elif kind not in _PNG_NEEDED:
            yield _PNG_NAMES.get(kind, f"png-{kind}")
    if place > len(data):
        raise ValueError
    if data[place:]:
        yield "trailing-bytes"


def _webp(data: bytes) -> Iterator[str]:
    (size,) = struct.unpack("<I", data[4:8])
    place, end = 12, 8 + size
    if end > len(data):
        raise ValueError
    while place < end:
        raw, length = struct.unpack("<4sI", data[place : place + 8])
        kind, body = raw.decode("latin-1"), data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2
        if kind == "EXIF":
            yield from _exif(body.removeprefix(b"Exif\0\0"))
        elif kind not in _WEBP_NEEDED:
            yield _WEBP_NAMES.get(kind, f"webp-{kind.strip()}")
    if data[end:]:
        yield "trailing-bytes"


def _tiff(data: bytes) -> Iterator[str]:
    with PIL.open(io.BytesIO(data), formats=["TIFF"]) as opened:
        tags = set(getattr(opened, "tag_v2", {}))
        if getattr(opened, "n_frames", 1) > 1:
            yield "thumbnail"
    for tag in tags - _TIFF_NEEDED:
        yield _TIFF_NAMES.get(tag, f"tiff-{tag}")


def _bmp(data: bytes) -> Iterator[str]:
    (size,) = struct.unpack("<I", data[2:6])
    if len(data) > size:
        yield "trailing-bytes"
