"""Finished runs over drawn people, made without a generator: the outputs are whatever a function makes of a source."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from synthgen.config import dump_config, parse_config
from synthgen.images import encode_image
from synthgen.launch import select_items
from synthgen.rundir import RunDir
from synthgen.shards import ShardWriter, StoredImage, write_atomic
from synthgen.types import Image, Row, Sample
from tests.datasets_for_tests import write_image, write_pair

SKINS = ((241, 194, 170), (214, 160, 128), (164, 110, 80), (92, 60, 44))
"""Skin colours from light to dark, RGB."""
CLASSES = "id,name\n0,background\n1,skin\n2,dog\n3,car\n"
SKIN, DOG, CAR = 1, 2, 3
Make = Callable[[Sample], Image | None]
"""From a source to its output; None rejects it."""


def person(seed: int, skin: int) -> tuple[Image, np.ndarray]:
    """A disc of skin on a noisy ground, with a dog or a car in the corner or not, and its class ids; (48, 48)."""
    random = np.random.default_rng(seed)
    ids = np.zeros((48, 48), np.int32)
    cv2.circle(ids, (24, 24), 13, SKIN, -1)
    if random.random() < 0.5:
        ids[38:, 38:] = DOG
    if random.random() < 0.5:
        ids[38:, :10] = CAR
    colours = np.array([random.integers(30, 220, 3), SKINS[skin], (120, 80, 30), (40, 60, 160)])
    # People differ by more than a reading errs: so some pairs cross a cut.
    colours[SKIN] = colours[SKIN] + random.normal(0, 8)
    image = colours[ids] + random.normal(0, 6, (48, 48, 1))
    return image.clip(0, 255).astype(np.uint8), ids


def again(seed: int) -> Make:
    """The same person under a slightly other light: as like the source as a good run is."""

    def make(sample: Sample) -> Image:
        random = np.random.default_rng([seed, int(hashlib.sha256(sample.item.id.encode()).hexdigest()[:8], 16)])
        light = random.normal(0, 5)
        return (sample.image + light + random.normal(0, 6, (*sample.image.shape[:2], 1))).clip(0, 255).astype(np.uint8)

    return make


def write_people(root: Path, count: int) -> Path:
    """An image + mask dataset of `count` people in even shares of `SKINS`."""
    for number in range(count):
        image, ids = person(number, number % len(SKINS))
        write_pair(root, f"images/train/n{number:03d}x.png", image, ids)
    (root / "classes.csv").write_text(CLASSES)
    return root


def write_members(root: Path, count: int) -> Path:
    """An image folder with metadata: gender in even shares, an age, and a name nobody shares."""
    root.mkdir(parents=True)
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "gender", "age", "nickname"])
        for number in range(count):
            write_image(root / f"m {number:03d} é.png", person(number, number % len(SKINS))[0])
            gender = ("female", "male", "")[2 if number % 20 == 19 else number % 2]
            writer.writerow([f"m {number:03d} é.png", gender, 18 + number % 50, f"nick{number}"])
    return root


def write_run(
    source: Path, out: Path, make: Make, score: Callable[[Sample], Mapping[str, float]] | None = None
) -> Path:
    """A run folder as the pipeline leaves it: config, key to its id, shards with rows and outputs."""
    value: dict[str, Any] = {
        "source": {"path": str(source)},
        "extract": ["canny"],
        "generate": {
            "kind": "sd",
            "model": "starter",
            "sizes": [[64, 64]],
            "controlnets": [{"map": "canny", "model": "starter/controlnet-canny"}],
        },
    }
    config = parse_config(value, "test.yaml")
    items = {item.id: item for item in select_items(config.source)[1]}
    run = RunDir(out)
    run.make_folders()
    write_atomic(run.private / "run.json", json.dumps({"run_id": "0123456789ab"}).encode())
    write_atomic(run.config_file, dump_config(config).encode())
    for shard in run.store.plan(list(items), 50):
        writer = ShardWriter(run.store, shard)
        for row, image in _outputs([config.source.read(items[name]) for name in shard.ids], make, score):
            writer.add_row(row)
            if image is not None:
                writer.add_image(image)
        writer.commit()
    return out


def _outputs(
    samples: list[Sample], make: Make, score: Callable[[Sample], Mapping[str, float]] | None
) -> Iterator[tuple[Row, StoredImage | None]]:
    for sample in samples:
        image = make(sample)
        row = Row(
            sample_id=sample.item.id,
            variant=0,
            verdict="quarantined" if image is None else "accepted",
            code="check-quality" if image is None else "",
            message="",
            source_digest=sample.digest,
            output_digest="",
            split=sample.item.split,
            width=sample.size[0],
            height=sample.size[1],
            attempts=1,
            seed=0,
            prompt="",
            scores={"measured:luminance": 1.0, **(score(sample) if score else {})},
        )
        yield row, None if image is None else StoredImage(sample.item.id, 0, encode_image(image, ".png"))


def save_classifier(folder: Path, classes: tuple[str, ...]) -> Path:
    """A ViT of one layer with random weights, as `transformers` saves one."""
    import torch
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        image_size=16,
        patch_size=8,
        num_labels=len(classes),
        id2label=dict(enumerate(classes)),
    )
    ViTForImageClassification(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder
