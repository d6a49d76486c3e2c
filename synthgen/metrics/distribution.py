"""Measurements on an embedder's features: KID and Gaussian MMD at any size, the others on large sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.c2st import classifier_test
from synthgen.metrics.categories import category_loss, feature_modes
from synthgen.metrics.duplicates import NEAR, QUERIES, median_distance, repeats_earlier, unit_rows
from synthgen.metrics.frechet import frechet_distance, frechet_distance_small, frechet_infinity, moments
from synthgen.metrics.mmd import MMD, cmmd, kid
from synthgen.metrics.pair import Pair, split_excess
from synthgen.metrics.permutation import LabelDraws, draw_labels, permutation_p
from synthgen.metrics.prdc import REFERENCE, prdc, precision_coverage_p
from synthgen.metrics.sets import Measurement, insufficient
from synthgen.metrics.vendi import vendi_score

Array = NDArray[np.floating]
MMD_METRICS = ("kid", "gaussian_mmd")
LARGE_METRICS = ("frechet", "precision", "coverage", "vendi", "classifier")
SMALL_METRICS = ("duplicates", "modes")


def mmd_measurements(pair: Pair) -> Iterator[Measurement]:
    """KID and Gaussian MMD; verdicts come later."""
    if (reason := _missing(pair)) or pair.draws is None:
        for metric in MMD_METRICS:
            yield insufficient(metric, pair.subset, pair.sizes, reason)
        return
    assert pair.real.features is not None and pair.synthetic.features is not None
    pooled = np.concatenate([pair.real.features, pair.synthetic.features])
    halves = pair.real.features[np.concatenate(pair.halves)]
    measures: dict[str, Callable[[Array, LabelDraws, int], MMD]] = {"kid": kid, "gaussian_mmd": cmmd}
    for metric, measure in measures.items():
        found = measure(pooled, pair.draws, pair.seed)
        floor = measure(halves, pair.floor_draws(), pair.seed).value
        yield _measurement(pair, metric, found.value, floor, found.p, found.interval)


def feature_measurements(pair: Pair, points: int) -> Iterator[Measurement]:
    """Fréchet distance and FD∞, PRDC, Vendi, classifier, duplicates, lost modes; verdicts come later."""
    reason = _missing(pair)
    small = "" if min(pair.sizes) >= pair.min_large else f"under {pair.min_large} images in a set"
    if reason or small:
        for metric in LARGE_METRICS:
            yield insufficient(metric, pair.subset, pair.sizes, reason or small)
    else:
        yield _frechet(pair, points)
        yield from _prdc(pair)
        yield _vendi(pair)
        yield _classifier(pair)
    if reason:
        for metric in SMALL_METRICS:
            yield insufficient(metric, pair.subset, pair.sizes, reason)
        return
    yield _duplicates(pair)
    yield _modes(pair)


def _missing(pair: Pair) -> str:
    if pair.draws is None:
        return f"under {pair.min_all} images in a set"
    if pair.real.features is None or pair.synthetic.features is None:
        return "no features were asked for"
    return ""


def _features(pair: Pair) -> tuple[Array, Array]:
    assert pair.real.features is not None and pair.synthetic.features is not None
    return pair.real.features, pair.synthetic.features


def _frechet(pair: Pair, points: int) -> Measurement:
    real, fake = _features(pair)
    one, two = (real[rows] for rows in pair.halves)
    half = moments(one)
    size = min(len(two), len(fake))
    sample = fake[np.random.default_rng(pair.seed + 2).permutation(len(fake))[:size]]
    excess = split_excess(pair, frechet_distance_small)
    known: dict[str, Any] = {
        "value": frechet_distance(moments(real), moments(fake)),
        "floor": frechet_distance(half, moments(two)),
        "matched": frechet_distance(half, moments(sample)),
        "details": {
            "fd_infinity": frechet_infinity(real, fake, np.random.default_rng(pair.seed + 3), points),
            "fd_infinity_floor": frechet_infinity(one, two, np.random.default_rng(pair.seed + 3), points),
        },
    }
    if excess is None:
        return insufficient("frechet", pair.subset, pair.sizes, "too few scenes for disjoint splits", **known)
    known["details"] = {**known["details"], "excess": excess.mean}
    known |= {"interval": excess.interval, "interval_of": "excess over real-B in disjoint splits", "p": excess.p}
    return Measurement("frechet", pair.subset, *pair.sizes, verdict="insufficient", **known)


def _prdc(pair: Pair) -> Iterator[Measurement]:
    """Real-A is the reference; value is the synthetic set's score, floor real-B's, at one size."""
    real, fake = _features(pair)
    rng = np.random.default_rng(pair.seed + 4)
    one, two = (rng.permutation(rows) for rows in pair.halves)
    size = min(len(two), len(fake), REFERENCE)
    scored, other = two[:size], rng.permutation(len(fake))[:size]
    reference = real[one[:REFERENCE]]
    draws = draw_labels(pair.real.units[scored], pair.synthetic.units[other], pair.permutations, pair.seed)
    of_fake, of_real = prdc(reference, fake[other]), prdc(reference, real[scored])
    p_values = precision_coverage_p(reference, np.concatenate([real[scored], fake[other]]), draws)
    extra = ({"density": of_fake.density, "density_floor": of_real.density}, {"recall": of_fake.recall})
    extra[1]["recall_floor"] = of_real.recall
    for name, p, further in zip(("precision", "coverage"), p_values, extra, strict=True):
        value, floor = getattr(of_fake, name), getattr(of_real, name)
        interval = _binomial_interval(value, size if name == "precision" else len(reference))
        yield _measurement(pair, name, value, floor, p, interval, **further, reference=len(reference), scored=size)


def _binomial_interval(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of `count` (images taken as independent)."""
    z2 = 1.96**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    wide = 1.96 / (1 + z2 / count) * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return float(max(0.0, centre - wide)), float(min(1.0, centre + wide))


def _vendi(pair: Pair) -> Measurement:
    """Synthetic against real (in `floor`) at equal size; tested is the difference of log scores."""
    real, fake = _features(pair)
    rng = np.random.default_rng(pair.seed + 5)
    size = min(len(real), len(fake))
    of_fake, of_real = (vendi_score(part[rng.permutation(len(part))[:size]]) for part in (fake, real))
    excess = split_excess(pair, lambda _, scored: float(np.log(vendi_score(scored))), "both")
    known: dict[str, Any] = {"value": of_fake, "floor": of_real}
    if excess is None:
        return insufficient("vendi", pair.subset, pair.sizes, "too few scenes for disjoint splits", **known)
    known |= {"interval": excess.interval, "interval_of": "log ratio to real in disjoint splits", "p": excess.p}
    return Measurement("vendi", pair.subset, *pair.sizes, verdict="insufficient", **known, details={"rows_each": size})


def _classifier(pair: Pair) -> Measurement:
    real, fake = _features(pair)
    rng = np.random.default_rng(pair.seed + 6)
    one, two = pair.halves
    found = classifier_test(real, fake, (pair.real.units, pair.synthetic.units), pair.permutations, rng)
    floor = classifier_test(real[one], real[two], (pair.real.units[one], pair.real.units[two]), 1, rng, 1)
    return _measurement(pair, "classifier", found.auc, floor.auc, found.p, found.interval)


def _duplicates(pair: Pair) -> Measurement:
    """Share of images that repeat an earlier one, synthetic against real (in `floor`), at equal size."""
    rng = np.random.default_rng(pair.seed + 7)
    size = min(pair.sizes)
    units = [part.units for part in (pair.real, pair.synthetic)]
    chosen = [rng.permutation(len(part))[:size] for part in units]
    rows = [unit_rows(part[index]) for part, index in zip(_features(pair), chosen, strict=True)]
    distance = NEAR * median_distance(rows[0], rng)
    asked = rng.permutation(size)[:QUERIES]
    repeats = [repeats_earlier(part, asked, distance) for part in rows]
    draws = draw_labels(units[0][chosen[0]][asked], units[1][chosen[1]][asked], pair.permutations, pair.seed)
    labels = draws.rows()
    both = np.concatenate(repeats).astype(np.float64)
    fake = both @ labels / draws.synthetic_counts()
    real = (both.sum() - both @ labels) / (len(both) - draws.synthetic_counts())
    k = int(repeats[1].sum())
    interval = _binomial_interval(k / len(asked), len(asked))
    share, floor = k / len(asked), float(repeats[0].mean())
    return _measurement(
        pair, "duplicates", share, floor, permutation_p(fake - real), interval, k=k, n=len(asked), distance=distance
    )


def _modes(pair: Pair) -> Measurement:
    """The cluster of real-A that lost most between real-B and the synthetic set, in standard errors."""
    real, fake = _features(pair)
    one, two = pair.halves
    member = feature_modes(real[one], np.concatenate([real[two], fake]), pair.seed)
    names = tuple(str(number) for number in range(member.shape[1]))
    draws = draw_labels(pair.real.units[two], pair.synthetic.units, pair.permutations, pair.seed)
    loss = category_loss(member, draws, names, only_lost=False)
    return _measurement(
        pair, "modes", loss.drop, 0.0, loss.p, None, lost=loss.lost, k=len(loss.lost), n=len(names), worst=loss.worst
    )


def _measurement(
    pair: Pair,
    metric: str,
    value: float,
    floor: float,
    p: float | None,
    interval: tuple[float, float] | None,
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
        p=p,
        details={**details, "smallest_p": pair.smallest_p},
    )
