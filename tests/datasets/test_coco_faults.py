"""COCO files with something wrong: what costs one image, and what stops the run."""

import json
from pathlib import Path
from typing import Any

import pytest

from synthgen.datasets.coco import Coco
from synthgen.types import ConfigError
from tests.datasets.coco_files import (
    BLOB,
    H,
    W,
    annotation,
    compressed,
    table,
    write,
    write_coco,
)
from tests.datasets.conftest import (
    KEEP,
    codes,
    picture,
    release,
    save,
    spoil,
    tree,
)

NAN, INF = float("nan"), float("inf")
SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"bbox": [NAN, 1, 2, 2]}, "box-invalid"),
    "infinite": ({"bbox": [0, 0, INF, 2]}, "box-invalid"),
    "a number of 400 digits": ({"bbox": [0, 0, 10**400, 2]}, "box-invalid"),
    "negative corner": ({"bbox": [-5, 1, 9, 2]}, "box-invalid"),
    "negative width": ({"bbox": [5, 5, -2, 2]}, "box-invalid"),
    "no width": ({"bbox": [5, 5, 0, 2]}, "box-invalid"),
    "out of the frame": ({"bbox": [5, 5, W, 2]}, "box-invalid"),
    "within the slack": ({"bbox": [-0.5, 0, W + 1, H]}, "ok"),
    "three numbers": ({"bbox": [1, 2, 3]}, "box-invalid"),
    "text": ({"bbox": ["1", "2", "3", "4"]}, "box-invalid"),
    "no box": ({"bbox": None}, "box-invalid"),
    "unknown class": ({"category_id": 2}, "class-unknown"),
    "class by name": ({"category_id": "person"}, "class-unknown"),
    "the class of the void": ({"category_id": 0}, "class-unknown"),
    "no outline": ({"segmentation": []}, "ok"),
    "two points": ({"segmentation": [[1, 1, 2, 2]]}, "segmentation-invalid"),
    "odd": ({"segmentation": [[1, 1, 2, 2, 3, 3, 4]]}, "segmentation-invalid"),
    "flat": ({"segmentation": [1, 1, 2, 2, 3, 3]}, "segmentation-invalid"),
    "nan polygon": ({"segmentation": [[1, 1, 2, NAN, 3, 3]]}, "segmentation-invalid"),
    "polygon as wide as a sea": ({"segmentation": [[0, 0, 1e9, 0, 1e9, 1e9]]}, "segmentation-invalid"),
    "polygon of a million points": ({"segmentation": [[1, 1] * 500_000]}, "segmentation-invalid"),
    "rle of another size": ({"segmentation": {"size": [H, W + 1], "counts": [H * (W + 1)]}}, "segmentation-invalid"),
    "rle of a huge size": ({"segmentation": {"size": [1 << 30, 1 << 30], "counts": [1 << 60]}}, "segmentation-invalid"),
    "runs too short": ({"segmentation": {"size": [H, W], "counts": [3, 2]}}, "segmentation-invalid"),
    "runs too long": ({"segmentation": {"size": [H, W], "counts": [3, H * W]}}, "segmentation-invalid"),
    "negative run": ({"segmentation": {"size": [H, W], "counts": [H * W + 5, -5]}}, "segmentation-invalid"),
    "runs of text": ({"segmentation": {"size": [H, W], "counts": ["1", "2"]}}, "segmentation-invalid"),
    "no runs": ({"segmentation": {"size": [H, W]}}, "segmentation-invalid"),
    "compressed nonsense": ({"segmentation": {"size": [H, W], "counts": "zzzzzzzz"}}, "segmentation-invalid"),
    "compressed, not ascii": ({"segmentation": {"size": [H, W], "counts": "éé"}}, "segmentation-invalid"),
    "compressed, cut": (
        {"segmentation": {"size": [H, W], "counts": compressed(BLOB)["counts"][:-1]}},
        "segmentation-invalid",
    ),
    "compressed, endless": ({"segmentation": {"size": [H, W], "counts": "0" * 100_000}}, "segmentation-invalid"),
    "a name": ({"segmentation": "mask.png"}, "segmentation-invalid"),
}


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "source")


@pytest.mark.parametrize("name", SHAPES)
def test_a_bad_shape_costs_one_image(name: str, coco: Path) -> None:
    changes, code = SHAPES[name]
    path = coco / "annotations/instances_train2017.json"
    value = json.loads(path.read_text())
    value["annotations"].append(annotation(99, 141, **changes))
    write(path, value)
    assert codes(Coco(path=coco)) == {
        "train2017/0.jpg": "ok",
        "train2017/1.jpg": "ok",
        "train2017/2.jpg": code,
        "val2017/0.jpg": "ok",
    }


def test_many_outlines_of_one_image_are_bounded(coco: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthgen.datasets.coco.MAX_MASK_PIXELS", W * H)
    assert codes(Coco(path=coco))["train2017/0.jpg"] == "label-too-large"
    assert codes(Coco(path=coco))["train2017/1.jpg"] == "ok"


def test_bad_images_are_coded(coco: Path) -> None:
    expected = spoil(coco, coco / "train2017", "bad")
    expected["wrong.png"] = "image-size-mismatch"
    save(coco / "train2017/wrong.png", picture(1, (H, W)))
    path = coco / "annotations/instances_train2017.json"
    value = json.loads(path.read_text())
    value["images"] += table([*expected], [], first=500)["images"]
    write(path, value)
    found = codes(Coco(path=coco))
    assert {name: code for name, code in found.items() if code != "ok"} == {
        f"train2017/{name}": code for name, code in expected.items()
    }


def test_missing_images_and_labels_are_listed(coco: Path, tmp_path: Path) -> None:
    (coco / "train2017/1.jpg").unlink()
    save(coco / "train2017/new.jpg", picture(1))
    path = coco / "annotations/instances_train2017.json"
    value = json.loads(path.read_text())
    value["annotations"].append(annotation(99, 77))
    write(path, value)
    source = Coco(path=coco)
    found = {(finding.code, finding.subject) for finding in source.index().findings}
    name = "annotations/instances_train2017.json"
    assert {("image-missing", "1.jpg"), ("image-missing", name), ("label-missing", "train2017/new.jpg")} <= found
    release(source, KEEP, tmp_path / "out")
    assert b"1.jpg" not in tree(tmp_path / "out")[name]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"images": None}, "no images"),
        ({"annotations": {}}, "no annotations"),
        ({"categories": [{"id": "1", "name": "a"}]}, "a category needs a number as id"),
        ({"categories": [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]}, "category ids that stand twice: 1"),
        ({"images": [{"file_name": "0.jpg"}]}, r"images\[0\] must be an object with id"),
        ({"annotations": [{"id": 1, "image_id": [1]}]}, r"annotations\[0\] must be an object with image_id"),
        ({"annotations": [annotation(1, 139), annotation(1, 140)]}, "annotation ids that stand twice: 1"),
        (table(["0.jpg", "0.jpg"], []), "file names that stand twice: '0.jpg'"),
        (table(["0.jpg", "./0.jpg"], []), "images that stand twice: 'train2017/0.jpg'"),
        (
            {"images": table(["0.jpg"], [])["images"] + table(["1.jpg"], [])["images"]},
            "image ids that stand twice: 139",
        ),
        (table(["../../../etc/passwd"], []), "relative path"),
        (table(["/etc/passwd"], []), "relative path"),
        (table(["\\\\server\\share\\a.jpg"], []), "relative path"),
        (table(["C:\\a.jpg"], []), "relative path"),
        (table(["a\0.jpg"], []), "relative path"),
        (table(["none.jpg"], []), "none of the images"),
    ],
)
def test_a_bad_table_stops_the_run(changes: dict[str, Any], words: str, coco: Path) -> None:
    (coco / "annotations/instances_val2017.json").unlink()
    path = coco / "annotations/instances_train2017.json"
    write(path, {**json.loads(path.read_text()), **changes})
    with pytest.raises(ConfigError, match=words):
        Coco(path=coco).index()


@pytest.mark.parametrize("text", ["", "{", "[" * 200_000, '{"a":' * 200_000, "\xff", "9" * 10_000])
def test_bad_json_stops_the_run(text: str, coco: Path) -> None:
    (coco / "annotations/instances_train2017.json").write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"instances_train2017\.json"):
        Coco(path=coco, annotations=("annotations/instances_train2017.json",)).index()


def test_one_image_in_two_files_stops_the_run_until_one_is_named(coco: Path) -> None:
    write(coco / "annotations/instances_trainagain.json", table(["train2017/0.jpg"], []))
    with pytest.raises(ConfigError, match=r"images that stand twice: 'train2017/0\.jpg'"):
        Coco(path=coco).index()
    only = Coco(path=coco, annotations=("annotations/instances_val2017.json",))
    assert [item.id for item in only.index().items] == ["val2017/0.jpg"]


def test_categories_of_two_files_must_agree(coco: Path) -> None:
    value = table(["0.jpg"], [], categories=[{"id": 1, "name": "dog"}])
    write(coco / "annotations/instances_val2017.json", value)
    with pytest.raises(ConfigError, match="category 1 is 'dog' here, 'person' in another file"):
        Coco(path=coco).index()


def test_a_json_outside_the_root_is_not_read(coco: Path, tmp_path: Path) -> None:
    path = coco / "annotations/instances_train2017.json"
    path.rename(tmp_path / "secret.json")
    path.symlink_to(tmp_path / "secret.json")
    assert [item.id for item in Coco(path=coco).index().items] == ["val2017/0.jpg"]
    with pytest.raises(ConfigError, match="path-outside-root"):
        Coco(path=coco, annotations=("annotations/instances_train2017.json",)).index()
    with pytest.raises(ConfigError, match=r"source\.annotations"):
        Coco(path=coco, annotations=("../secret.json",)).index()


@pytest.mark.parametrize("points", [[1, 2], [NAN, 2, 2], [1, 2, "2"], [-90, 2, 2], [1, W * 2, 1], 3])
def test_bad_keypoints_cost_one_image(tmp_path: Path, points: Any) -> None:
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path / "images" / name, picture(ord(name[0])))
    write(tmp_path / "x.json", table(["a.jpg", "b.jpg"], [annotation(1, 139, keypoints=points), annotation(2, 140)]))
    assert codes(Coco(path=tmp_path)) == {"images/a.jpg": "keypoints-invalid", "images/b.jpg": "ok"}
