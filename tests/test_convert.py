"""Any format into any other: what comes back the same, and what is told to be lost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from synthgen.convert import Namer, dataset_format, format_conversion
from synthgen.datasets.base import Record, resolve_source
from synthgen.images import encode_image
from synthgen.types import Box, ClassInfo, Instance, Labels
from tests.datasets.conftest import picture, save, tree
from tests.datasets.round_trips import assert_same_sets, codes_of, convert, named_mask, samples

SIZE = (24, 16)
W, H = SIZE
CLASSES = (ClassInfo(1, "person"), ClassInfo(4, "traffic light"), ClassInfo(90, "sky"))
"""Ids with gaps."""
SQUARE = np.array([[12.0, 3.0], [20.0, 3.0], [20.0, 8.0], [12.0, 8.0]])
TRIANGLE = np.array([[2.5, 2.25], [9.75, 3.5], [4.0, 12.125]])


def blob() -> np.ndarray:
    """Two parts and a hole."""
    mask = np.zeros((H, W), bool)
    mask[2:9, 2:9] = mask[10:14, 15:22] = True
    mask[4:6, 4:7] = False
    return mask


def outlined(class_id: int, *polygons: np.ndarray, crowd: bool = False) -> Instance:
    rings = [polygon.ravel().tolist() for polygon in polygons]
    mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(rings, H, W))).astype(bool)
    low = np.min([polygon.min(axis=0) for polygon in polygons], axis=0)
    high = np.max([polygon.max(axis=0) for polygon in polygons], axis=0)
    return Instance(class_id, Box(*low.tolist(), *high.tolist()), mask, crowd, polygons)


def make(root: Path, form: str, objects: dict[str, tuple[Instance, ...]], mask: bool = False) -> Path:
    """A set in some format: {split/name: objects}; with `mask` every pixel has a class too."""
    rng = np.random.default_rng(0)

    def records() -> object:
        for number, (path, instances) in enumerate(objects.items()):
            split, _, name = path.rpartition("/")
            ids = rng.choice([info.id for info in CLASSES], (H, W)).astype(np.int32) if mask else None
            data = encode_image(np.asarray(picture(number)), Path(name).suffix)
            yield Record(name, split or None, data, SIZE, Labels(CLASSES, ids, instances))

    root.mkdir(parents=True)
    dataset_format(form).write_fitted(records(), CLASSES, root)  # type: ignore[arg-type]
    return root


BOXES = {
    "train/a.jpg": (Instance(1, Box(2, 3, 9, 12)), Instance(4, Box(10, 0, 24, 16))),
    "train/b b.png": (Instance(90, Box(0, 0, 24, 5)),),
    "train/bare.jpg": (),
    "val/ä 猫.jpg": (Instance(4, Box(1, 1, 2, 2)),),
}
OUTLINES = {
    "train/a.jpg": (outlined(1, SQUARE), outlined(4, TRIANGLE)),
    "train/two parts.jpg": (outlined(1, SQUARE, TRIANGLE),),
    "train/bare.jpg": (),
    "val/pixels.png": (Instance(90, Box(2, 2, 22, 14), blob()),),
}


@pytest.mark.parametrize(
    ("first", "second", "objects", "slack"),
    [
        ("coco", "coco", BOXES, 0.0),
        ("coco", "yolo", BOXES, 1e-5),
        ("coco", "voc", BOXES, 0.0),
        ("yolo", "yolo", BOXES, 1e-5),
        ("yolo", "coco", BOXES, 1e-5),
        ("voc", "voc", BOXES, 0.0),
        ("voc", "coco", BOXES, 0.0),
        ("voc", "yolo", BOXES, 1e-5),
        ("coco", "coco", OUTLINES, 0.0),
        ("coco", "yolo", OUTLINES, 1e-5),
        ("yolo", "yolo", OUTLINES, 1e-5),
        ("yolo", "coco", OUTLINES, 1e-5),
        ("hf", "hf", BOXES, 0.0),
        ("hf", "coco", BOXES, 0.0),
        ("coco", "hf", OUTLINES, 0.0),
        ("yolo", "hf", OUTLINES, 1.2),
        ("webdataset", "webdataset", BOXES, 0.0),
        ("coco", "webdataset", OUTLINES, 0.0),
        ("webdataset", "yolo", OUTLINES, 1e-5),
        ("cityscapes", "cityscapes", OUTLINES, 0.0),
        ("cityscapes", "panoptic", OUTLINES, 0.0),
        ("panoptic", "panoptic", OUTLINES, 0.0),
        ("panoptic", "voc", OUTLINES, 0.0),
        ("voc", "voc", OUTLINES, 0.0),
        ("voc", "coco", OUTLINES, 0.0),
    ],
)
def test_there_and_back(
    tmp_path: Path, first: str, second: str, objects: dict[str, tuple[Instance, ...]], slack: float
) -> None:
    """Boxes and outlines survive `first → second → first`; YOLO's shares within a hundred-thousandth of a pixel.

    Format hf keeps the pixels of outlines, not their corners, so the boxes around them move by a pixel.
    """
    source = make(tmp_path / "source", first, objects)
    convert(source, tmp_path / "there", second)
    convert(tmp_path / "there", tmp_path / "back", first)
    back = samples(tmp_path / "back")
    assert {(split, stem) for split, stem in back} == {tuple(p.rsplit(".", 1)[0].split("/")) for p in objects}
    assert_same_sets(source, tmp_path / "back", slack)


@pytest.mark.parametrize("second", ["masks", "voc", "coco", "hf", "webdataset", "cityscapes", "panoptic"])
def test_masks_there_and_back(streets: Path, tmp_path: Path, second: str) -> None:
    told = codes_of(convert(streets, tmp_path / "there", second))
    convert(tmp_path / "there", tmp_path / "back", "masks")
    before, after = samples(streets), samples(tmp_path / "back")
    assert before.keys() == after.keys()
    for key, sample in before.items():
        assert (named_mask(sample.labels) == named_mask(after[key].labels)).all()
        assert (sample.image == after[key].image).all()
    assert ("mask-as-objects" in told) == (second == "coco")
    assert ("classes-renumbered" in told) == (second in ("voc", "cityscapes"))


def test_outlines_become_masks_and_that_is_told(tmp_path: Path) -> None:
    conversion = convert(make(tmp_path / "in", "coco", OUTLINES), tmp_path / "out", "masks")
    assert "object-not-held" in codes_of(conversion)
    before, after = samples(tmp_path / "in"), samples(tmp_path / "out")
    for key, sample in before.items():
        mask = named_mask(sample.labels)
        assert (named_mask(after[key].labels) == ("" if mask is None else mask)).all()


def test_a_mask_beside_objects_gives_the_rest_as_areas(tmp_path: Path) -> None:
    """VOC with both → COCO: the objects, and what of the mask they do not cover."""
    person = np.zeros((H, W), bool)
    person[2:6, 2:6] = True
    ids = np.where(person, 1, 90).astype(np.int32)
    record = Record(
        "a.png", "train", encode_image(np.asarray(picture(1)), ".png"), SIZE,
        Labels(CLASSES, ids, (Instance(1, Box(2, 2, 6, 6), person),)),
    )  # fmt: skip
    (tmp_path / "in").mkdir()
    dataset_format("voc").write_fitted(iter([record]), CLASSES, tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "out", "coco")
    (sample,) = samples(tmp_path / "out").values()
    assert [sample.labels.class_name(one.class_id) for one in sample.labels.instances] == ["person", "sky"]
    assert (named_mask(sample.labels) == np.where(person, "person", "sky")).all()


def test_what_has_no_place_is_told(tmp_path: Path) -> None:
    crowd = {"train/a.jpg": (Instance(1, Box(2, 2, 22, 14), blob(), crowd=True), Instance(4, Box(1, 1, 5, 5)))}
    source = make(tmp_path / "in", "coco", crowd)
    assert samples(source)["train", "a"].labels.instances[0].crowd
    convert(source, tmp_path / "same", "coco")
    assert_same_sets(source, tmp_path / "same")
    for form, codes in {
        "yolo": {"crowd-not-held", "classes-renumbered", "split-missing"},
        "voc": {"crowd-not-held", "classes-renumbered"},
        "masks": {"crowd-not-held", "box-not-held"},
        "imagefolder": {"crowd-not-held", "box-not-held"},
    }.items():
        conversion = convert(source, tmp_path / form, form)
        assert codes <= codes_of(conversion), form
        assert "crowd-not-held" in format_conversion(conversion)
        assert json.loads(json.dumps(conversion.record()))["images"] == 1


ODD_NAMES = [
    "cars",
    "car ",
    "car",
    "#tag",
    "a, b",
    "void",
    "x:y",
    "two\nlines",
    "",
    "unlabelled",
    '"q"',
    "\ud800\x01",
    "cars",
]
FITTED = [
    "cars-2",
    "car-2",
    "car",
    "#tag",
    "a, b",
    "void",
    "x:y",
    "two lines",
    "class 8",
    "unlabelled",
    '"q"',
    "?",
    "cars",
]
IN_VOC = {"#tag": "tag", "void": "void-2"}


@pytest.mark.parametrize("form", ["coco", "cityscapes", "hf", "masks", "panoptic", "voc", "webdataset", "yolo"])
def test_names_of_classes_are_such_as_can_be_read_again(tmp_path: Path, form: str) -> None:
    """As Roboflow's COCO has them: a category for the project, under the name of its class; and other odd ones."""
    classes = tuple(ClassInfo(number, name) for number, name in enumerate(ODD_NAMES))
    void = ClassInfo(len(classes), "unlabelled", (0, 0, 0), ignore=True)
    corners = [np.array([[x, 1.0], [x + 1.0, 1.0], [x + 1.0, 5.0], [x, 5.0]]) for x in range(len(classes))]
    objects = tuple(outlined(info.id, square) for info, square in zip(classes, corners, strict=True))
    data = encode_image(np.asarray(picture(1)), ".png")
    record = Record("a.png", "train", data, SIZE, Labels((*classes, void), instances=objects))
    (tmp_path / "out").mkdir()
    written = dataset_format(form).write_fitted([record], (*classes, void), tmp_path / "out")
    (sample,) = samples(tmp_path / "out").values()
    named = named_mask(sample.labels)
    assert named is not None
    wanted = [IN_VOC.get(name, name) for name in FITTED] if form == "voc" else FITTED
    assert named[3, : len(classes)].tolist() == wanted
    told = {one.subject: one.message for one in written.findings if one.code == "class-renamed"}
    assert "becomes 'cars-2': another class has it" in told["'cars'"] and repr("two\nlines") in told


def test_the_class_of_an_image_is_renamed_with_its_table(tmp_path: Path) -> None:
    classes = (ClassInfo(0, "cat "), ClassInfo(1, "unlabelled", ignore=True), ClassInfo(2, "unlabelled"))
    data = encode_image(np.asarray(picture(1)), ".png")
    rows = [
        Record(f"{number}.png", "train", data, SIZE, Labels(classes, image_class=name))
        for number, name in enumerate(["cat ", "unlabelled"])
    ]
    (tmp_path / "out").mkdir()
    dataset_format("hf").write_fitted(rows, classes, tmp_path / "out")
    found = [sample.labels.image_class for _, sample in sorted(samples(tmp_path / "out").items())]
    assert found == ["cat", "unlabelled"]


def test_classes_and_attributes_of_images(tmp_path: Path) -> None:
    for split, name in (("train", "cat/a.jpg"), ("train", "dog/a.jpg"), ("val", "cat/b.png")):
        save(tmp_path / "in" / split / name, picture(len(name)))
    convert(tmp_path / "in", tmp_path / "out", "imagefolder")
    assert tree(tmp_path / "in") == tree(tmp_path / "out")
    assert "class-not-held" in codes_of(convert(tmp_path / "in", tmp_path / "yolo", "yolo"))
    (tmp_path / "in/metadata.csv").write_text("file_name,age\ntrain/cat/a.jpg,3\ntrain/dog/a.jpg,4\nval/cat/b.png,5\n")
    convert(tmp_path / "in", tmp_path / "rows", "imagefolder")
    assert_same_sets(tmp_path / "in", tmp_path / "rows")
    assert "attributes-not-held" in codes_of(convert(tmp_path / "in", tmp_path / "voc", "voc"))


def test_bad_images_stay_behind_and_are_listed(streets: Path, tmp_path: Path) -> None:
    (streets / "images/train/s0.jpg").write_bytes(b"")
    (streets / "labels/val/s4.png").unlink()
    conversion = convert(streets, tmp_path / "out", "voc")
    assert {(one.code, one.subject) for one in conversion.left_out} == {
        ("image-empty", "images/train/s0.jpg"),
        ("label-missing", "images/val/s4.png"),
    }
    assert conversion.counts["images"] == 5 and len(samples(tmp_path / "out")) == 5


def test_turned_images_are_encoded_upright(tmp_path: Path) -> None:
    save(tmp_path / "in/cat/a.png", picture(1), orientation=6)
    save(tmp_path / "in/cat/b.png", picture(2))
    assert "image-turned" in codes_of(convert(tmp_path / "in", tmp_path / "out", "imagefolder"))
    assert_same_sets(tmp_path / "in", tmp_path / "out")
    assert Image.open(tmp_path / "out/cat/a.png").size == (H, W)
    assert tree(tmp_path / "out")["cat/b.png"] == tree(tmp_path / "in")["cat/b.png"]


def test_names_that_differ_in_case_suffix_or_folder_stay_apart(tmp_path: Path) -> None:
    for name in ("a.jpg", "A.jpg", "a.png", "e\u0301.jpg", "\u00e9.jpg", "images/a.jpg"):
        save(tmp_path / "in" / name, picture(len(name)))
    conversion = convert(tmp_path / "in", tmp_path / "out", "voc", "format=imagefolder")
    stems = [path.stem.casefold() for path in (tmp_path / "out").rglob("*.*") if path.suffix in (".jpg", ".png")]
    assert len(stems) == 6 and len(set(stems)) == 6
    assert [one.code for one in conversion.findings].count("image-renamed") == 4
    assert len(samples(tmp_path / "out")) == 6


def test_two_splits_may_share_a_name_where_the_format_keeps_them_apart() -> None:
    apart, together = Namer(True), Namer(False)
    assert apart.name("data/train-00000-of-00002/x/b.jpg", "train") == "x/b.jpg"
    assert apart.name("train-000001/c.jpg", "train") == "c.jpg"
    assert [apart.name(f"images/{split}/a.jpg", split) for split in ("train", "val")] == ["a.jpg", "a.jpg"]
    assert [together.name(f"{split}2017/x/a.jpg", split) for split in ("train", "val")] == ["x/a.jpg", "x/a-2.jpg"]
    assert [Namer(True).name("a.jpg", split) for split in ("train", None, "valid", "val", "fold")] == ["a.jpg"] * 5
    one = Namer(True)
    names = [one.name("a.jpg", split) for split in ("train", None, "valid", "val", "fold")]
    assert names == ["a.jpg", "a-2.jpg", "a.jpg", "a-2.jpg", "a.jpg"]


def test_names_that_a_format_makes_equal_stay_apart(tmp_path: Path) -> None:
    """Cityscapes has room for one folder, ImageFolder puts each image below its class."""
    for name in ("x/y/a.png", "x-y/a.png"):
        save(tmp_path / "in" / name, picture(len(name)))
    convert(tmp_path / "in", tmp_path / "city", "cityscapes")
    assert len(resolve_source(tmp_path / "city").index().items) == 2
    cat = (ClassInfo(0, "cat"), ClassInfo(1, "../.C:"))
    rows = [
        Record(name, "train", encode_image(np.asarray(picture(number)), ".png"), SIZE, Labels(cat, image_class=of))
        for number, (name, of) in enumerate(
            [("cat/1.png", "cat"), ("1.png", "cat"), ("1.jpg", "cat"), ("2.png", "../.C:")]
        )
    ]
    (tmp_path / "folder").mkdir()
    written = dataset_format("imagefolder").write_fitted(rows, cat, tmp_path / "folder")
    assert sorted(tree(tmp_path / "folder")) == [
        "train/__.C:/2.png",
        "train/cat/1-2.png",
        "train/cat/1-3.jpg",
        "train/cat/1.png",
    ]
    assert {"image-renamed", "class-renamed"} <= {one.code for one in written.findings}
    assert len(resolve_source(tmp_path / "folder").index().items) == 4


def test_official_readers_agree(tmp_path: Path) -> None:
    convert(make(tmp_path / "in", "voc", OUTLINES), tmp_path / "out", "coco")
    official = COCO(str(tmp_path / "out/annotations/instances_train.json"))
    assert [row["name"] for row in official.dataset["categories"]][:3] == ["background", "person", "traffic light"]
    sample = samples(tmp_path / "in")["train", "a"]
    rows = official.loadAnns(official.getAnnIds(imgIds=1))
    for row, instance in zip(rows, sample.labels.instances, strict=True):
        assert (official.annToMask(row).astype(bool) == instance.mask).all()


@pytest.mark.parametrize(
    "form", ["coco", "hf", "imagefolder", "masks", "voc", "webdataset", "yolo", "cityscapes", "panoptic"]
)
def test_what_is_written_is_recognised(tmp_path: Path, form: str) -> None:
    make(tmp_path / "out", form, BOXES)
    assert resolve_source(tmp_path / "out").format == form
