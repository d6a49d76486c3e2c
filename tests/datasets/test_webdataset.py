"""WebDataset shards: samples in them, what is refused, releases, and the library reading what is written."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from synthgen.datasets.base import resolve_source
from synthgen.datasets.webdataset import WebDataset
from synthgen.images import encode_image
from synthgen.types import ConfigError
from tests.datasets.conftest import KEEP, PSEUDONYM, SIZE, codes, picture, release, same_labels, save, tree
from tests.datasets.round_trips import assert_same_sets, convert

W, H = SIZE


def jpg(seed: int) -> bytes:
    return encode_image(np.asarray(picture(seed)), ".jpg")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, members: dict[str, bytes], **header: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for key, value in header.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(data))


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def objects(**changes: Any) -> bytes:
    one = {"category": "dog", "bbox": [2, 3, 4, 5], "note": "Jane's", **changes}
    return json.dumps({"age": 3, "owner": {"name": "Jane"}, "objects": [one]}).encode()


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of train and one of val; out of order, as a shuffled set lies; classes, a mask, objects, a caption."""
    root = tmp_path / "source"
    mask = np.zeros((H, W), np.uint8)
    mask[2:5] = 7
    first = {
        "ü.jpg": jpg(0),
        "ü.cls": b"7",
        "ü.txt": b"Jane at home",
        "a a.jpg": jpg(1),
        "a a.json": objects(),
        "a a.cls": b"0\n",
    }
    write(root / "train-000000.tar", first, uname="jane", mtime=1234567)
    write(root / "train-000001.tar", {"x/b.png": jpg(2), "x/b.seg.png": png(mask), "x/c.jpeg": jpg(3)})
    write(root / "val-000000.tar", {"ü.jpg": jpg(4), "lonely.cls": b"1"})
    (root / "classes.csv").write_text("id,name,note\n0,cat,\n7,dog,\n9,void,ignore\n")
    return root


def test_index_and_labels(shards: Path) -> None:
    source = resolve_source(shards)
    assert isinstance(source, WebDataset)
    index = source.index()
    assert [(item.id, item.split) for item in index.items] == [
        ("train-000000/a a.jpg", "train"),
        ("train-000000/ü.jpg", "train"),
        ("train-000001/x/b.png", "train"),
        ("train-000001/x/c.jpeg", "train"),
        ("val-000000/ü.jpg", "val"),
    ]
    told = {(finding.code, finding.subject) for finding in index.findings}
    nested = {("column-not-released", "owner"), ("column-not-released", "objects.note")}
    assert told == {("file-not-released", ".txt"), ("image-missing", "val-000000/lonely"), *nested}
    one, two, three, four, _ = (source.read(item).labels for item in index.items)
    assert one.image_class == "cat" and dict(one.attributes) == {"age": 3}
    assert (one.instances[0].class_id, one.instances[0].box.x1) == (7, 6)
    assert two.image_class == "dog" and not two.instances
    assert three.mask is not None and set(np.unique(three.mask)) == {0, 7}
    assert four.image_class is None and four.mask is None
    assert not source.labels_stand_still()


def test_kept_names_keep_every_member_and_its_order(shards: Path, tmp_path: Path) -> None:
    source = WebDataset(path=shards)
    for out in ("once", "twice"):
        assert release(source, KEEP, tmp_path / out)["images"] == 5
    assert tree(tmp_path / "once") == tree(tmp_path / "twice")
    for shard in ("train-000000.tar", "train-000001.tar"):
        before, after = members(shards / shard), members(tmp_path / "once" / shard)
        assert list(before) == list(after)
        images = (".jpg", "b.png", ".jpeg")
        assert all((before[name] == after[name]) != name.endswith(images) for name in before)
    with tarfile.open(tmp_path / "once/train-000000.tar") as tar:
        assert tar.getmembers()[0].uname == "jane"


def test_a_length_in_an_extended_header_does_not_outlive_its_image(shards: Path, tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size, info.pax_headers = len(jpg(1)), {"size": str(len(jpg(1)))}
    with tarfile.open(shards / "train-000002.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info, io.BytesIO(jpg(1)))
    release(WebDataset(path=shards), KEEP, tmp_path / "out")
    again = WebDataset(path=tmp_path / "out")
    assert set(codes(again).values()) == {"ok"} and len(codes(again)) == 6


def test_values_that_tell_who_stay_behind(shards: Path, tmp_path: Path) -> None:
    value = {"age": 3, "photographer": "Jane", "gps": "52.5, 13.4", "weather": "rain"}
    write(shards / "train-000002.tar", {"a.jpg": jpg(1), "a.json": json.dumps(value).encode()})
    for columns, kept in ((None, {"age", "weather"}), (("gps",), {"gps"})):
        source = WebDataset(path=shards, columns=columns)
        told = {one.subject for one in source.index().findings if one.code == "column-not-released"}
        assert told >= {"photographer"} and ("gps" in told) == (columns is None)
        release(source, PSEUDONYM, tmp_path / str(columns))
        found = members(tmp_path / str(columns) / "train-000002.tar")
        (data,) = (data for name, data in found.items() if name.endswith(".json"))
        assert set(json.loads(data)) == kept


def test_new_names_the_same_labels_and_nothing_else(shards: Path, tmp_path: Path) -> None:
    source = WebDataset(path=shards)
    release(source, PSEUDONYM, tmp_path / "out")
    again = resolve_source(tmp_path / "out")
    read = {item.id: again.read(item).labels for item in again.index().items}
    for item in source.index().items:
        assert same_labels(source.read(item).labels, read[PSEUDONYM.image(item, 0)])
    everything = b"".join(tree(tmp_path / "out").values())
    assert b"ane" not in everything and b"a a" not in everything
    names = list(members(tmp_path / "out/train-000000.tar"))
    stems = [name.partition(".")[0] for name in names]
    assert stems == sorted(stems) and not any(name.endswith(".txt") for name in names)


def test_a_rejected_image_takes_its_members_along(shards: Path, tmp_path: Path) -> None:
    for names in (KEEP, PSEUDONYM):
        out = tmp_path / f"out-{names.keep}"
        release(WebDataset(path=shards), names, out, keep=lambda item: "ü" not in item.id)
        assert sorted(path.name for path in out.iterdir()) == ["classes.csv", "train-000000.tar", "train-000001.tar"]
        assert len(members(out / "train-000000.tar")) == 3


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        (tarfile.SYMTYPE, "a.jpg", "link"),
        (tarfile.LNKTYPE, "a.jpg", "link"),
        (tarfile.FIFOTYPE, "a.jpg", "link"),
        (tarfile.CHRTYPE, "a.jpg", "link"),
        (tarfile.REGTYPE, "../../etc/passwd.jpg", "relative path"),
        (tarfile.REGTYPE, "/etc/passwd.jpg", "relative path"),
        (tarfile.REGTYPE, "C:\\x.jpg", "relative path"),
    ],
)
def test_members_that_stop_the_run(shards: Path, kind: bytes, name: str, words: str) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(shards / "train-000002.tar", "w") as tar:
        tar.addfile(info)
    with pytest.raises(ConfigError, match=rf"train-000002\.tar.*{words}"):
        WebDataset(path=shards).index()


def test_shards_that_stop_the_run(shards: Path, tmp_path: Path) -> None:
    whole = (shards / "train-000000.tar").read_bytes()
    write(tmp_path / "long.tar", {"a.jpg": bytes(2000)})
    for data, words in (
        ((tmp_path / "long.tar").read_bytes()[:1500], "cut short"),
        (b"not a tar" * 100, "uncompressed tar"),
        (gzip.compress(whole), "uncompressed tar"),
        (b"", "uncompressed tar"),
        (whole[: whole.index(b"a a.jpg")] + whole, "stand twice"),
    ):
        (shards / "x.tar").write_bytes(data)
        with pytest.raises(ConfigError, match=rf"x\.tar.*{words}"):
            WebDataset(path=shards).index()
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="shards"):
        WebDataset(path=tmp_path / "none").index()


NAN = float("nan")
BAD: dict[str, tuple[dict[str, bytes], str]] = {
    "no json": ({"json": b"{"}, "label-invalid"),
    "a list": ({"json": b"[]"}, "label-invalid"),
    "deep": ({"json": b'{"a":' * 100_000}, "label-invalid"),
    "nan": ({"json": objects(bbox=[NAN, 1, 2, 2])}, "box-invalid"),
    "negative": ({"json": objects(bbox=[-9, 1, 2, 2])}, "box-invalid"),
    "class": ({"json": objects(category="cow")}, "class-unknown"),
    "void": ({"json": objects(category=9)}, "class-unknown"),
    "polygon": ({"json": objects(segmentation=[[1, 1, 2, 1e9, 3, 3]])}, "segmentation-invalid"),
    "keypoints": ({"json": objects(keypoints=[1, 2])}, "keypoints-invalid"),
    "many": ({"json": json.dumps({"objects": [{"bbox": 0}] * 10_001}).encode()}, "label-too-large"),
    "lengths": ({"json": b'{"objects": {"bbox": [[1, 1, 2, 2]], "category": [0, 0]}}'}, "label-invalid"),
    "surrogate": ({"json": b'{"note": "\\ud800", "rain": "\\ud83c\\udf27"}'}, "label-invalid"),
    "cls": ({"cls": b"cat"}, "label-invalid"),
    "cls and more": ({"cls": b"7" + b" " * 64 + b"Jane"}, "label-invalid"),
    "cls unknown": ({"cls": b"5"}, "class-unknown"),
    "mask size": ({"seg.png": png(np.zeros((H, W + 1), np.uint8))}, "mask-size-mismatch"),
    "mask ids": ({"seg.png": png(np.full((H, W), 99, np.uint8))}, "class-unknown"),
    "image": ({"jpg": b"no image"}, "image-format"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_members_cost_one_image(shards: Path, name: str) -> None:
    changes, code = BAD[name]
    first = {f"a.{extension}": data for extension, data in ({"jpg": jpg(1)} | changes).items()}
    write(shards / "train-000002.tar", first | {"b.jpg": jpg(2)})
    found = codes(WebDataset(path=shards))
    assert found.pop("train-000002/a.jpg") == code and set(found.values()) == {"ok"}


def test_a_turned_image_with_objects_is_left_out(shards: Path, tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", picture(1), orientation=6)
    data = (tmp_path / "a.jpg").read_bytes()
    write(shards / "train-000002.tar", {"a.jpg": data, "a.json": objects(), "b.jpg": data, "b.cls": b"7"})
    found = codes(WebDataset(path=shards))
    assert found["train-000002/a.jpg"] == "orientation-unsupported" and found["train-000002/b.jpg"] == "ok"


def test_the_same_set_comes_back(shards: Path, tmp_path: Path) -> None:
    convert(shards, tmp_path / "out", "webdataset")
    assert_same_sets(shards, tmp_path / "out")


def test_names_with_dots(tmp_path: Path) -> None:
    for number, name in enumerate(("a.b.jpg", "a_b.jpg", "c.jpg")):
        save(tmp_path / "in/cat" / name, picture(number))
    conversion = convert(tmp_path / "in", tmp_path / "out", "webdataset")
    assert {finding.code for finding in conversion.findings} == {"image-renamed"}
    assert set(members(tmp_path / "out/all-000000.tar")) >= {"cat/a_b.jpg", "cat/a_b-2.jpg", "cat/c.jpg"}


def test_the_library_reads_what_is_written(shards: Path, tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset", reason="webdataset is not installed")
    convert(shards, tmp_path / "out", "webdataset")
    rows = list(wds.WebDataset(str(tmp_path / "out/train-000000.tar"), shardshuffle=False).decode("pil"))
    assert len(rows) == 4 and {row["cls"] for row in rows if "cls" in row} == {0, 7}
    release(WebDataset(path=shards), PSEUDONYM, tmp_path / "released")
    again = list(wds.WebDataset(str(tmp_path / "released/train-000000.tar"), shardshuffle=False).decode("pil"))
    assert len(again) == 2 and all(row["jpg"].size == SIZE for row in again)
