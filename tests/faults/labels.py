"""Faults 23 to 28: what label files and configs hold."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tests.datasets_for_tests import SIZE, street, tree, write_image, write_pair, write_streets
from tests.faults.lab import Fault, Lab

WIDTH, HEIGHT = SIZE
NAN, HUGE = float("nan"), 10**15
BOXES: dict[str, Any] = {
    "nan": [NAN, 2, 8, 8],
    "infinite": [2, 2, float("inf"), 8],
    "negative": [-20, 2, 8, 8],
    "no-area": [2, 2, 0, 8],
    "out-of-frame": [2, 2, 800, 8],
    "huge": [2, 2, HUGE, HUGE],
    "text": ["2", 2, 8, 8],
}
SHAPES: dict[str, Any] = {
    "short": {"size": [HEIGHT, WIDTH], "counts": [3, 4]},
    "long": {"size": [HEIGHT, WIDTH], "counts": [1] * 300_000},
    "claims": {"size": [HUGE, HUGE], "counts": [HUGE, HUGE]},
    "overflow": {"size": [HEIGHT, WIDTH], "counts": [2**62, 2**62]},
    "compressed": {"size": [HEIGHT, WIDTH], "counts": "o" * 100_000},
    "polygon": [[1.0, 2.0] * 100_000],
    "polygon-nan": [[1, 1, NAN, 5, 5, 5]],
    "polygon-far": [[1, 1, 1e12, 5, 5, 5]],
    "polygon-point": [[1, 1]],
    "a-word": "everything",
}


def write_coco(root: Path, annotations: dict[str, dict[str, Any]]) -> Path:
    """One image an annotation and three good ones, as COCO."""
    good = {"bbox": [10, 10, 12, 20], "category_id": 1, "iscrowd": 0}
    objects = {f"good-{number}": {} for number in range(3)} | annotations
    images, rows = [], []
    for number, (name, changes) in enumerate(objects.items()):
        write_image(root / f"images/train/{name}.png", street(number)[0])
        images.append({"id": number, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT})
        rows.append({"id": number, "image_id": number, **good, **changes})
    table = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "person"}]}
    (root / "annotations").mkdir()
    (root / "annotations/instances_train.json").write_text(json.dumps(table))
    return root


def bad_annotations(key: str, values: dict[str, Any]) -> Callable[[Lab], str]:
    """Each value costs its own image, and reading all of them takes little memory."""

    def provoke(lab: Lab) -> str:
        root = write_coco(lab.folder() / "source", {name: {key: value} for name, value in values.items()})
        size = (root / "annotations/instances_train.json").stat().st_size
        tracemalloc.start()
        try:
            ended = lab.run(lab.redact(root, "coco"))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 60 * size + (32 << 20), f"{peak >> 20} MiB for {size >> 10} KiB of labels"
        told = ended.quarantined(accepted=3)
        assert len([code for code in ended.codes.values() if code]) == len(values), ended.codes
        return told

    return provoke


def unknown_classes(lab: Lab) -> str:
    root = write_streets(lab.folder() / "source", bad=False)
    for name in ("class", "size", "colour"):
        write_pair(root, f"images/train/{name}.png", *street(9))
    write_image(root / "labels/train/class.png", np.full((HEIGHT, WIDTH), 200, np.uint8))
    write_image(root / "labels/train/size.png", np.zeros((HEIGHT, WIDTH + 1), np.uint8))
    write_image(root / "labels/train/colour.png", np.full((HEIGHT, WIDTH, 3), 7, np.uint8))
    told = lab.run(lab.redact(root)).quarantined(accepted=7)
    coco = write_coco(lab.folder() / "source", {"cow": {"category_id": 77}})
    assert lab.run(lab.redact(coco, "coco")).codes["images/train/cow.png"] == "class-unknown"
    return told


def missing(lab: Lab) -> str:
    root = write_streets(lab.folder() / "source", bad=False)
    (root / "labels/train/s1.png").unlink()
    (root / "images/val/s5.jpg").unlink()
    ended = lab.run(lab.redact(root))
    assert ended.quarantined(accepted=5).startswith("Q label-missing")
    assert not [name for name in tree(ended.root / "release") if "s1" in name or "s5" in name]
    told = lab.synthgen("check", ended.root / "run.yaml", "--json")
    findings = json.loads(told.out)["source"]["findings"]
    listed = [line for line in findings if "missing" in line]
    assert any("1 × label-missing (images/train/s1.png" in line for line in listed), findings
    assert any("1 × image-missing (labels/val/s5.png" in line for line in listed), findings
    return f"listed, counted · {'; '.join(listed)}"


def bombs(lab: Lab) -> str:
    deep = "[" * 200_000 + "]" * 200_000
    root = lab.folder() / "source"
    write_coco(root, {})
    (root / "annotations/instances_train.json").write_text('{"images": ' + deep + ', "categories": []}')
    lab.run(lab.redact(root, "coco")).stopped("nested too deep")
    root = lab.folder() / "source"
    write_image(root / "a.png", street(1)[0])
    (root / "metadata.jsonl").write_text('{"file_name": "a.png", "x": ' + deep + "}")
    lab.run(lab.redact(root, "imagefolder")).stopped("metadata.jsonl")
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    tracemalloc.start()
    try:
        told = lab.run("\n".join(lines)).stopped("aliases")
        yolo = write_yolo(lab.folder() / "source", "\n".join(lines))
        lab.run(lab.redact(yolo, "yolo")).stopped("data.yaml")
        lab.run("a: " + deep).stopped("deeper")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 256 << 20, f"{peak >> 20} MiB"
    return f"X, bounded · {told.partition(' · ')[2]}"


def write_yolo(root: Path, text: str) -> Path:
    write_image(root / "images/train/a.png", street(1)[0])
    (root / "labels/train").mkdir(parents=True)
    (root / "labels/train/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (root / "data.yaml").write_text(text)
    return root


def python_objects(lab: Lab) -> str:
    marker = lab.folder() / "ran"
    call = f'!!python/object/apply:os.system ["touch {marker}"]'
    text = yaml.safe_dump(lab.redact(lab.streets))
    told = lab.run(f"{text}\nname: {call}\n").stopped("python/object")
    lab.run(lab.redact(write_yolo(lab.folder() / "source", f"names: {call}\n"), "yolo")).stopped("data.yaml")
    ended = lab.synthgen("check", "--source", lab.streets, "--offline", "--set", f"name={call}")
    assert ended.status == 2 and "python/object" in ended.err, ended.err
    assert not marker.exists()
    return told


FAULTS = (
    Fault(23, "NaN, negative, out-of-frame boxes", "Q box-invalid", bad_annotations("bbox", BOXES)),
    Fault(
        24,
        "malformed and huge RLE and polygons",
        "Q segmentation-invalid",
        bad_annotations("segmentation", SHAPES),
    ),
    Fault(25, "unknown class, mask of another size", "Q class-unknown, mask-size-mismatch", unknown_classes),
    Fault(26, "missing image, missing label", "listed, counted", missing),
    Fault(27, "deep JSON, YAML alias bomb", "X, bounded", bombs),
    Fault(28, "!!python/object in a config", "X", python_objects),
)
