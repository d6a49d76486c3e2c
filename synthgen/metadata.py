"""What an image file says beside its pixels: where, when, by whom and with what it was taken, what it showed before.

Read with Pillow from the header; pixels are not decoded. Nothing of a value is kept but what kind of thing it is, so a
report of it leaks none of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from PIL import ExifTags, ImageFile, IptcImagePlugin
from PIL import Image as PIL

from synthgen.images import FORMATS, open_file
from synthgen.types import BadSample

MetadataKind = Literal["gps", "person", "device-id", "contact", "thumbnail", "text", "xmp", "iptc", "time", "device"]
MEANING: dict[MetadataKind, str] = {
    "gps": "where it was taken (GPS)",
    "person": "a person's name (owner, artist, copyright)",
    "device-id": "a serial number of camera or lens",
    "contact": "an e-mail address or telephone number",
    "thumbnail": "an embedded thumbnail, which may show what was cropped or blurred",
    "text": "free text (comment, description, PNG text)",
    "xmp": "an XMP packet (may hold people, places, history)",
    "iptc": "an IPTC record (may hold people, places, captions)",
    "time": "when it was taken",
    "device": "the model of the camera",
}
_PERSON_TAGS = {ExifTags.Base.Artist, ExifTags.Base.Copyright, ExifTags.Base.CameraOwnerName, ExifTags.Base.XPAuthor}
_SERIAL_TAGS = {
    *(ExifTags.Base.BodySerialNumber, ExifTags.Base.LensSerialNumber, ExifTags.Base.CameraSerialNumber),
    ExifTags.Base.ImageUniqueID,
}
_TEXT_TAGS = {
    *(ExifTags.Base.ImageDescription, ExifTags.Base.UserComment, ExifTags.Base.XPComment, ExifTags.Base.XPTitle),
    *(ExifTags.Base.XPSubject, ExifTags.Base.XPKeywords, ExifTags.Base.DocumentName),
}
_TIME_TAGS = {ExifTags.Base.DateTime, ExifTags.Base.DateTimeOriginal, ExifTags.Base.DateTimeDigitized}
_DEVICE_TAGS = {ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.LensModel, ExifTags.Base.HostComputer}
_CONTACT = re.compile(r"[\w.+-]+@[\w-]+\.[\w.]{2,}|(?<!\d)\+\d[\d ()/-]{7,}\d")
_THUMBNAIL = 0x0201
"""JPEGInterchangeFormat in the IFD of the thumbnail."""
_NO_TEXT = frozenset(
    {"compression", "dpi", "gamma", "jfif", "jfif_version", "jfif_unit", "jfif_density", "srgb", "chromaticity"}
)


def read_metadata(path: Path, root: Path) -> frozenset[MetadataKind]:
    """The kinds of metadata in an image file inside `root`.

    Raises:
        BadSample: as `open_file`; `image-corrupt` where the header can't be read.
    """
    with open_file(path, root) as file:
        try:
            with PIL.open(file, formats=FORMATS) as opened:
                return frozenset(_kinds(opened))
        except Exception as error:  # a parser fed with hostile bytes may raise anything
            raise BadSample("image-corrupt", f"{path}: {type(error).__name__}: {error}") from error


def _kinds(opened: ImageFile.ImageFile) -> Iterator[MetadataKind]:
    exif = opened.getexif()
    tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
    if exif.get_ifd(ExifTags.IFD.GPSInfo).keys() - {ExifTags.GPS.GPSVersionID}:
        yield "gps"
    if _THUMBNAIL in exif.get_ifd(ExifTags.IFD.IFD1):
        yield "thumbnail"
    named: list[tuple[MetadataKind, set[Any]]] = [
        *(("person", _PERSON_TAGS), ("device-id", _SERIAL_TAGS), ("text", _TEXT_TAGS)),
        *(("time", _TIME_TAGS), ("device", _DEVICE_TAGS)),
    ]
    for kind, wanted in named:
        if any(_says_something(tags.get(int(tag))) for tag in wanted):
            yield kind
    if "xmp" in opened.info or "XML:com.adobe.xmp" in opened.info:
        yield "xmp"
    if IptcImagePlugin.getiptcinfo(opened):
        yield "iptc"
    texts = [str(value) for key, value in opened.info.items() if _is_text(key, value)]
    if any(text.strip() for text in texts):
        yield "text"
    if _CONTACT.search(" ".join([*texts, *(_text(tags.get(int(tag))) for tag in _PERSON_TAGS | _TEXT_TAGS)])):
        yield "contact"


def _is_text(key: Any, value: Any) -> bool:
    """PNG text chunks and JPEG or GIF comments, as Pillow files them in `info`."""
    if key == "comment":
        return True
    return isinstance(value, str) and str(key).lower() not in _NO_TEXT and not str(key).startswith("XML:")


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return "" if value is None else str(value)
    plain = value.removeprefix(b"ASCII\0\0\0").removeprefix(b"UNICODE\0")
    return plain.replace(b"\0", b"").decode("latin-1")


def _says_something(value: Any) -> bool:
    return bool(_text(value).strip(" \0"))
