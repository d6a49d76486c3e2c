"""Files with something in them, made by the libraries that people use, and clean ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image as PIL
from PIL import ImageCms, PngImagePlugin

from synthgen.images import encode_image
from synthgen.metrics.privacy.metadata import image_metadata

PICTURE = np.random.default_rng(0).integers(0, 255, (40, 60, 3)).astype(np.uint8)


def saved(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    PIL.fromarray(PICTURE).save(buffer, form, **options)
    return buffer.getvalue()


def exif(gps: bool = False) -> PIL.Exif:
    block = PIL.Exif()
    block[0x010F] = "Maker"
    if gps:
        block.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
        block[0x8825] = block.get_ifd(0x8825)
    return block


def with_jpeg_segment(marker: int, body: bytes) -> bytes:
    data = saved("JPEG")
    return data[:2] + struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body + data[2:]


def with_png_chunk(kind: bytes, body: bytes) -> bytes:
    data = saved("PNG")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:33] + chunk + data[33:]


def png_text() -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Author", "somebody")
    return saved("PNG", pnginfo=info)


def exif_thumbnail() -> bytes:
    """IFD0 without entries, then a second IFD."""
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<HI", 0, 14) + struct.pack("<HI", 0, 0)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
CASES: dict[str, tuple[Callable[[], bytes], set[str]]] = {
    "exif": (lambda: saved("JPEG", exif=exif()), {"exif"}),
    "gps": (lambda: saved("JPEG", exif=exif(gps=True)), {"exif", "gps"}),
    "thumbnail": (lambda: with_jpeg_segment(0xE1, exif_thumbnail()), {"exif", "thumbnail"}),
    "png gps": (lambda: saved("PNG", exif=exif(gps=True)), {"exif", "gps"}),
    "webp gps": (lambda: saved("WEBP", exif=exif(gps=True)), {"exif", "gps"}),
    "icc": (lambda: saved("JPEG", icc_profile=SRGB), {"icc"}),
    "png icc": (lambda: saved("PNG", icc_profile=SRGB), {"icc"}),
    "webp icc": (lambda: saved("WEBP", icc_profile=SRGB), {"icc"}),
    "comment": (lambda: saved("JPEG", comment=b"where"), {"comment"}),
    "xmp": (lambda: with_jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x/>"), {"xmp"}),
    "iptc": (lambda: with_jpeg_segment(0xED, b"Photoshop 3.0\0"), {"iptc"}),
    "provenance": (lambda: with_jpeg_segment(0xEB, b"JP"), {"c2pa"}),
    "unknown": (lambda: with_jpeg_segment(0xE7, b"?"), {"jpeg-e7"}),
    "png text": (png_text, {"text"}),
    "png time": (lambda: with_png_chunk(b"tIME", b"\x07\xe8\1\1\1\1\1"), {"timestamp"}),
    "png unknown": (lambda: with_png_chunk(b"prVt", b"?"), {"png-prVt"}),
    "after the end": (lambda: saved("JPEG") + saved("JPEG"), {"trailing-bytes"}),
    "png after the end": (lambda: saved("PNG") + b"more", {"trailing-bytes"}),
    "tiff": (lambda: saved("TIFF", tiffinfo={270: "where"}), {"tiff-270"}),
    "cut": (lambda: saved("PNG")[:-20], {"unreadable"}),
    "cut jpeg": (lambda: saved("JPEG")[:-20], {"unreadable"}),
    "text": (lambda: b"no image", {"unreadable"}),
    "nothing": (lambda: b"", {"unreadable"}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_in_a_file_is_named(name: str) -> None:
    make, expected = CASES[name]
    assert set(image_metadata(make())) == expected


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tif"])
def test_what_a_run_writes_is_clean(suffix: str) -> None:
    assert image_metadata(encode_image(PICTURE, suffix)) == []


def test_progressive_and_restarted_scans_are_followed() -> None:
    assert image_metadata(saved("JPEG", progressive=True)) == []
    assert image_metadata(saved("JPEG", restart_marker_blocks=1)) == []


def test_random_bytes_raise_nothing() -> None:
    random = np.random.default_rng(0)
    for data in (saved("JPEG", exif=exif(gps=True)), saved("PNG"), saved("WEBP"), saved("TIFF"), saved("BMP")):
        for _ in range(60):
            broken = bytearray(data)
            for place in random.integers(0, len(broken), 8):
                broken[place] = int(random.integers(0, 256))
            image_metadata(bytes(broken))
            image_metadata(bytes(broken[: int(random.integers(1, len(broken)))]))
