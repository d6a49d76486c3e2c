"""Which format a folder has, and what a user is told when that is not clear."""

import json
from pathlib import Path

import pytest

from synthgen.datasets.base import resolve_source
from synthgen.datasets.imagefolder import ImageFolder
from synthgen.datasets.masks import Masks
from tests.datasets.conftest import picture, save


def test_what_a_config_may_hold(camvid: Path) -> None:
    spec = Masks(path=camvid)
    for value in (spec, str(camvid), camvid, {"path": str(camvid)}, {"format": "auto", "path": camvid}):
        assert resolve_source(value) == spec
    assert resolve_source({"path": camvid, "classes": "classes.csv"}) == spec
    assert resolve_source({"format": "imagefolder", "path": camvid}) == ImageFolder(path=camvid)


def test_reading_leaves_a_spec_as_it_was(camvid: Path) -> None:
    spec = Masks(path=camvid)
    before = spec.model_dump(mode="json")
    spec.index()
    assert (
        spec.model_dump(mode="json") == before and spec == Masks(path=camvid) and hash(spec) == hash(Masks(path=camvid))
    )
    assert resolve_source(before) == spec


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "expected the folder"),
        ({}, "expected the folder"),
        ({"path": "no/such/folder"}, r"source\.path: no/such/folder is not a folder"),
        ({"path": ".", "format": "yolo8"}, "no kind 'yolo8'.*coco, .*imagefolder, masks"),
        ({"path": ".", "format": "masks", "imges": "x"}, "imges"),
    ],
)
def test_what_it_may_not(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        resolve_source(value)


def test_an_archive_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="unpacked"):
        resolve_source(tmp_path / "a.zip")


def test_labels_of_an_unknown_format_are_not_overlooked(tmp_path: Path) -> None:
    save(tmp_path / "images/a.jpg", picture(1))
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/a.txt").write_text("0 .5 .5 .1 .1")
    with pytest.raises(ValueError, match=r"(?s)source\.format.*coco looks for.*imagefolder looks for.*masks looks for"):
        resolve_source(tmp_path)


def test_two_formats_in_one_folder_must_be_told_apart(camvid: Path) -> None:
    (camvid / "all.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(ValueError, match=r"(?s)several formats.*source\.format.*coco: .*masks: "):
        resolve_source(camvid)
    assert isinstance(resolve_source({"format": "masks", "path": camvid}), Masks)
