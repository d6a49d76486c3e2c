"""Image files, in and out: source bytes are checked here before they are believed, outputs leave here clean.

Reading takes five still formats and nothing else, looks at the size before it decodes, and always gives 8-bit sRGB as
the image is *shown*: embedded profiles applied, 16 bits scaled, transparency laid over white, EXIF orientation turned.
Writing is a pure function of the pixels and the suffix; no metadata goes in, so none can come out.

**Orientation.** Label files refer to the pixels as stored (annotation tools and most loaders ignore EXIF), so readers
turn the labels along with the image (`turn`, `turn_points`). Labels that already have the displayed size of an image on
its side (orientation 5 to 8) are taken as they are.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PIL
from PIL import ImageCms, UnidentifiedImageError

from synthgen.types import BadSample, Image, Mask

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
LABEL_FORMATS = ("PNG", "BMP", "TIFF")
"""Formats that keep class ids exact."""
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
MAX_PIXELS = 89_478_485
"""Pillow's own limit, so it never warns about an image that is accepted here."""
MAX_SIDE = 30_000
MAX_ASPECT = 100
MAX_FILE_BYTES = 1 << 28

_ORIENTATION = 0x0112
_MAGIC = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "WEBP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*"),
}
_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@dataclass(frozen=True, eq=False)
class Decoded:
    """`image` as it is shown; `orientation` is the EXIF tag (1 to 8) that was applied to it."""

    image: Image
    orientation: int

    @property
    def stored_size(self) -> tuple[int, int]:
        """(width, height) of the pixels in the file, before they were turned."""
        height, width = self.image.shape[:2]
        return (height, width) if self.orientation >= 5 else (width, height)


def decode_image(data: bytes, origin: str) -> Image:
    """The pixels of an image file as shown: (height, width, 3), RGB, uint8, sRGB.

    Raises:
        BadSample: `image-empty`, `image-format` (not one of `FORMATS`, or pixels of no defined range), `image-corrupt`,
            `image-too-large` (pixels, side or aspect ratio), `image-multi-frame`. `origin` names the file in messages.
    """
    return decode(data, origin).image


def decode(data: bytes, origin: str) -> Decoded:
    """As `decode_image`, with the orientation that was applied: what labels of the stored pixels need."""
    opened = _open(data, origin, FORMATS)
    orientation = _exif_orientation(opened)
    _load(opened, origin)
    pixels = np.asarray(_to_rgb(opened, origin))
    if opened.format != "TIFF":  # Pillow turns TIFF pixels itself when it loads them
        pixels = turn(pixels, orientation)
    return Decoded(np.ascontiguousarray(pixels), orientation)


def decode_label(data: bytes, origin: str) -> NDArray[Any]:
    """A label image as stored: (height, width) int32 of gray values or palette indices, or (height, width, 3) uint8.

    Raises:
        BadSample: as `decode_image`; `image-format` also for lossy formats, which can't hold class ids.
    """
    opened = _open(data, origin, LABEL_FORMATS)
    _load(opened, origin)
    if opened.mode in {"RGB", "RGBA"}:
        return np.array(opened.convert("RGB"))
    if opened.mode not in {"1", "L", "LA", "P", "PA", "I"} and not opened.mode.startswith("I;16"):
        raise BadSample("image-format", f"{origin}: a label image has whole numbers or RGB, this one is {opened.mode}")
    ids = np.array(opened.getchannel(0) if opened.mode in {"LA", "PA"} else opened).astype(np.int32)
    return ids // _stretch(opened, data)


def _stretch(opened: PIL.Image, data: bytes) -> int:
    """By how much Pillow has multiplied gray values: it stretches PNGs of 2 and 4 bits to 0..255."""
    return {2: 85, 4: 17}.get(data[24], 1) if opened.format == "PNG" and opened.mode == "L" else 1


def encode_image(image: Image, suffix: str) -> bytes:
    """An image file without metadata; the same pixels and suffix give the same bytes on one version of Pillow.

    JPEG is quality 95 without chroma subsampling; the other formats are lossless.

    Raises:
        ValueError: a suffix outside `SUFFIXES`, or an array that is not (height, width, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected (height, width, 3) uint8, got {image.shape} {image.dtype}")
    options: dict[str, dict[str, Any]] = {
        ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
        ".png": {"format": "PNG", "compress_level": 6},
        ".webp": {"format": "WEBP", "lossless": True, "quality": 50, "method": 4},
        ".bmp": {"format": "BMP"},
        ".tif": {"format": "TIFF", "compression": "tiff_deflate"},
    }
    key = {".jpeg": ".jpg", ".tiff": ".tif"}.get(suffix.lower(), suffix.lower())
    if key not in options:
        raise ValueError(f"can't write {suffix!r}; expected one of {', '.join(sorted(SUFFIXES))}")
    buffer = io.BytesIO()
    PIL.fromarray(image).save(buffer, **options[key])
    return buffer.getvalue()


def encode_mask(mask: Mask) -> bytes:
    """(height, width) as a PNG of one bit a pixel; `decode_label` gives it back as 0 and 1."""
    buffer = io.BytesIO()
    PIL.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def encode_label(data: bytes, orientation: int, origin: str) -> bytes:
    """A label image again without its metadata, turned by `orientation`; mode, palette and format stay.

    Raises:
        BadSample: as `decode_label`.
    """
    opened = _open(data, origin, LABEL_FORMATS)
    _load(opened, origin)
    method, stretch = _TRANSPOSE.get(orientation), _stretch(opened, data)
    clean = opened.copy() if method is None else opened.transpose(method)
    if stretch > 1:
        clean = PIL.fromarray(np.asarray(clean) // stretch)
    clean.info = {}
    if clean.mode == "P":  # Pillow cuts ids above the palette's length
        palette = clean.getpalette() or []
        clean.putpalette(palette + [0] * (3 * (int(np.asarray(clean).max()) + 1) - len(palette)))
    buffer = io.BytesIO()
    clean.save(buffer, format=opened.format)
    return buffer.getvalue()


_TRANSPOSE = {
    2: PIL.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Transpose.ROTATE_180,
    4: PIL.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Transpose.TRANSPOSE,
    6: PIL.Transpose.ROTATE_270,
    7: PIL.Transpose.TRANSVERSE,
    8: PIL.Transpose.ROTATE_90,
}


def turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """(height, width, ...) stored pixels as shown under EXIF `orientation` (1 to 8)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in {3, 4, 7, 8}:
        pixels = pixels[::-1]
    if orientation in {2, 3, 6, 7}:
        pixels = pixels[:, ::-1]
    return pixels


def turn_points(points: NDArray[np.float64], orientation: int, stored_size: tuple[int, int]) -> NDArray[np.float64]:
    """(n, 2) continuous (x, y) of the stored pixels as shown; `stored_size` is (width, height)."""
    x, y = points[:, 0], points[:, 1]
    width, height = stored_size
    if orientation >= 5:
        x, y, width, height = y, x, height, width
    if orientation in {3, 4, 7, 8}:
        y = height - y
    if orientation in {2, 3, 6, 7}:
        x = width - x
    return np.stack([x, y], axis=1)


def open_file(path: Path, root: Path) -> BinaryIO:
    """Open a regular file that lies inside `root` once every link is followed; never waits on a pipe or a device.

    Raises:
        BadSample: `file-missing`, `path-outside-root`, `file-not-regular`, `file-unreadable`.
    """
    try:
        real, real_root = path.resolve(strict=True), root.resolve(strict=True)
    except FileNotFoundError as error:
        raise BadSample("file-missing", f"{path}: no such file") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise BadSample("file-unreadable", f"{path}: {error}") from error
    if not real.is_relative_to(real_root):
        raise BadSample("path-outside-root", f"{path} leads out of {root}; files must lie inside source.path")
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        if not stat.S_ISREG(real.stat().st_mode):
            raise BadSample("file-not-regular", f"{path} is a folder, a pipe or a device, not a file")
        return os.fdopen(os.open(real, flags), "rb")
    except OSError as error:
        raise BadSample("file-unreadable", f"{path}: {error.strerror}") from error


def read_bytes(path: Path, root: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a regular file inside `root`.

    Raises:
        BadSample: as `open_file`, and `file-too-large` above `limit` bytes.
    """
    with open_file(path, root) as file:
        try:  # a read of n bytes allocates n at once, so it asks for no more than there is
            data = file.read(min(limit, os.fstat(file.fileno()).st_size) + 1)
        except OSError as error:
            raise BadSample("file-unreadable", f"{path}: {error.strerror}") from error
    if len(data) > limit:
        raise BadSample("file-too-large", f"{path}: more than {limit} bytes")
    return data


def sha256(data: bytes) -> str:
    """Hex SHA-256 of a file's bytes: a sample's digest."""
    return hashlib.sha256(data).hexdigest()


def read_header(path: Path, root: Path) -> tuple[int, tuple[int, int]]:
    """EXIF orientation (1 to 8) and stored (width, height) of an image file, without decoding it.

    Raises:
        BadSample: as `open_file` and `decode_image`.
    """
    with open_file(path, root) as file:
        return parse_header(file, str(path))


def parse_header(stream: BinaryIO, origin: str) -> tuple[int, tuple[int, int]]:
    """As `read_header`, of an open file or of bytes in memory."""
    opened = _open_stream(stream, origin, FORMATS, stream.read(16))
    orientation = _exif_orientation(opened)
    width, height = opened.size
    if opened.format == "TIFF" and orientation >= 5:
        width, height = height, width
    return orientation, (width, height)


def _open(data: bytes, origin: str, formats: tuple[str, ...]) -> PIL.Image:
    if not data:
        raise BadSample("image-empty", f"{origin}: the file has no bytes")
    return _open_stream(io.BytesIO(data), origin, formats, data[:16])


def _open_stream(stream: Any, origin: str, formats: tuple[str, ...], head: bytes) -> PIL.Image:
    """Read the header only, and refuse what must not be decoded."""
    stream.seek(0)
    try:
        opened = PIL.open(stream, formats=formats)
        frames = _has_second_frame(opened)
    except PIL.DecompressionBombError as error:
        raise BadSample("image-too-large", f"{origin}: {error}") from error
    except UnidentifiedImageError as error:
        known = any(head.startswith(_MAGIC[form]) for form in formats)
        if known and (head[:4] != b"RIFF" or head[8:12] == b"WEBP"):
            raise BadSample("image-corrupt", f"{origin}: the header can't be read as {', '.join(formats)}") from error
        raise BadSample("image-format", f"{origin}: expected {', '.join(formats)}") from error
    except Exception as error:  # a parser fed with hostile bytes may raise anything
        raise BadSample("image-corrupt", f"{origin}: {type(error).__name__}: {error}") from error
    width, height = opened.size
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise BadSample(
            "image-too-large", f"{origin}: {width}x{height}; at most {MAX_PIXELS} pixels and sides of {MAX_SIDE}"
        )
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise BadSample("image-too-large", f"{origin}: {width}x{height}; one side is over {MAX_ASPECT} times the other")
    if frames:
        raise BadSample("image-multi-frame", f"{origin}: several frames or pages; split them into single images")
    return opened


def _has_second_frame(opened: PIL.Image) -> bool:
    """Whether there is more than one picture; in an MPO (phone JPEG) the first is the picture, the rest previews."""
    if opened.format == "TIFF":  # counting the pages of a hostile file may take for ever, the second is enough
        try:
            opened.seek(1)
        except EOFError:
            return False
        return True
    return opened.format != "MPO" and getattr(opened, "n_frames", 1) > 1


def _load(opened: PIL.Image, origin: str) -> None:
    try:
        opened.load()
    except Exception as error:  # as above
        raise BadSample("image-corrupt", f"{origin}: {type(error).__name__}: {error}") from error


def _exif_orientation(opened: PIL.Image) -> int:
    try:
        value = int(opened.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF is no reason to lose an image: viewers show it as stored
        return 1
    return value if 1 <= value <= 8 else 1


def _to_rgb(opened: PIL.Image, origin: str) -> PIL.Image:
    """Any loaded image as 8-bit sRGB over white; pixels stay as stored."""
    profile = opened.info.get("icc_profile")
    if opened.mode.startswith("I;16"):
        tags = getattr(opened, "tag_v2", {})
        top = 2 ** int(np.max(tags.get(258, 16))) - 1  # BitsPerSample: 12-bit TIFFs come in 16-bit words
        values = np.asarray(opened).astype(np.float32) * (255 / top)
        opened = PIL.fromarray(np.rint(values.clip(0, 255)).astype(np.uint8))
    base = {"1": "L", "L": "L", "LA": "L", "CMYK": "CMYK"}.get(opened.mode, "RGB")
    if opened.mode in {"I", "F", "LAB", "HSV"}:
        raise BadSample("image-format", f"{origin}: pixels of mode {opened.mode} have no defined RGB; use 8 or 16 bit")
    alpha = opened.convert("RGBA").getchannel("A") if opened.has_transparency_data else None
    colour = _to_srgb(opened.convert(base), profile)
    if alpha is None:
        return colour
    return PIL.composite(colour, PIL.new("RGB", colour.size, (255, 255, 255)), alpha)


def _to_srgb(colour: PIL.Image, profile: bytes | None) -> PIL.Image:
    """L, RGB or CMYK through its profile; one that is broken or of another colour space is ignored, as viewers do."""
    if profile:
        try:
            embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if colour.mode == "RGB" and "sRGB" in (embedded.profile.profile_description or ""):
                return colour
            converted = ImageCms.profileToProfile(colour, embedded, _SRGB, outputMode="RGB")
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            converted = None
        if converted is not None:
            return converted
    return colour.convert("RGB")
