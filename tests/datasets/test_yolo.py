"""YOLO: rows, the YAML and its splits, releases, and what may not be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from synthgen.datasets.base import resolve_source
from synthgen.datasets.yolo import Yolo
from synthgen.types import ConfigError
from tests.datasets.coco_files import annotation, table, write
from tests.datasets.conftest import KEEP, PSEUDONYM, SIZE, codes, picture, release, same_labels, save, spoil, tree
from tests.datasets.round_trips import assert_same_sets, convert, samples

W, H = SIZE
BOX = "1 0.5 0.5 0.25 0.5\n"
POLYGON = "0 0.25 0.25 0.75 0.25 0.75 0.75\n"


def label(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    """Boxes and polygons; a label file without rows, an image without a label file; names with a space and an ä."""
    root = tmp_path / "source"
    for number, name in enumerate(["train/a.jpg", "train/b b.png", "train/ä.jpg", "val/a.jpg"]):
        save(root / "images" / name, picture(number))
    label(root, "labels/train/a.txt", BOX + "0 0.1 0.1 0.1 0.1\n")
    label(root, "labels/train/b b.txt", POLYGON)
    label(root, "labels/val/a.txt", "")
    value = {"path": "/datasets/jane", "train": "images/train", "val": "images/val", "names": {0: "cat", 1: "dog"}}
    label(root, "data.yaml", yaml.safe_dump({**value, "download": "https://jane.example/x.zip"}))
    return root


def test_index_and_labels(yolo: Path) -> None:
    source = resolve_source(yolo)
    assert isinstance(source, Yolo)
    index = source.index()
    assert [(item.id, item.split) for item in index.items] == [
        ("images/train/a.jpg", "train"),
        ("images/train/b b.png", "train"),
        ("images/train/ä.jpg", "train"),
        ("images/val/a.jpg", "val"),
    ]
    assert [(info.id, info.name, info.ignore) for info in index.classes] == [
        (0, "cat", False),
        (1, "dog", False),
        (2, "unlabelled", True),
    ]
    assert [finding.code for finding in index.findings] == ["path-not-released", "label-missing"]
    boxes, polygon, none, empty = (source.read(item).labels for item in index.items)
    box = boxes.instances[0].box
    assert (box.x0, box.y0, box.x1, box.y1) == (W * 3 / 8, H / 4, W * 5 / 8, H * 3 / 4) and boxes.mask is None
    assert boxes.instances[0].mask is None and boxes.instances[1].class_id == 0
    shape = polygon.instances[0]
    assert shape.mask is not None and polygon.mask is not None and set(np.unique(polygon.mask)) == {0, 2}
    assert (shape.box.x0, shape.box.y1) == (W / 4, H * 3 / 4) and shape.polygons[0].shape == (3, 2)
    assert not none.instances and not empty.instances
    for item in index.items:
        assert same_labels(source.labels_of(item), source.read(item).labels)


def test_kept_names_keep_every_byte_but_the_path(yolo: Path, tmp_path: Path) -> None:
    assert release(Yolo(path=yolo), KEEP, tmp_path / "out") == {"images": 4, "labels": 3}
    before, after = tree(yolo), tree(tmp_path / "out")
    assert before.keys() == after.keys()
    before["data.yaml"] = before["data.yaml"].replace(b"path: /datasets/jane\n", b"")
    assert all(after[name] == before[name] for name in before if not name.startswith("images/"))


@pytest.mark.parametrize(
    ("path", "rest"),
    [
        (
            "path: {root}  # the originals\r\n",
            b"\r\ntrain: images/train # both\r\nval: images/val\r\nnames: [cat, dog]\r\n",
        ),
        ("path: .\r\n", b"\r\ntrain: images/train # both\r\nval: images/val\r\nnames: [cat, dog]\r\n"),
        ("'path': {root}\r\n", b"train: images/train\nval: images/val\nnames:\n- cat\n- dog\n"),
        ("path: >-\r\n  {root}\r\n", b"train: images/train\nval: images/val\nnames:\n- cat\n- dog\n"),
        ("", b"\r\ntrain: images/train # both\r\nval: images/val\r\nnames: [cat, dog]\r\n"),
    ],
)
def test_a_release_does_not_lead_to_the_originals(yolo: Path, tmp_path: Path, path: str, rest: bytes) -> None:
    """Ultralytics looks for images below `path`, wherever the YAML lies."""
    text = "\r\ntrain: images/train # both\r\nval: images/val\r\nnames: [cat, dog]\r\n"
    (yolo / "data.yaml").write_bytes((path.format(root=yolo) + text).encode())
    source = Yolo(path=yolo)
    release(source, KEEP, tmp_path / "out")
    assert (tmp_path / "out/data.yaml").read_bytes() == rest
    told = [one.subject for one in source.index().findings if one.code == "path-not-released"]
    assert told == (["data.yaml"] if path else [])


def test_splits_below_the_path_are_found_without_it(yolo: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (yolo / "data.yaml").rename(tmp_path / "in/data.yaml")
    yolo.rename(tmp_path / "in/ds")
    label(tmp_path / "in", "data.yaml", "path: ds\ntrain: images/train\nval: [images/val]\nnames: [cat, dog]\nx: 1\n")
    release(Yolo(path=tmp_path / "in"), KEEP, tmp_path / "out")
    value = yaml.safe_load((tmp_path / "out/data.yaml").read_text())
    assert value == {"train": "ds/images/train", "val": "ds/images/val", "names": ["cat", "dog"], "x": 1}
    assert len(Yolo(path=tmp_path / "out").index().items) == 4


def test_new_names_everywhere_and_nothing_of_the_origin(yolo: Path, tmp_path: Path) -> None:
    source = Yolo(path=yolo)
    release(source, PSEUDONYM, tmp_path / "out")
    again = resolve_source(tmp_path / "out")
    read = {item.id: again.read(item).labels for item in again.index().items}
    for item in source.index().items:
        assert same_labels(source.read(item).labels, read[PSEUDONYM.image(item, 0)])
    text = b"".join(data for name, data in tree(tmp_path / "out").items() if not name.startswith("images/"))
    assert b"jane" not in text and not any("ä" in name for name in tree(tmp_path / "out"))


def test_a_rejected_image_takes_its_rows_along(yolo: Path, tmp_path: Path) -> None:
    label(yolo, "train.txt", "./images/train/a.jpg\n./images/train/b b.png\nimages/train/ä.jpg\n")
    value = yaml.safe_load((yolo / "data.yaml").read_text()) | {"train": "train.txt"}
    label(yolo, "data.yaml", yaml.safe_dump(value))
    assert [item.split for item in Yolo(path=yolo).index().items] == ["train"] * 3 + ["val"]
    for names in (KEEP, PSEUDONYM):
        out = tmp_path / f"out-{names.keep}"
        release(Yolo(path=yolo), names, out, keep=lambda item: not item.id.endswith("a.jpg"))
        lines = (out / "train.txt").read_text().splitlines()
        assert len(lines) == 2 and not any(line.endswith("/a.jpg") for line in lines)
        assert len(list((out / "labels").rglob("*.txt"))) == 1
        assert len(Yolo(path=out).index().items) == 2


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("1 nan 0.5 0.2 0.2", "box-invalid"),
        ("1 inf 0.5 0.2 0.2", "box-invalid"),
        ("1 0.5 0.5 -0.2 0.2", "box-invalid"),
        ("1 0.5 0.5 0 0.2", "box-invalid"),
        ("1 0.9 0.5 0.4 0.2", "box-invalid"),
        ("1 0.5 0.5 1.01 1.01", "ok"),
        ("2 0.5 0.5 0.2 0.2", "class-unknown"),
        ("-1 0.5 0.5 0.2 0.2", "class-unknown"),
        ("0.5 0.5 0.5 0.2 0.2", "class-unknown"),
        ("cat 0.5 0.5 0.2 0.2", "label-invalid"),
        ("1 0.5 0.5 0.2", "label-invalid"),
        ("1 0.5 0.5 0.2 0.2 0.9", "label-invalid"),
        ("1 0.1 0.1 0.9 0.1 0.9 nan", "segmentation-invalid"),
        ("1 0.1 0.1 0.9 0.1 0.9 1e9", "segmentation-invalid"),
        ("1 " + "0.1 " * 200_000, "label-too-large"),
        ("1 0.5 0.5 0.2 0.2\n" * 10_001, "label-too-large"),
        ("\n\n", "ok"),
    ],
    ids=lambda value: value[:30],
)
def test_bad_rows_cost_one_image(yolo: Path, row: str, code: str) -> None:
    label(yolo, "labels/train/a.txt", row)
    found = codes(Yolo(path=yolo))
    assert found.pop("images/train/a.jpg") == code and set(found.values()) == {"ok"}


def test_bad_images_cost_themselves(yolo: Path) -> None:
    bad = spoil(yolo, yolo / "images/train", "x")
    (yolo / "labels/train/ä.txt").write_bytes(b"\xff\xfe")
    found = codes(Yolo(path=yolo))
    assert {name.split("/")[-1]: code for name, code in found.items() if "x-" in name} == bad
    assert found["images/train/ä.jpg"] == "label-invalid" and found["images/train/a.jpg"] == "ok"


@pytest.mark.parametrize(
    "changes",
    [
        {"train": "../../etc"},
        {"train": "/etc"},
        {"train": "\\\\host\\share"},
        {"train": 3},
        {"names": None},
        {"names": {"cat": 0}},
        {"names": ["cat", "cat"]},
        {"names": "cat"},
        {"train": None, "val": None},
        {"kpt_shape": [17]},
        {"kpt_shape": [10**9, 3]},
    ],
    ids=str,
)
def test_a_yaml_that_stops_the_run(yolo: Path, changes: dict[str, object]) -> None:
    value = yaml.safe_load((yolo / "data.yaml").read_text())
    label(yolo, "data.yaml", yaml.safe_dump(value | changes))
    with pytest.raises(ConfigError, match=r"data\.yaml"):
        Yolo(path=yolo).index()


@pytest.mark.parametrize("text", ["a: &a [1]\nb: *a", "!!python/object:os.system {}", "- 1", "{", "\x00"])
def test_yaml_that_is_none(yolo: Path, text: str) -> None:
    label(yolo, "data.yaml", text)
    with pytest.raises(ConfigError, match=r"data\.yaml"):
        Yolo(path=yolo).index()


@pytest.mark.parametrize("line", ["../../../etc/passwd.jpg", "/etc/passwd.jpg", "C:\\x.jpg"])
def test_lists_stay_in_the_source(yolo: Path, line: str) -> None:
    label(yolo, "train.txt", line + "\n")
    label(yolo, "data.yaml", "train: train.txt\nnames: [cat]\n")
    with pytest.raises(ConfigError, match=r"train\.txt, line 1"):
        Yolo(path=yolo).index()


def test_what_is_not_there_is_told(yolo: Path) -> None:
    label(yolo, "labels/train/gone.txt", BOX)
    label(yolo, "train.txt", "images/train/gone.jpg\nimages/train/a.jpg\n")
    label(yolo, "data.yaml", "train: [train.txt, images/more]\nval: images/train\ntest: no.txt\nnames: [cat, dog]\n")
    index = Yolo(path=yolo).index()
    assert [item.split for item in index.items] == ["train", "val", "val"]
    told = {(finding.code, finding.subject) for finding in index.findings}
    assert {
        ("image-missing", "images/train/gone.jpg"),
        ("image-missing", "images/more"),
        ("image-missing", "no.txt"),
        ("image-missing", "labels/train/gone.txt"),
        ("split-repeated", "val"),
        ("label-missing", "images/val/a.jpg"),
    } <= told


def test_a_split_that_stands_in_for_another_stays_itself(tmp_path: Path) -> None:
    """Ultralytics wants train and val; where there is only test, all three name its images."""
    save(tmp_path / "in/test/cat/a.jpg", picture(1))
    convert(tmp_path / "in", tmp_path / "out", "yolo")
    assert [item.split for item in Yolo(path=tmp_path / "out").index().items] == ["test"]


def test_folders_as_roboflow_lays_them(tmp_path: Path) -> None:
    for number, split in enumerate(["train", "valid"]):
        save(tmp_path / "in" / split / "images/a.jpg", picture(number))
        label(tmp_path / "in", f"{split}/labels/a.txt", BOX)
    label(tmp_path / "in", "data.yaml", "train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")
    index = Yolo(path=tmp_path / "in").index()
    assert [(item.id, item.split) for item in index.items] == [
        ("train/images/a.jpg", "train"),
        ("valid/images/a.jpg", "val"),
    ]
    release(Yolo(path=tmp_path / "in"), PSEUDONYM, tmp_path / "out")
    assert len(Yolo(path=tmp_path / "out").index().items) == 2


def test_keypoints(tmp_path: Path) -> None:
    save(tmp_path / "in/images/train/a.jpg", picture(1))
    label(tmp_path / "in", "labels/train/a.txt", "0 0.5 0.5 0.5 0.5 0.25 0.5 2 0 0 0\n")
    label(tmp_path / "in", "data.yaml", "train: images/train\nval: images/train\nnames: [cat]\nkpt_shape: [2, 3]\n")
    source = Yolo(path=tmp_path / "in")
    (sample,) = (source.read(item) for item in source.index().items)
    points = sample.labels.instances[0].keypoints
    assert points is not None and points.tolist() == [[W / 4, H / 2, 2], [0, 0, 0]]
    convert(tmp_path / "in", tmp_path / "out", "yolo")
    assert_same_sets(tmp_path / "in", tmp_path / "out", 1e-5)
    assert yaml.safe_load((tmp_path / "out/data.yaml").read_text())["kpt_shape"] == [2, 3]
    label(tmp_path / "in", "labels/train/a.txt", "0 0.5 0.5 0.5 0.5 nan 0.5 2 0 0 0\n")
    assert codes(Yolo(path=tmp_path / "in")) == {"images/train/a.jpg": "keypoints-invalid"}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rows_mean_the_image_as_shown(tmp_path: Path, orientation: int) -> None:
    save(tmp_path / "in/images/train/a.jpg", picture(1), orientation)
    label(tmp_path / "in", "labels/train/a.txt", POLYGON)
    label(tmp_path / "in", "data.yaml", "train: images/train\nval: images/train\nnames: [cat]\n")
    source = Yolo(path=tmp_path / "in")
    (sample,) = (source.read(item) for item in source.index().items)
    width, height = sample.size
    assert sample.labels.instances[0].box.x0 == width / 4 and sample.labels.instances[0].box.y1 == height * 3 / 4
    release(source, KEEP, tmp_path / "out")
    assert tree(tmp_path / "out")["labels/train/a.txt"] == POLYGON.encode()


def test_a_folder_images_inside_does_not_lose_labels(tmp_path: Path) -> None:
    """Readers put `labels` in the place of the last folder `images`."""
    names = ["seqA/images/0.jpg", "seqA/images_/0.jpg", "seqB/images/images/0.jpg"]
    for number, name in enumerate(names):
        save(tmp_path / "in/images" / name, picture(number))
    write(tmp_path / "in/annotations/x.json", table(names, [annotation(n, 139 + n) for n in range(3)]))
    conversion = convert(tmp_path / "in", tmp_path / "out", "yolo")
    images = sorted((tmp_path / "out").rglob("*.jpg"))
    assert len(images) == 3 and "image-renamed" in {one.code for one in conversion.findings}
    for image in images:
        label_file = "/labels/".join(str(image).rsplit("/images/", 1))
        assert Path(label_file).with_suffix(".txt").read_text().startswith("0 ")
        assert Path(label_file).is_relative_to(tmp_path / "out/labels")
    assert all(sample.labels.instances for sample in samples(tmp_path / "out").values())


def test_a_set_without_classes_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "in/a.jpg", picture(1))
    with pytest.raises(ConfigError, match="needs a class, and the source has none"):
        convert(tmp_path / "in", tmp_path / "out", "yolo")
    assert not (tmp_path / "out").exists()


def test_ultralytics_reads_what_is_written(yolo: Path, tmp_path: Path) -> None:
    data = pytest.importorskip("ultralytics.data.utils", reason="ultralytics is not installed")
    convert(yolo, tmp_path / "out", "yolo")
    checked = data.check_det_dataset(str(tmp_path / "out/data.yaml"))
    assert checked["names"] == {0: "cat", 1: "dog"} and Path(checked["train"]).is_dir()
    dataset = pytest.importorskip("ultralytics.data.dataset", reason="ultralytics is not whole")
    read = dataset.YOLODataset(img_path=checked["train"], data=checked, task="detect", augment=False)
    rows = {Path(one["im_file"]).name: one["cls"].ravel().tolist() for one in read.labels}
    source = Yolo(path=tmp_path / "out")
    assert rows == {
        item.image.name: [float(instance.class_id) for instance in source.read(item).labels.instances]
        for item in source.index().items
        if item.split == "train"
    }
