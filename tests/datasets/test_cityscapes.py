"""Cityscapes: label images, objects and groups, polygons, names that loaders find, and other tables in this layout."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from synthgen.datasets._cityscapes_polygons import clip_polygon, released_polygons
from synthgen.datasets._objects import polygon_mask
from synthgen.datasets.base import resolve_source
from synthgen.datasets.cityscapes import Cityscapes
from synthgen.images import turn
from synthgen.names import Names as RunNames
from synthgen.types import BadSample, ConfigError
from tests.datasets.conftest import KEEP, SIZE, codes, picture, release, same_labels, save, spoil, tree
from tests.datasets.round_trips import assert_same_sets, convert, samples
from tests.datasets_for_tests import write_pair

W, H = SIZE
ROAD, PERSON, CAR = 7, 24, 26
PSEUDONYM = RunNames("pseudonym", bytes(32))
STEMS = ("train/ulm/ulm_000000_000019", "train/köln/köln b_000001_000019", "val/ulm/ulm_000002_000019")


def ids() -> tuple[np.ndarray, np.ndarray]:
    """Road, unlabelled at the bottom; two cars, a person, a group of persons."""
    labels = np.full((H, W), ROAD, np.uint8)
    labels[14:] = 0
    labels[2:6, 1:5] = labels[2:6, 6:10] = CAR
    labels[3:10, 12:14] = labels[3:10, 18:22] = PERSON
    objects = labels.astype(np.uint16)
    objects[2:6, 1:5], objects[2:6, 6:10], objects[3:10, 12:14] = CAR * 1000, CAR * 1000 + 1, PERSON * 1000
    return labels, objects


def write_labels(root: Path, stem: str, orientation: int = 1) -> None:
    labels, objects = ids()
    base = root / "gtFine" / stem
    base.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(f"{base}_gtFine_labelIds.png")
    Image.fromarray(objects).save(f"{base}_gtFine_instanceIds.png")
    Image.fromarray(np.stack([labels] * 3, axis=2)).save(f"{base}_gtFine_color.png")
    drawn = [
        {"label": "road", "polygon": [[0, 0], [W, 0], [W, H], [0, H]], "user": "jane", "date": "1-Jan", "id": 4},
        {"label": "car", "polygon": [[1, 2], [5, 2], [5, 6], [1, 6]], "deleted": 0, "verified": 1},
        {"label": "car", "polygon": [[1, 2], [5, 2], [5, 6]], "deleted": 1},
    ]
    value = {"imgHeight": H, "imgWidth": W, "objects": drawn}
    Path(f"{base}_gtFine_polygons.json").write_text(json.dumps(value))


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for number, stem in enumerate(STEMS):
        save(root / "leftImg8bit" / f"{stem}_leftImg8bit.png", picture(number))
        write_labels(root, stem)
    return root


def test_index_and_labels(cityscapes: Path) -> None:
    source = resolve_source(cityscapes)
    assert isinstance(source, Cityscapes)
    index = source.index()
    assert {item.id: item.split for item in index.items} == {
        f"leftImg8bit/{stem}_leftImg8bit.png": stem.split("/")[0] for stem in STEMS
    }
    assert not index.findings and {info.id for info in index.classes if info.ignore} == set(range(7))
    labels, objects = ids()
    read = source.read(index.items[0]).labels
    assert read.mask is not None and (read.mask == labels).all()
    found = [(read.class_name(one.class_id), one.crowd) for one in read.instances]
    assert found == [("person", True), ("person", False), ("car", False), ("car", False)]
    for one, number in zip(read.instances, (PERSON, PERSON * 1000, CAR * 1000, CAR * 1000 + 1), strict=True):
        assert one.mask is not None and (one.mask == (objects == number)).all()
    assert (read.instances[1].box.x0, read.instances[1].box.y1) == (12, 10)
    assert same_labels(source.labels_of(index.items[0]), read)


def test_kept_names_keep_every_byte(cityscapes: Path, tmp_path: Path) -> None:
    assert release(Cityscapes(path=cityscapes), KEEP, tmp_path / "out") == {"images": 3, "labels": 12}
    before, after = tree(cityscapes), tree(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(after[name] == before[name] for name in before if name.startswith("gtFine/"))


def test_new_names_keep_the_endings_and_nothing_of_the_origin(cityscapes: Path, tmp_path: Path) -> None:
    source = Cityscapes(path=cityscapes)
    release(source, PSEUDONYM, tmp_path / "out")  # type: ignore[arg-type]
    again = resolve_source(tmp_path / "out")
    read = {item.id: again.read(item).labels for item in again.index().items}
    for item in source.index().items:
        assert same_labels(source.read(item).labels, read[PSEUDONYM.image(item, 0)])
    files = tree(tmp_path / "out")
    assert not any("_000019" in name for name in files)
    assert all(name.endswith("_leftImg8bit.png") for name in files if name.startswith("leftImg8bit/"))
    polygons = [data for name, data in files.items() if name.endswith("_gtFine_polygons.json")]
    assert len(polygons) == 3 and b"jane" not in polygons[0]
    assert [row["label"] for row in json.loads(polygons[0])["objects"]] == ["road", "car"]


def test_a_rejected_image_takes_its_labels_along(cityscapes: Path, tmp_path: Path) -> None:
    release(Cityscapes(path=cityscapes), KEEP, tmp_path / "out", keep=lambda item: "_000001_" not in item.id)
    assert not any("_000001_" in name for name in tree(tmp_path / "out")) and len(tree(tmp_path / "out")) == 10


@pytest.mark.parametrize("orientation", range(1, 9))
def test_labels_turn_with_their_image(tmp_path: Path, orientation: int) -> None:
    save(tmp_path / "in/leftImg8bit" / f"{STEMS[0]}_leftImg8bit.png", picture(1), orientation)
    write_labels(tmp_path / "in", STEMS[0])
    source = Cityscapes(path=tmp_path / "in")
    sample = source.read(source.index().items[0])
    assert sample.labels.mask is not None and (sample.labels.mask == turn(ids()[0], orientation)).all()
    release(source, PSEUDONYM, tmp_path / "out")  # type: ignore[arg-type]
    again = Cityscapes(path=tmp_path / "out")
    assert same_labels(again.read(again.index().items[0]).labels, sample.labels)
    (path,) = (tmp_path / "out").rglob("*_polygons.json")
    points = np.array(json.loads(path.read_text())["objects"][1]["polygon"])
    marked = np.zeros((H, W), bool)
    marked[2:6, 1:5] = True
    rows, columns = np.nonzero(turn(marked, orientation))
    assert points.min(axis=0).tolist() == [columns.min(), rows.min()]
    assert points.max(axis=0).tolist() == [columns.max() + 1, rows.max() + 1]


def test_bad_files_cost_themselves(cityscapes: Path) -> None:
    bad = spoil(cityscapes, cityscapes / "leftImg8bit/train/ulm", "x")
    for name in bad:
        write_labels(cityscapes, f"train/ulm/{Path(name).stem}")
    wrong = cityscapes / "gtFine" / f"{STEMS[1]}_gtFine_labelIds.png"
    Image.fromarray(np.full((H, W), 77, np.uint8)).save(wrong)
    (cityscapes / "gtFine" / f"{STEMS[2]}_gtFine_labelIds.png").unlink()
    (cityscapes / "gtFine/val/ulm/lonely_gtFine_labelIds.png").write_bytes(b"")
    found = codes(Cityscapes(path=cityscapes))
    assert {name.split("/")[-1]: code for name, code in found.items() if "x-" in name} == bad
    by_stem = {stem: found[f"leftImg8bit/{stem}_leftImg8bit.png"] for stem in STEMS}
    assert list(by_stem.values()) == ["ok", "class-unknown", "label-missing"]
    Image.fromarray(np.zeros((H + 1, W), np.uint8)).save(wrong)
    assert codes(Cityscapes(path=cityscapes))[f"leftImg8bit/{STEMS[1]}_leftImg8bit.png"] == "mask-size-mismatch"
    told = {finding.code for finding in Cityscapes(path=cityscapes).index().findings}
    assert {"label-missing", "image-missing"} <= told


FRAME = '"imgHeight": 16, "imgWidth": 24'


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", '{"objects": 3}', '{"objects": []}'),
        '{"imgHeight": 17, "imgWidth": 24, "objects": []}',
        *(
            f'{{{FRAME}, "objects": [{{"label": {label}, "polygon": {points}}}]}}'
            for label, points in (
                *((3, "[[1, 1], [2, 2], [1, 3]]"), ('"\\ud800"', "[[1, 1], [2, 2], [1, 3]]"), ('"car"', 3)),
                *(('"car"', "[[1, 1], [2, 2]]"), ('"car"', "[[1, 1], [2, 2], [NaN, 3]]")),
                *(('"car"', "[[1, 1], [2, 2], [1]]"), ('"car"', f"[[1, 1], [2, 2], [1{'0' * 400}, 3]]")),
            )
        ),
    ],
)
def test_a_bad_polygon_file_costs_one_image(cityscapes: Path, tmp_path: Path, text: str) -> None:
    with pytest.raises(BadSample):
        released_polygons(text.encode(), 1, SIZE, "x")
    (cityscapes / f"gtFine/{STEMS[1]}_gtFine_polygons.json").write_text(text)
    for names in (KEEP, PSEUDONYM):
        counts = release(Cityscapes(path=cityscapes), names, tmp_path / str(names == KEEP))  # type: ignore[arg-type]
        assert counts == {"images": 2, "labels": 8}


def test_any_bad_label_image_costs_one_image(cityscapes: Path) -> None:
    (cityscapes / f"gtFine/{STEMS[0]}_gtFine_color.png").write_bytes(b"no image")
    Image.fromarray(np.zeros((H + 1, W), np.uint8)).save(cityscapes / f"gtFine/{STEMS[2]}_gtFine_labelTrainIds.png")
    found = codes(Cityscapes(path=cityscapes))
    assert [found[f"leftImg8bit/{stem}_leftImg8bit.png"] for stem in STEMS] == [
        "image-format",
        "ok",
        "mask-size-mismatch",
    ]


@pytest.mark.parametrize(
    ("points", "left"),
    [
        ([[-3, 0], [24, 0], [24, 15], [0, 15]], None),
        ([[-8, 4], [8, -12], [24, 4], [8, 20]], None),
        ([[-9, -9], [40, -9], [40, 40], [-9, 40]], None),
        ([[30, 2], [40, 2], [40, 9]], 0),
        ([[2, 2], [9, 2], [9, 9]], 3),
    ],
)
def test_polygons_are_cut_to_the_frame(points: list[list[float]], left: int | None) -> None:
    """What is painted in the frame stays, to the pixel; the polygons of a pad around it are the standard."""
    cut = clip_polygon(np.array(points, float), SIZE)
    assert left is None or len(cut) == left
    wide = polygon_mask([np.array(points, float) + 50], (W + 100, H + 100))[50 : 50 + H, 50 : 50 + W]
    assert (cut >= 0).all() and (cut <= SIZE).all()
    assert (wide == (polygon_mask([cut + 50], (W + 100, H + 100))[50:-50, 50:-50] if len(cut) else False)).mean() > 0.97
    value = {"imgHeight": H, "imgWidth": W, "objects": [{"label": "car", "polygon": points}]}
    rows = json.loads(released_polygons(json.dumps(value).encode(), 1, SIZE, "x"))["objects"]
    assert len(rows) == (left != 0)


def test_a_table_that_does_not_fit(cityscapes: Path) -> None:
    (cityscapes / "classes.csv").write_text("id,name\n66,road\n")
    with pytest.raises(ConfigError, match="65"):
        Cityscapes(path=cityscapes).index()


def test_the_same_set_comes_back_without_a_table_of_its_own(cityscapes: Path, tmp_path: Path) -> None:
    assert {one.code for one in convert(cityscapes, tmp_path / "out", "cityscapes").findings} == set()
    assert_same_sets(cityscapes, tmp_path / "out")
    assert not (tmp_path / "out/classes.csv").exists()
    assert (tmp_path / "out/leftImg8bit/val/ulm/ulm_000002_000019_leftImg8bit.png").is_file()


def test_into_coco(cityscapes: Path, tmp_path: Path) -> None:
    convert(cityscapes, tmp_path / "coco", "coco")
    names = [
        sample.labels.class_name(one.class_id)
        for sample in samples(tmp_path / "coco").values()
        for one in sample.labels.instances
    ]
    assert sorted(names) == sorted(["person", "person", "car", "car", "road"] * 3)


def test_another_table_comes_along(camvid: Path, tmp_path: Path) -> None:
    conversion = convert(camvid, tmp_path / "out", "cityscapes")
    assert "classes-renumbered" in {one.code for one in conversion.findings}
    table = (tmp_path / "out/classes.csv").read_text().splitlines()
    assert table[1].startswith("1,Sky,128,128,128") and table[4] == "4,Unlabelled,0,0,0,ignore"


def test_a_class_that_cityscapes_ignores_keeps_its_label(tmp_path: Path) -> None:
    ids = np.array([[0, 1]] * 8, np.int32).repeat(4, axis=1)
    write_pair(tmp_path / "in", "images/train/a.png", np.zeros((8, 8, 3), np.uint8), ids)
    (tmp_path / "in/classes.csv").write_text("id,name\n0,road\n1,static\n")
    convert(tmp_path / "in", tmp_path / "out", "cityscapes")
    dataset = Cityscapes(path=tmp_path / "out")
    labels = dataset.read(dataset.index().items[0]).labels
    assert labels.mask is not None
    named = {info.id: (info.name, info.ignore) for info in labels.classes}
    assert {named[number] for number in np.unique(labels.mask).tolist()} == {("road", False), ("static", False)}


def test_torchvision_reads_what_is_written(cityscapes: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("torchvision.datasets", reason="torchvision is not installed")
    release(Cityscapes(path=cityscapes), PSEUDONYM, tmp_path / "out")  # type: ignore[arg-type]
    found = datasets.Cityscapes(str(tmp_path / "out"), split="train", target_type=["instance", "polygon"])
    assert len(found) == 2 and len(found[0][1]) == 2
