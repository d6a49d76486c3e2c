"""Ignore in label files of every mode: the pixels asked for, and no other; mode, palette and format stay."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as PillowImage

from synthgen.datasets._unlabelled import unlabel, without_labels
from synthgen.images import decode_label, encode_mask
from synthgen.types import BadSample, ClassInfo, Labels

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


def test_labels_in_memory() -> None:
    labels = Labels(CLASSES, IDS.astype(np.int32))
    assert without_labels(labels, b"", "a") is labels
    changed = without_labels(labels, encode_mask(WHERE), "a").mask
    assert changed is not None and (changed == np.where(WHERE, 200, IDS)).all() and changed.dtype == np.int32


def test_another_size_is_refused() -> None:
    with pytest.raises(BadSample, match="mask-size-mismatch"):
        unlabel(stored(drawn("L"), "PNG"), encode_mask(WHERE[:2]), CLASSES, "a")
    with pytest.raises(BadSample, match="class-ignore-missing"):
        unlabel(stored(drawn("L"), "PNG"), encode_mask(WHERE), CLASSES[:2], "a")
