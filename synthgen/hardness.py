"""Hard masks get more outputs: rank the label masks of a source by hardness and deal further variants by rank.

FreeMask (Yang et al., NeurIPS 2023, https://openreview.net/forum?id=XOotfgPiUF, section 3.3) takes the mean loss of
each class on real images, means it over the pixels of a mask, and makes the more images of a mask the harder it ranks.
The losses are a model's; where none are given, a class is as hard as its pixels are rare: −log of its share of all
labelled pixels, which is what a model loses on it that knows the shares alone. Classes of small objects are rare by
pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

from synthgen.targets import Member
from synthgen.types import ClassIds, ClassInfo, ConfigError

Pixels = NDArray[np.int64]
"""(images, classes): how many pixels of each class an image's label has, in the order of the class table."""


class HardnessSpec(BaseModel):
    """`cap`: how many variants the hardest mask has; the easiest has `plan.variants`, those between go by rank."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cap: int = Field(ge=2, le=1000)
    classes: Mapping[str, float] = Field(default_factory=dict)
    """Hardness of each class, such as a model's mean loss on real images; classes left out count as nothing. Without
    any, rarity."""

    @field_validator("classes")
    @classmethod
    def _finite(cls, classes: Mapping[str, float]) -> Mapping[str, float]:
        for name, value in classes.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name}: expected a number from 0, got {value:g}")
        return classes


def count_pixels(ids: ClassIds, classes: Sequence[ClassInfo]) -> Pixels:
    """The pixels of each class of the table in a label (height, width), in the table's order; 0 for *ignore*."""
    values, counts = np.unique(ids, return_counts=True)
    there = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return np.array([0 if info.ignore else there.get(info.id, 0) for info in classes], dtype=np.int64)


def class_hardness(pixels: Pixels, classes: Sequence[ClassInfo], given: Mapping[str, float]) -> NDArray[np.float64]:
    """(classes,) in nats: the given ones, else −log of a class's share of all labelled pixels, 0 where it has none.

    Raises:
        ConfigError: a given class that the table lacks.
    """
    names = [info.name for info in classes]
    if unknown := sorted(set(given) - set(names)):
        raise ConfigError(f"plan.hardness.classes: {unknown} are no classes of the source (there: {sorted(names)})")
    if given:
        return np.array([given.get(name, 0.0) for name in names])
    total = pixels.sum(axis=0)
    shares = total / max(int(total.sum()), 1)
    return np.where(total > 0, -np.log(np.maximum(shares, 1e-12)), 0.0)


def mask_hardness(pixels: Pixels, hardness: NDArray[np.float64]) -> NDArray[np.float64]:
    """(images,): mean over the labelled pixels of a mask of its classes' hardness; 0 where nothing is labelled."""
    mean: NDArray[np.float64] = pixels @ hardness / np.maximum(pixels.sum(axis=1), 1)
    return mean


def deal_by_rank(hardness: Mapping[str, float], most: int) -> dict[str, int]:
    """How many further outputs each sample gets: `most` for the hardest, none for the easiest, linear in the rank.

    Equal hardness is ranked by id, so the deal is the same in any order of reading.
    """
    ranked = sorted(hardness, key=lambda sample_id: (hardness[sample_id], sample_id))
    last = max(len(ranked) - 1, 1)
    return {sample_id: int(most * place / last + 0.5) for place, sample_id in enumerate(ranked)}


def rank_members(
    members: Sequence[Member],
    pixels: Mapping[str, Pixels],
    classes: Sequence[ClassInfo],
    spec: HardnessSpec,
    least: int,
) -> list[Member]:
    """The members with their hardness and what they get beyond `least` variants.

    Args:
        pixels: sample → one row of counts; a sample that can't be read has none, and gets nothing.

    Raises:
        ConfigError: no sample has outlines, a given class that the table lacks, or a cap below `least`.
    """
    if not pixels:
        raise ConfigError("plan.hardness: needs label images or outlines, this source has neither; remove it")
    if spec.cap <= least:
        raise ConfigError(f"plan.hardness.cap: {spec.cap} is no more than plan.variants ({least}); raise it")
    table = np.stack(list(pixels.values()))
    hardness = dict(
        zip(pixels, mask_hardness(table, class_hardness(table, classes, spec.classes)).tolist(), strict=True)
    )
    further = deal_by_rank(hardness, spec.cap - least)
    return [
        replace(one, further=further.get(one.sample_id, 0), hardness=hardness.get(one.sample_id)) for one in members
    ]
