"""Measurements of the classical descriptors: colours, light, edges, texture, and what the labels show."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.categories import category_loss, chi_square_shares
from synthgen.metrics.descriptors import LAB_BINS, LAB_RANGES, SCALARS
from synthgen.metrics.distances import histogram_w1, jensen_shannon, scalar_w1_draws
from synthgen.metrics.pair import Pair
from synthgen.metrics.permutation import LabelDraws, bootstrap_interval, mean_draws, permutation_p
from synthgen.metrics.sets import ImageSet, Measurement, insufficient

Array = NDArray[np.floating]
LABEL_METRICS = ("object_count", "object_size", "object_position", "class_shares", "lost_classes")


def classical_measurements(pair: Pair, labels: bool = True) -> Iterator[Measurement]:
    """The image descriptors, and with `labels` those of objects and classes; verdicts come later."""
    metrics = ("lab_histogram", *SCALARS, *(LABEL_METRICS if labels else ()))
    if pair.draws is None:
        for metric in metrics:
            yield insufficient(metric, pair.subset, pair.sizes, f"under {pair.min_all} images in a set")
        return
    if pair.real.lab is None or pair.synthetic.lab is None:
        for metric in metrics[:4]:
            yield insufficient(metric, pair.subset, pair.sizes, "not measured")
    else:
        yield _lab(pair, pair.draws)
        for position, name in enumerate(SCALARS):
            yield _scalar(pair, pair.draws, name, _column(pair.real, position), _column(pair.synthetic, position))
    if labels:
        yield from _label_measurements(pair, pair.draws)


def _column(images: ImageSet, position: int) -> Array:
    assert images.scalars is not None
    return images.scalars[:, position]


def _lab(pair: Pair, draws: LabelDraws) -> Measurement:
    """Mean over L*, a*, b* of the Wasserstein-1 distance of the pooled histograms, in Lab units."""
    assert pair.real.lab is not None and pair.synthetic.lab is not None
    widths = np.array([(high - low) / LAB_BINS for low, high in LAB_RANGES])

    def distance(fake: Array, real: Array) -> Array:
        channels = [part.reshape(len(part), 3, LAB_BINS) for part in (fake, real)]
        return (histogram_w1(channels[0], channels[1]) * widths).mean(1)

    rows = [part.reshape(len(part), -1) for part in (pair.real.lab, pair.synthetic.lab)]
    pooled = np.concatenate(rows)
    values = distance(*mean_draws(pooled, draws))
    js = jensen_shannon(pair.synthetic.lab.mean(0), pair.real.lab.mean(0))
    return _measurement(
        pair,
        "lab_histogram",
        float(values[0]),
        floor=float(distance(*mean_draws(rows[0][np.concatenate(pair.halves)], pair.floor_draws()))[0]),
        interval=bootstrap_interval(pooled, (pair.real.units, pair.synthetic.units), distance, seed=pair.seed),
        p=permutation_p(values),
        js_bits={name: round(float(value), 5) for name, value in zip("Lab", js, strict=True)},
    )


def _scalar(pair: Pair, draws: LabelDraws, name: str, real: Array, fake: Array) -> Measurement:
    """Wasserstein-1 of one number an image, in its units; the interval is of the difference of means."""
    pooled = np.concatenate([real, fake]).astype(np.float64)
    values = scalar_w1_draws(pooled, draws)
    floor = scalar_w1_draws(real[np.concatenate(pair.halves)].astype(np.float64), pair.floor_draws())
    return _measurement(
        pair,
        name,
        float(values[0]),
        floor=float(floor[0]),
        interval=bootstrap_interval(
            pooled[:, None],
            (pair.real.units, pair.synthetic.units),
            lambda one, two: (one - two)[:, 0],
            seed=pair.seed,
        ),
        interval_of="mean difference",
        p=permutation_p(values),
        mean_real=round(float(real.mean()), 5),
        mean_synthetic=round(float(fake.mean()), 5),
    )


def _label_measurements(pair: Pair, draws: LabelDraws) -> Iterator[Measurement]:
    real, fake = pair.real, pair.synthetic
    if real.objects is None or fake.objects is None or not (real.objects.any() or fake.objects.any()):
        for metric in LABEL_METRICS[:3]:
            yield insufficient(metric, pair.subset, pair.sizes, "no labelled objects in both sets")
    else:
        yield _scalar(pair, draws, "object_count", real.objects, fake.objects)
        yield _heat_map(pair, draws, "object_size", real.sizes, fake.sizes)
        yield _heat_map(pair, draws, "object_position", real.positions, fake.positions)
    if real.classes is None or fake.classes is None or not real.classes.any():
        for metric in LABEL_METRICS[3:]:
            yield insufficient(metric, pair.subset, pair.sizes, "no classes in both sets")
        return
    member = np.concatenate([real.classes, fake.classes])
    shares = chi_square_shares(member, draws)
    halves = real.classes[np.concatenate(pair.halves)]
    yield _measurement(
        pair,
        "class_shares",
        shares.v,
        floor=chi_square_shares(halves, pair.floor_draws()).v,
        interval=bootstrap_interval(member, (real.units, fake.units), _v_of_shares, seed=pair.seed),
        p=shares.p,
        chi_square=round(shares.chi_square, 3),
        share_real=_shares(real),
        share_synthetic=_shares(fake),
    )
    loss = category_loss(member, draws, real.class_names, only_lost=True)
    count = int((real.classes.sum(0) > 0).sum())
    yield _measurement(
        pair, "lost_classes", float(len(loss.lost)), floor=0.0, p=loss.p, lost=loss.lost, k=len(loss.lost), n=count
    )


def _v_of_shares(fake: Array, real: Array) -> Array:
    """Cramér's V of equally large sets from their class shares: √(Σ (p − q)² / (p + q) / Σ (p + q))."""
    total = fake + real
    terms = np.divide((fake - real) ** 2, total, out=np.zeros_like(total), where=total > 0)
    return np.sqrt(terms.sum(1) / np.maximum(total.sum(1), 1e-12))


def _heat_map(pair: Pair, draws: LabelDraws, name: str, real: Array | None, fake: Array | None) -> Measurement:
    """Jensen-Shannon divergence (bits) of the maps of all objects' sizes or places."""
    assert real is not None and fake is not None
    pooled = np.concatenate([real, fake])
    values = jensen_shannon(*mean_draws(pooled, draws))
    return _measurement(
        pair,
        name,
        float(values[0]),
        floor=float(jensen_shannon(*mean_draws(real[np.concatenate(pair.halves)], pair.floor_draws()))[0]),
        interval=bootstrap_interval(pooled, (pair.real.units, pair.synthetic.units), jensen_shannon, seed=pair.seed),
        p=permutation_p(values),
    )


def _shares(images: ImageSet) -> dict[str, float]:
    assert images.classes is not None
    return {
        name: round(float(value), 4) for name, value in zip(images.class_names, images.classes.mean(0), strict=True)
    }


def _measurement(
    pair: Pair,
    metric: str,
    value: float,
    floor: float,
    p: float,
    interval: tuple[float, float] | None = None,
    interval_of: str = "value",
    **details: object,
) -> Measurement:
    return Measurement(
        metric,
        pair.subset,
        *pair.sizes,
        verdict="insufficient",
        value=value,
        floor=floor,
        interval=interval,
        interval_of=interval_of,
        p=p,
        details={**details, "smallest_p": pair.smallest_p},
    )
