"""Metrics against references, and intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from synthgen.utility.answers import class_answers, pixel_answers
from synthgen.utility.bootstrap import draw, interval, over_seeds
from synthgen.utility.metrics import accuracy, average_precision, calibration_error, class_scores, mean_over_classes
from synthgen.utility.pictures import IGNORE
from synthgen.utility.workshop import class_loss, pixel_loss


def test_average_precision_is_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    score = rng.integers(0, 12, 60).astype(np.float32) / 12
    truth = (rng.random(60) < 0.4).astype(np.int8)
    weights = rng.integers(0, 3, (5, 60)).astype(float)
    got = average_precision(score, truth, weights)
    assert got == pytest.approx([average_precision_score(truth, score, sample_weight=row) for row in weights])
    truth[:10] = -1
    known = np.ones((1, 60))
    assert average_precision(score, truth, known)[0] == pytest.approx(average_precision_score(truth[10:], score[10:]))
    assert np.isnan(average_precision(score, np.ones(60, np.int8), known))[0]


def test_iou_by_hand_and_ignored_pixels() -> None:
    masks = np.array([[[0, 0, 1, IGNORE]], [[1, 1, 1, 1]]], np.uint8)
    read = np.array([[[0, 1, 1, 2]], [[1, 1, 0, 0]]])
    logits = torch.nn.functional.one_hot(torch.from_numpy(read), 3).permute(0, 3, 1, 2).float() * 20
    stored = pixel_answers(logits, masks)
    both = np.ones((1, 2))
    assert class_scores(stored, np.zeros((2, 3), np.int8), both)[0, :2] == pytest.approx([1 / 4, 3 / 6])
    assert np.isnan(class_scores(stored, np.zeros((2, 3), np.int8), both)[0, 2])
    assert mean_over_classes(class_scores(stored, np.zeros((2, 3), np.int8), both))[0] == pytest.approx(3 / 8)
    assert accuracy(stored, both)[0] == pytest.approx(4 / 7)
    assert calibration_error(stored, both)[0] == pytest.approx(3 / 7, abs=1e-4)


def test_a_calibrated_model_has_no_calibration_error() -> None:
    rng = np.random.default_rng(1)
    chance = rng.uniform(0.02, 0.98, (4000, 2))
    truth = (rng.random((4000, 2)) < chance).astype(np.int8)
    logits = torch.from_numpy(np.log(chance / (1 - chance)))
    everything = np.ones((1, 4000))
    assert calibration_error(class_answers(logits, truth, False), everything)[0] < 0.02
    assert calibration_error(class_answers(logits * 4, truth, False), everything)[0] > 0.1


def test_losses_leave_out_what_is_unknown() -> None:
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    nothing = pixel_loss(logits, torch.full((2, 8, 8), IGNORE))
    nothing.backward()
    assert nothing.item() == 0 and logits.grad is not None and (logits.grad == 0).all()
    told = class_loss(torch.tensor([[9.0, -9.0]]), torch.tensor([[1, -1]]), False)
    assert told.item() == pytest.approx(0, abs=1e-3)
    assert class_loss(torch.tensor([[9.0, -9.0]]), torch.tensor([[0, 1]]), True).item() == pytest.approx(18, abs=1e-3)


def simulate(rng: np.random.Generator, scenes: int, seeds: int, effect: float) -> bool:
    """Whether the interval of a paired difference holds its true value: scenes of 4 pictures, seeds that matter."""
    units = np.repeat(np.arange(scenes), 4)
    of_scene = rng.normal(0, 0.15, scenes)[units]
    by_seed = effect + of_scene[:, None] + rng.normal(0, 0.1, (1, seeds)) + rng.normal(0, 0.1, (len(units), seeds))
    draws = draw(units, seeds, 300, int(rng.integers(2**31)))
    values = draws.weights @ by_seed / draws.weights.sum(1, keepdims=True)
    found = interval(over_seeds(values, draws), 0.95)
    assert found.low is not None and found.high is not None
    return found.low <= effect <= found.high


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_hold_the_truth_about_as_often_as_they_say(seeds: int) -> None:
    """By pictures, or without the seeds, they would hold it in about half of the cases."""
    rng = np.random.default_rng(2)
    held = np.mean([simulate(rng, 30, seeds, 0.05) for _ in range(200)])
    assert 0.9 <= held <= 1.0


def test_seeds_of_few_trainings_are_widened() -> None:
    """By √(3/2), and by 4.303 / 1.960: the normal and Student's quantile of two degrees of freedom."""
    values = np.tile([0.4, 0.5, 0.6], (20001, 1))
    draws = draw(np.arange(4), 3, 20000, 0)
    assert over_seeds(values, draws)[1:].std() == pytest.approx(0.1 / np.sqrt(3) * 4.303 / 1.960, rel=0.03)
    assert over_seeds(values, draws)[0] == pytest.approx(0.5)
