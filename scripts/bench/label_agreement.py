"""Do the labels still describe the outputs? A segmenter that painted no map reads real images and outputs.

Its IoU on the outputs over its IoU on the very images that they replace says, class by class, how much of the label
survived, over the whole run and not image by image as the check `labels` does. The reader is the starter's judge or any
segmenter by reference. The last column is its mean loss on the real images: what `plan.hardness.classes` takes.

    python scripts/bench/label_agreement.py RUN
    python scripts/bench/label_agreement.py RUN --model org/segmenter@<commit> --palette ade20k
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from synthgen.checks._agreement import pixel_losses
from synthgen.checks._vocabulary import Vocabulary, make_vocabulary
from synthgen.images import decode_image
from synthgen.label_maps import labels_to_class_ids
from synthgen.launch import select_items
from synthgen.rundir import open_run
from synthgen.segmenter import Segmenter
from synthgen.types import ClassIds, Image


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--model", default="starter/judge")
    parser.add_argument("--palette", default="starter")
    parser.add_argument("--class-map", default="auto")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    run = open_run(arguments.run)
    source = run.config().source
    index, items = select_items(source)
    segmenter = Segmenter(arguments.model, "cpu", 1)
    vocabulary = make_vocabulary(
        index.classes, segmenter.labels, arguments.palette, arguments.class_map, arguments.class_map
    )
    real, outputs = Reading.empty(len(vocabulary.names)), Reading.empty(len(vocabulary.names))
    by_id, count = {item.id: item for item in items}, 0
    for shard in run.store.shards():
        for stored in run.store.stored_images(shard):
            sample = source.read(by_id[stored.sample_id])
            ids = labels_to_class_ids(sample.labels, sample.image.shape[:2])
            if ids is None:
                raise SystemExit(f"{stored.sample_id}: no mask; this measurement needs masks or outlines")
            label = vocabulary.labelled(ids)
            output = cv2.resize(decode_image(stored.data, stored.sample_id), sample.size)
            real.add(segmenter, vocabulary, sample.image, label)
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
    if arguments.json:
        names = [vocabulary.names[number] for number in shown]
        table = {"real": dict(zip(names, on_real[shown], strict=True))}
        table |= {"output": dict(zip(names, on_outputs[shown], strict=True))}
        arguments.json.write_text(json.dumps(table | {"ratio": means[1] / means[0]}, indent=1))


if __name__ == "__main__":
    main()
