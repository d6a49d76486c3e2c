"""COCO panoptic: segments against their PNGs, things and stuff, and what leaves in a release."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthgen.datasets._panoptic_write import encode_ids
from synthgen.datasets.base import resolve_source
from synthgen.datasets.panoptic import Panoptic
from synthgen.images import turn
from synthgen.types import ConfigError
from tests.datasets.conftest import (
    KEEP,
    PSEUDONYM,
    SIZE,
    Names,
    codes,
    picture,
    release,
    same_labels,
    save,
    spoil,
    tree,
)
from tests.datasets.round_trips import assert_same_sets, convert

W, H = SIZE
CATEGORIES = [
    {"id": 1, "name": "person", "isthing": 1, "color": [220, 20, 60], "supercategory": "person"},
    {"id": 3, "name": "car", "isthing": 1},
    {"id": 184, "name": "tree", "isthing": 0},
]
PERSON, CAR, CROWD, TREE = 7, 300, 70_000, 9
"""Ids of segments, in one, two and three bytes."""


def segments() -> np.ndarray:
    ids = np.zeros((H, W), np.int32)
    ids[:8] = TREE
    ids[2:10, 2:6], ids[4:9, 8:14], ids[1:5, 18:23] = PERSON, CAR, CROWD
    return ids


def info(number: int, category: int, crowd: int = 0) -> dict[str, Any]:
    return {"id": number, "category_id": category, "iscrowd": crowd, "bbox": [0, 0, 1, 1], "area": 1, "note": "Jane's"}


ALL = [info(PERSON, 1), info(CAR, 3), info(CROWD, 1, 1), info(TREE, 184)]


def table(names: list[str], rows: list[dict[str, Any]]) -> dict[str, Any]:
    images = [
        {"id": number, "file_name": name, "width": W, "height": H, "coco_url": f"http://jane.example/{name}"}
        for number, name in enumerate(names, start=100)
    ]
    annotations = [
        {"image_id": number, "file_name": Path(name).stem + ".png", "segments_info": rows}
        for number, name in enumerate(names, start=100)
    ]
    return {"info": {"by": "Jane"}, "images": images, "annotations": annotations, "categories": CATEGORIES}


def write(root: Path, split: str, value: dict[str, Any], ids: np.ndarray | None = None) -> None:
    folder = root / f"annotations/panoptic_{split}"
    folder.mkdir(parents=True, exist_ok=True)
    folder.with_suffix(".json").write_text(json.dumps(value, indent=1), encoding="utf-8")
    for row in value["annotations"]:
        (folder / row["file_name"]).write_bytes(encode_ids(segments() if ids is None else ids))


@pytest.fixture
def panoptic(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for number, name in enumerate(["train2017/a.jpg", "train2017/b ü.jpg", "val2017/a.jpg"]):
        save(root / name, picture(number))
    write(root, "train2017", table(["a.jpg", "b ü.jpg"], ALL))
    write(root, "val2017", table(["a.jpg"], ALL))
    return root


def test_index_and_labels(panoptic: Path) -> None:
    source = resolve_source(panoptic)
    assert isinstance(source, Panoptic)
    index = source.index()
    assert {item.id: item.split for item in index.items} == {
        "train2017/a.jpg": "train",
        "train2017/b ü.jpg": "train",
        "val2017/a.jpg": "val",
    }
    assert not index.findings and [info.id for info in index.classes] == [1, 3, 184, 0]
    labels, ids = source.read(index.items[0]).labels, segments()
    expected = np.select([ids == PERSON, ids == CAR, ids == CROWD, ids == TREE], [1, 3, 1, 184], 0)
    assert labels.mask is not None and (labels.mask == expected).all()
    assert [(one.class_id, one.crowd) for one in labels.instances] == [(1, False), (3, False), (1, True)]
    assert labels.instances[1].mask is not None and (labels.instances[1].mask == (ids == CAR)).all()
    assert same_labels(source.labels_of(index.items[0]), labels)


def test_kept_names_keep_every_byte(panoptic: Path, tmp_path: Path) -> None:
    assert release(Panoptic(path=panoptic), KEEP, tmp_path / "out") == {"images": 3, "labels": 3}
    before, after = tree(panoptic), tree(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(after[name] == before[name] for name in before if name.startswith("annotations/"))


def test_new_names_give_the_same_labels_and_nothing_else(panoptic: Path, tmp_path: Path) -> None:
    source = Panoptic(path=panoptic)
    release(source, PSEUDONYM, tmp_path / "out")
    again = resolve_source(tmp_path / "out")
    read = {item.id: again.read(item).labels for item in again.index().items}
    assert not again.index().findings
    for item in source.index().items:
        assert same_labels(source.read(item).labels, read[PSEUDONYM.image(item, 0)])
    text = tree(tmp_path / "out")["annotations/panoptic_train2017.json"].decode()
    assert not any(word in text for word in ("ane", "http", "note", "ü", "b "))


def test_a_rejected_image_leaves_the_table(panoptic: Path, tmp_path: Path) -> None:
    for names in (KEEP, PSEUDONYM):
        out = tmp_path / f"out-{names.keep}"
        release(Panoptic(path=panoptic), names, out, keep=lambda item: not item.id.endswith("/a.jpg"))
        files = tree(out)
        assert len(files) == 3 and "annotations/panoptic_val2017.json" not in files
        value = json.loads(files["annotations/panoptic_train2017.json"])
        assert len(value["images"]) == len(value["annotations"]) == 1
        assert value["annotations"][0]["image_id"] == value["images"][0]["id"]


@pytest.mark.parametrize("names", [KEEP, PSEUDONYM])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_segments_turn_with_their_image(tmp_path: Path, orientation: int, names: Names) -> None:
    save(tmp_path / "in/images/a.jpg", picture(1), orientation)
    write(tmp_path / "in", "x", table(["a.jpg"], ALL))
    source = Panoptic(path=tmp_path / "in")
    sample = source.read(source.index().items[0])
    car = sample.labels.instances[1]
    assert car.mask is not None and (car.mask == turn(segments() == CAR, orientation)).all()
    release(source, names, tmp_path / "out")
    again = Panoptic(path=tmp_path / "out")
    assert same_labels(again.read(again.index().items[0]).labels, sample.labels)
    if orientation != 1 or not names.keep:
        row = json.loads((tmp_path / "out/annotations/panoptic_x.json").read_text())["annotations"][0]
        told = next(one for one in row["segments_info"] if one["id"] == CAR)
        assert told["bbox"] == [car.box.x0, car.box.y0, car.box.width, car.box.height] and told["area"] == 30


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        (ALL[:3], "segmentation-invalid"),
        ([*ALL, info(5, 1)], "segmentation-invalid"),
        ([info(PERSON, 2), *ALL[1:]], "class-unknown"),
        ([info(PERSON, 0), *ALL[1:]], "class-unknown"),
    ],
)
def test_bad_segments_cost_one_image(panoptic: Path, rows: list[dict[str, Any]], code: str) -> None:
    write(panoptic, "val2017", table(["a.jpg"], rows))
    found = codes(Panoptic(path=panoptic))
    assert found.pop("val2017/a.jpg") == code and set(found.values()) == {"ok"}


def test_bad_files_cost_themselves(panoptic: Path) -> None:
    bad = spoil(panoptic, panoptic / "val2017", "x")
    write(panoptic, "val2017", table(["a.jpg", "gone.jpg", *bad], ALL))
    (panoptic / "annotations/panoptic_val2017/a.png").unlink()
    found = codes(Panoptic(path=panoptic))
    assert {name.split("/")[-1]: code for name, code in found.items() if "x-" in name} == bad
    assert found["val2017/a.jpg"] == "label-missing"
    told = {(finding.code, finding.subject) for finding in Panoptic(path=panoptic).index().findings}
    assert {("image-missing", "gone.jpg"), ("label-missing", "val2017/a.jpg")} <= told
    Image.fromarray(np.zeros((H, W + 1, 3), np.uint8)).save(panoptic / "annotations/panoptic_train2017/a.png")
    assert codes(Panoptic(path=panoptic))["train2017/a.jpg"] == "mask-size-mismatch"


@pytest.mark.parametrize(
    "change",
    [
        {"images": None},
        {"annotations": [{"image_id": 100, "file_name": "../../x.png", "segments_info": []}]},
        {"annotations": [{"image_id": 100, "file_name": "/etc/passwd", "segments_info": []}]},
        {"annotations": [{"image_id": 100, "file_name": "a.png"}]},
        {"annotations": [{"image_id": 100, "file_name": "a.png", "segments_info": [info(1, 1), info(1, 1)]}]},
        {"categories": [{"id": 1, "name": 3}]},
        {"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]},
        {"images": [{"id": 1, "file_name": "../../etc/passwd"}]},
        {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 1, "file_name": "b.jpg"}]},
    ],
    ids=str,
)
def test_a_table_that_stops_the_run(panoptic: Path, change: dict[str, Any]) -> None:
    value = table(["a.jpg"], ALL) | change
    (panoptic / "annotations/panoptic_val2017.json").write_text(json.dumps(value))
    with pytest.raises(ConfigError, match="panoptic_val2017"):
        Panoptic(path=panoptic).index()


def test_coco_objects_in_the_same_folder_come_first(panoptic: Path) -> None:
    value = {"images": [], "annotations": [], "categories": []}
    (panoptic / "annotations/instances_train2017.json").write_text(json.dumps(value))
    assert resolve_source(panoptic).format == "coco"
    assert resolve_source({"path": panoptic, "format": "panoptic"}).format == "panoptic"


def test_the_same_set_comes_back(panoptic: Path, tmp_path: Path) -> None:
    assert {one.code for one in convert(panoptic, tmp_path / "out", "panoptic").findings} == set()
    for item in (again := Panoptic(path=tmp_path / "out")).index().items:
        assert {one.class_id for one in again.read(item).labels.instances} == {1, 3}
    convert(tmp_path / "out", tmp_path / "twice", "panoptic")
    assert_same_sets(tmp_path / "out", tmp_path / "twice")
