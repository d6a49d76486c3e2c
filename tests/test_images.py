"""Files in, pixels out: what is accepted, how it looks, and which code the rest gets."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from synthgen.images import (
    SUFFIXES,
    decode,
    decode_image,
    decode_label,
    encode_image,
    encode_label,
    read_bytes,
    read_header,
    turn,
    turn_points,
)
from synthgen.types import BadSample

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour_type: int, rows: bytes = b"", palette: bytes = b"") -> bytes:
    """A PNG by hand: header and whatever pixel data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"PLTE", palette) if palette else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def smooth() -> Image.Image:
    ramp = np.linspace(0, 255, 64, dtype=np.uint8)
    return Image.fromarray(np.stack([np.tile(ramp, (48, 1))] * 3, axis=2))


BAD = {
    "truncated jpeg": (saved(smooth(), "JPEG")[:300], "image-corrupt"),
    "jpeg of two bytes more than its mark": (b"\xff\xd8\xff\xe0\x00", "image-corrupt"),
    "truncated png": (saved(smooth(), "PNG")[:-40], "image-corrupt"),
    "zero bytes": (b"", "image-empty"),
    "text": (b"hello, I am a picture\n", "image-format"),
    "png bomb": (png(29_000, 29_000, 8, 2), "image-too-large"),
    "png of 2^31 pixels a side": (png(2**31 - 1, 2**31 - 1, 8, 2), "image-too-large"),
    "65k x 1": (png(65_000, 1, 8, 0), "image-too-large"),
    "one row": (png(2_000, 1, 8, 0, bytes(2_001)), "image-too-large"),
    "gif": (saved(smooth(), "GIF"), "image-format"),
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image-format"),
    "psd": (b"8BPS\x00\x01" + bytes(40), "image-format"),
    "fits": (b"SIMPLE  =                    T" + bytes(60), "image-format"),
    "wav, which is riff too": (b"RIFF\x00\x00\x00\x00WAVEfmt ", "image-format"),
    "apng": (saved(smooth(), "PNG", save_all=True, append_images=[smooth().rotate(90)]), "image-multi-frame"),
    "animated webp": (saved(smooth(), "WEBP", save_all=True, append_images=[smooth().rotate(90)]), "image-multi-frame"),
    "two pages": (saved(smooth(), "TIFF", save_all=True, append_images=[smooth()]), "image-multi-frame"),
    "float tiff": (saved(Image.fromarray(np.ones((3, 3), np.float32)), "TIFF"), "image-format"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_a_code(name: str) -> None:
    data, code = BAD[name]
    with pytest.raises(BadSample) as caught:
        decode_image(data, "a.png")
    assert caught.value.code == code


def rgba(alpha: int) -> Image.Image:
    return Image.new("RGBA", (3, 2), (200, 100, 0, alpha))


def palette_with_transparency() -> bytes:
    image = Image.new("P", (3, 2), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    return saved(image, "PNG", transparency=1)


COLOURS = {
    "gray": (saved(Image.new("L", (3, 2), 77), "PNG"), (77, 77, 77)),
    "one bit": (saved(Image.new("1", (3, 2), 1), "PNG"), (255, 255, 255)),
    "palette": (saved(Image.new("P", (3, 2), 0), "PNG"), (0, 0, 0)),
    "palette, clear entry": (palette_with_transparency(), (255, 255, 255)),
    "opaque": (saved(rgba(255), "PNG"), (200, 100, 0)),
    "clear is white": (saved(rgba(0), "PNG"), (255, 255, 255)),
    "half clear": (saved(rgba(128), "PNG"), (227, 177, 127)),
    "gray and alpha": (saved(Image.new("LA", (3, 2), (0, 0)), "PNG"), (255, 255, 255)),
    "16 bit scales": (saved(Image.fromarray(np.full((2, 3), 30_000, np.uint16)), "PNG"), (117, 117, 117)),
    "16 bit top": (saved(Image.fromarray(np.full((2, 3), 65_535, np.uint16)), "TIFF"), (255, 255, 255)),
    "16 bit rgb": (png(3, 2, 16, 2, (b"\0" + struct.pack(">9H", *[0x8040, 0x1000, 0xFF00] * 3)) * 2), (128, 16, 255)),
    "bmp": (saved(Image.new("RGB", (3, 2), (1, 2, 3)), "BMP"), (1, 2, 3)),
    "cmyk without profile": (saved(Image.new("CMYK", (3, 2), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
}


@pytest.mark.parametrize("name", COLOURS)
def test_every_mode_becomes_8_bit_rgb(name: str) -> None:
    data, colour = COLOURS[name]
    image = decode_image(data, "a")
    assert image.shape == (2, 3, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - colour).max() <= 1


def test_an_embedded_profile_is_applied_and_a_broken_one_is_not() -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    image = Image.new("RGB", (3, 2), (100, 150, 200))
    for other in (lab, b"not a profile"):  # a profile of another colour space says nothing about these pixels
        assert decode_image(saved(image, "PNG", icc_profile=other), "a")[0, 0].tolist() == [100, 150, 200]
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {
        bytes(profile[at : at + 4]): struct.unpack(">II", profile[at + 4 : at + 12])
        for at in range(132, 132 + 12 * struct.unpack(">I", profile[128:132])[0], 12)
    }
    red, blue = tags[b"rXYZ"][0], tags[b"bXYZ"][0]
    profile[red : red + 20], profile[blue : blue + 20] = profile[blue : blue + 20], profile[red : red + 20]
    start, length = tags[b"desc"]
    profile[start : start + length] = bytes(profile[start : start + length]).replace(
        "sRGB".encode("utf-16-be"), "GBR!".encode("utf-16-be")
    )
    swapped = decode_image(saved(image, "PNG", icc_profile=bytes(profile)), "a")[0, 0].astype(int)
    assert np.abs(swapped - [200, 150, 100]).max() <= 2


def cmyk_profile(lab: tuple[int, int, int]) -> bytes:
    """A printer profile (ICC v2, `mft1` table of 2 nodes a channel) that makes every CMYK without K this 8-bit Lab."""
    identity = struct.pack(">9i", *[0x10000 * (i % 4 == 0) for i in range(9)])
    line = bytes(range(256))
    table = (
        b"mft1"
        + bytes(4)
        + bytes([4, 3, 2, 0])
        + identity
        + line * 4
        + (bytes(lab) + bytes([0, 128, 128])) * 8
        + line * 3
    )
    tags = struct.pack(">I", 1) + b"A2B0" + struct.pack(">II", 144, len(table))
    header = struct.pack(">I", 144 + len(table)) + bytes(4) + b"\x02\x10\0\0prtrCMYKLab " + bytes(12) + b"acsp"
    white = struct.pack(">3i", 63190, 65536, 54061)
    return (header + bytes(28) + white).ljust(128, b"\0") + tags + table


def test_cmyk_goes_through_its_profile() -> None:
    ink = Image.new("CMYK", (3, 2), (0, 255, 255, 0))
    red = decode_image(saved(ink, "JPEG", quality=100), "a")[0, 0].astype(int)
    assert red[0] > 240 and red[1:].max() < 15
    data = saved(ink, "JPEG", quality=100, icc_profile=cmyk_profile((128, 128, 128)))
    gray = decode_image(data, "a")[0, 0].astype(int)
    assert np.abs(gray - 119).max() <= 2  # L* = 50


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "WEBP"])
def test_exif_turns_pixels_and_points_alike(orientation: int, form: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(PIXELS), form, exif=exif, lossless=True)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    decoded = decode(data, "a")
    assert (decoded.orientation, decoded.stored_size) == (orientation, (6, 4))
    assert (decoded.image == expected).all() and (turn(PIXELS, orientation) == expected).all()
    rows, columns = np.indices((4, 6))
    points = turn_points(
        np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64) + 0.5, orientation, (6, 4)
    )
    x, y = np.floor(points).astype(int).T
    assert (expected[y, x] == PIXELS.reshape(-1, 3)).all()
    (tmp_path / "a").write_bytes(data)
    assert read_header(tmp_path / "a", tmp_path) == (orientation, (6, 4))


def test_a_phone_picture_with_previews_is_its_first_picture() -> None:
    data = saved(smooth(), "MPO", save_all=True, append_images=[smooth().resize((8, 6))])
    assert decode_image(data, "a").shape == (48, 64, 3)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES | {".JPG"}))
def test_encoded_files_are_deterministic_and_bare(suffix: str) -> None:
    image = np.asarray(smooth()).copy()
    data = encode_image(image, suffix)
    assert data == encode_image(image, suffix)
    opened = Image.open(io.BytesIO(data))
    assert not dict(opened.getexif()) or opened.format == "TIFF"
    assert not {"exif", "icc_profile", "xmp", "comment", "parsed_exif"} & set(opened.info)
    again = decode_image(data, "a").astype(int)
    assert np.abs(again - image).max() <= (3 if "j" in suffix.lower() else 0)


def test_jpeg_keeps_its_colour_at_full_resolution() -> None:
    layers = Image.open(io.BytesIO(encode_image(PIXELS, ".jpg"))).layer  # type: ignore[attr-defined]
    assert {layer[1:3] for layer in layers} == {(1, 1)}


def test_encode_refuses_what_it_can_not_write() -> None:
    with pytest.raises(ValueError, match=r"\.gif"):
        encode_image(PIXELS, ".gif")
    with pytest.raises(ValueError, match="uint8"):
        encode_image(PIXELS.astype(np.float32), ".png")


IDS = np.array([[0, 1, 2], [3, 1, 0]], np.uint8)


def palette_label() -> Image.Image:
    image = Image.fromarray(IDS).convert("P")
    image.putdata(IDS.ravel().tolist())
    image.putpalette([9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0])
    return image


LABELS = {
    "8 bit": saved(Image.fromarray(IDS), "PNG"),
    "palette": saved(palette_label(), "PNG"),
    "palette shorter than the ids": png(3, 2, 8, 3, bytes([0, 0, 1, 2, 0, 3, 1, 0]), palette=bytes([9, 8, 7, 6, 5, 4])),
    "16 bit": saved(Image.fromarray(IDS.astype(np.uint16)), "PNG"),
    "2 bit gray is not stretched": png(3, 2, 2, 0, bytes([0, 0b00011000, 0, 0b11010000])),
    "4 bit gray is not stretched": png(3, 2, 4, 0, bytes([0, 0x01, 0x20, 0, 0x31, 0x00])),
    "bmp": saved(Image.fromarray(IDS), "BMP"),
    "tiff": saved(Image.fromarray(IDS), "TIFF"),
}


@pytest.mark.parametrize("name", LABELS)
def test_label_images_give_their_ids(name: str) -> None:
    assert decode_label(LABELS[name], "a").tolist() == IDS.tolist()


@pytest.mark.parametrize("name", LABELS)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_label_images_turn_and_lose_metadata(name: str, orientation: int) -> None:
    turned = encode_label(LABELS[name], orientation, "a")
    assert (decode_label(turned, "a") == turn(IDS, orientation)).all()


def test_label_images_are_released_without_text_chunks() -> None:
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Author", "somebody")
    bare = encode_label(saved(palette_label(), "PNG", pnginfo=info, dpi=(300, 300)), 1, "a")
    opened = Image.open(io.BytesIO(bare))
    assert b"somebody" not in bare and not opened.info
    assert (opened.getpalette() or [])[:9] == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_lossy_labels_are_refused() -> None:
    with pytest.raises(BadSample, match="image-format"):
        decode_label(saved(Image.fromarray(IDS), "JPEG"), "a")


def test_only_regular_files_inside_the_root_are_read(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.png").write_bytes(b"12345")
    (tmp_path / "secret").write_bytes(b"x")
    (root / "link.png").symlink_to(tmp_path / "secret")
    (root / "inner.png").symlink_to(root / "a.png")
    (root / "loop.png").symlink_to(root / "loop.png")
    os.mkfifo(root / "pipe.png")
    assert read_bytes(root / "a.png", root) == read_bytes(root / "inner.png", root) == b"12345"
    for path, code in {
        "link.png": "path-outside-root",
        "../secret": "path-outside-root",
        "pipe.png": "file-not-regular",
        ".": "file-not-regular",
        "none.png": "file-missing",
        "loop.png": "file-unreadable",
    }.items():
        with pytest.raises(BadSample) as caught:
            read_bytes(root / path, root)
        assert caught.value.code == code, path
    with pytest.raises(BadSample, match="file-too-large"):
        read_bytes(root / "a.png", root, limit=4)
