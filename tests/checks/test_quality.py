"""The quality check: what is no image is rejected, what is dark or pale but an image passes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from synthgen.checks.base import Candidate
from synthgen.checks.quality import QualityCheck
from synthgen.component import parse_component
from synthgen.types import Generated, Image, Item, Labels, Recipe, Sample, Score

SIZE = (64, 48)
RNG = np.random.default_rng(0)
RAMP = np.repeat(np.linspace(0, 255, SIZE[0], dtype=np.float64)[None, :, None], SIZE[1], axis=0).repeat(3, axis=2)


def even(value: int | tuple[int, int, int]) -> Image:
    return np.full((SIZE[1], SIZE[0], 3), value, dtype=np.uint8)


def noise(mean: float, std: float) -> Image:
    return (mean + std * RNG.standard_normal((SIZE[1], SIZE[0], 3))).clip(0, 255).astype(np.uint8)


def partly(share: float, value: int) -> Image:
    image = RAMP.astype(np.uint8) // 2 + 60
    image[: round(SIZE[1] * share)] = value
    return image


def from_nan() -> Image:
    with np.errstate(invalid="ignore"):
        return np.full((SIZE[1], SIZE[0], 3), np.nan, dtype=np.float32).astype(np.uint8)


def judge(image: Image, **keys: float) -> Score:
    sample = Sample(Item("a.png", Path("a.png")), even(0), Labels(), "")
    recipe = Recipe("a.png", 0, 0, 1, "a street")
    return QualityCheck.model_validate(keys).load("cpu", {})(Candidate(sample, (), None, Generated(image, recipe)))


@pytest.mark.parametrize(
    ("image", "passed", "word"),
    [
        pytest.param(RAMP.astype(np.uint8), True, "", id="full contrast"),
        pytest.param((RAMP * 0.12).astype(np.uint8) + 4, True, "", id="night"),
        pytest.param((RAMP * 0.12).astype(np.uint8) + 215, True, "", id="fog"),
        pytest.param(noise(128, 40), True, "", id="texture"),
        pytest.param(partly(0.5, 0), True, "", id="half black"),
        pytest.param(even(0), False, "min_std", id="black: a safety filter"),
        pytest.param(from_nan(), False, "min_std", id="NaN cast to uint8"),
        pytest.param(even(255), False, "black or white", id="white"),
        pytest.param(even((200, 30, 90)), False, "min_std", id="one colour, channels apart"),
        pytest.param(noise(128, 4), False, "min_std", id="grain on grey"),
        pytest.param(partly(0.9, 255), False, "max_clipped", id="burnt out but for a strip"),
        pytest.param(
            np.where(RNG.random((SIZE[1], SIZE[0], 1)) < 0.5, even(0), even(255)), False, "max_clipped", id="diverged"
        ),
        pytest.param(RAMP.astype(np.uint8)[:-1], False, "(48, 64, 3)", id="another size"),
        pytest.param(RAMP, False, "uint8", id="another type"),
        pytest.param(RAMP.astype(np.uint8)[..., 0], False, "(48, 64)", id="no channels"),
    ],
)
def test_quality(image: Image, passed: bool, word: str) -> None:
    score = judge(image)
    assert score.check == "quality"
    assert score.passed is passed
    assert word in score.message
    assert (score.message == "") == passed


def test_the_value_is_the_standard_deviation_of_luma() -> None:
    halves = even(50)
    halves[:, SIZE[0] // 2 :] = 90
    assert judge(halves).value == pytest.approx(20.0)
    assert judge(even(7)).value == 0.0


def test_thresholds_are_keys() -> None:
    assert judge(noise(128, 4), min_std=1).passed is True
    assert judge(partly(0.5, 0), max_clipped=0.4).passed is False
    assert parse_component("checks", {"kind": "quality", "min_std": 2}).min_std == 2
    for keys in ({"min_std": -1}, {"max_clipped": 0}, {"std": 3}):
        with pytest.raises(ValidationError):
            QualityCheck.model_validate(keys)
