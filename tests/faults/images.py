"""Faults 1 to 12: image files. One folder holds them all; it is redacted once, to see the pixels, and painted once."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image as PIL
from PIL import ImageFile, ImageOps

from synthgen.images import MAX_PIXELS
from synthgen.types import Image
from tests.datasets_for_tests import PERSON, SIZE, TABLE, open_image, street
from tests.faults.lab import Ended, Fault, Lab
from tests.test_images import cmyk_profile, png

SKY = np.s_[:4]
"""Rows of a street that hold sky alone and no person's region."""
IMAGE, IDS = street(3)


def saved(image: PIL.Image, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def shown() -> PIL.Image:
    return PIL.fromarray(IMAGE)


def sixteen_bit() -> Image:
    """A ramp of 16 bits, (height, width)."""
    width, height = SIZE
    return np.tile(np.linspace(0, 65535, width).astype(np.uint16), (height, 1))


def with_alpha() -> PIL.Image:
    return PIL.fromarray(np.dstack([IMAGE, np.full(IMAGE.shape[:2], 128, np.uint8)]))


def turned(orientation: int) -> bytes:
    exif = PIL.Exif()
    exif[0x0112] = orientation
    return saved(shown(), "PNG", exif=exif)


def with_place_and_thumbnail() -> bytes:
    exif = PIL.Exif()
    exif[0x010E] = "Jane at home"
    exif[0x8825] = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)}
    thumbnail = saved(shown().resize((16, 12)), "JPEG")
    plain = exif.tobytes()
    first = struct.unpack_from("<I" if plain[6:8] == b"II" else ">I", plain, 10)[0]
    end = "<" if plain[6:8] == b"II" else ">"
    (count,) = struct.unpack_from(f"{end}H", plain, 6 + first)
    at = len(plain) - 6
    second = struct.pack(f"{end}HHHIIHHIII", 2, 0x0201, 4, 1, at + 30, 0x0202, 4, 1, len(thumbnail), 0)
    link = 6 + first + 2 + 12 * count
    whole = plain[:link] + struct.pack(f"{end}I", at) + plain[link + 4 :] + second + thumbnail
    return saved(shown(), "JPEG", exif=whole, comment=b"Jane at home")


def pages(form: str) -> bytes:
    return saved(shown(), form, save_all=True, append_images=[shown().rotate(180)])


FILES: dict[str, Callable[[], bytes]] = {
    "01-truncated.jpg": lambda: saved(shown(), "JPEG")[:-300],
    "02-empty.png": lambda: b"",
    "03-text.png": lambda: b"Hello, I am a picture.\n" * 40,
    "04-bomb.png": lambda: png(29_000, 29_000, 8, 0, bytes(29_000 * 40)),
    "05-long.png": lambda: png(65_000, 1, 8, 0, bytes(65_001)),
    "06-gif.gif": lambda: pages("GIF"),
    "06-apng.png": lambda: pages("PNG"),
    "06-pages.tif": lambda: pages("TIFF"),
    "07-cmyk.jpg": lambda: saved(
        PIL.new("CMYK", SIZE, (0, 255, 255, 0)), "JPEG", quality=100, icc_profile=cmyk_profile((128, 128, 128))
    ),
    "08-sixteen.png": lambda: saved(PIL.fromarray(sixteen_bit()), "PNG"),
    "09-alpha.png": lambda: saved(with_alpha(), "PNG"),
    "09-palette.png": lambda: saved(shown().quantize(16), "PNG"),
    "09-gray.png": lambda: saved(shown().convert("L"), "PNG"),
    "11-eps.eps": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    "11-eps.png": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
    "11-fits.png": lambda: b"SIMPLE  =                    T" + bytes(2850),
    "11-psd.png": lambda: b"8BPS\x00\x01" + bytes(400),
    "12-exif.jpg": with_place_and_thumbnail,
    **{f"10-turned-{n}.png": (lambda n=n: turned(n)) for n in range(1, 9)},  # type: ignore[misc]
}
GOOD = tuple(name for name in FILES if name[:2] in {"07", "08", "09", "10", "12"})


def write_files(root: Path) -> Path:
    """Every image beside the label of its stored pixels."""
    for name, make in FILES.items():
        for folder, data in (("images", make()), ("labels", saved(PIL.fromarray(IDS.astype(np.uint8)), "PNG"))):
            path = root / folder / (Path(name).name if folder == "images" else f"{Path(name).stem}.png")
            if name == "11-eps.eps":
                path = path.with_stem("11-by-name")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    (root / "classes.csv").write_text(TABLE)
    return root


@cache
def redacted(lab: Lab) -> Ended:
    """The folder through classic redaction: every pixel that belongs to nobody is in the release as it was read."""
    source = write_files(lab.folder() / "source")
    decoded: list[int] = []
    real = ImageFile.ImageFile.load

    def load(self: ImageFile.ImageFile) -> object:
        decoded.append(self.size[0] * self.size[1])
        return real(self)

    ImageFile.ImageFile.load = load  # type: ignore[method-assign]
    try:
        ended = lab.run(lab.redact(source))
    finally:
        ImageFile.ImageFile.load = real  # type: ignore[method-assign]
    assert decoded and max(decoded) <= max(SIZE[0] * SIZE[1], MAX_PIXELS // 1000), "nothing large was decoded"
    assert lab.run(lab.paint(source)).codes == ended.codes, "painting reads as redaction does"
    return ended


def rejected(number: int) -> Callable[[Lab], str]:
    """The codes of the files of a fault, while the rest of the folder went on."""

    def provoke(lab: Lab) -> str:
        ended = redacted(lab)
        assert ended.status == 0, ended.err
        codes = {name: code for name, code in ended.codes.items() if f"/{number:02d}-" in name}
        assert codes and all(codes.values()), codes
        accepted = sum(not code for code in ended.codes.values())
        assert accepted == len(GOOD), ended.codes
        told = ", ".join(f"{Path(name).name}: {code}" for name, code in codes.items())
        return f"Q {', '.join(sorted(set(codes.values())))} · {told}"

    return provoke


def released(lab: Lab, name: str) -> Image:
    ended = redacted(lab)
    assert ended.codes[f"images/{name}"] == "", ended.codes[f"images/{name}"]
    return open_image(ended.root / "release/images" / name)


def cmyk(lab: Lab) -> str:
    colour = released(lab, "07-cmyk.jpg")[SKY].reshape(-1, 3).astype(int)
    assert np.abs(colour - 119).max() <= 3, "L* = 50 of the profile, not the red of the plain numbers"
    return f"sRGB by the profile · {colour[0].tolist()}"


def sixteen(lab: Lab) -> str:
    found = released(lab, "08-sixteen.png")[SKY].astype(int)
    expected = np.rint(sixteen_bit()[SKY].astype(float) / 257)[..., None]
    assert np.abs(found - expected).max() <= 1 and len(np.unique(found)) > 50
    return f"scaled by 1/257 · {len(np.unique(found))} levels of a ramp of {SIZE[0]}"


def modes(lab: Lab) -> str:
    half = IMAGE[SKY].astype(float) * 128 / 255 + 255 * 127 / 255
    expected = {
        "09-alpha.png": half,
        "09-palette.png": np.asarray(shown().quantize(16).convert("RGB"))[SKY],
        "09-gray.png": np.asarray(shown().convert("L"))[SKY][..., None],
    }
    for name, colours in expected.items():
        assert np.abs(released(lab, name)[SKY].astype(float) - colours).max() <= 1, name
    return "RGB, alpha over white · equal to Pillow's within 1"


def orientations(lab: Lab) -> str:
    ended = redacted(lab)
    for number in range(1, 9):
        name = f"10-turned-{number}.png"
        output = released(lab, name)
        reference = PIL.open(io.BytesIO(turned(number)))
        seen = np.asarray(ImageOps.exif_transpose(reference).convert("RGB"))
        label = np.asarray(PIL.open(ended.root / "release/labels" / name))
        assert output.shape == seen.shape and label.shape == output.shape[:2], name
        black = (output == 0).all(axis=2)
        assert black[label == PERSON].all(), f"{name}: the label's person is where the person is"
        assert black.mean() < 0.5 and (output == seen).all(axis=2)[~black].all(), name
        assert PIL.open(ended.root / "release/images" / name).getexif() == {}
    return "pixels and labels turned alike · 8 of 8 orientations"


def metadata(lab: Lab) -> str:
    source = with_place_and_thumbnail()
    assert PIL.open(io.BytesIO(source)).getexif().get_ifd(0x8825), "the input says where it was taken"
    assert source.count(b"\xff\xd8\xff") == 2 and b"Jane" in source
    path = redacted(lab).root / "release/images/12-exif.jpg"
    assert released(lab, "12-exif.jpg").shape == IMAGE.shape
    data = path.read_bytes()
    assert not PIL.open(path).getexif() and b"Exif" not in data and b"Jane" not in data
    assert data.count(b"\xff\xd8\xff") == 1, "one picture, no thumbnail"
    return f"no EXIF, thumbnail or comment · {len(source)} → {len(data)} bytes"


FAULTS = (
    Fault(1, "truncated JPEG", "Q image-corrupt", rejected(1)),
    Fault(2, "file of zero bytes", "Q image-empty", rejected(2)),
    Fault(3, "text named .png", "Q image-format", rejected(3)),
    Fault(4, "PNG bomb, 29,000 × 29,000", "Q image-too-large", rejected(4)),
    Fault(5, "image of 65,000 × 1", "Q image-too-large", rejected(5)),
    Fault(6, "GIF, APNG, TIFF of two pages", "Q image-format, image-multi-frame", rejected(6)),
    Fault(7, "CMYK with an ICC profile", "sRGB by the profile", cmyk),
    Fault(8, "16-bit gray", "scaled by 1/257", sixteen),
    Fault(9, "alpha, palette, gray", "RGB, alpha over white", modes),
    Fault(10, "EXIF orientation 1 to 8", "pixels and labels turned alike", orientations),
    Fault(11, "EPS (by name and disguised), FITS, PSD", "Q image-format", rejected(11)),
    Fault(12, "EXIF with GPS and thumbnail, comment", "no EXIF, thumbnail or comment", metadata),
)
