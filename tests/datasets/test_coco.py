"""COCO objects: what is read, how shapes turn with their image, and what leaves in a release."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO

from synthgen.datasets._coco_files import coco_files
from synthgen.datasets._coco_shapes import parse_segmentation
from synthgen.datasets.base import resolve_source
from synthgen.datasets.coco import Coco
from synthgen.images import turn
from synthgen.types import ClassInfo, ConfigError
from tests.datasets.coco_files import (
    BLOB,
    POLYGON,
    H,
    W,
    annotation,
    compressed,
    table,
    uncompressed,
    write,
    write_coco,
)
from tests.datasets.conftest import (
    KEEP,
    PSEUDONYM,
    SIZE,
    Names,
    picture,
    release,
    same_labels,
    save,
    tree,
)
from tests.datasets.round_trips import convert


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    return write_coco(tmp_path / "source")


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


@pytest.mark.parametrize("seed", range(20))
def test_runs_are_read_as_pycocotools_writes_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    width, height = (int(side) for side in rng.integers(1, 300, 2))
    mask = rng.random((height, width)) < rng.random() ** 4
    for rle in (compressed(mask), uncompressed(mask)):
        parsed = parse_segmentation(rle, (width, height), "a")
        assert parsed is not None and (parsed == mask).all()


@pytest.mark.parametrize(
    ("json_path", "image", "file_name", "split"),
    [
        ("annotations/instances_val2017.json", "val2017/a.jpg", "a.jpg", "val"),
        ("annotations/instances_train.json", "images/train/a.jpg", "a.jpg", "train"),
        ("annotations/instances_default.json", "images/a.jpg", "a.jpg", None),
        ("annotations/all.json", "images/sub/a.jpg", "sub/a.jpg", None),
        ("labels.json", "data/a.jpg", "data/a.jpg", None),
        ("valid/_annotations.coco.json", "valid/a.jpg", "a.jpg", "valid"),
        ("annotations/train.json", "train/a.jpg", "a.jpg", "train"),
        ("annotations/train.json", "images/train/a.jpg", "a.jpg", "train"),
        ("train.json", "train/a.jpg", "a.jpg", "train"),
        ("annotations/val_coco.json", "images/val/a.jpg", "a.jpg", "val"),
        ("annotations/part_7.json", "part_7/a.jpg", "a.jpg", None),
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


def test_torchvision_reads_a_release(coco: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    release(Coco(path=coco), PSEUDONYM, tmp_path / "out")
    folder = tmp_path / "out/train2017"
    found = datasets.CocoDetection(str(folder), str(tmp_path / "out/annotations/instances_train2017.json"))
    assert len(found) == 3 and {image.size for image, _ in found} == {SIZE}
    assert sorted(len(objects) for _, objects in found) == [0, 2, 2]


@pytest.mark.parametrize("place", ["annotations/instances_train.json", "labels.json"])
def test_keys_stand_in_any_order_in_a_file_of_any_size(place: str, tmp_path: Path) -> None:
    """As `sort_keys` writes them: the images in the middle, far from both ends."""
    save(tmp_path / "images/a.jpg", picture(1))
    value = table(["a.jpg"], [annotation(number, 139) for number in range(30_000)])
    value |= {"info": {}, "licenses": [{"id": n, "url": "u" * 99} for n in range(900)]}
    (tmp_path / place).parent.mkdir(exist_ok=True)
    text = json.dumps(value, sort_keys=True)
    assert 1 << 20 < text.index('"images"') < len(text) - (1 << 16)
    (tmp_path / place).write_text(text)
    assert resolve_source(tmp_path).format == "coco"


@pytest.mark.parametrize("shift", range(12))
def test_a_key_across_two_blocks_is_seen(shift: int, tmp_path: Path) -> None:
    block = 1 << 20
    text = b'{"categories":[' + b" " * (block - 18 - shift) + b'],"images" : [],"annotations":[]}'
    (tmp_path / "a.json").write_bytes(text)
    assert coco_files(tmp_path) == ["a.json"]


def test_where_images_were_looked_for_is_told(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere/a.jpg", picture(1))
    write(tmp_path / "annotations/train.json", table(["a.jpg"], []))
    with pytest.raises(ConfigError, match=r"looked in train, images/train, .*the root\. .*source\.images"):
        Coco(path=tmp_path).index()
    assert len(Coco(path=tmp_path, images="elsewhere").index().items) == 1
