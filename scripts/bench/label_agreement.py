"""Do the labels still describe the outputs? An independent segmenter reads real images and outputs.

The reader is a MobileNetV2 with a DeepLabV3+ head (transformers), trained here from scratch on a real training split:
another architecture than the starter's SegFormer, and no part of the generator. Its IoU on the outputs over its IoU on
the very images that they replace says, class by class, how much of the label survived. Both are read at `--size`.

    python scripts/bench/label_agreement.py RUN --train-split train --minutes 6 --model reader/

The trained reader is kept in `--model` and used again when it is there.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from transformers import MobileNetV2Config, MobileNetV2ForSemanticSegmentation

from synthgen.datasets.base import Dataset
from synthgen.images import decode_image
from synthgen.launch import select_items
from synthgen.rundir import open_run
from synthgen.types import ClassInfo, Image, Item

IGNORE = 255
Pair = tuple[Image, np.ndarray]


def shrink(image: Image, mask: np.ndarray, size: tuple[int, int]) -> Pair:
    smaller = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return smaller, cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)


def train_ids(mask: np.ndarray, classes: list[ClassInfo]) -> np.ndarray:
    ids = np.full(mask.shape, IGNORE, np.uint8)
    for place, info in enumerate(classes):
        ids[mask == info.id] = place
    return ids


def read_pairs(source: Dataset, items: Iterable[Item], classes: list[ClassInfo], size: tuple[int, int]) -> list[Pair]:
    pairs = []
    for item in items:
        sample = source.read(item)
        if sample.labels.mask is None:
            raise SystemExit(f"{item.id}: no mask; this measurement needs masks")
        pairs.append(shrink(sample.image, train_ids(sample.labels.mask, classes), size))
    return pairs


def augment(pair: Pair, rng: np.random.Generator) -> Pair:
    image, ids = pair
    height, width = ids.shape
    scale = rng.uniform(0.6, 1.0)
    crop_width, crop_height = int(width * scale), int(height * scale)
    x, y = int(rng.integers(0, width - crop_width + 1)), int(rng.integers(0, height - crop_height + 1))
    window = slice(y, y + crop_height), slice(x, x + crop_width)
    pixels = cv2.resize(image[window], (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    labels = cv2.resize(ids[window], (width, height), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        pixels, labels = pixels[:, ::-1], labels[:, ::-1]
    pixels = (pixels / 255) ** np.exp(rng.uniform(-0.7, 0.7)) * rng.uniform(0.5, 1.4) * rng.uniform(0.85, 1.15, 3) * 255
    if rng.random() < 0.4:
        pixels = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), rng.uniform(0.4, 2.0))
    return np.clip(pixels, 0, 255).astype(np.uint8), np.ascontiguousarray(labels)


def to_tensor(images: list[Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_reader(pairs: list[Pair], classes: list[ClassInfo], minutes: float) -> MobileNetV2ForSemanticSegmentation:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    names = {place: info.name for place, info in enumerate(classes)}
    config = MobileNetV2Config(output_stride=8, num_labels=len(classes), id2label=names, tf_padding=False)
    reader = MobileNetV2ForSemanticSegmentation(config).train()
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3, weight_decay=0.02)
    began, step = time.monotonic(), 0
    while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 100) * (1 - share) ** 0.9
        batch = [augment(pairs[index], rng) for index in rng.integers(0, len(pairs), 12)]
        labels = torch.from_numpy(np.stack([ids for _, ids in batch])).long()
        with torch.autocast("cpu", torch.bfloat16):
            logits = reader(to_tensor([image for image, _ in batch])).logits
        scaled = F.interpolate(logits.float(), labels.shape[-2:], mode="bilinear")
        loss = F.cross_entropy(scaled, labels, ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 50 == 0:
            print(f"reader: step {step}, loss {loss.item():.3f}, {60 * minutes * (1 - share):.0f} s left", flush=True)
    return reader.eval()


@torch.inference_mode()
def confusion(reader: MobileNetV2ForSemanticSegmentation, pairs: Iterable[Pair], count: int) -> np.ndarray:
    total = np.zeros((count, count), np.int64)
    for image, ids in pairs:
        logits = F.interpolate(reader(to_tensor([image])).logits.float(), ids.shape, mode="bilinear")
        found = logits.argmax(1)[0].numpy()
        known = ids != IGNORE
        total += np.bincount(ids[known].astype(int) * count + found[known], minlength=count**2).reshape(count, count)
    return total


def iou(total: np.ndarray) -> np.ndarray:
    """Intersection over union of each class; NaN for a class that neither the labels nor the reader ever name."""
    hits = np.diag(total).astype(float)
    union = total.sum(0) + total.sum(1) - hits
    return np.where(union > 0, hits / np.maximum(union, 1), np.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--train-split", default="train")
    parser.add_argument("--size", type=int, nargs=2, default=(256, 192))
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    run = open_run(arguments.run)
    source = run.config().source
    index, items = select_items(source)
    classes = [info for info in index.classes if not info.ignore]
    size = (arguments.size[0], arguments.size[1])
    if (arguments.model / "config.json").is_file():
        reader = MobileNetV2ForSemanticSegmentation.from_pretrained(arguments.model).eval()
    else:
        training = [item for item in index.items if item.split == arguments.train_split]
        reader = train_reader(read_pairs(source, training, classes, size), classes, arguments.minutes)
        reader.save_pretrained(arguments.model)
    by_id = {item.id: item for item in items}
    real, outputs = [], []
    for shard in run.store.shards():
        for stored in run.store.stored_images(shard):
            pair = read_pairs(source, [by_id[stored.sample_id]], classes, size)[0]
            real.append(pair)
            output = cv2.resize(decode_image(stored.data, stored.sample_id), size, interpolation=cv2.INTER_AREA)
            outputs.append((output, pair[1]))
    on_real, on_outputs = (iou(confusion(reader, pairs, len(classes))) for pairs in (real, outputs))
    print(f"{'class':<14}{'real IoU':>10}{'output IoU':>12}{'ratio':>8}   ({len(real)} pairs at {size[0]}x{size[1]})")
    for info, a, b in zip(classes, on_real, on_outputs, strict=True):
        print(f"{info.name:<14}{a:>10.3f}{b:>12.3f}{b / a if a > 0 else float('nan'):>8.2f}")
    means = float(np.nanmean(on_real)), float(np.nanmean(on_outputs))
    print(f"{'mean':<14}{means[0]:>10.3f}{means[1]:>12.3f}{means[1] / means[0]:>8.2f}")
    if arguments.json:
        names = [info.name for info in classes]
        table = {"real": dict(zip(names, on_real, strict=True)), "output": dict(zip(names, on_outputs, strict=True))}
        arguments.json.write_text(json.dumps(table | {"ratio": means[1] / means[0]}, indent=1))


if __name__ == "__main__":
    main()
