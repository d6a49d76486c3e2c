"""From stored answers to scores, for one weighting of the test pictures or for many at once.

A weighting is a row (pictures,): how often each picture was drawn. Scores are 0..1, higher is better.

- segmentation: mIoU, the mean over the classes that the drawn labels hold of hits ÷ (truth + found − hits);
- classes: mean average precision over the classes that some drawn pictures have and others lack; the precision at each
  positive, averaged (as scikit-learn's `average_precision_score`, weighted).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from synthgen.learners.base import Task
from synthgen.utility.answers import Answers
from synthgen.utility.pictures import PRESENT, UNKNOWN

Weights = NDArray[np.float64]
"""(weightings, pictures)."""
Scores = NDArray[np.float64]
METRIC: dict[Task, str] = {"segmentation": "mIoU", "classes": "mean average precision"}


def class_scores(answers: Answers, present: NDArray[np.int8], weights: Weights) -> Scores:
    """(weightings, classes): IoU or average precision; NaN where the drawn pictures can't tell.

    Args:
        present: (pictures, classes) of the test; used for the task `classes` alone.
    """
    if "score" not in answers:
        hits, truth, found = (weights @ answers[name].astype(np.float64) for name in ("hits", "truth", "found"))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(truth > 0, hits / (truth + found - hits), np.nan)
    score = answers["score"]
    columns = [average_precision(score[:, place], present[:, place], weights) for place in range(score.shape[1])]
    return np.stack(columns, axis=1)


def average_precision(score: NDArray[np.float32], truth: NDArray[np.int8], weights: Weights) -> Scores:
    """(weightings,): of one class; NaN where no drawn picture has it, or all have it. Unknown pictures don't count."""
    order = np.argsort(-score, kind="stable")
    drawn = weights[:, order] * (truth[order] != UNKNOWN)
    positive = drawn * (truth[order] == PRESENT)
    # Equal scores are one threshold: all of them count before the precision is read.
    last = np.append(np.flatnonzero(np.diff(score[order])), len(order) - 1)
    end = last[np.searchsorted(last, np.arange(len(order)))]
    hits, seen = np.cumsum(positive, axis=1)[:, end], np.cumsum(drawn, axis=1)[:, end]
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(seen > 0, hits / seen, 0.0)
        total = positive.sum(1)
        found = (precision * positive).sum(1) / total
    return np.where((total > 0) & (total < drawn.sum(1)), found, np.nan)


def mean_over_classes(scores: Scores) -> Scores:
    """(weightings,): the mean over the classes that can be told; NaN where none can."""
    known = ~np.isnan(scores)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(known.any(1), np.nansum(scores, axis=1) / known.sum(1), np.nan)


def accuracy(answers: Answers, weights: Weights) -> Scores:
    """(weightings,): the share of decisions (pixels, or classes of pictures) that are right; NaN for no drawn one."""
    totals = np.tensordot(weights, answers["bins"], axes=1).sum(1)
    return np.where(totals[:, 0] > 0, totals[:, 2] / np.maximum(totals[:, 0], 1e-12), np.nan)


def calibration_error(answers: Answers, weights: Weights) -> Scores:
    """(weightings,): expected calibration error, the mean of |right − confident| over bins by their decisions.

    NaN where none was drawn.
    """
    totals = np.tensordot(weights, answers["bins"], axes=1)
    decisions = totals[..., 0].sum(1)
    wrong = np.abs(totals[..., 2] - totals[..., 1]).sum(1) / np.maximum(decisions, 1e-12)
    return np.where(decisions > 0, wrong, np.nan)


def chance(task: Task, answers: Answers, present: NDArray[np.int8]) -> float:
    """The score of who knows only how frequent classes are: all pixels the most frequent class; the prevalence."""
    if task == "segmentation":
        truth = answers["truth"].sum(0).astype(float)
        there = truth > 0
        return float(truth.max() / truth.sum() / there.sum()) if there.any() else 0.0
    known = (present != UNKNOWN).sum(0)
    share = (present == PRESENT).sum(0) / np.maximum(known, 1)
    told = (share > 0) & (share < 1)
    return float(share[told].mean()) if told.any() else 0.0
