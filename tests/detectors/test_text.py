"""Text and plates: RapidOCR's networks on drawn signs, any DB network by its file, readings that look like plates."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.detectors import _text
from synthgen.detectors.plates import PlatesDetector, vehicle_mask
from synthgen.detectors.text import TextDetector
from synthgen.types import Box, ClassInfo, ConfigError, Image, Instance, Labels, Region

from . import tiny
from .conftest import SampleOf

needs_rapidocr = pytest.mark.skipif(
    importlib.util.find_spec(_text.PACKAGE) is None, reason=f"rapidocr-onnxruntime is not installed ({_text.INSTALL})"
)


def sign(text: str, at: tuple[int, int] = (60, 120), size: tuple[int, int] = (480, 240), scale: float = 1.5) -> Image:
    """Black letters on a light sign in a grey street; `at` is the left end of the baseline."""
    image = np.full((size[1], size[0], 3), 128, np.uint8)
    (width, height), below = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 3)
    x, y = at
    cv2.rectangle(image, (x - 12, y - height - 12), (x + width + 12, y + below + 12), (250, 250, 250), -1)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, (0, 0, 0), 3, cv2.LINE_AA)
    return image


def covers(regions: list[Region], box: Box) -> float:
    mask = np.zeros((2000, 3000), np.bool_)
    for region in regions:
        b = region.box
        mask[int(b.y0) : int(np.ceil(b.y1)), int(b.x0) : int(np.ceil(b.x1))] = True
    return float(mask[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)].mean())


@needs_rapidocr
@pytest.mark.parametrize("at", [(60, 120), (1500, 900), (20, 60)])
def test_a_sign_is_found_wherever_it_is(at: tuple[int, int], sample_of: SampleOf) -> None:
    size = (480, 240) if at[0] < 400 else (2400, 1600)
    image = sign("HELLO", at, size)
    (width, height), _ = cv2.getTextSize("HELLO", cv2.FONT_HERSHEY_SIMPLEX, 1.5, 3)
    (regions,) = TextDetector().load("cpu")([sample_of(image)])
    assert covers(regions, Box(at[0], at[1] - height, at[0] + width, at[1])) > 0.9
    assert len(regions) == 1
    assert {(region.kind, region.origin) for region in regions} == {("text", "detector")}
    assert 0.5 <= regions[0].score <= 1


@needs_rapidocr
def test_no_text(sample_of: SampleOf) -> None:
    blank = np.full((90, 120, 3), 128, np.uint8)
    assert TextDetector().load("cpu")([sample_of(blank), sample_of(blank[:1, :1])]) == [[], []]


@needs_rapidocr
def test_a_plate_is_told_from_a_sign_by_its_reading(sample_of: SampleOf) -> None:
    run = PlatesDetector().load("cpu")
    plate, other = run([sample_of(sign("KX 52 ABC"))])[0], run([sample_of(sign("BAKERY"))])[0]
    assert [region.kind for region in plate] == ["plate"] and plate[0].score > 0.5
    assert all(region.score <= 0.5 for region in other)


@needs_rapidocr
def test_plates_lie_on_labelled_vehicles_where_there_are_any(sample_of: SampleOf) -> None:
    image = sign("KX 52 ABC", (60, 120), (960, 480))
    classes = (ClassInfo(1, "car"), ClassInfo(2, "road"))

    def found(box: Box, table: tuple[ClassInfo, ...] = classes, **keys: str) -> int:
        labels = Labels(table, instances=(Instance(1, box),))
        return len(PlatesDetector(**keys).load("cpu")([sample_of(image, labels)])[0])

    near, far = Box(40, 60, 400, 200), Box(700, 300, 900, 460)
    assert found(near) == 1
    assert found(far) == 0
    assert found(far, vehicles="any") == 1
    assert found(far, table=(ClassInfo(1, "road"),)) == 1


def test_a_vehicle_is_no_plate() -> None:
    classes = (ClassInfo(0, "License plate"), ClassInfo(1, "car"))
    labels = Labels(classes, instances=(Instance(0, Box(0, 0, 4, 4)),))
    mask = vehicle_mask(labels, (40, 20))
    assert mask is not None and not mask.any()
    assert vehicle_mask(Labels((ClassInfo(0, "dog"),)), (40, 20)) is None


def test_any_db_network_by_its_file(tmp_path: Path, sample_of: SampleOf) -> None:
    digest = tiny.save_db(tmp_path / "db.onnx")
    image = np.full((96, 160, 3), 255, np.uint8)
    image[40:50, 30:110] = 0
    db = {"min_side": 160, "tile": 320, "unclip": 0}
    (regions,) = TextDetector(file=tmp_path / "db.onnx", sha256=digest, db=db).load("cpu")([sample_of(image)])
    assert len(regions) == 1
    box = regions[0].box
    assert (abs(box.x0 - 30), abs(box.y0 - 40)) <= (2, 2) and (abs(box.x1 - 110), abs(box.y1 - 50)) <= (2, 2)
    wide = TextDetector(file=tmp_path / "db.onnx", sha256=digest, db={**db, "unclip": 1.6}).load("cpu")
    grown = wide([sample_of(image)])[0][0].box
    assert grown.x0 < box.x0 - 4 and grown.y1 > box.y1 + 4


def test_plates_by_a_network_of_ones_own(tmp_path: Path, sample_of: SampleOf) -> None:
    digest = tiny.save_yolo(tmp_path / "p.onnx", "yolov8")
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:32, 32:48] = 255
    run = PlatesDetector(file=tmp_path / "p.onnx", sha256=digest, threshold=0.9).load("cpu")
    assert [(region.kind, region.box) for region in run([sample_of(image)])[0]] == [("plate", Box(32, 16, 48, 32))]
    folder = tiny.save_yolos(tmp_path / "model")
    assert PlatesDetector(model=str(folder), threshold=0.5).load("cpu")([sample_of(image)])[0] is not None


def test_what_is_missing_or_wrong_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="sha256"):
        TextDetector(file=Path("a.onnx"))
    yolo = tiny.save_yolo(tmp_path / "yolo.onnx", "yolov8")
    with pytest.raises(ConfigError, match="expected a DB network"):
        TextDetector(file=tmp_path / "yolo.onnx", sha256=yolo).load("cpu")
    _text.load_finder.cache_clear()
    _text.load_reader.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for spec in (TextDetector(), PlatesDetector()):
        with pytest.raises(ConfigError, match="pip install --no-deps rapidocr-onnxruntime"):
            spec.load("cpu")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("KX 52 ABC", True),
        ("B-MW 1234", True),
        ("8D79882", True),
        ("1234567", True),
        ("1234", False),
        ("BAKERY", False),
        ("EXIT 4", False),
        ("A1", False),
        ("OPEN 24 HOURS TODAY", False),
        ("", False),
    ],
)
def test_readings(text: str, expected: bool) -> None:
    assert _text.looks_like_registration(text) is expected
    assert (_text.registration_score(text, 0.9) > 0.5) is expected
