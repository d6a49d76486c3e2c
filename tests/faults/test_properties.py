"""Whatever a file holds: it is read back as it was written, or refused in words; never another exception, hang or
unbounded picture."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PIL

from synthgen.config import dump_config, load_yaml, parse_config
from synthgen.datasets.base import resolve_source
from synthgen.images import MAX_PIXELS, decode, decode_label
from synthgen.shards import read_ledger, write_ledger
from synthgen.types import BadSample, ConfigError, Row
from tests.datasets_for_tests import config_value, street, write_streets
from tests.faults.labels import write_coco, write_yolo
from tests.faults.paths import write_metadata, write_voc

quick = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
JSON = st.recursive(
    SCALARS, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=6), one, max_size=3)
)

# ---- images


def encoded(form: str) -> bytes:
    buffer = io.BytesIO()
    PIL.fromarray(street(5)[0]).save(buffer, form)
    return buffer.getvalue()


FILES = {form: encoded(form) for form in ("JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP")}


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An image file with bytes changed, taken out, doubled or cut off."""
    data = bytearray(FILES[draw(st.sampled_from(sorted(FILES)))])
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)) | st.integers(0, min(64, max(len(data) - 1, 0))))
        how = draw(st.integers(0, 3))
        if how == 0:
            data[at : at + 4] = draw(st.binary(min_size=1, max_size=4))
        elif how == 1:
            del data[at : at + draw(st.integers(1, 40))]
        elif how == 2:
            data[at:at] = data[at : at + draw(st.integers(1, 40))]
        else:
            del data[max(at, 12) :]
    return bytes(data)


@settings(quick, max_examples=400)
@given(damaged())
def test_damaged_images_are_bounded_pictures_or_coded(data: bytes) -> None:
    for read in (lambda: decode(data, "x").image, lambda: decode_label(data, "x")):
        try:
            pixels = read()
        except BadSample as bad:
            assert bad.code.startswith("image-")
        else:
            assert 0 < pixels.shape[0] * pixels.shape[1] <= MAX_PIXELS


# ---- label files


def read_all(root: Path, form: str) -> int:
    """How many items of a source could be read; what could not is refused in words."""
    try:
        source = resolve_source({"format": form, "path": str(root)})
        items = source.index().items
    except ConfigError:
        return 0
    read = 0
    for item in items:
        try:
            labels = source.read(item).labels
        except BadSample:
            continue
        assert all(np.isfinite([box.x0, box.y0, box.x1, box.y1]).all() for box in (i.box for i in labels.instances))
        read += 1
    return read


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("labels")
    write_yolo(root / "yolo", "train: images/train\nnames: [person]\n")
    write_metadata(root / "imagefolder", "a.png")
    write_voc(root / "voc", "a.jpg")
    write_streets(root / "masks", bad=False, names=("images/train/a.png",))
    write_coco(root / "coco", {})
    return {form: root / form for form in ("yolo", "imagefolder", "voc", "masks", "coco")}


def test_whole_label_files_are_read(folders: dict[str, Path]) -> None:
    assert {form: read_all(root, form) for form, root in folders.items()} == {
        "yolo": 1, "imagefolder": 1, "voc": 1, "masks": 1, "coco": 3,
    }  # fmt: skip


TEXTS = {
    "yolo": ("labels/train/a.txt", "data.yaml"),
    "imagefolder": ("metadata.jsonl",),
    "voc": ("Annotations/a.xml",),
    "masks": ("classes.csv",),
    "coco": ("annotations/instances_train.json",),
}
CASES = [(form, name) for form, names in TEXTS.items() for name in names]


@pytest.mark.parametrize(("form", "name"), CASES)
@quick
@given(data=st.data())
def test_damaged_label_files_are_read_or_refused(form: str, name: str, folders: dict[str, Path], data: Any) -> None:
    path = folders[form] / name
    before = path.read_bytes()
    text = bytearray(before)
    at = data.draw(st.integers(0, len(text)))
    how = data.draw(st.integers(0, 2))
    new = data.draw(st.binary(max_size=6) | st.sampled_from([b"nan", b"-1", b"1e999", b"[", b"{", b'"', b"\n", b"\0"]))
    text[at : at + (len(new) if how else 0)] = new
    if how == 2:
        del text[at:]
    try:
        path.write_bytes(bytes(text))
        read_all(folders[form], form)
    finally:
        path.write_bytes(before)


@quick
@given(changes=st.dictionaries(st.sampled_from(["bbox", "segmentation", "category_id", "keypoints", "iscrowd"]), JSON))
def test_any_coco_annotation_is_read_or_refused(folders: dict[str, Path], changes: dict[str, Any]) -> None:
    path = folders["coco"] / "annotations/instances_train.json"
    before = path.read_text()
    table = json.loads(before)
    table["annotations"][0] |= changes
    try:
        path.write_text(json.dumps(table))
        read_all(folders["coco"], "coco")
    finally:
        path.write_text(before)


@quick
@given(rows=st.lists(st.tuples(st.integers(0, 0), *[st.floats(0.2, 0.6)] * 2, *[st.floats(0.1, 0.3)] * 2), max_size=4))
def test_yolo_rows_come_back(folders: dict[str, Path], rows: list[tuple[float, ...]]) -> None:
    path = folders["yolo"] / "labels/train/a.txt"
    before = path.read_text()
    try:
        path.write_text("".join(" ".join(map(repr, row)) + "\n" for row in rows))
        source = resolve_source({"format": "yolo", "path": str(folders["yolo"])})
        found = source.read(source.index().items[0]).labels.instances
    finally:
        path.write_text(before)
    width, height = 64, 48
    assert len(found) == len(rows)
    for instance, (_, x, y, w, h) in zip(found, rows, strict=True):
        box = instance.box
        assert np.allclose(
            [(box.x0 + box.x1) / 2 / width, (box.y0 + box.y1) / 2 / height, box.width / width, box.height / height],
            [x, y, w, h],
        )


# ---- configs


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every key and every place of a list."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [one for key, below in inner for one in [(*path, key), *places(below, (*path, key))]]


@settings(quick, max_examples=250)
@given(data=st.data())
def test_any_change_of_a_config_is_accepted_or_named(street_set: Path, tiny_sd: Path, data: Any) -> None:
    value = copy.deepcopy(config_value(street_set, tiny_sd))
    path = data.draw(st.sampled_from(places(value)))
    node: Any = value
    for key in path[:-1]:
        node = node[key]
    how = data.draw(st.integers(0, 2))
    if how == 0:
        node[path[-1]] = data.draw(JSON)
    elif how == 1:
        del node[path[-1]]
    elif isinstance(node, dict):
        node[data.draw(st.text(max_size=8))] = data.draw(JSON)
    try:
        config = parse_config(value, "test.yaml")
    except ConfigError as error:
        lines = str(error).splitlines()
        assert lines[0].startswith("test.yaml") and (len(lines) == 1 or all(":" in line for line in lines[1:2]))
    else:
        assert dump_config(config)


@settings(quick, max_examples=100)
@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda data: data.decode("latin-1")))
def test_any_text_as_a_config_is_a_mapping_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        assert isinstance(load_yaml(path), dict)
    except ConfigError as error:
        assert "config.yaml" in str(error)


# ---- ledgers

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROWS = st.builds(
    Row,
    sample_id=TEXT, variant=st.integers(-1, 9), verdict=st.sampled_from(["accepted", "quarantined"]), code=TEXT,
    message=TEXT, source_digest=TEXT, output_digest=TEXT, split=st.none() | TEXT, width=st.integers(0, 2**31),
    height=st.integers(0, 2**31), attempts=st.integers(0, 100), seed=st.integers(0, 2**63 - 1), prompt=TEXT,
    factors=st.dictionaries(TEXT, TEXT | st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    scores=st.dictionaries(TEXT, st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=3),
    regions=st.dictionaries(TEXT, st.integers(0, 99), max_size=3), stage=st.integers(0, 16),
    small_people=st.integers(0, 99),
)  # fmt: skip


@quick
@given(rows=st.lists(ROWS, max_size=5, unique_by=lambda row: (row.sample_id, row.variant)))
def test_ledgers_come_back_as_they_were(tmp_path: Path, rows: list[Row]) -> None:
    path = tmp_path / "ledger.parquet"
    write_ledger(path, rows)
    assert list(read_ledger(path)) == sorted(rows, key=lambda row: (row.sample_id, row.variant))
