"""Objects as other makers write them, in JSON and in parquet; what is not understood is told, never lost in silence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from synthgen.datasets._coco_write import encode_rle
from synthgen.datasets.base import Dataset
from synthgen.datasets.hf import Hf
from synthgen.datasets.webdataset import WebDataset
from synthgen.types import Box, Instance
from tests.datasets.conftest import PSEUDONYM, SIZE, codes, release, same_labels
from tests.datasets.round_trips import convert
from tests.datasets.test_hf import image, table
from tests.datasets.test_hf import write as write_parquet
from tests.datasets.test_webdataset import jpg, members
from tests.datasets.test_webdataset import write as write_tar

W, H = SIZE
SQUARE = [2, 3, 6, 3, 6, 8, 2, 8]
MASK = np.zeros((H, W), np.bool_)
MASK[3:8, 2:6] = True
RLE = encode_rle(MASK)
RUNS = {"size": [H, W], "counts": [2 * H + 3, 5, H - 5, 5, H - 5, 5, H - 5, 5, H * (W - 6) + H - 8]}
BOX = [2.0, 3.0, 4.0, 5.0]


def shard(root: Path, value: dict[str, Any]) -> WebDataset:
    write_tar(root / "train-000000.tar", {"a.jpg": jpg(1), "a.json": json.dumps(value).encode()})
    (root / "classes.csv").write_text("id,name,note\n0,cat,\n7,dog,\n9,void,ignore\n")
    return WebDataset(path=root)


def told(source: Dataset) -> set[str]:
    return {one.subject for one in source.index().findings if one.code == "column-not-released"}


def one_object(source: Dataset) -> Instance:
    (item,) = source.index().items
    (instance,) = source.read(item).labels.instances
    return instance


def assert_released_alike(source: Dataset, out: Path) -> None:
    release(source, PSEUDONYM, out)
    again = type(source)(path=out)
    pairs = zip(source.index().items, again.index().items, strict=True)
    assert all(same_labels(source.read(a).labels, again.read(b).labels) for a, b in pairs) and not told(again)


def test_a_mapping_of_lists(tmp_path: Path) -> None:
    value = {"bbox": [BOX, BOX], "category": ["dog", 0], "segmentation": [], "note": ["Jane"], "id": "x"}
    source = shard(tmp_path / "in", {"objects": value})
    (item,) = source.index().items
    assert [one.class_id for one in source.read(item).labels.instances] == [7, 0]
    assert told(source) == {"objects.note", "objects.id"}
    assert_released_alike(source, tmp_path / "out")


@pytest.mark.parametrize("shape", [[SQUARE], RLE, RUNS])
def test_a_box_out_of_the_outline(tmp_path: Path, shape: Any) -> None:
    source = shard(tmp_path / "in", {"objects": [{"category": "dog", "segmentation": shape}]})
    one = one_object(source)
    assert one.box == Box(2, 3, 6, 8) and one.mask is not None and (one.mask == MASK).all()
    assert not told(source)
    assert_released_alike(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ({"annotations": [{"bbox": BOX}]}, {"annotations"}),
        ({"boxes": [BOX], "age": 3, "meta": {"a": 1}}, {"boxes", "meta"}),
        ({"objects": {"dog": [1, 2]}}, {"objects"}),
        ({"objects": [{"category": "dog"}, 3]}, {"objects without bbox and segmentation"}),
        ({"objects": [{"category": "dog", "bbox": BOX, "hat": 1}]}, {"objects.hat"}),
        ({"file_name": "jane.jpg"}, {"file_name"}),
        ({"objects": [], "age": 3}, set()),
    ],
)
def test_what_is_not_understood_is_told(tmp_path: Path, value: dict[str, Any], keys: set[str]) -> None:
    source = shard(tmp_path / "in", value)
    assert told(source) == keys and set(codes(source).values()) == {"ok"}
    conversion = convert(tmp_path / "in", tmp_path / "coco", "coco")
    assert {one.subject for one in conversion.findings if one.code == "column-not-released"} == keys
    release(source, PSEUDONYM, tmp_path / "out")
    assert not told(WebDataset(path=tmp_path / "out"))


def test_values_of_an_object_that_are_no_labels_stay_behind(tmp_path: Path) -> None:
    row = {"category": "dog", "bbox": BOX, "segmentation": {**RLE, "by": "Jane"}, "area": "Jane", "iscrowd": 0}
    release(shard(tmp_path / "in", {"objects": [row]}), PSEUDONYM, tmp_path / "out")
    (data,) = (data for name, data in members(tmp_path / "out/train-000000.tar").items() if name.endswith("json"))
    assert json.loads(data)["objects"] == [{"bbox": BOX, "category": "dog", "iscrowd": 0, "segmentation": RLE}]


NUMBERS = pa.list_(pa.float64())
SEGMENTATIONS: dict[str, tuple[pa.DataType, Any]] = {
    "counts": (pa.string(), RLE["counts"]),
    "polygon": (NUMBERS, SQUARE),
    "polygons": (pa.list_(NUMBERS), [SQUARE]),
    "rle": (pa.struct([("counts", pa.string()), ("size", pa.list_(pa.int64()))]), RLE),
    "runs": (pa.struct([("counts", pa.list_(pa.int64())), ("size", pa.list_(pa.int64()))]), RUNS),
}


@pytest.mark.parametrize("structs", [True, False])
@pytest.mark.parametrize("boxed", [True, False])
@pytest.mark.parametrize("name", SEGMENTATIONS)
def test_outlines_in_parquet(tmp_path: Path, name: str, boxed: bool, structs: bool) -> None:
    kind, shape = SEGMENTATIONS[name]
    kinds = {"bbox": NUMBERS, "category": pa.int64(), "segmentation": kind}
    one = {"bbox": BOX if boxed else None, "category": 1, "segmentation": shape}
    if structs:
        objects, rows = pa.list_(pa.struct(list(kinds.items()))), [[one], []]
    else:
        objects = pa.struct([(key, pa.list_(inner)) for key, inner in kinds.items()])
        rows = [{key: [value] for key, value in one.items()}, {key: [] for key in one}]
    made = [{"image": image(n, f"{n}.png"), "label": 0, "objects": row} for n, row in enumerate(rows)]
    write_parquet(tmp_path / "in", "train.parquet", table(made, objects=objects))
    source = Hf(path=tmp_path / "in")
    first, second = (source.read(item).labels for item in source.index().items)
    assert not second.instances and not told(source)
    assert first.instances[0].box == Box(2, 3, 6, 8) and (first.instances[0].mask == MASK).all()
    assert bool(first.instances[0].polygons) == name.startswith("polygon")
    release(source, PSEUDONYM, tmp_path / "out")
    again = Hf(path=tmp_path / "out")
    read = {item.id: again.read(item).labels for item in again.index().items}
    assert all(same_labels(source.read(i).labels, read[PSEUDONYM.image(i, 0)]) for i in source.index().items)


def test_fields_of_objects_that_are_not_read_are_told(tmp_path: Path) -> None:
    kinds = {"bbox": NUMBERS, "category": pa.int64(), "keypoints": NUMBERS, "is_crowd": pa.bool_(), "area": pa.string()}
    kinds |= {"label": pa.string(), "segmentation": pa.struct([("counts", pa.string()), ("by", pa.string())])}
    row: dict[str, Any] = {"bbox": BOX, "category": 1, "keypoints": [1, 2, 2], "is_crowd": True, "area": "Jane"}
    row |= {"label": "Jane", "segmentation": {"counts": "x", "by": "Jane"}}
    made = [{"image": image(1, "a.png"), "label": 0, "objects": [row]}]
    write_parquet(tmp_path / "in", "train.parquet", table(made, objects=pa.list_(pa.struct(list(kinds.items())))))
    source = Hf(path=tmp_path / "in")
    fields = ("keypoints", "is_crowd", "area", "label", "segmentation")
    assert told(source) == {f"objects.{field}" for field in fields}
    assert one_object(source).class_id == 1
    assert_released_alike(source, tmp_path / "out")


def test_lists_of_different_lengths_cost_one_image(tmp_path: Path) -> None:
    objects = pa.struct([("bbox", pa.list_(NUMBERS)), ("category", pa.list_(pa.int64()))])
    rows = [{"bbox": [BOX, BOX], "category": [1]}, {"bbox": [BOX], "category": [1]}]
    made = [{"image": image(n, f"{n}.png"), "label": 0, "objects": row} for n, row in enumerate(rows)]
    write_parquet(tmp_path / "in", "train.parquet", table(made, objects=objects))
    assert list(codes(Hf(path=tmp_path / "in")).values()) == ["label-invalid", "ok"]
