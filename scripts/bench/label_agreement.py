"""Do the labels still describe the outputs? A segmenter that painted no map reads real images and outputs.

Its IoU on the outputs over its IoU on the very images that they replace says, class by class, how much of the label
survived, over the whole run and not image by image as the check `labels` does. The reader is the starter's judge or any
segmenter by reference. The last column is its mean loss on the real images; the last line gives it in the dataset's own
class names, as `plan.hardness.classes` takes it.

    python scripts/bench/label_agreement.py RUN
    python scripts/bench/label_agreement.py RUN --split val test
    python scripts/bench/label_agreement.py --source ../shared/data/camvid --split val --every 3    # real images alone
    python scripts/bench/label_agreement.py RUN --model org/segmenter@<commit> --palette ade20k
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml

from synthgen.checks._agreement import pixel_losses
from synthgen.checks._vocabulary import Vocabulary, make_vocabulary
from synthgen.datasets.base import Dataset, resolve_source
from synthgen.images import decode_image
from synthgen.label_maps import labels_to_class_ids
from synthgen.launch import select_items
from synthgen.rundir import RunDir, open_run
from synthgen.segmenter import Segmenter
from synthgen.types import ClassIds, ClassInfo, Image, Item, Sample


@dataclass
class Reading:
    """What a segmenter read of many pictures: label number × number read, and the loss of each label's pixels."""

    confusion: np.ndarray
    losses: np.ndarray

    @classmethod
    def empty(cls, count: int) -> Reading:
        return cls(np.zeros((count, count), np.int64), np.zeros(count))

    def add(self, segmenter: Segmenter, vocabulary: Vocabulary, image: Image, label: ClassIds) -> None:
        count = len(self.losses)
        labelled = label > 0
        read = vocabulary.read(segmenter([image])[0])
        pairs = label[labelled] * count + read[labelled]
        self.confusion += np.bincount(pairs, minlength=count**2).reshape(count, count)
        if segmenter.gives_probabilities:
            loss = pixel_losses(vocabulary.joined(segmenter.probabilities([image])[0]), label)
            self.losses += np.bincount(label.ravel(), loss.ravel(), count)

    def ious(self) -> np.ndarray:
        """Intersection over union of each number; NaN for one that no label has."""
        hits, labels = np.diag(self.confusion).astype(float), self.confusion.sum(1)
        return np.where(labels > 0, hits / np.maximum(labels + self.confusion.sum(0) - hits, 1), np.nan)

    def mean_losses(self) -> np.ndarray:
        labels = self.confusion.sum(1)
        return np.where(labels > 0, self.losses / np.maximum(labels, 1), np.nan)


def pairs(source: Dataset, items: Sequence[Item], run: RunDir | None) -> Iterator[tuple[Sample, Image | None]]:
    """Every real image with its accepted output; of a dataset alone, with none."""
    by_id = {item.id: item for item in items}
    if run is None:
        yield from ((source.read(item), None) for item in items)
        return
    for shard in run.store.shards():
        for stored in run.store.stored_images(shard):
            if stored.sample_id in by_id:
                sample = source.read(by_id[stored.sample_id])
                yield sample, cv2.resize(decode_image(stored.data, stored.sample_id), sample.size)


def hardness_line(vocabulary: Vocabulary, classes: Sequence[ClassInfo], losses: np.ndarray) -> str:
    """The mean loss of each class of the dataset, as a YAML mapping; classes of one palette name share theirs."""
    of_label = vocabulary.of_label
    known = {one.name: losses[of_label[one.id]] for one in classes if of_label.get(one.id)}
    told = {name: round(float(loss), 3) for name, loss in known.items() if not np.isnan(loss)}
    return yaml.safe_dump(told, default_flow_style=True, sort_keys=False, width=10_000, allow_unicode=True).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--source", type=Path, help="a dataset in place of a run")
    parser.add_argument("--split", nargs="+")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--model", default="starter/judge")
    parser.add_argument("--palette", default="starter")
    parser.add_argument("--class-map", default="auto")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    run = None if arguments.run is None else open_run(arguments.run)
    source = resolve_source(arguments.source) if run is None else run.config().source
    index, items = select_items(source)
    wanted = [item for item in items if not arguments.split or item.split in arguments.split]
    items = tuple(wanted[:: arguments.every])
    segmenter = Segmenter(arguments.model, "cpu", 1)
    vocabulary = make_vocabulary(
        index.classes, segmenter.labels, arguments.palette, arguments.class_map, arguments.class_map
    )
    real, outputs = Reading.empty(len(vocabulary.names)), Reading.empty(len(vocabulary.names))
    count = 0
    for sample, output in pairs(source, items, run):
        ids = labels_to_class_ids(sample.labels, (sample.image.shape[0], sample.image.shape[1]))
        if ids is None:
            raise SystemExit(f"{sample.item.id}: no mask; this measurement needs masks or outlines")
        label = vocabulary.labelled(ids)
        real.add(segmenter, vocabulary, sample.image, label)
        if output is not None:
            outputs.add(segmenter, vocabulary, output, label)
        count += 1
    on_real, on_outputs = real.ious(), outputs.ious()
    shown = np.flatnonzero(~np.isnan(on_real))
    print(f"{'class':<14}{'real IoU':>10}{'output IoU':>12}{'ratio':>8}{'real loss':>11}   ({count} pairs)")
    for number in shown:
        a, b = on_real[number], on_outputs[number]
        ratio = b / a if a > 0 else float("nan")
        print(f"{vocabulary.names[number]:<14}{a:>10.3f}{b:>12.3f}{ratio:>8.2f}{real.mean_losses()[number]:>11.3f}")
    means = float(on_real[shown].mean()), float(on_outputs[shown].mean())
    print(f"{'mean':<14}{means[0]:>10.3f}{means[1]:>12.3f}{means[1] / means[0]:>8.2f}")
    print(f"classes: {hardness_line(vocabulary, index.classes, real.mean_losses())}")
    if arguments.json:
        names = [vocabulary.names[number] for number in shown]
        table = {"real": dict(zip(names, on_real[shown], strict=True))}
        table |= {"output": dict(zip(names, on_outputs[shown], strict=True))}
        arguments.json.write_text(json.dumps(table | {"ratio": means[1] / means[0]}, indent=1))


if __name__ == "__main__":
    main()
