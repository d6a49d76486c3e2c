"""What is never released whatever happens to names: a second image, bytes, pixels, and binary content as text."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from synthgen.datasets._opaque import encoded_columns, is_encoded, is_picture_name, is_text
from synthgen.datasets.hf import Hf
from synthgen.datasets.webdataset import WebDataset
from tests.datasets.conftest import KEEP, PSEUDONYM, Names, codes, release, tree
from tests.datasets.test_hf import IMAGE, LABEL, image
from tests.datasets.test_hf import table as hf_table
from tests.datasets.test_hf import write as write_parquet
from tests.datasets.test_webdataset import H, W, jpg, members, png
from tests.datasets.test_webdataset import write as write_tar

BLOB = base64.b64encode(bytes(np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8))).decode()
PRIVATE = {
    "face.jpg": jpg(8),
    "png": jpg(9),
    "mp4": b"no video, but who knows",
    "svg": b"<svg/>",
    "npy": b"\x93NUMPY\x01\0",
    "pyd": b"\x80\x04",
    "b64": BLOB.encode(),
    "mask.png": jpg(7),
    "long.txt": b"a " * 600_000,
    "xml": "caf\xe9".encode("latin-1"),
}
"""Members of a sample that are neither its image, nor a label that is read, nor text."""


@pytest.mark.parametrize("names", [KEEP, PSEUDONYM])
def test_members_that_never_leave(tmp_path: Path, names: Names) -> None:
    mask = png(np.zeros((H, W), np.uint8))
    first = {"jane.jpg": jpg(1), "jane.seg.png": mask, "jane.txt": "Jane, 5 €\n".encode()}
    write_tar(tmp_path / "in/train-000000.tar", first | {f"jane.{key}": data for key, data in PRIVATE.items()})
    (tmp_path / "in/classes.csv").write_text("id,name,note\n0,cat,\n9,void,ignore\n")
    source = WebDataset(path=tmp_path / "in")
    told = {one.subject: one.message for one in source.index().findings if one.code == "file-not-released"}
    assert {subject for subject, message in told.items() if "never released" in message} == {
        f".{key}" for key in PRIVATE
    }
    assert "released only with names: keep" in told[".txt"] and len(told) == len(PRIVATE) + 1
    release(source, names, tmp_path / "out")
    left = members(tmp_path / "out/train-000000.tar")
    assert {name.partition(".")[2] for name in left} == {"jpg", "seg.png"} | ({"txt"} if names.keep else set())
    everything = b"".join(tree(tmp_path / "out").values())
    assert not any(data in everything for data in (jpg(1), *PRIVATE.values()))


def test_a_second_image_that_differs_in_case_alone(tmp_path: Path) -> None:
    write_tar(
        tmp_path / "in/a-000000.tar", {"jane.jpg": jpg(1), "jane.JPG": jpg(2), "jane.cls": b"1", "jane.CLS": b"2"}
    )
    release(WebDataset(path=tmp_path / "in"), KEEP, tmp_path / "out")
    assert list(members(tmp_path / "out/a-000000.tar")) == ["jane.jpg", "jane.cls"]


@pytest.mark.parametrize("names", [KEEP, PSEUDONYM])
def test_images_written_out_in_json(tmp_path: Path, names: Names) -> None:
    value = {"imageData": BLOB, "shapes": [{"crop": BLOB}], "weather": "rain"}
    plain = {"weather": "sun", "shapes": [1]}
    write_tar(
        tmp_path / "in/train-000000.tar",
        {"a.jpg": jpg(1), "a.json": json.dumps(value).encode(), "b.jpg": jpg(2), "b.json": json.dumps(plain).encode()},
    )
    source = WebDataset(path=tmp_path / "in")
    told = {one.subject: one.message for one in source.index().findings}
    assert "1 member(s) with binary content" in told[".json"] and "2 member(s)" in told["shapes"]
    release(source, names, tmp_path / "out")
    found = [json.loads(data) for name, data in members(tmp_path / "out/train-000000.tar").items() if "json" in name]
    expected = [{"weather": "rain"}, plain if names.keep else {"weather": "sun"}]
    assert sorted(found, key=str) == sorted(expected, key=str)


COLUMNS: dict[str, tuple[pa.DataType, Any]] = {
    "face_crop": (IMAGE, image(5, "jane-face.png")),
    "raw": (pa.binary(), b"pixels"),
    "crops": (pa.list_(IMAGE), [image(6, None)]),
    "parts": (pa.struct([("face", pa.struct([("data", pa.large_binary())]))]), {"face": {"data": b"pixels"}}),
    "thumbnail": (pa.list_(pa.list_(pa.uint8())), [[1, 2], [3, 4]]),
    "encoded": (pa.string(), BLOB),
    "pages": (pa.list_(pa.struct([("image", pa.string())])), [{"image": BLOB}]),
}


@pytest.mark.parametrize("names", [KEEP, PSEUDONYM])
def test_columns_that_never_leave(tmp_path: Path, names: Names) -> None:
    objects = pa.struct(
        [
            ("bbox", pa.list_(pa.list_(pa.float64()))),
            ("category", pa.list_(pa.int64())),
            ("crop", pa.list_(pa.binary())),
        ]
    )
    some = {"bbox": [[2, 3, 4, 5]], "category": [1], "crop": [b"pixels"]}
    row = {"image": image(1, "a.png"), "label": 0, "objects": some, "tags": ["x"]}
    row |= {name: value for name, (_, value) in COLUMNS.items()}
    kinds = {name: kind for name, (kind, _) in COLUMNS.items()}
    made = hf_table([row], objects=objects, tags=pa.list_(pa.string()), **kinds)
    write_parquet(tmp_path / "in", "train.parquet", made)
    source = Hf(path=tmp_path / "in")
    told = {one.subject: one.message for one in source.index().findings if "never released" in one.message}
    assert set(told) == {*COLUMNS, "objects.crop"} and set(codes(source).values()) == {"ok"}
    release(source, names, tmp_path / "out")
    left = pq.read_table(tmp_path / "out/train.parquet")
    assert left.column_names == ["image", "label", "objects", *(["tags"] if names.keep else [])]
    assert left["objects"].to_pylist() == [{"bbox": [[2, 3, 4, 5]], "category": [1]}]
    assert json.loads(left.schema.metadata[b"huggingface"])["info"]["features"]["label"] == LABEL
    everything = b"".join(tree(tmp_path / "out").values())
    assert b"pixels" not in everything and b"face" not in everything.replace(b"huggingface", b"")
    named = Hf(path=tmp_path / "in", columns=("encoded",))
    release(named, names, tmp_path / "named")
    assert "encoded" not in pq.read_table(tmp_path / "named/train.parquet").column_names


def test_what_is_text() -> None:
    assert is_text("a caption\r\n\tü €".encode()) and is_text(b"")
    assert not any(map(is_text, (b"a\0b", b"\xff", BLOB.encode(), b"a " * 600_000)))
    rle = "".join(f"{chr(48 + n % 64)}" for n in range(4000)) + "O1N2M30" * 1000
    assert is_encoded(BLOB) and is_encoded(f"data:image/png;base64,{BLOB}") and is_encoded(BLOB.replace("/", "\\/"))
    assert not is_encoded(rle) and not is_encoded("word " * 1000)
    assert encoded_columns([{"a": BLOB, "b": "x"}, {"b": 1, "c": None}]) == {"a"}
    assert all(map(is_picture_name, ("jpg", "face.PNG", "heic", "left.webm", "tiff")))
    assert not any(map(is_picture_name, ("txt", "cls", "jpg.txt")))
