"""What is kept of a trained model's answers: sums by test picture, from which every metric and replicate follows.

- segmentation: `hits`, `truth`, `found` (pictures, classes): pixels of each class rightly read, labelled, and read;
- classes: `score` (pictures, classes), the probability of each class;
- both: `bins` (pictures, BINS, 3): decisions, summed confidence, right ones, by confidence.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from synthgen.utility.pictures import IGNORE, PRESENT, UNKNOWN

BINS = 15
Answers = dict[str, NDArray[Any]]


def pixel_answers(logits: Tensor, masks: NDArray[np.uint8]) -> Answers:
    """What is stored of (n, classes, h, w) logits."""
    labels = torch.from_numpy(masks.astype(np.int64))
    probability = F.interpolate(logits, labels.shape[-2:], mode="bilinear").softmax(1)
    confidence, read = probability.max(1)
    known, classes = labels != IGNORE, logits.shape[1]
    rows: list[Answers] = []
    for one in range(len(labels)):
        here = known[one]
        truth, found = labels[one][here].numpy(), read[one][here].numpy()
        rows.append(
            {
                "hits": np.bincount(truth[truth == found], minlength=classes),
                "truth": np.bincount(truth, minlength=classes),
                "found": np.bincount(found, minlength=classes),
                "bins": binned(confidence[one][here].numpy(), truth == found),
            }
        )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def class_answers(logits: Tensor, truth: NDArray[np.int8], one_of: bool) -> Answers:
    """What is stored of (n, classes) logits. A decision is one class of one picture, with class folders one picture."""
    score = (logits.softmax(1) if one_of else logits.sigmoid()).numpy().astype(np.float32)
    rows = []
    for place, row in enumerate(score):
        if one_of:
            right = np.array([truth[place, row.argmax()] == PRESENT])
            rows.append(binned(row.max(keepdims=True), right))
        else:
            known = truth[place] != UNKNOWN
            right = (row > 0.5) == (truth[place] == PRESENT)
            rows.append(binned(np.maximum(row, 1 - row)[known], right[known]))
    return {"score": score, "bins": np.stack(rows)}


def binned(confidence: NDArray[np.float32], right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(BINS, 3): decisions, summed confidence and right ones in bins of equal width on 0..1."""
    places = np.minimum((confidence * BINS).astype(int), BINS - 1)
    weights = (np.ones(len(places)), confidence.astype(np.float64), right.astype(np.float64))
    return np.stack([np.bincount(places, one, minlength=BINS) for one in weights], axis=1)
