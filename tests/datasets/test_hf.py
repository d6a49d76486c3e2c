"""Hugging Face parquet: what columns mean, rows as items, releases, and the `datasets` library as their reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as PIL

from synthgen.datasets._hf_columns import with_features
from synthgen.datasets._sample_json import object_rows
from synthgen.datasets.base import resolve_source
from synthgen.datasets.hf import Hf
from synthgen.images import encode_image
from synthgen.types import ConfigError
from tests.datasets.conftest import KEEP, PSEUDONYM, SIZE, codes, picture, release, same_labels, save, tree
from tests.datasets.round_trips import assert_same_sets, convert, samples

W, H = SIZE
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
LABEL = {"names": ["cat", "dog"], "_type": "ClassLabel"}
OBJECTS = pa.struct(
    [("id", pa.list_(pa.int64())), ("bbox", pa.list_(pa.list_(pa.float32()))), ("category", pa.list_(pa.int64()))]
)


def image(seed: int, name: str | None) -> dict[str, Any]:
    return {"bytes": encode_image(np.asarray(picture(seed)), ".png"), "path": name}


def table(rows: list[dict[str, Any]], features: bool = True, **columns: pa.DataType) -> pa.Table:
    """Rows with an image, a class, and more columns."""
    schema = pa.schema([("image", IMAGE), ("label", pa.int64()), *columns.items()])
    told: dict[str, Any] = {"image": {"_type": "Image"}, "label": LABEL}
    if "objects" in columns:
        box = {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"}
        number, text = {"dtype": "int64", "_type": "Value"}, {"dtype": "string", "_type": "Value"}
        inner = {"id": number, "bbox": box, "category": LABEL, "note": text}
        told["objects"] = {"feature": inner, "_type": "Sequence"}
    return pa.Table.from_pylist(rows, schema=with_features(schema, told) if features else schema)


def write(root: Path, name: str, made: pa.Table, rows_per_group: int = 2) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(made, root / name, row_group_size=rows_per_group)


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    """Classes, objects and columns; five rows in three row groups, one of them in another split."""
    root = tmp_path / "source"
    some = {"id": [7], "bbox": [[2, 3, 4, 5]], "category": [1], "note": ["by Jane"]}
    rows = [
        {
            "image": image(number, name),
            "label": number % 2,
            "objects": some if number else {"id": [], "bbox": [], "category": [], "note": []},
            "age": 30 + number,
            "owner": {"name": "Jane"},
        }
        for number, name in enumerate(["b.png", "a a.png", "ü.png", "c.png"])
    ]
    kinds = {"objects": OBJECTS, "age": pa.int64(), "owner": pa.struct([("name", pa.string())])}
    write(root, "data/train-00000-of-00001.parquet", table(rows, **kinds))
    write(root, "data/validation-00000-of-00001.parquet", table(rows[:1], **kinds))
    return root


def test_index_and_labels(hf: Path) -> None:
    source = resolve_source(hf)
    assert isinstance(source, Hf)
    index = source.index()
    assert [(item.id, item.split) for item in index.items] == [
        ("data/train-00000-of-00001/a a.png", "train"),
        ("data/train-00000-of-00001/b.png", "train"),
        ("data/train-00000-of-00001/c.png", "train"),
        ("data/train-00000-of-00001/ü.png", "train"),
        ("data/validation-00000-of-00001/b.png", "validation"),
    ]
    assert [(info.id, info.name) for info in index.classes] == [(0, "cat"), (1, "dog"), (2, "unlabelled")]
    assert [(finding.code, finding.subject) for finding in index.findings] == [
        ("column-not-released", subject) for subject in ("objects.id", "owner")
    ]
    sample = source.read(index.items[0])
    assert (sample.image == np.asarray(picture(1))).all() and sample.labels.image_class == "dog"
    assert dict(sample.labels.attributes) == {"age": 31}
    (one,) = sample.labels.instances
    assert (one.class_id, one.box.x0, one.box.y0, one.box.x1, one.box.y1) == (1, 2, 3, 6, 8)
    assert not source.labels_stand_still()


def test_kept_names_keep_every_column(hf: Path, tmp_path: Path) -> None:
    assert release(Hf(path=hf), KEEP, tmp_path / "out") == {"images": 5, "labels": 5}
    assert tree(hf).keys() == tree(tmp_path / "out").keys()
    for name in tree(hf):
        before, after = pq.read_table(hf / name), pq.read_table(tmp_path / "out" / name)
        assert before.schema.equals(after.schema, check_metadata=True)
        assert before.drop_columns("image").equals(after.drop_columns("image"))
        paths = [[row["path"] for row in one["image"].to_pylist()] for one in (before, after)]
        assert paths[0] == paths[1]
        assert before["image"].to_pylist() != after["image"].to_pylist()
        assert pq.ParquetFile(hf / name).num_row_groups == pq.ParquetFile(tmp_path / "out" / name).num_row_groups


def test_new_names_the_same_labels_and_nothing_else(hf: Path, tmp_path: Path) -> None:
    source = Hf(path=hf)
    release(source, PSEUDONYM, tmp_path / "out")
    again = resolve_source(tmp_path / "out")
    read = {item.id: again.read(item).labels for item in again.index().items}
    for item in source.index().items:
        assert same_labels(source.read(item).labels, read[PSEUDONYM.image(item, 0)])
    made = pq.read_table(tmp_path / "out/data/train-00000-of-00001.parquet")
    assert "owner" not in made.column_names and b"Jane" not in b"".join(tree(tmp_path / "out").values())
    assert not again.index().findings


def test_columns_that_tell_who_stay_behind(tmp_path: Path) -> None:
    rows = [{"image": image(1, "a.png"), "label": 0, "photographer": "Jane", "weather": "rain"}]
    write(tmp_path / "in", "train.parquet", table(rows, photographer=pa.string(), weather=pa.string()))
    for columns, kept in ((None, "weather"), (("photographer",), "photographer")):
        source = Hf(path=tmp_path / "in", columns=columns)
        assert len([one for one in source.index().findings if one.code == "column-not-released"]) == 1
        release(source, PSEUDONYM, tmp_path / kept)
        assert pq.read_table(tmp_path / kept / "train.parquet").column_names == ["image", "label", kept]
    release(Hf(path=tmp_path / "in"), KEEP, tmp_path / "kept")
    assert len(pq.read_table(tmp_path / "kept/train.parquet").column_names) == 4


def test_a_rejected_row_is_gone(hf: Path, tmp_path: Path) -> None:
    for names in (KEEP, PSEUDONYM):
        out = tmp_path / f"out-{names.keep}"
        release(Hf(path=hf), names, out, keep=lambda item: "b.png" not in item.id)
        assert [path.name for path in (out / "data").iterdir()] == ["train-00000-of-00001.parquet"]
        assert len(Hf(path=out).index().items) == 3


def test_columns_without_features(tmp_path: Path) -> None:
    """A class is then a number, an attribute; the objects are a list of structs."""
    kind = pa.list_(pa.struct([("bbox", pa.list_(pa.float64())), ("label", pa.string())]))
    rows = [{"image": image(1, None), "label": 1, "objects": [{"bbox": [1.0, 2, 5, 6], "label": "cat"}]}]
    write(tmp_path / "in", "train.parquet", table(rows, features=False, objects=kind))
    (tmp_path / "in/classes.csv").write_text("id,name\n4,cat\n")
    source = Hf(path=tmp_path / "in", boxes="xyxy")
    (item,) = source.index().items
    assert item.id == "train/row-00000-00000.png"
    labels = source.read(item).labels
    assert labels.image_class is None and labels.attributes["label"] == 1
    assert labels.instances[0].class_id == 4 and labels.instances[0].box.x1 == 5


def test_masks_need_a_table(camvid: Path, tmp_path: Path) -> None:
    convert(camvid, tmp_path / "out", "hf")
    assert_same_sets(camvid, tmp_path / "out")
    source = Hf(path=tmp_path / "out")
    release(source, PSEUDONYM, tmp_path / "again")
    before, after = samples(source), samples(tmp_path / "again")
    masks = [sorted(str(one.labels.mask) for one in found.values()) for found in (before, after)]
    assert masks[0] == masks[1]
    (tmp_path / "out/classes.csv").unlink()
    with pytest.raises(ConfigError, match=r"mask.*classes\.csv"):
        Hf(path=tmp_path / "out").index()


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"bbox": [[float("nan"), 1, 2, 2]]}, "box-invalid"),
    "negative": ({"bbox": [[-9, 1, 2, 2]]}, "box-invalid"),
    "three": ({"bbox": [[1, 2, 3]]}, "box-invalid"),
    "none": ({"bbox": [None]}, "box-invalid"),
    "class": ({"category": [9]}, "class-unknown"),
    "class -1": ({"category": [-1]}, "class-unknown"),
    "no class": ({"category": [None]}, "class-unknown"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_objects_cost_one_image(tmp_path: Path, name: str) -> None:
    good = {"id": [1], "bbox": [[2.0, 3, 4, 5]], "category": [1]}
    rows = [
        {"image": image(1, "a.png"), "label": 0, "objects": good | BAD[name][0]},
        {"image": image(2, "b.png"), "label": 0, "objects": good},
        {"image": {"bytes": b"", "path": "c.png"}, "label": 0, "objects": good},
        {"image": None, "label": 0, "objects": good},
        {"image": image(3, "e.png"), "label": 7, "objects": good},
    ]
    write(tmp_path, "train.parquet", table(rows, objects=OBJECTS))
    found = list(codes(Hf(path=tmp_path)).values())
    assert found == [BAD[name][1], "ok", "image-empty", "class-unknown", "file-missing"]


@pytest.mark.parametrize("path", ["../../etc/a.png", "/etc/passwd", "//host/a.png", "\\\\host\\a.png", "C:\\a.png"])
def test_paths_stay_in_the_source(tmp_path: Path, path: str) -> None:
    write(tmp_path, "train.parquet", table([{"image": image(1, path), "label": 0}]))
    with pytest.raises(ConfigError, match=r"train\.parquet, row 0"):
        Hf(path=tmp_path).index()


def test_an_absolute_path_is_only_a_name(tmp_path: Path) -> None:
    rows = [{"image": image(number, path), "label": 0} for number, path in enumerate(["/data/cat/a.png", "/x/a.png"])]
    write(tmp_path, "train.parquet", table(rows))
    source = Hf(path=tmp_path)
    assert codes(source) == {"train/a.png": "ok", "train/row-00000-00001.png": "ok"}


@pytest.mark.parametrize("path", ["/data/cat/a.png", "a.png", None])
def test_images_that_are_not_in_the_file(tmp_path: Path, path: str | None) -> None:
    rows = [{"image": {"bytes": None, "path": path}, "label": 0}] * 3
    write(tmp_path, "train.parquet", table(rows))
    with pytest.raises(ConfigError, match=r"bytes of its images are not in the file.*embed_table_storage"):
        Hf(path=tmp_path).index()
    write(tmp_path, "train.parquet", table([*rows, {"image": image(1, "b.png"), "label": 0}]))
    found = codes(Hf(path=tmp_path))
    assert sorted(found.values()) == ["file-missing"] * 3 + ["ok"]


def test_the_way_to_embed_images_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    save(tmp_path / "in/a.png", picture(1))
    (tmp_path / "out").mkdir()
    loaded = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "in"), cache_dir=str(tmp_path / "cache"))
    ds = loaded["train"]
    ds.to_parquet(str(tmp_path / "out/train.parquet"))
    with pytest.raises(ConfigError, match="embed"):
        Hf(path=tmp_path / "out").index()
    ds = ds.with_format("arrow").map(datasets.table.embed_table_storage, batched=True).with_format(None)
    ds.to_parquet(str(tmp_path / "out/train.parquet"))
    assert codes(Hf(path=tmp_path / "out")) == {"train/a.png": "ok"}


def test_files_that_stop_the_run(hf: Path, tmp_path: Path) -> None:
    (hf / "data/x.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ConfigError, match=r"data/x\.parquet: can't be read as parquet"):
        Hf(path=hf).index()
    (hf / "data/x.parquet").unlink()
    pq.write_table(pa.table({"text": ["a"]}), hf / "data/x.parquet")
    with pytest.raises(ConfigError, match="no image column"):
        Hf(path=hf).index()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="parquet"):
        Hf(path=tmp_path / "empty").index()
    with pytest.raises(ValueError, match="commit"):
        Hf(path=tmp_path, hub="org/name@main")


def test_a_turned_image_with_objects_is_left_out(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", picture(1), orientation=6)
    objects = {"id": [1], "bbox": [[2.0, 3, 4, 5]], "category": [1]}
    rows = [{"image": {"bytes": (tmp_path / "a.jpg").read_bytes(), "path": "a.jpg"}, "label": 0, "objects": objects}]
    write(tmp_path / "in", "train.parquet", table(rows, objects=OBJECTS))
    assert set(codes(Hf(path=tmp_path / "in")).values()) == {"orientation-unsupported"}


def test_objects_in_either_layout() -> None:
    rows = [{"bbox": [1], "category": 2}, {"bbox": [3], "category": 4}]
    known = {"bbox", "category"}
    assert object_rows({"bbox": [[1], [3]], "category": [2, 4], "note": ["x"]}, known, "a") == rows
    assert object_rows(rows, known, "a") == rows and object_rows(None, known, "a") == []


def test_load_dataset_reads_what_is_written(hf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    convert(hf, tmp_path / "out", "hf")
    assert_same_sets(hf, tmp_path / "out")
    files = {"train": str(tmp_path / "out/data/train-*.parquet")}
    loaded = datasets.load_dataset("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))["train"]
    assert loaded.features["label"].names == ["cat", "dog"] and isinstance(loaded[0]["image"], PIL.Image)
    assert loaded[0]["objects"]["bbox"] == [[2, 3, 4, 5]] and loaded[0]["age"] in range(30, 40)
    whole = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in whole.items()} == {"train": 4, "validation": 1}
    release(Hf(path=hf), PSEUDONYM, tmp_path / "released")
    released = datasets.load_dataset(str(tmp_path / "released"), cache_dir=str(tmp_path / "cache"))
    assert released["train"].features["label"].names == ["cat", "dog"]
    assert set(released["train"][0]["objects"]) == {"bbox", "category"}


def test_numbers_of_any_length_become_text(tmp_path: Path) -> None:
    values = [{"k": 1 << 70, "f": 2**60 + 1, "image": 1, "image_": 2}, {"k": 1, "f": 0.5, "image": 3, "image_": 4}]
    for number in range(2):
        save(tmp_path / f"in/{number}.png", picture(number))
    lines = [json.dumps({"file_name": f"{number}.png", **value}) for number, value in enumerate(values)]
    (tmp_path / "in/metadata.jsonl").write_text("\n".join(lines))
    conversion = convert(tmp_path / "in", tmp_path / "out", "hf")
    assert {one.code for one in conversion.findings} == {"column-as-text", "column-renamed", "split-renamed"}
    made = pq.read_table(tmp_path / "out/data/train-00000-of-00001.parquet")
    assert made["k"].to_pylist() == [str(1 << 70), "1"] and made["f"].to_pylist() == [float(2**60), 0.5]
    assert made["image_"].to_pylist() == [2, 4] and made["image__"].to_pylist() == [1, 3]
