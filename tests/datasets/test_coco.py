"""COCO objects: shapes against the image, files against the folder, and what leaves in a release."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from synthgen.datasets._coco_shapes import parse_segmentation
from synthgen.datasets.base import resolve_source
from synthgen.datasets.coco import Coco
from synthgen.images import turn
from synthgen.types import ClassInfo, ConfigError
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
from tests.datasets.round_trips import convert

W, H = SIZE
POLYGON = [[2, 2, 10, 2, 10, 9.5, 2, 9]]
BLOB = np.zeros((H, W), bool)
BLOB[3:8, 12:20] = BLOB[8:14, 14:16] = True


def compressed(mask: Any) -> dict[str, Any]:
    rle = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode()}


def uncompressed(mask: Any) -> dict[str, Any]:
    flat = np.concatenate([[False], mask.ravel(order="F")])
    edges = np.flatnonzero(np.diff(flat.astype(int))) if flat.any() else np.array([], int)
    counts = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
    return {"size": list(mask.shape), "counts": counts}


def annotation(number: int, image: int, **changes: Any) -> dict[str, Any]:
    base = {"id": number, "image_id": image, "category_id": 1, "bbox": [2, 2, 8, 7.5], "iscrowd": 0, "area": 60}
    return {**base, **changes}


def table(names: list[str], annotations: list[dict[str, Any]], first: int = 139, **changes: Any) -> dict[str, Any]:
    images = [
        {
            "license": 3,
            "file_name": name,
            "coco_url": f"http://images.example/{name}",
            "height": H,
            "width": W,
            "date_captured": "2013-11-14 17:02:52",
            "flickr_url": f"http://photos.example/jane/{name}",
            "id": first + number,
        }
        for number, name in enumerate(names)
    ]
    base = {
        "info": {"contributor": "Jane", "year": 2017},
        "licenses": [{"id": 3, "url": "http://licence.example"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"supercategory": "person", "id": 1, "name": "person"}, {"id": 3, "name": "car"}],
    }
    return {**base, **changes}


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Three images of train (one without objects), one of val, as the COCO downloads lie."""
    root = tmp_path / "source"
    for number, name in enumerate(["train2017/0.jpg", "train2017/1.jpg", "train2017/2.jpg", "val2017/0.jpg"]):
        save(root / name, picture(number))
    objects = [
        annotation(7, 139, segmentation=POLYGON, note="Jane's", keypoints=[3, 4, 2, 0, 0, 0], num_keypoints=1),
        annotation(8, 139, segmentation=uncompressed(BLOB), bbox=[12, 3, 8, 11], iscrowd=1),
        annotation(9, 140, segmentation=compressed(BLOB), bbox=[12, 3, 8, 11], category_id=3),
        annotation(10, 140),
    ]
    write(root / "annotations/instances_train2017.json", table(["0.jpg", "1.jpg", "2.jpg"], objects))
    write(root / "annotations/instances_val2017.json", table(["0.jpg"], [annotation(7, 139)]))
    write(root / "annotations/captions_train2017.json", {"images": [], "annotations": []})
    return root


def test_index_and_labels(coco: Path) -> None:
    source = resolve_source(coco)
    assert isinstance(source, Coco)
    index = source.index()
    assert [(item.id, item.split) for item in index.items] == [
        ("train2017/0.jpg", "train"),
        ("train2017/1.jpg", "train"),
        ("train2017/2.jpg", "train"),
        ("val2017/0.jpg", "val"),
    ]
    void = ClassInfo(0, "unlabelled", (0, 0, 0), ignore=True)
    assert index.classes == (ClassInfo(1, "person"), ClassInfo(3, "car"), void)
    assert [finding.code for finding in index.findings] == ["file-not-released"]
    first, second, third, _ = (source.read(item).labels for item in index.items)
    assert [instance.crowd for instance in first.instances] == [False, True]
    assert first.instances[1].mask is not None and (first.instances[1].mask == BLOB).all()
    assert second.instances[0].mask is not None and (second.instances[0].mask == BLOB).all()
    assert second.mask is not None and (second.mask == np.where(BLOB, 3, 0)).all()
    assert second.instances[1].mask is None and third.mask is None and third.instances == ()


def test_crowds_lie_under_objects_and_small_ones_over_large(tmp_path: Path) -> None:
    save(tmp_path / "images/a.png", picture(1))
    whole, half = np.ones((H, W), bool), np.arange(W)[None] < W // 2 * np.ones((H, 1))
    objects = [
        annotation(1, 139, segmentation=compressed(BLOB)),
        annotation(2, 139, segmentation=compressed(whole), category_id=3),
        annotation(3, 139, segmentation=compressed(half), category_id=5, iscrowd=1),
    ]
    categories = [{"id": n, "name": f"c{n}"} for n in (0, 1, 3, 5)]
    write(tmp_path / "annotations/x.json", table(["a.png"], objects, categories=categories))
    source = Coco(path=tmp_path)
    mask = source.read(source.index().items[0]).labels.mask
    assert mask is not None and (mask == np.where(BLOB, 1, 3)).all()
    assert source.index().classes[-1] == ClassInfo(6, "unlabelled", (0, 0, 0), ignore=True)


def test_kept_names_keep_the_json_byte_for_byte(coco: Path, tmp_path: Path) -> None:
    assert release(Coco(path=coco), KEEP, tmp_path / "out") == {"images": 4, "labels": 5}
    before, after = tree(coco), tree(tmp_path / "out")
    assert set(before) - set(after) == {"annotations/captions_train2017.json"}
    assert all(after[name] == before[name] for name in after if name.endswith(".json"))


def test_rejected_images_leave_the_json(coco: Path, tmp_path: Path) -> None:
    release(Coco(path=coco), KEEP, tmp_path / "out", keep=lambda item: item.id != "train2017/0.jpg")
    before, after = tree(coco), tree(tmp_path / "out")
    assert after["annotations/instances_val2017.json"] == before["annotations/instances_val2017.json"]
    train = json.loads(after["annotations/instances_train2017.json"])
    source = json.loads(before["annotations/instances_train2017.json"])
    assert train["images"] == source["images"][1:] and train["annotations"] == source["annotations"][2:]
    assert train["info"] == source["info"] and b"0.jpg" not in after["annotations/instances_train2017.json"]


def test_a_split_that_is_not_released_leaves_no_file(coco: Path, tmp_path: Path) -> None:
    release(Coco(path=coco), PSEUDONYM, tmp_path / "out", keep=lambda item: item.split == "val")
    assert [name for name in tree(tmp_path / "out") if name.endswith(".json")] == ["annotations/instances_val2017.json"]


def test_new_names_give_the_same_labels_and_nothing_else(coco: Path, tmp_path: Path) -> None:
    source = Coco(path=coco)
    release(source, PSEUDONYM, tmp_path / "out")
    again = resolve_source(tmp_path / "out")
    read = {item.id: again.read(item) for item in again.index().items}
    assert not again.index().findings and len(read) == 4
    for item in source.index().items:
        assert same_labels(source.read(item).labels, read[PSEUDONYM.image(item, 0)].labels)
    text = tree(tmp_path / "out")["annotations/instances_train2017.json"].decode()
    assert not any(word in text for word in ("Jane", "jane", "http", "2013", "139", "licence", "note"))
    official = COCO(str(tmp_path / "out/annotations/instances_train2017.json"))
    assert all((tmp_path / "out/train2017" / image["file_name"]).is_file() for image in official.imgs.values())
    outlined = [row for row in official.loadAnns(official.getAnnIds()) if "segmentation" in row]
    assert sum(official.annToMask(row).sum() == BLOB.sum() for row in outlined) == 2


@pytest.mark.parametrize("names", [KEEP, PSEUDONYM])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_shapes_turn_with_their_image(tmp_path: Path, orientation: int, names: Names) -> None:
    save(tmp_path / "in/images/a.jpg", picture(1), orientation)
    save(tmp_path / "in/images/b.jpg", picture(2))
    square = [[12.0, 3.0, 20.0, 3.0, 20.0, 8.0, 12.0, 8.0]]
    objects = [
        annotation(1, 139, segmentation=compressed(BLOB), bbox=[12, 3, 8, 11], keypoints=[12, 3, 2, 0, 0, 0]),
        annotation(2, 139, segmentation=square, bbox=[12, 3, 8, 5]),
    ]
    write(tmp_path / "in/annotations/x.json", table(["a.jpg", "b.jpg"], objects))
    source = Coco(path=tmp_path / "in")
    item = source.index().items[0]
    sample = source.read(item)
    box_only = np.zeros((H, W), bool)
    box_only[3:8, 12:20] = True
    for instance, mask in zip(sample.labels.instances, (BLOB, box_only), strict=True):
        assert instance.mask is not None and (instance.mask == turn(mask, orientation)).all()
        rows, columns = np.nonzero(instance.mask)
        extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert (instance.box.x0, instance.box.y0, instance.box.x1, instance.box.y1) == extent
    release(source, names, tmp_path / "out")
    again = Coco(path=tmp_path / "out")
    name = names.image(item, 0)
    released = next(again.read(i) for i in again.index().items if i.id == name)
    assert same_labels(released.labels, sample.labels)
    rows = json.loads(tree(tmp_path / "out")["annotations/x.json"])["annotations"]
    keypoints = next(row["keypoints"] for row in rows if "keypoints" in row)
    marked = np.zeros((H, W), bool)
    marked[3, 12] = True
    assert turn(marked, orientation)[int(keypoints[1]), int(keypoints[0])] and keypoints[3:] == [0, 0, 0]


def test_shapes_of_the_size_shown_are_taken_as_they_are(tmp_path: Path) -> None:
    save(tmp_path / "in/images/a.jpg", picture(1, (H, W)), 6)
    write(tmp_path / "in/annotations/x.json", table(["a.jpg"], [annotation(1, 139, segmentation=POLYGON)]))
    source = Coco(path=tmp_path / "in")
    before = source.read(source.index().items[0])
    assert before.labels.instances[0].box.x0 == 2 and before.size == SIZE
    release(source, PSEUDONYM, tmp_path / "out")
    again = Coco(path=tmp_path / "out")
    after = again.read(again.index().items[0])
    assert after.size == SIZE and same_labels(before.labels, after.labels)


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


@pytest.mark.parametrize("seed", range(20))
def test_runs_are_read_as_pycocotools_writes_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(1, 300, 2))
    mask = rng.random((height, width)) < rng.random() ** 4
    for rle in (compressed(mask), uncompressed(mask)):
        parsed = parse_segmentation(rle, (width, height), "a")
        assert parsed is not None and (parsed == mask).all()


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


@pytest.mark.parametrize(
    ("json_path", "image", "file_name", "split"),
    [
        ("annotations/instances_val2017.json", "val2017/a.jpg", "a.jpg", "val"),
        ("annotations/instances_train.json", "images/train/a.jpg", "a.jpg", "train"),
        ("annotations/instances_default.json", "images/a.jpg", "a.jpg", None),
        ("annotations/all.json", "images/sub/a.jpg", "sub/a.jpg", None),
        ("labels.json", "data/a.jpg", "data/a.jpg", None),
        ("valid/_annotations.coco.json", "valid/a.jpg", "a.jpg", "valid"),
    ],
)
@pytest.mark.parametrize("names", [KEEP, PSEUDONYM])
def test_layouts(json_path: str, image: str, file_name: str, split: str | None, names: Names, tmp_path: Path) -> None:
    save(tmp_path / "in" / image, picture(1))
    write(tmp_path / "in" / json_path, table([file_name], [annotation(1, 139, segmentation=POLYGON)]))
    source = resolve_source(tmp_path / "in")
    assert isinstance(source, Coco)
    (item,) = source.index().items
    assert (item.id, item.split) == (image, split)
    release(source, names, tmp_path / "out")
    again = resolve_source(tmp_path / "out")
    (other,) = again.index().items
    assert other.id == names.image(item, 0) and same_labels(source.read(item).labels, again.read(other).labels)


def test_a_json_outside_the_root_is_not_read(coco: Path, tmp_path: Path) -> None:
    path = coco / "annotations/instances_train2017.json"
    path.rename(tmp_path / "secret.json")
    path.symlink_to(tmp_path / "secret.json")
    assert [item.id for item in Coco(path=coco).index().items] == ["val2017/0.jpg"]
    with pytest.raises(ConfigError, match="path-outside-root"):
        Coco(path=coco, annotations=("annotations/instances_train2017.json",)).index()
    with pytest.raises(ConfigError, match=r"source\.annotations"):
        Coco(path=coco, annotations=("../secret.json",)).index()


NOSE = {"keypoints": ["nose", "tail"], "skeleton": [[1, 2]]}


def test_keypoints_are_labels(tmp_path: Path) -> None:
    save(tmp_path / "in/train2017/a.jpg", picture(1))
    cat = {"id": 1, "name": "cat", **NOSE}
    points = [3.5, 4, 2, 0, 0, 0]
    value = table(["a.jpg"], [annotation(1, 139, keypoints=points), annotation(2, 139)], categories=[cat])
    write(tmp_path / "in/annotations/person_keypoints_train2017.json", value)
    source = Coco(path=tmp_path / "in")
    assert source.index().classes[0] == ClassInfo(1, "cat", keypoints=("nose", "tail"), skeleton=((1, 2),))
    first, second = source.read(source.index().items[0]).labels.instances
    assert first.keypoints is not None and first.keypoints.tolist() == [[3.5, 4, 2], [0, 0, 0]]
    assert second.keypoints is None
    for form, back in (("coco", 0.0), ("yolo", 1e-5), ("webdataset", 0.0)):
        convert(tmp_path / "in", tmp_path / form, form)
        convert(tmp_path / form, tmp_path / f"{form}-back", "coco")
        again = Coco(path=tmp_path / f"{form}-back")
        one = again.read(again.index().items[0]).labels.instances[0]
        assert one.keypoints is not None and np.allclose(one.keypoints, first.keypoints, atol=back)
    rows = json.loads((tmp_path / "coco-back/annotations/instances_train.json").read_text())
    assert rows["categories"] == [{"id": 1, "name": "cat", **NOSE}]
    assert rows["annotations"][0]["keypoints"] == points and rows["annotations"][0]["num_keypoints"] == 1
    told = {finding.code for finding in convert(tmp_path / "in", tmp_path / "voc", "voc").findings}
    assert "keypoints-not-held" in told


@pytest.mark.parametrize("points", [[1, 2], [NAN, 2, 2], [1, 2, "2"], [-90, 2, 2], [1, W * 2, 1], 3])
def test_bad_keypoints_cost_one_image(tmp_path: Path, points: Any) -> None:
    for name in ("a.jpg", "b.jpg"):
        save(tmp_path / "images" / name, picture(ord(name[0])))
    write(tmp_path / "x.json", table(["a.jpg", "b.jpg"], [annotation(1, 139, keypoints=points), annotation(2, 140)]))
    assert codes(Coco(path=tmp_path)) == {"images/a.jpg": "keypoints-invalid", "images/b.jpg": "ok"}


def test_torchvision_reads_a_release(coco: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    release(Coco(path=coco), PSEUDONYM, tmp_path / "out")
    folder = tmp_path / "out/train2017"
    found = datasets.CocoDetection(str(folder), str(tmp_path / "out/annotations/instances_train2017.json"))
    assert len(found) == 3 and {image.size for image, _ in found} == {SIZE}
    assert sorted(len(objects) for _, objects in found) == [0, 2, 2]
