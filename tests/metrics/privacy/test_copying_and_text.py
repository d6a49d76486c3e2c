"""Copies among the unrelated, readings and their errors, and a network that undoes what can be undone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from synthgen.metrics.privacy.copying import find_copies, perceptual_hash
from synthgen.metrics.privacy.text import edit_distance, error_rate, normal_text


def pictures(seed: int, count: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.stack([cv2.resize(random.integers(0, 255, (6, 6, 3)).astype(np.uint8), (64, 64)) for _ in range(count)])


def measured(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    small = [
        cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).ravel().astype(np.float64) - 128 for image in images
    ]
    return np.stack(small), np.stack([perceptual_hash(image) for image in images])


def test_a_copy_is_found_and_no_one_else_is() -> None:
    real, output = pictures(0, 40), pictures(1, 40)
    output[5] = cv2.GaussianBlur(real[9], (0, 0), 1)
    found = find_copies(measured(real), measured(output), np.arange(40), 0.05)
    assert found is not None and np.flatnonzero(found.copied).tolist() == [5]
    assert found.max_cosine > found.cosine_limit and found.min_hash < found.hash_limit
    assert find_copies(measured(real), measured(pictures(1, 40)), np.arange(40), 0.05).copied.sum() == 0  # type: ignore[union-attr]


def test_a_threshold_takes_unrelated_originals() -> None:
    assert find_copies(measured(pictures(0, 9)), measured(pictures(1, 3)), np.arange(9), 0.05) is None
    assert find_copies(measured(pictures(0, 30)), measured(pictures(1, 3)), np.zeros(30, np.int64), 0.05) is None


@pytest.mark.parametrize(
    ("first", "second", "distance"), [("", "", 0), ("", "ab", 2), ("kitten", "sitting", 3), ("AB12", "AB12", 0)]
)
def test_edit_distance(first: str, second: str, distance: int) -> None:
    assert edit_distance(first, second) == distance == edit_distance(second, first)


def test_readings() -> None:
    assert normal_text(" ab-12 ") == "AB12" and normal_text("!?") == ""
    assert error_rate("AB 12", "ab12") == 0 and error_rate("AB12", "") == 1
    with pytest.raises(ValueError):
        error_rate("--", "x")


def test_an_inverter_undoes_what_is_only_hidden() -> None:
    from synthgen.metrics.privacy.inverter import SIDE, nearest_originals, train_inverter

    originals = np.stack([cv2.resize(image, (SIDE, SIDE)) for image in pictures(0, 60)])
    outputs = 255 - originals
    invert = train_inverter(outputs[:50], originals[:50], 150, 8, 0)
    made = invert(outputs[50:])
    before = np.abs(outputs[50:].astype(int) - originals[50:]).mean()
    assert np.abs(made.astype(int) - originals[50:]).mean() < 0.35 * before
    near = nearest_originals(outputs[:3], outputs[:50], originals[:50])
    assert np.array_equal(near, originals[:3])
