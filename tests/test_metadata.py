"""Every kind of metadata is found by its kind, its value is not kept, and a clean file has none."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage
from PIL import PngImagePlugin

from synthgen.images import encode_image
from synthgen.metadata import read_metadata
from synthgen.types import BadSample

PIXELS = np.full((16, 24, 3), 90, np.uint8)


def save(path: Path, **options: object) -> Path:
    PillowImage.fromarray(PIXELS).save(path, **options)
    return path


def exif(**tags: object) -> PillowImage.Exif:
    block = PillowImage.Exif()
    names = {"artist": 0x013B, "comment": 0x9286, "time": 0x0132, "model": 0x0110, "serial": 0xA431}
    for name, value in tags.items():
        if name == "gps":
            block[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0), 3: "W", 4: (0.0, 7.0, 0.0)}
        else:
            block[names[name]] = value
    return block


@pytest.mark.parametrize(
    ("tags", "kinds"),
    [
        ({"gps": True}, {"gps"}),
        ({"artist": "Ada"}, {"person"}),
        ({"artist": "ada@example.org"}, {"person", "contact"}),
        ({"time": "2024:01:02 03:04:05", "model": "X100"}, {"time", "device"}),
        ({"serial": "00123"}, {"device-id"}),
        ({"comment": b"ASCII\0\0\0call +44 20 7946 0000"}, {"text", "contact"}),
        ({"artist": "   "}, set()),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_exif(tags: dict, kinds: set[str], suffix: str, tmp_path: Path) -> None:
    path = save(tmp_path / f"a{suffix}", exif=exif(**tags))
    assert read_metadata(path, tmp_path) == kinds


def test_text_xmp_and_comments(tmp_path: Path) -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("Author", "somebody")
    text.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    assert read_metadata(save(tmp_path / "a.png", pnginfo=text), tmp_path) == {"text", "xmp"}
    assert read_metadata(save(tmp_path / "a.jpg", xmp=b"<x:xmpmeta/>"), tmp_path) == {"xmp"}
    assert read_metadata(save(tmp_path / "b.jpg", comment=b"made at home"), tmp_path) == {"text"}


def test_a_thumbnail(tmp_path: Path) -> None:
    small = io.BytesIO()
    PillowImage.fromarray(PIXELS).save(small, "JPEG")
    thumb = small.getvalue()
    # A TIFF header, an IFD0 with no entry that points to an IFD1 with offset and length of the thumbnail.
    body = b"II*\0\x08\0\0\0" + b"\0\0" + (14).to_bytes(4, "little")
    body += b"\x02\0" + b"\x01\x02\x04\0\x01\0\0\0" + (44).to_bytes(4, "little")
    body += b"\x02\x02\x04\0\x01\0\0\0" + len(thumb).to_bytes(4, "little") + b"\0\0\0\0" + thumb
    path = save(tmp_path / "a.jpg", exif=b"Exif\0\0" + body)
    assert read_metadata(path, tmp_path) == {"thumbnail"}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_what_we_write_has_none(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode_image(PIXELS, suffix))
    assert read_metadata(path, tmp_path) == set()


def test_what_is_no_image_or_lies_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(BadSample, match="image-corrupt"):
        read_metadata(tmp_path / "a.jpg", tmp_path)
    (tmp_path / "in").mkdir()
    with pytest.raises(BadSample, match="path-outside-root"):
        read_metadata(tmp_path / "a.jpg", tmp_path / "in")
