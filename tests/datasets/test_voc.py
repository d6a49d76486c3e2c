"""Pascal VOC: XML that is not trusted, label images, lists, and releases without a trace of the origin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthgen.datasets._voc_masks import encode_palette, format_labelmap, parse_labelmap, table_of, voc_colour
from synthgen.datasets.base import Record, resolve_source
from synthgen.datasets.voc import Voc
from synthgen.images import turn
from synthgen.types import ClassInfo, ConfigError, Labels
from tests.datasets.coco_files import annotation, table
from tests.datasets.coco_files import write as coco_write
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
from tests.datasets.round_trips import assert_same_sets, convert, samples

W, H = SIZE
ORIGIN = (
    "<folder>jane</folder><path>C:\\Users\\jane\\a.jpg</path><source><database>Jane's</database></source>"
    "<owner><name>Jane</name></owner>"
)


def xml(name: str, objects: str = "", size: tuple[int, int] = SIZE, origin: str = ORIGIN) -> str:
    frame = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation>{origin}<filename>{name}</filename>{frame}<segmented>0</segmented>{objects}</annotation>"


def one(name: str, box: tuple[object, ...] = (3, 4, 10, 12), more: str = "") -> str:
    corners = "".join(f"<{key}>{v}</{key}>" for key, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name>{more}<bndbox>{corners}</bndbox></object>"


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def areas() -> tuple[np.ndarray, np.ndarray]:
    """Class indices and object numbers: a person and a dog, a void line between them and the background."""
    classes, objects = np.zeros((H, W), np.uint8), np.zeros((H, W), np.uint8)
    classes[3:12, 2:10], objects[3:12, 2:10] = 15, 1
    classes[5:9, 12:20], objects[5:9, 12:20] = 12, 2
    classes[4, 12:20] = objects[4, 12:20] = 255
    return classes, objects


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    root = tmp_path / "VOC2012"
    for number, name in enumerate(["a.jpg", "b b.jpg", "ü.jpg"]):
        save(root / "JPEGImages" / name, picture(number))
    flags = "<pose>Left</pose><truncated>1</truncated><difficult>0</difficult><part><name>head</name></part>"
    two = one("person", (3, 4, 10, 12), flags) + one("dog", (13, 6, 20, 9))
    write(root, "Annotations/a.xml", xml("a.jpg", two))
    write(root, "Annotations/b b.xml", xml("b b.jpg", one("cat")))
    write(root, "Annotations/ü.xml", xml("ü.jpg"))
    classes, objects = areas()
    for folder, indices in (("SegmentationClass", classes), ("SegmentationObject", objects)):
        (root / folder).mkdir()
        (root / folder / "a.png").write_bytes(encode_palette(indices))
    write(root, "ImageSets/Main/train.txt", "a\nb b\n")
    write(root, "ImageSets/Main/cat_train.txt", "a -1\nb b  1\n")
    write(root, "ImageSets/Main/val.txt", "ü\r\n")
    write(root, "ImageSets/Segmentation/train.txt", "a\n")
    return root


def test_index_and_labels(voc: Path) -> None:
    source = resolve_source(voc)
    assert isinstance(source, Voc)
    index = source.index()
    assert [(item.id, item.split) for item in index.items] == [
        ("JPEGImages/a.jpg", "train"),
        ("JPEGImages/b b.jpg", "train"),
        ("JPEGImages/ü.jpg", "val"),
    ]
    assert index.classes[15] == ClassInfo(15, "person", (192, 128, 128)) and index.classes[-1].ignore
    assert [finding.code for finding in index.findings] == ["part-not-read"]
    first, second, third = (source.read(item).labels for item in index.items)
    classes, objects = areas()
    assert first.mask is not None and (first.mask == classes).all()
    person, dog = first.instances
    assert (person.box.x0, person.box.y0, person.box.x1, person.box.y1) == (2, 3, 10, 12)
    assert dict(person.attributes) == {"pose": "Left", "truncated": 1, "difficult": 0}
    assert person.mask is not None and (person.mask == (objects == 1)).all()
    assert dog.mask is not None and (dog.mask == (objects == 2)).all()
    assert second.mask is None and second.instances[0].mask is None and not third.instances
    for item in index.items:
        assert same_labels(source.labels_of(item), source.read(item).labels)


def test_objects_in_another_order_find_their_outlines(voc: Path) -> None:
    write(voc, "Annotations/a.xml", xml("a.jpg", one("dog", (13, 6, 20, 9)) + one("person") + one("cat", (1, 1, 3, 3))))
    dog, person, cat = Voc(path=voc).read(Voc(path=voc).index().items[0]).labels.instances
    _, objects = areas()
    assert dog.mask is not None and (dog.mask == (objects == 2)).all()
    assert person.mask is not None and (person.mask == (objects == 1)).all() and cat.mask is None


def test_kept_names_keep_every_byte(voc: Path, tmp_path: Path) -> None:
    assert release(Voc(path=voc), KEEP, tmp_path / "out") == {"images": 3, "labels": 5}
    before, after = tree(voc), tree(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(after[name] == before[name] for name in before if not name.startswith("JPEGImages/"))


def test_new_names_everywhere_and_nothing_of_the_origin(voc: Path, tmp_path: Path) -> None:
    source = Voc(path=voc)
    release(source, PSEUDONYM, tmp_path / "out")
    again = resolve_source(tmp_path / "out")
    read = {item.id: (item.split, again.read(item).labels) for item in again.index().items}
    for item in source.index().items:
        split, labels = read[PSEUDONYM.image(item, 0)]
        assert split == item.split and same_labels(source.read(item).labels, labels)
    files = tree(tmp_path / "out")
    text = b"".join(data for name, data in files.items() if name.endswith((".xml", ".txt")))
    assert not any(word in text for word in (b"ane", b"head", b"b b", b"\xc3\xbc"))
    assert files["ImageSets/Main/cat_train.txt"].count(b"  1") == 1


def test_a_rejected_image_leaves_the_lists(voc: Path, tmp_path: Path) -> None:
    for names in (KEEP, PSEUDONYM):
        out = tmp_path / f"out-{names.keep}"
        release(Voc(path=voc), names, out, keep=lambda item: "b b" not in item.id)
        files = tree(out)
        assert len(files["ImageSets/Main/train.txt"].splitlines()) == 1
        assert len(files["ImageSets/Main/cat_train.txt"].splitlines()) == 1
        assert sum(name.endswith(".xml") for name in files) == 2
        assert {item.split for item in Voc(path=out).index().items} == {"train", "val"}


@pytest.mark.parametrize("names", [KEEP, PSEUDONYM])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_turn_with_their_image(tmp_path: Path, orientation: int, names: Names) -> None:
    root = tmp_path / "in"
    save(root / "JPEGImages/a.jpg", picture(1), orientation)
    write(root, "Annotations/a.xml", xml("a.jpg", one("person", (3, 4, 10, 12))))
    classes, _ = areas()
    (root / "SegmentationClass").mkdir()
    (root / "SegmentationClass/a.png").write_bytes(encode_palette(classes))
    sample = Voc(path=root).read(Voc(path=root).index().items[0])
    box = sample.labels.instances[0].box
    marked = np.zeros((H, W), bool)
    marked[3:12, 2:10] = True
    rows, columns = np.nonzero(turn(marked, orientation))
    assert (box.x0, box.y0, box.x1, box.y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert sample.labels.mask is not None and (sample.labels.mask == turn(classes, orientation)).all()
    release(Voc(path=root), names, tmp_path / "out")
    again = Voc(path=tmp_path / "out")
    assert same_labels(again.read(again.index().items[0]).labels, sample.labels)


ENTITY = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>' + xml("a.jpg", one("&x;"))
BOMB = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>' + xml("a.jpg", one("&b;"))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (xml("a.jpg", one("person", ("nan", 1, 5, 5))), "box-invalid"),
        (xml("a.jpg", one("person", ("inf", 1, 5, 5))), "box-invalid"),
        (xml("a.jpg", one("person", (-9, 1, 5, 5))), "box-invalid"),
        (xml("a.jpg", one("person", (9, 1, 5, 5))), "box-invalid"),
        (xml("a.jpg", one("person", (1, 1, W + 9, 5))), "box-invalid"),
        (xml("a.jpg", one("person", ("", 1, 5, 5))), "box-invalid"),
        (xml("a.jpg", "<object><name>person</name></object>"), "box-invalid"),
        (xml("a.jpg", one("person", (0, 0, W, H))), "ok"),
        (xml("a.jpg", one("person", (1.4, 2.5, 8.5, 9))), "ok"),
        (xml("a.jpg", one("person"), (0, 0)), "ok"),
        (xml("a.jpg", one("person"), (W + 1, H)), "image-size-mismatch"),
        (ENTITY, "label-invalid"),
        (BOMB, "label-invalid"),
        ("<annotation>", "label-invalid"),
        ("", "label-invalid"),
        ("<html/>", "label-invalid"),
        ("<annotation>" + "<a>" * 50_000 + "</a>" * 50_000 + "</annotation>", "ok"),
        (xml("a.jpg", one("person") * 10_001), "label-too-large"),
    ],
    ids=lambda value: value[-40:],
)
def test_bad_xml_costs_one_image(voc: Path, text: str, code: str) -> None:
    write(voc, "Annotations/a.xml", text)
    found = codes(Voc(path=voc))
    assert found.pop("JPEGImages/a.jpg") == code and set(found.values()) == {"ok"}


@pytest.mark.parametrize("name", ["../../../etc/passwd", "/etc/passwd", "\\\\host\\share\\a.jpg", "C:\\x\\a.jpg"])
def test_a_file_name_that_leaves_the_source_stops_the_run(voc: Path, name: str) -> None:
    write(voc, "Annotations/a.xml", xml(name))
    with pytest.raises(ConfigError, match=r"Annotations/a\.xml, filename"):
        Voc(path=voc).index()


def test_bad_images_and_masks_cost_themselves(voc: Path) -> None:
    bad = spoil(voc, voc / "JPEGImages", "x")
    for name in bad:
        write(voc, f"Annotations/{Path(name).stem}.xml", xml(name))
    Image.fromarray(np.full((H, W), 99, np.uint8)).save(voc / "SegmentationClass/b b.png")
    Image.fromarray(np.zeros((H, W + 1), np.uint8)).save(voc / "SegmentationClass/ü.png")
    save(voc / "JPEGImages/bare.jpg", picture(7))
    found = codes(Voc(path=voc))
    assert {name.split("/")[-1]: code for name, code in found.items() if "x-" in name} == bad
    assert found["JPEGImages/b b.jpg"] == "class-unknown" and found["JPEGImages/ü.jpg"] == "mask-size-mismatch"
    assert found["JPEGImages/bare.jpg"] == "label-missing"
    assert any(finding.code == "label-missing" for finding in Voc(path=voc).index().findings)


def test_other_classes_come_from_the_objects_or_from_a_labelmap(voc: Path) -> None:
    write(voc, "Annotations/b b.xml", xml("b b.jpg", one("traffic light")))
    for stem in ("SegmentationClass/a.png", "SegmentationObject/a.png"):
        (voc / stem).unlink()
    assert [info.name for info in Voc(path=voc).index().classes] == [
        "background",
        "dog",
        "person",
        "traffic light",
        "void",
    ]
    write(voc, "labelmap.txt", "# label:color_rgb:parts:actions\nroad:1,2,3::\nperson:9,9,9:head,hand:act\n")
    index = Voc(path=voc).index()
    assert index.classes[:2] == (ClassInfo(0, "road", (1, 2, 3)), ClassInfo(1, "person", (9, 9, 9)))
    assert codes(Voc(path=voc))["JPEGImages/b b.jpg"] == "class-unknown"


@pytest.mark.parametrize("text", ["road", "road:1,2::", "road:1,2,x::", "road:1,2,300::", "a:1,2,3::\na:4,5,6::", ""])
def test_a_labelmap_that_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="labelmap"):
        parse_labelmap(text, "labelmap")


def test_a_labelmap_round_trip() -> None:
    table = table_of(["a:b", "c"], [(1, 2, 3), (4, 5, 6)])
    assert parse_labelmap(format_labelmap(table).decode(), "x") == table


def test_colour_masks_and_the_colours_of_voc(voc: Path) -> None:
    assert [voc_colour(index) for index in (1, 15, 20, 255)] == [
        (128, 0, 0),
        (192, 128, 128),
        (0, 64, 128),
        (224, 224, 192),
    ]
    before = Voc(path=voc).read(Voc(path=voc).index().items[0]).labels
    for folder in ("SegmentationClass", "SegmentationObject"):
        path = voc / folder / "a.png"
        Image.open(path).convert("RGB").save(path)
    assert same_labels(Voc(path=voc).read(Voc(path=voc).index().items[0]).labels, before)


def test_the_same_set_comes_back(voc: Path, tmp_path: Path) -> None:
    convert(voc, tmp_path / "out", "voc")
    assert_same_sets(voc, tmp_path / "out")
    assert (tmp_path / "out/ImageSets/Segmentation/train.txt").read_text() == "a\n"


def test_torchvision_reads_what_is_written(voc: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    convert(voc, tmp_path / "VOCdevkit/VOC2012", "voc")
    found = datasets.VOCDetection(str(tmp_path), year="2012", image_set="train")
    assert len(found) == 2 and found[0][1]["annotation"]["filename"] == "a.jpg"
    (one,) = datasets.VOCSegmentation(str(tmp_path), year="2012", image_set="train")
    source = Voc(path=voc)
    labels = source.read(next(item for item in source.index().items if item.id.endswith("/a.jpg"))).labels
    assert labels.mask is not None and (np.array(one[1]) == labels.mask).all()


def test_a_thin_box_at_the_edge_stays_in_the_image(tmp_path: Path) -> None:
    save(tmp_path / "in/images/a.jpg", picture(1))
    boxes = [[W - 0.4, 3, 0.4, 5], [3, H - 0.3, 5, 0.3], [0, 0, 0.2, 0.2], [0, 0, W, H]]
    rows = [annotation(number, 139, bbox=box) for number, box in enumerate(boxes)]
    coco_write(tmp_path / "in/annotations/x.json", table(["a.jpg"], rows))
    convert(tmp_path / "in", tmp_path / "out", "voc")
    (sample,) = samples(tmp_path / "out").values()
    found = [(box.x0, box.y0, box.x1, box.y1) for box in (one.box for one in sample.labels.instances)]
    assert found == [(W - 1, 3, W, 8), (3, H - 1, 8, H), (0, 0, 1, 1), (0, 0, W, H)]


def test_splits_of_other_names_become_those_that_lists_have(tmp_path: Path) -> None:
    for number, split in enumerate(["training", "valid", "testing"]):
        save(tmp_path / "in" / split / f"cat/{number}.jpg", picture(number))
    conversion = convert(tmp_path / "in", tmp_path / "out", "voc")
    assert {split for split, _ in samples(tmp_path / "out")} == {"train", "val", "test"}
    assert "split-not-named" not in {one.code for one in conversion.findings}
    data = (tmp_path / "in/valid/cat/1.jpg").read_bytes()
    rows = [Record("a.jpg", "fold1", data, SIZE, Labels(()))]
    (tmp_path / "other").mkdir()
    written = Voc.write_fitted(rows, (), tmp_path / "other")
    assert "split-not-named" in {one.code for one in written.findings}
