"""Small datasets made of arrays, and the two ways of naming a release."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from synthgen.datasets.base import Dataset, ReleasedImage
from synthgen.images import encode_image
from synthgen.types import BadSample, Item, Labels

SIZE = (24, 16)


@dataclass(frozen=True)
class Names:
    """`names: keep`, or names that say nothing about the source."""

    keep: bool

    def image(self, item: Item, variant: int) -> str:
        return self.other(item.id, item, variant)

    def other(self, path: str, item: Item, variant: int) -> str:
        if self.keep:
            return path
        word = hashlib.sha256(f"{item.id} {variant}".encode()).hexdigest()[:12]
        return str(PurePosixPath(path).with_name(word + PurePosixPath(path).suffix))


KEEP, PSEUDONYM = Names(True), Names(False)


def picture(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 4, size[0] // 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size)


def save(path: Path, image: Image.Image, orientation: int = 1, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    image.save(path, exif=exif, **options)  # type: ignore[arg-type]


def release(
    source: Dataset, names: Names, out: Path, keep: Callable[[Item], bool] = lambda item: True
) -> dict[str, int]:
    """Write every readable item that `keep` wants as its own picture, turned upside down."""

    def outputs() -> Iterator[ReleasedImage]:
        for item in source.index().items:
            if keep(item):
                try:
                    sample = source.read(item)
                except BadSample:
                    continue
                name = names.image(item, 0)
                yield ReleasedImage(item, 0, name, encode_image(255 - sample.image, PurePosixPath(name).suffix))

    return dict(source.write_release(outputs(), names, out))


def tree(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def codes(source: Dataset) -> dict[str, str]:
    """What became of each item: `ok`, or the code of its BadSample."""
    result = {}
    for item in source.index().items:
        try:
            source.read(item)
            result[item.id] = "ok"
        except BadSample as error:
            result[item.id] = error.code
    return result


def same_labels(one: Labels, other: Labels) -> bool:
    """Equal in everything; masks of objects too."""
    masks = (one.mask is None) == (other.mask is None) and (one.mask is None or bool((one.mask == other.mask).all()))
    pairs = list(zip(one.instances, other.instances, strict=True))
    objects = all(a.class_id == b.class_id and a.box == b.box and a.crowd == b.crowd for a, b in pairs)
    outlines = all(
        (a.mask is None) == (b.mask is None) and (a.mask is None or bool((a.mask == b.mask).all())) for a, b in pairs
    )
    rest = (one.classes, one.image_class, dict(one.attributes)) == (
        other.classes,
        other.image_class,
        dict(other.attributes),
    )
    return masks and objects and outlines and rest


def spoil(root: Path, folder: Path, stem: str) -> dict[str, str]:
    """Put bad image files into a folder of the source `root`; {file name: code}."""
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    picture(9, (64, 64)).save(buffer, "JPEG")
    (folder / f"{stem}-truncated.jpg").write_bytes(buffer.getvalue()[:400])
    (folder / f"{stem}-empty.jpg").write_bytes(b"")
    (folder / f"{stem}-text.png").write_text("not a picture")
    picture(9).save(folder / f"{stem}-gif.gif")
    os.mkfifo(folder / f"{stem}-pipe.png")
    outside = root.parent / "outside.png"
    picture(9).save(outside)
    (folder / f"{stem}-link.png").symlink_to(outside)
    return {
        f"{stem}-truncated.jpg": "image-corrupt",
        f"{stem}-empty.jpg": "image-empty",
        f"{stem}-text.png": "image-format",
        f"{stem}-gif.gif": "image-format",
        f"{stem}-pipe.png": "file-not-regular",
        f"{stem}-link.png": "path-outside-root",
    }


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Images and masks in splits with a class table, as `../shared/data/camvid` lies there."""
    root = tmp_path / "source"
    rng = np.random.default_rng(1)
    for number, split in enumerate(["train", "train", "val", "test"]):
        save(root / f"images/{split}/0001TP_{number:06}.jpg", picture(number))
        ids = rng.integers(0, 4, (SIZE[1], SIZE[0]), dtype=np.uint8)
        save(root / f"labels/{split}/0001TP_{number:06}.png", Image.fromarray(ids))
    (root / "classes.csv").write_text(
        "id,name,r,g,b,note\n0,Sky,128,128,128,\n1,Road,128,64,128,\n2,Person,64,64,0,\n3,Unlabelled,0,0,0,ignore\n"
    )
    (root / "index.csv").write_text("stem,person\n0001TP_000000,Jane\n")
    return root
