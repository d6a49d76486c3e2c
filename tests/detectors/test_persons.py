"""Detectors of transformers and ONNX files: boxes as the library gives them, tiles, masks, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from synthgen.detectors.persons import PersonsDetector, mask_inside
from synthgen.types import Box, ConfigError, Image
from tests.extractors.conftest import make_image, save_segformer

from . import tiny
from .conftest import SampleOf

SAVES = {"yolos": tiny.save_yolos, "detr": tiny.save_detr, "rt-detr": tiny.save_rt_detr}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(params=sorted(SAVES))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return SAVES[request.param](tmp_path / request.param)


def expected(folder: Path, image: Image) -> dict[str, list[list[float]]]:
    """What the library itself finds in one picture: class → boxes."""
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    model = AutoModelForObjectDetection.from_pretrained(folder).eval()
    with torch.inference_mode():
        outputs = model(**processor(images=[image], return_tensors="pt"))
    (entry,) = processor.post_process_object_detection(outputs, 1e-6, target_sizes=[image.shape[:2]])
    found: dict[str, list[list[float]]] = {name: [] for name in tiny.LABELS.values()}
    for box, label in zip(entry["boxes"].tolist(), entry["labels"].tolist(), strict=True):
        found[model.config.id2label[label]].append(box)
    return found


def test_boxes_are_those_of_the_library(folder: Path, sample_of: SampleOf) -> None:
    image = make_image(1, (96, 64))
    counts = []
    for name, found in expected(folder, image).items():
        (regions,) = PersonsDetector(model=str(folder), threshold=1e-6, classes=(name,)).load("cpu")([sample_of(image)])
        clipped = [[max(x0, 0), max(y0, 0), min(x1, 96), min(y1, 64)] for x0, y0, x1, y1 in found]
        inside = sorted(box for box in clipped if box[0] < box[2] and box[1] < box[3])
        got = sorted([region.box.x0, region.box.y0, region.box.x1, region.box.y1] for region in regions)
        assert len(got) == len(inside) and np.allclose(got, inside, atol=1e-3)
        assert {(region.kind, region.origin, region.mask) for region in regions} <= {("person", "detector", None)}
        counts.append(len(got))
    assert sum(counts) > 0


def test_neither_batch_nor_neighbour_changes_a_box(folder: Path, sample_of: SampleOf) -> None:
    first, second = sample_of(make_image(1, (96, 64))), sample_of(make_image(2, (64, 96)))
    run = PersonsDetector(model=str(folder), threshold=1e-6, classes=tuple(tiny.LABELS.values())).load("cpu")
    together, alone = run([second, first])[1], run([first])[0]
    assert [region.box for region in together] == [region.box for region in alone] != []


def test_classes_go_by_their_names(tmp_path: Path) -> None:
    nobody = tiny.save_yolos(tmp_path / "nobody", {0: "car", 1: "tree"})
    with pytest.raises(ConfigError, match=r"no class of .* fits.*car, tree"):
        PersonsDetector(model=str(nobody)).load("cpu")
    with pytest.raises(ConfigError, match=r"has no classes \['dog'\]"):
        PersonsDetector(model=str(nobody), classes=("car", "dog")).load("cpu")
    PersonsDetector(model=str(nobody), classes=("Tree",)).load("cpu")


def test_what_is_no_detector_is_refused(tmp_path: Path) -> None:
    save_segformer(tmp_path / "seg")
    with pytest.raises(ConfigError, match="expected one of …ForObjectDetection"):
        PersonsDetector(model=str(tmp_path / "seg")).load("cpu")
    with pytest.raises(ConfigError, match="there is no such folder"):
        PersonsDetector(model="nowhere").load("cpu")
    with pytest.raises(ConfigError, match="unpinned"):
        PersonsDetector(model="org/name@main").load("cpu")


def test_pickles_are_refused(tmp_path: Path) -> None:
    folder = tiny.save_yolos(tmp_path / "model")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ConfigError, match="pickle"):
        PersonsDetector(model=str(folder)).load("cpu")


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"model": "a", "file": "b.onnx", "sha256": "0" * 64},
        {"file": "b.onnx"},
        {"model": "a", "threshold": 0},
        {"model": "a", "class_ids": []},
    ],
)
def test_impossible_keys(keys: dict) -> None:
    with pytest.raises(ValidationError):
        PersonsDetector(**keys)


def test_its_weights_are_the_detectors_and_the_segmenters() -> None:
    assert PersonsDetector(model="a").weights() == ("a",)
    assert PersonsDetector(model="a", segmenter="b").weights() == ("a", "b")
    assert PersonsDetector(file=Path("c.onnx"), sha256="0" * 64).weights() == ()


def bright(size: tuple[int, int], *boxes: tuple[int, int, int, int]) -> Image:
    image = np.zeros((size[1], size[0], 3), np.uint8)
    for x0, y0, x1, y1 in boxes:
        image[y0:y1, x0:x1] = 255
    return image


@pytest.mark.parametrize("layout", ["yolov8", "yolov5", "end2end"])
def test_onnx_layouts(layout: str, tmp_path: Path, sample_of: SampleOf) -> None:
    digest = tiny.save_yolo(tmp_path / "m.onnx", layout)
    spec = PersonsDetector(file=tmp_path / "m.onnx", sha256=digest, layout=layout, threshold=0.9)
    image = bright((128, 96), (32, 32, 64, 64))  # shown at half size: cell (1, 1) of 16 px
    (regions,) = spec.load("cpu")([sample_of(image)])
    assert [region.box for region in regions] == [Box(32, 32, 64, 64)]
    assert regions[0].score > 0.99
    assert spec.load("cpu")([sample_of(bright((128, 96)))]) == [[]]


def test_another_layout_or_class_is_told(tmp_path: Path, sample_of: SampleOf) -> None:
    digest = tiny.save_yolo(tmp_path / "m.onnx", "yolov8")
    for keys in ({"layout": "end2end"}, {"class_ids": (7,)}):
        run = PersonsDetector(file=tmp_path / "m.onnx", sha256=digest, **keys).load("cpu")
        with pytest.raises(ConfigError, match="change the keys layout or class_ids"):
            run([sample_of(bright((64, 64)))])


def test_files_are_pinned(tmp_path: Path) -> None:
    tiny.save_yolo(tmp_path / "m.onnx", "yolov8")
    with pytest.raises(ConfigError, match=r"m\.onnx has the digest"):
        PersonsDetector(file=tmp_path / "m.onnx", sha256="0" * 64).load("cpu")
    with pytest.raises(ConfigError, match="can't be read"):
        PersonsDetector(file=tmp_path / "none.onnx", sha256="0" * 64).load("cpu")
    (tmp_path / "text.onnx").write_bytes(b"no model")
    digest = hashlib.sha256(b"no model").hexdigest()
    with pytest.raises(ConfigError, match="onnxruntime can't run the file"):
        PersonsDetector(file=tmp_path / "text.onnx", sha256=digest).load("cpu")


def test_small_people_of_a_large_picture_are_found_in_tiles(tmp_path: Path, sample_of: SampleOf) -> None:
    digest = tiny.save_yolo(tmp_path / "m.onnx", "yolov8")
    image = bright((512, 256), (400, 128, 416, 144))  # a sixteenth of a cell when seen whole
    seen = {}
    for tile in (512, 128):
        spec = PersonsDetector(file=tmp_path / "m.onnx", sha256=digest, threshold=0.2, tile=tile, overlap=0)
        seen[tile] = [region.box for region in spec.load("cpu")([sample_of(image)])[0]]
    assert seen[512] == []
    (box,) = seen[128]
    assert box.x0 <= 400 and box.y0 <= 128 and box.x1 >= 416 and box.y1 >= 144


def test_a_mask_inside_the_box_or_the_box() -> None:
    people = np.zeros((20, 30), np.bool_)
    people[5:15, 5:15] = True
    box = Box(4.5, 4.5, 15.5, 15.5)
    mask = mask_inside(people, box, 0.3)
    assert mask is not None and (mask == people).all()
    assert mask_inside(people, box, 0.9) is None  # too little of the box
    assert mask_inside(None, box, 0.0) is None
    half = mask_inside(people, Box(10, 0, 30, 20), 0.0)
    assert half is not None and half.sum() == 50


def test_a_segmenter_outlines_people(tmp_path: Path, sample_of: SampleOf) -> None:
    digest = tiny.save_yolo(tmp_path / "m.onnx", "yolov8")
    save_segformer(tmp_path / "seg")
    keys = {"file": tmp_path / "m.onnx", "sha256": digest, "threshold": 0.9, "least_mask": 0.0}
    image = bright((64, 48), (16, 16, 32, 32))
    (plain,) = PersonsDetector(**keys).load("cpu")([sample_of(image)])[0]
    (outlined,) = PersonsDetector(**keys, segmenter=str(tmp_path / "seg")).load("cpu")([sample_of(image)])[0]
    assert outlined.box == plain.box and plain.mask is None
    assert outlined.mask is not None and outlined.mask.shape == (48, 64)
    assert not outlined.mask[:16].any() and not outlined.mask[:, 32:].any()
    save_segformer(tmp_path / "streets", ("sky", "road"))
    with pytest.raises(ConfigError, match="no class for people"):
        PersonsDetector(**keys, segmenter=str(tmp_path / "streets")).load("cpu")
