"""Folders of images, with classes, with metadata, or with nothing."""

import json
import re
from pathlib import Path

import pytest

from synthgen.datasets.base import resolve_source
from synthgen.datasets.imagefolder import ImageFolder
from synthgen.types import ConfigError
from tests.datasets.conftest import KEEP, PSEUDONYM, Names, codes, picture, release, same_labels, save, spoil, tree

LAYOUTS: dict[str, dict[str, tuple[str | None, str | None]]] = {
    "flat": {"a.jpg": (None, None), "b.png": (None, None)},
    "a folder of images": {"images/a.jpg": (None, None)},
    "classes": {"cat/a.jpg": (None, "cat"), "dog/a.jpg": (None, "dog"), "dog/deep/b.jpg": (None, "dog")},
    "splits and classes": {"train/cat/a.jpg": ("train", "cat"), "val/dog/b.webp": ("val", "dog")},
    "splits": {"train/a.jpg": ("train", None), "test/b.jpg": ("test", None)},
    "a class called test": {"test/a.jpg": (None, "test"), "cat/b.jpg": (None, "cat")},
    "odd names": {
        "Ü\u0308 🙂/ש\nx.jpg": (None, "Ü\u0308 🙂"),
        "Ü\u0308 🙂/" + "n" * 251 + ".jpg": (None, "Ü\u0308 🙂"),
    },
}


def make(root: Path, names: object) -> None:
    for number, name in enumerate(sorted(names)):  # type: ignore[call-overload]
        save(root / name, picture(number))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("names", [KEEP, PSEUDONYM])
def test_layouts(layout: str, names: Names, tmp_path: Path) -> None:
    make(tmp_path / "in", LAYOUTS[layout])
    source = resolve_source(tmp_path / "in")
    assert isinstance(source, ImageFolder)
    items = source.index().items
    assert {item.id: (item.split, source.labels_of(item).image_class) for item in items} == LAYOUTS[layout]
    assert release(source, names, tmp_path / "out")["images"] == len(items)
    again = resolve_source(tmp_path / "out")
    found = {item.id: again.read(item) for item in again.index().items}
    assert set(found) == {names.image(item, 0) for item in items}
    assert all(same_labels(source.read(item).labels, found[names.image(item, 0)].labels) for item in items)


@pytest.fixture(params=["csv", "jsonl"])
def described(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    root = tmp_path / "in"
    make(root, ["train/a.jpg", "train/b.jpg", "train/sub/c.jpg"])
    if request.param == "csv":
        text = 'file_name,age,note\na.jpg,31,"Zoë, standing"\nb.jpg,,\nsub/c.jpg,7,"two\nlines"\n'
        (root / "train/metadata.csv").write_bytes(text.replace("\n", "\r\n").encode())
    else:
        rows = [
            {"file_name": "a.jpg", "age": 31, "note": "Zoë, standing"},
            {"file_name": "b.jpg", "age": None, "note": ""},
            {"file_name": "sub/c.jpg", "age": 7, "note": "two\nlines"},
        ]
        (root / "train/metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return root


def test_metadata_gives_attributes_and_folders_no_classes(described: Path) -> None:
    source = ImageFolder(path=described)
    labels = {item.id: source.read(item).labels for item in source.index().items}
    age = 31 if (described / "train/metadata.jsonl").exists() else "31"
    assert labels["train/a.jpg"].attributes == {"age": age, "note": "Zoë, standing"}
    assert str(labels["train/sub/c.jpg"].attributes["note"]).splitlines() == ["two", "lines"]
    assert {value.image_class for value in labels.values()} == {None}


def test_kept_metadata_is_byte_for_byte_until_a_row_goes(described: Path, tmp_path: Path) -> None:
    source = ImageFolder(path=described)
    assert release(source, KEEP, tmp_path / "all") == {"images": 3, "labels": 3}
    table = next(name for name in tree(described) if "metadata" in name)
    assert tree(tmp_path / "all")[table] == tree(described)[table]
    assert release(source, KEEP, tmp_path / "two", keep=lambda item: "b.jpg" not in item.id)["labels"] == 2
    again = ImageFolder(path=tmp_path / "two")
    kept = [item for item in source.index().items if "b.jpg" not in item.id]
    assert [item.id for item in again.index().items] == [item.id for item in kept]
    for item, other in zip(kept, again.index().items, strict=True):
        assert same_labels(source.labels_of(item), again.labels_of(other))
    assert b"b.jpg" not in tree(tmp_path / "two")[table]


def test_new_names_are_in_the_metadata_and_the_old_are_not(described: Path, tmp_path: Path) -> None:
    source = ImageFolder(path=described, columns=("age", "note"))
    release(source, PSEUDONYM, tmp_path / "out")
    again = ImageFolder(path=tmp_path / "out", columns=("age", "note"))
    labels = {item.id: again.read(item).labels for item in again.index().items}
    assert not again.index().findings
    assert all(same_labels(source.read(i).labels, labels[PSEUDONYM.image(i, 0)]) for i in source.index().items)
    table = next(data for name, data in tree(tmp_path / "out").items() if "metadata" in name)
    assert not {b"a.jpg", b"b.jpg", b"c.jpg"} & set(re.findall(rb"[\w.]+", table))


def test_columns_that_tell_who_stay_behind_unless_named(described: Path, tmp_path: Path) -> None:
    source = ImageFolder(path=described)
    table = next(name for name in tree(described) if "metadata" in name)
    (finding,) = source.index().findings
    assert (finding.code, finding.subject) == ("column-not-released", f"{table}: note")
    assert "source.columns" in finding.message
    release(source, PSEUDONYM, tmp_path / "default")
    left = tree(tmp_path / "default")[table]
    assert b"age" in left and b"note" not in left and "Zoë".encode() not in left
    assert source.read(source.index().items[0]).labels.attributes["note"] == "Zoë, standing"
    chosen = ImageFolder(path=described, columns=("note",))
    for names in (KEEP, PSEUDONYM):
        out = tmp_path / f"chosen-{names.keep}"
        release(chosen, names, out)
        assert b"note" in tree(out)[table] and b"age" not in tree(out)[table]


def test_nested_values_and_further_files_stay_behind(tmp_path: Path) -> None:
    make(tmp_path / "in", ["a.jpg"])
    save(tmp_path / "in/b.jpg", picture(1), orientation=6)
    rows = [
        {"file_name": name, "mask_file_name": "secret.png", "objects": {"bbox": [[1, 2, 3, 4]]}, "age": 3}
        for name in ("a.jpg", "b.jpg")
    ]
    (tmp_path / "in/metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = ImageFolder(path=tmp_path / "in")
    assert [finding.code for finding in source.index().findings] == ["column-not-released"] * 2
    assert codes(source) == {"a.jpg": "ok", "b.jpg": "orientation-unsupported"}
    release(source, PSEUDONYM, tmp_path / "out")
    (line,) = tree(tmp_path / "out")["metadata.jsonl"].splitlines()
    assert sorted(json.loads(line)) == ["age", "file_name"]


def test_missing_images_and_rows_are_listed(described: Path) -> None:
    (described / "train/a.jpg").unlink()
    save(described / "train/new.jpg", picture(8))
    source = ImageFolder(path=described, columns=("age", "note"))
    findings = {(finding.code, finding.subject) for finding in source.index().findings}
    assert findings == {("image-missing", "train/a.jpg"), ("label-missing", "train/new.jpg")}
    assert codes(source)["train/new.jpg"] == "label-missing"


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("file_name,age\n../../etc/passwd,1\n", r"row 1: '../../etc/passwd' must be a relative path"),
        ("file_name,age\n/etc/passwd,1\n", "relative path"),
        ("file_name,age\n\\\\server\\share\\a.jpg,1\n", "relative path"),
        ("file_name,age\nC:/a.jpg,1\n", "relative path"),
        ("file_name,age\na.jpg,1\n./a.jpg,2\n", "images that stand twice: 'a.jpg'"),
        ("name,age\na.jpg,1\n", "expected a column file_name"),
        ("file_name,age\na.jpg\n", "line 2: 1 values, 2 columns"),
    ],
)
def test_bad_metadata_stops_the_run(rows: str, words: str, tmp_path: Path) -> None:
    make(tmp_path, ["a.jpg"])
    (tmp_path / "metadata.csv").write_text(rows)
    with pytest.raises(ConfigError, match=words):
        ImageFolder(path=tmp_path).index()


@pytest.mark.parametrize("line", ["[" * 100_000, "{not json", "[1]", '{"a": ' + "9" * 5000 + "}"])
def test_bad_json_lines_stop_the_run(line: str, tmp_path: Path) -> None:
    make(tmp_path, ["a.jpg"])
    (tmp_path / "metadata.jsonl").write_text(line)
    with pytest.raises(ConfigError, match=r"metadata\.jsonl, line 1"):
        ImageFolder(path=tmp_path).index()


def test_bad_images_are_coded(tmp_path: Path) -> None:
    make(tmp_path / "in", ["cat/a.jpg"])
    expected = spoil(tmp_path / "in", tmp_path / "in/cat", "bad")
    found = codes(ImageFolder(path=tmp_path / "in"))
    assert found == {"cat/a.jpg": "ok", **{f"cat/{name}": code for name, code in expected.items()}}


def test_names_that_clash_are_kept_apart_and_told(tmp_path: Path) -> None:
    make(tmp_path / "in", ["a.jpg", "A.jpg", "e\u0301.jpg", "\u00e9.jpg"])
    if len(tree(tmp_path / "in")) < 4:
        pytest.skip("this file system holds the names equal")
    source = ImageFolder(path=tmp_path / "in")
    assert [finding.code for finding in source.index().findings] == ["names-clash"] * 2
    assert release(source, KEEP, tmp_path / "out")["images"] == len(tree(tmp_path / "out")) == 4


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    make(tmp_path / "in", ["a.jpg"])
    release(ImageFolder(path=tmp_path / "in"), KEEP, tmp_path / "out")
    with pytest.raises(ConfigError, match="has a file of that name already"):
        release(ImageFolder(path=tmp_path / "in"), KEEP, tmp_path / "out")


def test_links_to_folders_and_hidden_files_are_not_followed(tmp_path: Path) -> None:
    make(tmp_path, ["in/a.jpg", "in/.hidden/b.jpg", "in/._a.jpg", "other/c.jpg"])
    (tmp_path / "in/more").symlink_to(tmp_path / "other")
    (tmp_path / "in/README.md").write_text("by Jane")
    index = ImageFolder(path=tmp_path / "in").index()
    assert [item.id for item in index.items] == ["a.jpg"]
    found = [(finding.code, finding.subject) for finding in index.findings]
    assert found == [("link-not-followed", "more"), ("file-not-released", "README.md")]


def test_torchvision_reads_a_release(tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    make(tmp_path / "in", LAYOUTS["classes"])
    release(resolve_source(tmp_path / "in"), PSEUDONYM, tmp_path / "out")
    found = datasets.ImageFolder(str(tmp_path / "out"))
    assert found.classes == ["cat", "dog"] and sorted(number for _, number in found) == [0, 1, 1]


def put(root: Path, name: str, text: str = "") -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


COCO = '{"images": [], "annotations": [], "categories": []}'
LABELLED: dict[str, tuple[dict[str, str], str]] = {
    "a VOC set one folder deeper": (
        {"VOCdevkit/VOC2012/JPEGImages/a.jpg": "", "VOCdevkit/VOC2012/Annotations/a.xml": "<annotation/>"},
        r"VOCdevkit/VOC2012 looks like voc: .*give .*in/VOCdevkit/VOC2012 as source\.path",
    ),
    "a YOLO set one folder deeper": (
        {"set/data.yaml": "names: [a]", "set/train/a.jpg": "", "set/train/b.jpg": ""},
        r"set looks like yolo: .*give .*in/set as source\.path",
    ),
    "YOLO without its YAML": (
        {"train/images/a.jpg": "", "train/labels/a.txt": "0 .5 .5 .2 .2"},
        r"train/labels looks like labels: .*data\.yaml.*source\.format: imagefolder",
    ),
    "YOLO rows beside images": ({"cat/a.jpg": "", "cat/a.txt": "0 .5 .5 .2 .2\n"}, r"cat/a\.txt looks .*data\.yaml"),
    "rows of KITTI": ({"a.jpg": "", "rows/a.txt": "Car 0.00 0 -1.5 587.0 173.3 614.1 200.1"}, r"rows/a\.txt looks"),
    "COCO in a split": ({"train/annotations.json": COCO, "train/a.jpg": ""}, "train looks like coco"),
    "COCO under another name": ({"train/deep/all.json": COCO, "train/a.jpg": ""}, "train/deep looks like coco"),
    "LabelImg": ({"a.jpg": "", "a.xml": "<annotation/>"}, r"a\.xml looks .*format voc"),
    "LabelMe": ({"cat/a.jpg": "", "cat/a.json": '{"shapes": []}'}, r"cat/a\.json looks .*source\.annotations"),
    "Supervisely": ({"img/a.jpg": "", "ann/a.jpg.json": "{}"}, r"ann/a\.jpg\.json looks"),
    "a table of TensorFlow": (
        {"train/a.jpg": "", "train/_annotations.csv": "filename,class"},
        r"_annotations\.csv looks",
    ),
    "a table of boxes": (
        {"a.jpg": "", "boxes.csv": "image,xmin,ymin,xmax,ymax\n"},
        r"boxes\.csv looks .*metadata\.csv",
    ),
    "masks one folder deeper": ({"train/img/a.jpg": "", "train/mask/a.png": ""}, r"train/mask looks .*classes\.csv"),
    "label images alone": ({"train/photos/a.jpg": "", "train/masks/a.png": ""}, r"train/masks looks .*classes\.csv"),
}


@pytest.mark.parametrize("name", LABELLED)
def test_labels_are_not_left_behind_without_a_word(name: str, tmp_path: Path) -> None:
    files, words = LABELLED[name]
    for number, (path, text) in enumerate(files.items()):
        if path.endswith((".jpg", ".png")):
            save(tmp_path / "in" / path, picture(number))
        else:
            put(tmp_path / "in", path, text)
    with pytest.raises(ValueError, match=words):
        resolve_source(tmp_path / "in")
    assert resolve_source({"path": tmp_path / "in", "format": "imagefolder"}).index().items


@pytest.mark.parametrize(
    "others",
    [
        {"cat/a.txt": "a cat on a red mat, 3 years old", "cat/b.txt": ""},
        {"metadata.jsonl": '{"file_name": "cat/a.jpg", "bbox": [1, 2, 3, 4]}'},
        {"metadata.csv": "file_name,bbox\ncat/a.jpg,3\n"},
        {"README.md": "1 2 3", "LICENSE.txt": "1 2 3", "classes.txt": "0\n1\n", "cat/scores.csv": "file,score\n"},
        {"dataset_infos.json": '{"images": 2}', "croissant.json": '{"x": "images", "y": "bbox"}'},
        {"train/mask/a.jpg": "", "train/no_mask/a.jpg": "", "train/label/b.jpg": ""},
    ],
    ids=lambda files: ", ".join(files),
)
def test_plain_folders_are_still_recognised(others: dict[str, str], tmp_path: Path) -> None:
    make(tmp_path, ["cat/a.jpg", "cat/b.jpg", "dog/a.jpg"])
    for path, text in others.items():
        if path.endswith(".jpg"):
            save(tmp_path / path, picture(1))
        else:
            put(tmp_path, path, text)
    assert resolve_source(tmp_path).format == "imagefolder"
