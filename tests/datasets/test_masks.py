"""Images beside label images."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthgen.datasets.base import resolve_source
from synthgen.datasets.masks import Masks, parse_classes
from synthgen.images import turn
from synthgen.types import BadSample, ClassInfo, ConfigError
from tests.datasets.conftest import KEEP, PSEUDONYM, SIZE, codes, picture, release, same_labels, save, spoil, tree

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def test_index_and_labels(camvid: Path) -> None:
    source = resolve_source(str(camvid))
    assert isinstance(source, Masks)
    index = source.index()
    assert [(item.id, item.split) for item in index.items] == [
        ("images/test/0001TP_000003.jpg", "test"),
        ("images/train/0001TP_000000.jpg", "train"),
        ("images/train/0001TP_000001.jpg", "train"),
        ("images/val/0001TP_000002.jpg", "val"),
    ]
    assert index.classes[3] == ClassInfo(3, "Unlabelled", (0, 0, 0), ignore=True)
    assert [(finding.code, finding.subject) for finding in index.findings] == [("file-not-released", "index.csv")]
    sample = source.read(index.items[0])
    assert sample.labels.mask is not None and index.items[0].label is not None
    assert (sample.labels.mask == np.asarray(Image.open(index.items[0].label))).all()
    assert sample.size == SIZE and sample.labels.mask.dtype == np.int32 and len(sample.digest) == 64


def test_kept_names_keep_the_label_tree_byte_for_byte(camvid: Path, tmp_path: Path) -> None:
    source = Masks(path=camvid)
    assert release(source, KEEP, tmp_path / "out") == {"images": 4, "labels": 4}
    before, after = tree(camvid), tree(tmp_path / "out")
    del before["index.csv"]
    assert before.keys() == after.keys()
    assert all(after[name] == before[name] for name in before if not name.startswith("images/"))
    assert all(after[name] != before[name] for name in before if name.startswith("images/"))


def test_rejected_items_leave_no_label(camvid: Path, tmp_path: Path) -> None:
    release(Masks(path=camvid), KEEP, tmp_path / "out", keep=lambda item: item.split == "train")
    assert sorted(tree(tmp_path / "out")) == [
        "classes.csv",
        "images/train/0001TP_000000.jpg",
        "images/train/0001TP_000001.jpg",
        "labels/train/0001TP_000000.png",
        "labels/train/0001TP_000001.png",
    ]


def test_new_names_give_the_same_dataset(camvid: Path, tmp_path: Path) -> None:
    source = Masks(path=camvid)
    release(source, PSEUDONYM, tmp_path / "out")
    again = resolve_source(tmp_path / "out")
    read = {item.id: again.read(item) for item in again.index().items}
    assert not again.index().findings and len(read) == 4
    for item in source.index().items:
        assert same_labels(source.read(item).labels, read[PSEUDONYM.image(item, 0)].labels)
    assert not any("0001TP" in name or b"0001TP" in data for name, data in tree(tmp_path / "out").items())


@pytest.mark.parametrize("names", [KEEP, PSEUDONYM])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_turn_with_their_image(camvid: Path, tmp_path: Path, orientation: int, names: object) -> None:
    save(camvid / "images/train/turned.jpg", picture(5), orientation)
    ids = np.random.default_rng(5).integers(0, 4, (SIZE[1], SIZE[0]), dtype=np.uint8)
    save(camvid / "labels/train/turned.png", Image.fromarray(ids))
    source = Masks(path=camvid)
    item = next(item for item in source.index().items if "turned" in item.id)
    sample = source.read(item)
    assert sample.labels.mask is not None and sample.image.shape[:2] == sample.labels.mask.shape
    assert (sample.labels.mask == turn(ids, orientation)).all()
    release(source, names, tmp_path / "out")  # type: ignore[arg-type]
    again = Masks(path=tmp_path / "out")
    name = names.image(item, 0)  # type: ignore[attr-defined]
    assert same_labels(again.read(next(i for i in again.index().items if i.id == name)).labels, sample.labels)


def test_a_label_of_the_size_shown_is_taken_as_it_is(camvid: Path, tmp_path: Path) -> None:
    save(camvid / "images/train/side.jpg", picture(5), 6)
    ids = np.random.default_rng(5).integers(0, 4, SIZE, dtype=np.uint8)
    save(camvid / "labels/train/side.png", Image.fromarray(ids))
    source = Masks(path=camvid)
    item = next(item for item in source.index().items if "side" in item.id)
    mask = source.read(item).labels.mask
    assert mask is not None and (mask == ids).all()
    release(source, KEEP, tmp_path / "out")
    assert tree(tmp_path / "out")["labels/train/side.png"] == tree(camvid)["labels/train/side.png"]


def test_bad_items_are_coded_and_the_rest_is_read(camvid: Path) -> None:
    expected = spoil(camvid, camvid / "images/val", "bad")
    for name in expected:
        save(camvid / f"labels/val/{Path(name).stem}.png", Image.new("L", SIZE))
    expected = {f"images/val/{name}": code for name, code in expected.items()}
    for name, label, code in [
        ("size", Image.new("L", (SIZE[0], SIZE[1] + 1)), "mask-size-mismatch"),
        ("lying", Image.new("L", SIZE[::-1]), "mask-size-mismatch"),
        ("class", Image.new("L", SIZE, 255), "class-unknown"),
        ("colour", Image.new("RGB", SIZE, (1, 2, 3)), "class-unknown"),
        ("none", None, "label-missing"),
    ]:
        save(camvid / f"images/val/{name}.png", picture(7))
        if label:
            save(camvid / f"labels/val/{name}.png", label)
        expected[f"images/val/{name}.png"] = code
    (camvid / "labels/val/lone.png").write_bytes(b"")
    found = codes(Masks(path=camvid))
    assert {name: code for name, code in found.items() if code != "ok"} == expected
    assert list(found.values()).count("ok") == 4
    findings = {(finding.code, finding.subject) for finding in Masks(path=camvid).index().findings}
    assert {("label-missing", "images/val/none.png"), ("image-missing", "labels/val/lone.png")} <= findings


def test_equal_images_are_told(camvid: Path) -> None:
    data = (camvid / "images/train/0001TP_000000.jpg").read_bytes()
    (camvid / "images/test/again.jpg").write_bytes(data)
    (camvid / "images/test/alike.jpg").write_bytes(data[:-1] + b"\0")
    for name in ("again", "alike"):
        save(camvid / f"labels/test/{name}.png", Image.new("L", SIZE))
    (finding,) = [finding for finding in Masks(path=camvid).index().findings if finding.code == "image-duplicate"]
    assert finding.subject == "images/test/again.jpg"
    assert "'images/train/0001TP_000000.jpg'; they lie in several splits" in finding.message


def test_colour_labels_are_read_by_the_table(camvid: Path) -> None:
    colours = np.array([[128, 128, 128], [128, 64, 128], [64, 64, 0], [0, 0, 0]], np.uint8)
    item = Masks(path=camvid).index().items[0]
    assert item.label is not None
    ids = np.asarray(Image.open(item.label))
    Image.fromarray(colours[ids]).save(item.label)
    mask = Masks(path=camvid).read(item).labels.mask
    assert mask is not None and (mask == ids).all()
    table = (camvid / "classes.csv").read_text()
    (camvid / "classes.csv").write_text(table.replace("64,64,0", "0,0,0"))
    Image.fromarray(colours[np.minimum(ids, 1)]).save(item.label)
    with pytest.raises(BadSample, match="class-ambiguous"):
        Masks(path=camvid).read(item)


@pytest.mark.parametrize(
    ("images", "labels"),
    [("imgs", "masks"), ("img", "gt"), ("Images", "Annotations"), ("JPEGImages", "SegmentationClass")],
)
def test_usual_spellings_are_recognised(camvid: Path, images: str, labels: str) -> None:
    (camvid / "images").rename(camvid / images)
    (camvid / "labels").rename(camvid / labels)
    source = resolve_source(camvid)
    assert isinstance(source, Masks) and set(codes(source).values()) == {"ok"}


def test_other_spellings_are_named(camvid: Path) -> None:
    (camvid / "images").rename(camvid / "photos")
    (camvid / "classes.csv").rename(camvid / "table.csv")
    with pytest.raises(ValueError, match=r"source\.format"):
        resolve_source(camvid)
    named = {"format": "masks", "path": camvid, "images": "photos", "classes": "table.csv"}
    assert set(codes(resolve_source(named)).values()) == {"ok"}
    for key in ("images", "labels", "classes"):
        with pytest.raises(ConfigError, match=f"source.{key}: '../other' must be a relative path"):
            resolve_source({**named, key: "../other"}).index()


def test_what_stands_twice_stops_the_run(camvid: Path) -> None:
    save(camvid / "images/val/0001TP_000002.png", picture(1))
    with pytest.raises(ConfigError, match="several images for one label: 'val/0001TP_000002'"):
        Masks(path=camvid).index()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "header"),
        ("name,id", "no class"),
        ("name\nSky\n", "expected the columns"),
        ("id,name\nx,Sky\n", "row 2.*whole numbers"),
        ("id,name\n-1,Sky\n", "row 2: id is 0 to"),
        ("id,name\n0,Sky\n0,Road\n", "ids that stand twice: 0"),
        ("id,name\n0,Sky\n1,Sky\n", "names that stand twice: 'Sky'"),
        ("id,name,r,g,b\n0,Sky,1,2,300\n", "0 to 255"),
        ("id,name,r,g,b\n0,Sky,1,,3\n", "whole numbers"),
        ("id,name\n0,Sky,more\n", "line 2"),
        ("id,id,name\n", "columns named twice"),
    ],
)
def test_bad_class_tables_stop_the_run(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse_classes(text, "classes.csv")


def test_a_plain_class_table() -> None:
    assert parse_classes("id,name\r\n0,null\r\n41,skin\r\n", "c") == (
        ClassInfo(0, "null"),
        ClassInfo(41, "skin"),
    )


@pytest.mark.parametrize(("name", "count"), [("camvid", 530), ("pedestrians", 200)])
def test_real_datasets(name: str, count: int) -> None:
    root = SHARED / name
    if not root.is_dir():
        pytest.skip(f"the development images ({name}) are not on this machine")
    source = resolve_source(root)
    index = source.index()
    assert isinstance(source, Masks) and len(index.items) == count
    assert {finding.code for finding in index.findings} == {"file-not-released"}
    for item in index.items[:: count // 5]:
        sample = source.read(item)
        assert sample.labels.mask is not None and sample.labels.mask.shape == sample.image.shape[:2]
