"""Population stability index: how far the shares of bins moved, for descriptors and for labels.

PSI = Σ (p − q) · ln(p / q) over bins: the symmetric divergence of Jeffreys (1946), named so in credit scoring (Siddiqi,
Credit Risk Scorecards, 2006). Its usual reading: under 0.1 no change, above 0.25 a large one. Two samples of one
distribution have a PSI of about (1/n + 1/m)(bins − 1) by chance alone (Yurdakul & Naranjo 2020, J. Risk Model
Validation 14:4), which at a hundred images is above 0.1. So a value counts here only where it is at least `LARGE` and
also rare among permutations of the scenes: neither a chance nor a trifle.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.categories import category_loss
from synthgen.metrics.descriptors import GRID, SCALARS, SIZE_EDGES
from synthgen.metrics.pair import Pair
from synthgen.metrics.permutation import LabelDraws, mean_draws, permutation_p
from synthgen.metrics.sets import ImageSet, Measurement, insufficient

Array = NDArray[np.floating]
LARGE = 0.1
"""The least PSI that counts as drift."""
BINS = 10
"""Of one number an image: deciles."""
SMALLEST = 1e-4
"""A lower share counts as this one: an empty bin would make the index infinite."""
INDICES = ("lab_histogram", *SCALARS, "object_count", "object_size", "object_position", "class_shares")
METRICS = (*INDICES, "lost_classes")


def stability_index(first: Array, second: Array) -> NDArray[np.float64]:
    """PSI of histograms (..., bins), each scaled to sum 1: (...,), 0 where they agree."""
    one, two = _shares(first), _shares(second)
    return ((one - two) * np.log(one / two)).sum(-1)


def psi_measurements(pair: Pair) -> Iterator[Measurement]:
    """PSI of every descriptor and of the label shares, and which classes were lost; verdicts come later.

    A set without labels counts as one that shows nothing where the other has them: labels that went are a change.
    """
    draws = pair.draws
    if draws is None:
        for metric in METRICS:
            yield insufficient(metric, pair.subset, pair.sizes, f"under {pair.min_all} images in a set")
        return
    names = tuple(sorted({*pair.real.class_names, *pair.synthetic.class_names}))
    if pair.real.objects is not None or pair.synthetic.objects is not None:
        pair = replace(pair, real=_labelled(pair.real, names), synthetic=_labelled(pair.synthetic, names))
    for metric in INDICES:
        reason = _missing(metric, pair)
        if reason:
            yield insufficient(metric, pair.subset, pair.sizes, reason)
        else:
            yield _index(metric, pair, draws)
    if reason := _missing("class_shares", pair):
        yield insufficient("lost_classes", pair.subset, pair.sizes, reason)
    else:
        yield _lost_classes(pair, draws, names)


def pass_small(found: Sequence[Measurement]) -> list[Measurement]:
    """The judged measurements, of which a PSI that is beyond chance and yet under `LARGE` passes."""
    return [
        replace(one, verdict="pass", reason=f"beyond chance, but under {LARGE:g}")
        if one.metric in INDICES and one.verdict == "fail" and one.value is not None and one.value < LARGE
        else one
        for one in found
    ]


def _shares(histogram: Array) -> NDArray[np.float64]:
    total = histogram.sum(-1, keepdims=True)
    scaled = np.divide(histogram, total, out=np.zeros(np.shape(histogram)), where=total > 0)
    return np.maximum(scaled, SMALLEST)


def _labelled(images: ImageSet, names: tuple[str, ...]) -> ImageSet:
    """The set with the class columns of `names`; one without labels shows no object and no class."""
    if images.objects is not None:
        return images.with_classes(names)
    empty: dict[str, Any] = {
        name: np.zeros((len(images), width), dtype=np.float32)
        for name, width in (("positions", GRID * GRID), ("sizes", len(SIZE_EDGES) - 1), ("classes", len(names)))
    }
    return replace(images, objects=np.zeros(len(images), dtype=np.float32), class_names=names, **empty)


def _missing(metric: str, pair: Pair) -> str:
    """Why there is nothing to measure; empty where there is."""
    if metric.startswith("object_"):
        shown = [part.objects is not None and part.objects.any() for part in (pair.real, pair.synthetic)]
        return "" if any(shown) else "no labelled objects in either set"
    if metric == "class_shares":
        shown = [part.classes is not None and part.classes.any() for part in (pair.real, pair.synthetic)]
        return "" if any(shown) else "no classes in either set"
    return "" if pair.real.lab is not None and pair.synthetic.lab is not None else "not measured"


def _index(metric: str, pair: Pair, draws: LabelDraws) -> Measurement:
    """PSI of one descriptor; of the Lab histograms it is the mean over L*, a* and b*."""
    bins = np.concatenate(_binned(metric, pair))
    fake, real = mean_draws(bins.reshape(len(bins), -1), draws)
    shape = (len(fake), *bins.shape[1:])
    values = stability_index(fake.reshape(shape), real.reshape(shape)).reshape(len(fake), -1).mean(1)
    one, two = (bins[: len(pair.real)][rows].mean(0) for rows in pair.halves)
    details: dict[str, Any] = {"smallest_p": pair.smallest_p, "bins": bins.shape[-1]}
    if metric == "class_shares":
        shares = [np.round(part.mean(0), 4).tolist() for part in (bins[: len(pair.real)], bins[len(pair.real) :])]
        details |= {
            "share_real": dict(zip(pair.real.class_names, shares[0], strict=True)),
            "share_synthetic": dict(zip(pair.real.class_names, shares[1], strict=True)),
        }
    return Measurement(
        metric,
        pair.subset,
        *pair.sizes,
        verdict="insufficient",
        value=float(values[0]),
        floor=float(stability_index(two, one).mean()),
        p=permutation_p(values),
        details=details,
    )


def _binned(metric: str, pair: Pair) -> list[Array]:
    """(n, ..., bins) counts or shares of each image of the two sets.

    A number an image is cut at the deciles of both sets together: those of the reference alone would tell the two
    sets apart, and labels could not be exchanged.
    """
    parts = (pair.real, pair.synthetic)
    arrays = {"lab_histogram": "lab", "object_size": "sizes", "object_position": "positions", "class_shares": "classes"}
    if metric in arrays:
        return [getattr(part, arrays[metric]) for part in parts]
    if metric == "object_count":
        numbers = [np.asarray(part.objects) for part in parts]
    else:
        numbers = [np.asarray(part.scalars)[:, SCALARS.index(metric)] for part in parts]
    cuts = np.unique(np.quantile(np.concatenate(numbers), np.linspace(0, 1, BINS + 1)[1:-1]))
    return [np.eye(len(cuts) + 1)[np.searchsorted(cuts, values, "left")] for values in numbers]


def _lost_classes(pair: Pair, draws: LabelDraws, names: tuple[str, ...]) -> Measurement:
    """Classes whose share fell below a tenth (see metrics/categories.py): PSI sees the loss of a rare one too late."""
    member = np.concatenate([np.asarray(part.classes) for part in (pair.real, pair.synthetic)])
    loss = category_loss(member, draws, names, only_lost=True)
    count = int((member[: len(pair.real)].sum(0) > 0).sum())
    return Measurement(
        "lost_classes",
        pair.subset,
        *pair.sizes,
        verdict="insufficient",
        value=float(len(loss.lost)),
        floor=0.0,
        p=loss.p,
        details={"smallest_p": pair.smallest_p, "lost": loss.lost, "k": len(loss.lost), "n": count},
    )
