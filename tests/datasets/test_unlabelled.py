"""Ignore in label files: the pixels asked for, and no other; in every mode of an image and every format of a set."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from synthgen.component import component_class
from synthgen.datasets._records import Record
from synthgen.datasets._unlabelled import unlabel, without_labels
from synthgen.datasets.base import Dataset, NameMap, ReleasedImage, resolve_source
from synthgen.images import decode_label, encode_mask
from synthgen.names import Names
from synthgen.types import BadSample, Box, ClassInfo, Instance, Labels
from tests.datasets.conftest import KEEP, picture, same_labels, tree

CLASSES = (
    ClassInfo(0, "Sky", (10, 20, 30)),
    ClassInfo(1, "Road", (40, 50, 60)),
    ClassInfo(200, "Void", (1, 2, 3), ignore=True),
    ClassInfo(250, "Other void", (9, 9, 9), ignore=True),
)
IDS = np.tile(np.array([[0, 1, 1, 0, 1]], np.uint8), (4, 1))
WHERE = np.zeros(IDS.shape, np.bool_)
WHERE[1:3, 2:4] = True


def drawn(mode: str) -> PillowImage.Image:
    if mode in ("RGB", "RGBA"):
        colours = np.array([(10, 20, 30), (40, 50, 60)], np.uint8)
        return PillowImage.fromarray(colours[IDS]).convert(mode)
    if mode == "1":
        return PillowImage.fromarray(IDS.astype(bool))
    if mode == "I;16":
        return PillowImage.fromarray(IDS.astype(np.uint16))
    image = PillowImage.fromarray(IDS)
    if mode == "P":
        image.putpalette([7, 8, 9, 70, 80, 90])
    return image if mode in ("L", "P") else image.convert(mode)


def stored(image: PillowImage.Image, form: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16", "LA", "RGB", "RGBA"])
def test_only_these_pixels_change(mode: str, form: str) -> None:
    data = unlabel(stored(drawn(mode), form), encode_mask(WHERE), CLASSES, "a")
    before, after = decode_label(stored(drawn(mode), form), "a"), decode_label(data, "a")
    assert (after[~WHERE] == before[~WHERE]).all()
    expected = (1, 2, 3) if mode.startswith("RGB") else 200
    assert (after[WHERE] == expected).all()
    opened = PillowImage.open(io.BytesIO(data))
    assert opened.format == form and opened.mode == ("L" if mode == "1" else mode)
    if mode == "P":
        assert opened.getpalette()[:6] == [7, 8, 9, 70, 80, 90]  # type: ignore[index]


@pytest.mark.parametrize("bits", [2, 4])
def test_ids_of_few_bits_stay(bits: int) -> None:
    """Pillow writes no gray PNG of 2 or 4 bits, and stretches those that it reads."""
    per_byte = 8 // bits
    ids = np.tile(np.array([[0, 1, 2, 3]], np.uint8), (4, 2))
    parts = ids.reshape(4, -1, per_byte).astype(int)
    packed = sum(parts[:, :, place] << (8 - bits * (place + 1)) for place in range(per_byte))
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in np.asarray(packed))
    header = struct.pack(">IIBBBBB", 8, 4, bits, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    where = np.zeros(ids.shape, np.bool_)
    where[1:3, 2:4] = True
    after = decode_label(unlabel(data, encode_mask(where), CLASSES, "a"), "a")
    assert (decode_label(data, "a") == ids).all()
    assert (after == np.where(where, 200, ids)).all()


def test_labels_in_memory() -> None:
    labels = Labels(CLASSES, IDS.astype(np.int32))
    assert without_labels(labels, b"", "a") is labels
    changed = without_labels(labels, encode_mask(WHERE), "a").mask
    assert changed is not None and (changed == np.where(WHERE, 200, IDS)).all() and changed.dtype == np.int32


def test_outlined_objects_lose_their_pixels_too() -> None:
    whole, part = np.zeros(IDS.shape, np.bool_), np.zeros(IDS.shape, np.bool_)
    whole[1:3, 2:3] = True
    part[0:3, 3:5] = True
    corners = (np.array([[3.0, 0.0], [5.0, 0.0], [5.0, 3.0]]),)
    objects = (
        Instance(1, Box(2, 1, 3, 3), whole),
        Instance(0, Box(3, 0, 5, 3), part, polygons=corners),
        Instance(1, Box(0, 0, 5, 4)),
    )
    left = without_labels(Labels(CLASSES, IDS.astype(np.int32), objects), encode_mask(WHERE), "a").instances
    assert [one.class_id for one in left] == [0, 1], "the whole one is gone"
    assert left[0].mask is not None and (left[0].mask == (part & ~WHERE)).all() and left[0].polygons == ()
    assert left[0].box == Box(3, 0, 5, 3) and left[1] is objects[2]


def test_another_size_is_refused() -> None:
    with pytest.raises(BadSample, match="mask-size-mismatch"):
        unlabel(stored(drawn("L"), "PNG"), encode_mask(WHERE[:2]), CLASSES, "a")
    with pytest.raises(BadSample, match="class-ignore-missing"):
        unlabel(stored(drawn("L"), "PNG"), encode_mask(WHERE), CLASSES[:2], "a")


SHAPE = (16, 24)
STREET = (
    ClassInfo(7, "road", (128, 64, 128)),
    ClassInfo(23, "sky", (70, 130, 180)),
    ClassInfo(26, "car", (0, 0, 142)),
    ClassInfo(0, "unlabeled", (0, 0, 0), ignore=True),
)
CARS = ((2, 2, 7, 8), (10, 4, 16, 10))
"""x0, y0, x1, y1."""


def street() -> Record:
    """Sky over a road with two cars."""
    mask = np.full(SHAPE, 23, np.int32)
    mask[6:] = 7
    cars = []
    for x0, y0, x1, y1 in CARS:
        inside = np.zeros(SHAPE, np.bool_)
        inside[y0:y1, x0:x1] = True
        mask[inside] = 26
        cars.append(Instance(26, Box(x0, y0, x1, y1), inside))
    buffer = io.BytesIO()
    picture(3).save(buffer, "PNG")
    return Record("ulm_000001.png", "train", buffer.getvalue(), SHAPE[::-1], Labels(STREET, mask, tuple(cars)))


def lost() -> np.ndarray:
    """What an output lost: the first car, and a part of the second and of the sky."""
    where = np.zeros(SHAPE, np.bool_)
    x0, y0, x1, y1 = CARS[0]
    where[y0:y1, x0:x1] = True
    where[0:6, 14:20] = True
    return where


def outputs(source: Dataset, names: NameMap, unlabelled: bytes) -> Iterator[ReleasedImage]:
    for item in source.index().items:
        yield ReleasedImage(item, 0, names.image(item, 0), source.encoded(item), unlabelled)


def written(form: str, folder: Path) -> Dataset:
    """A set of one street, written by the format itself; without objects where it can't say which were lost."""
    folder.mkdir()
    record = street()
    if form in ("masks", "hf", "webdataset"):
        record = replace(record, labels=Labels(STREET, record.labels.mask))
    component_class("datasets", form).write_fitted([record], STREET, folder)  # type: ignore[attr-defined]
    return resolve_source({"format": form, "path": folder})


@pytest.mark.parametrize("names", [KEEP, Names("pseudonym", bytes(32))], ids=["keep", "pseudonym"])
@pytest.mark.parametrize("form", ["masks", "cityscapes", "voc", "panoptic", "hf", "webdataset"])
def test_a_release_of_every_mask_format_says_ignore_there(form: str, names: NameMap, tmp_path: Path) -> None:
    """Read again, the release has the source's labels but for what was lost, in the mask and in every object."""
    source = written(form, tmp_path / "source")
    assert source.unlabels()
    source.write_release(outputs(source, names, encode_mask(lost())), names, tmp_path / "out")
    again = resolve_source({"format": form, "path": tmp_path / "out"})
    (before,), (after,) = source.index().items, again.index().items
    expected = without_labels(source.read(before).labels, encode_mask(lost()), "a")
    found = again.read(after).labels
    assert same_labels(found, expected)
    assert len(found.instances) == (0 if form in ("masks", "hf", "webdataset") else 1)
    assert found.mask is not None
    void = {info.id for info in found.classes if info.ignore}
    assert (np.isin(found.mask, list(void)) == lost()).all()


@pytest.mark.parametrize("form", ["masks", "cityscapes", "voc", "panoptic", "hf", "webdataset"])
def test_where_nothing_was_lost_kept_label_files_keep_every_byte(form: str, tmp_path: Path) -> None:
    source = written(form, tmp_path / "source")
    source.write_release(outputs(source, KEEP, b""), KEEP, tmp_path / "out")
    assert tree(tmp_path / "source") == tree(tmp_path / "out")


def test_cityscapes_covers_its_polygons_and_its_train_ids(tmp_path: Path) -> None:
    written("cityscapes", tmp_path / "source")
    (base,) = (tmp_path / "source/gtFine").rglob("*_labelIds.png")
    stem = base.name.removesuffix("labelIds.png")
    PillowImage.fromarray(np.full(SHAPE, 13, np.uint8)).save(base.with_name(f"{stem}labelTrainIds.png"))
    source = resolve_source(tmp_path / "source")
    source.write_release(outputs(source, KEEP, encode_mask(lost())), KEEP, tmp_path / "out")
    folder = tmp_path / "out" / base.parent.relative_to(tmp_path / "source")
    trained = np.array(PillowImage.open(folder / f"{stem}labelTrainIds.png"))
    assert (trained == np.where(lost(), 255, 13)).all()
    colours = np.array(PillowImage.open(folder / f"{stem}color.png"))
    assert (colours[lost()] == (0, 0, 0)).all()
    drawn = json.loads((folder / f"{stem}polygons.json").read_text())["objects"]
    painted = np.zeros(SHAPE, np.bool_)
    for row in drawn:
        x0, y0, x1, y1 = (int(v) for v in (*np.min(row["polygon"], axis=0), *np.max(row["polygon"], axis=0)))
        if row["label"] == "unlabeled":
            painted[y0:y1, x0:x1] = True
    assert (painted == lost()).all() and drawn[-1]["label"] == "unlabeled"


def test_what_nobody_outlined_can_not_be_taken_away(tmp_path: Path) -> None:
    source = written("voc", tmp_path / "voc")
    assert source.unlabels()
    next((tmp_path / "voc/SegmentationObject").iterdir()).unlink()
    assert not resolve_source(tmp_path / "voc").unlabels(), "a box of the XML would stay where its object is lost"
    for form in ("hf", "webdataset"):
        (tmp_path / form).mkdir()
        component_class("datasets", form).write_fitted([street()], STREET, tmp_path / form)  # type: ignore[attr-defined]
        assert not resolve_source(tmp_path / form).unlabels(), "objects stand beside the mask"
