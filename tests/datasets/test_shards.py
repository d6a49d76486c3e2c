"""Splits by the names of shards, class ids in new shards, and texts that no shard can hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from synthgen.datasets._class_ids import encode_ids
from synthgen.datasets._records import Record
from synthgen.datasets._shard_splits import shard_splits
from synthgen.datasets.base import resolve_source
from synthgen.datasets.hf import Hf
from synthgen.datasets.imagefolder import ImageFolder
from synthgen.datasets.webdataset import WebDataset
from synthgen.images import decode_label
from synthgen.types import ClassInfo, ConfigError, Labels
from tests.datasets.conftest import PSEUDONYM, SIZE, codes, picture, release, save
from tests.datasets.round_trips import convert, samples
from tests.datasets.test_webdataset import jpg
from tests.datasets.test_webdataset import write as write_tar


@pytest.mark.parametrize(
    ("files", "splits"),
    [
        ("data/train-00000-of-00002.parquet data/test-00000-of-00001-0123456789abcdef.parquet", "train test"),
        ("training-00000-of-00001.parquet", "training"),
        ("training-000000.tar", "training"),
        ("fold1-00000-of-00001.parquet", "fold1"),
        ("fold1-000000.tar fold2-000000.tar", "fold1 fold2"),
        ("train_small-00000-of-00001.parquet train-00000-of-00001.parquet", "train_small train"),
        ("train_small-000000.tar", "train_small"),
        ("TRAIN-000000.tar Val-000000.tar", "train val"),
        ("train2017-00000.tar", "train2017"),
        ("train.parquet val.parquet train_01.parquet other.parquet", "train val train -"),
        ("default/train/0000.parquet default/validation/0000.parquet", "train validation"),
        ("train/shard-000000.tar val/shard-000001.tar", "train val"),
        ("train/wood-000000.tar train/lake-000000.tar", "train train"),
        ("all-000000.tar train-000000.tar", "- train"),
        ("data-00000-of-00002.parquet part-00000.parquet 00000.tar", "- - -"),
        ("mine-000000.tar mine-000001.tar", "- -"),
        ("trainer-000000.tar", "-"),
    ],
)
def test_the_split_of_a_shard(files: str, splits: str) -> None:
    expected = [None if split == "-" else split for split in splits.split()]
    assert list(shard_splits(files.split()).values()) == expected


@pytest.mark.parametrize("form", ["hf", "webdataset"])
def test_splits_of_any_name_come_back(tmp_path: Path, form: str) -> None:
    """By way of shards, whose names a split of any name can have."""
    shards = {f"{split}-000000.tar": {"a.jpg": jpg(n)} for n, split in enumerate(("fold1", "fold2", "train_small"))}
    for name, members in shards.items():
        write_tar(tmp_path / "in" / name, members)
    convert(tmp_path / "in", tmp_path / "out", form)
    assert set(samples(tmp_path / "in")) == {("fold1", "a"), ("fold2", "a"), ("train_small", "a")}
    assert {split for split, _ in samples(tmp_path / "out")} == {"fold1", "fold2", "train_small"}


@pytest.mark.parametrize("form", [Hf, WebDataset])
def test_class_ids_that_no_mask_can_show_are_refused(tmp_path: Path, form: type[Hf] | type[WebDataset]) -> None:
    classes = (ClassInfo(3, "cat"), ClassInfo(65_539, "dog"))
    mask = np.full((SIZE[1], SIZE[0]), 65_539, np.int32)
    record = Record("a.jpg", "train", jpg(1), SIZE, Labels(classes, mask))
    with pytest.raises(ConfigError, match=r"0 to 65535, and 'dog' has 65539"):
        form.write([record], classes, tmp_path)


def test_class_ids_as_a_png() -> None:
    for top in (255, 256, 65_535):
        mask = np.array([[0, top], [1, 2]], np.int32)
        assert (decode_label(encode_ids(mask), "a") == mask).all()


@pytest.mark.parametrize("form", ["hf", "imagefolder", "webdataset"])
def test_half_a_character_in_metadata(tmp_path: Path, form: str) -> None:
    save(tmp_path / "in/a.png", picture(1))
    row = {"file_name": "a.png", "kind": "x\ud800", "\udc00": "y", "weather": "🌧"}
    (tmp_path / "in/metadata.jsonl").write_text(json.dumps(row))
    conversion = convert(tmp_path / "in", tmp_path / "out", form)
    assert [one.subject for one in conversion.findings if one.code == "text-replaced"] == ["metadata.jsonl"]
    (sample,) = samples(tmp_path / "out").values()
    assert dict(sample.labels.attributes) == {"kind": "x\ufffd", "\ufffd": "y", "weather": "🌧"}
    source = ImageFolder(path=tmp_path / "in")
    release(source, PSEUDONYM, tmp_path / "released")
    assert set(codes(resolve_source(tmp_path / "released")).values()) == {"ok"}


def test_a_pair_of_surrogates_is_a_character(tmp_path: Path) -> None:
    save(tmp_path / "in/a.png", picture(1))
    (tmp_path / "in/metadata.jsonl").write_text(json.dumps({"file_name": "a.png", "weather": "🌧"}))
    assert not ImageFolder(path=tmp_path / "in").index().findings


@pytest.mark.parametrize(("form", "void", "can"), [(Hf, 200, True), (Hf, 300, False), (WebDataset, 300, False)])
def test_an_ignore_class_that_masks_of_8_bits_can_not_show(
    tmp_path: Path, form: type[Hf] | type[WebDataset], void: int, can: bool
) -> None:
    classes = (ClassInfo(0, "cat"), ClassInfo(void, "void", ignore=True))
    labels = Labels(classes, np.zeros((SIZE[1], SIZE[0]), np.int32))
    form.write([Record("a.jpg", "train", jpg(1), SIZE, labels)], classes, tmp_path)
    assert form(path=tmp_path).unlabels() == can
