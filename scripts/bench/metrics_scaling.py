"""Bar 9: how the time of the set metrics grows with the number of images, and whether they equal the packages.

Real and synthetic sets of n random features are compared for each n; an exponent is the slope of log CPU time against
log n. Constants (the eigenvalues of a Fréchet distance) flatten it, so that of the largest step stands beside it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from record import Result, judged
from workload import Options

from synthgen.metrics.classical import classical_measurements
from synthgen.metrics.distribution import _classifier, _duplicates, _frechet, _modes, _prdc, _vendi, mmd_measurements
from synthgen.metrics.frechet import frechet_distance, moments
from synthgen.metrics.mmd import kid
from synthgen.metrics.pair import Pair
from synthgen.metrics.permutation import draw_labels
from synthgen.metrics.prdc import prdc
from synthgen.metrics.sets import ImageSet
from synthgen.metrics.vendi import vendi_score

SIZES, WIDTH, PERMUTATIONS = (2000, 8000, 32000), 512, 999
Array = NDArray[np.floating]
METRICS: dict[str, Callable[[Pair], object]] = {
    "classical": lambda pair: list(classical_measurements(pair)),
    "kid and mmd": lambda pair: list(mmd_measurements(pair)),
    "frechet": lambda pair: _frechet(pair, 15),
    "prdc": lambda pair: list(_prdc(pair)),
    "vendi": _vendi,
    "classifier": _classifier,
    "duplicates": _duplicates,
    "modes": _modes,
}


def random_features(count: int, width: int, seed: int, shift: float = 0.1) -> NDArray[np.float32]:
    """(count, width) of falling variance and no negative ones, as a network's are."""
    scale = (1 / np.sqrt(1 + np.arange(width))).astype(np.float32)
    drawn = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    return np.maximum(drawn * scale + np.float32(shift), 0)


def random_set(count: int, width: int, seed: int) -> ImageSet:
    """Features and descriptors."""
    random = np.random.default_rng(seed)
    return ImageSet(
        units=np.arange(count),
        features=random_features(count, width, seed),
        lab=random.dirichlet(np.ones(32), (count, 3)).astype(np.float32),
        scalars=random.normal(size=(count, 3)).astype(np.float32),
        objects=random.poisson(3, count).astype(np.float32),
        positions=random.poisson(0.1, (count, 64)).astype(np.float32),
        sizes=random.poisson(0.3, (count, 10)).astype(np.float32),
        classes=np.eye(6, dtype=np.float32)[random.integers(0, 6, count)],
        class_names=tuple("abcdef"),
    )


def bar_9(options: Options) -> Result:
    """Exponents of CPU time from 2,000 to 32,000 images, and the largest difference from a reference."""
    sizes, width, permutations = ((600, 1200), 32, 19) if options.quick else (SIZES, WIDTH, PERMUTATIONS)
    times: dict[str, list[float]] = {name: [] for name in (*METRICS, "all")}
    for size in sizes:
        for name, seconds in metric_seconds(size, width, permutations).items():
            times[name].append(seconds)
    logs = np.log(sizes)
    slopes = {name: float(np.polyfit(logs, np.log(spent), 1)[0]) for name, spent in times.items()}
    last = {name: float(np.log(spent[-1] / spent[-2]) / (logs[-1] - logs[-2])) for name, spent in times.items()}
    agreed = list(agreements())
    worst = max(one.difference for one in agreed)
    spread = ", ".join(f"{name} {slopes[name]:.2f} (last step {last[name]:.2f})" for name in times if name != "all")
    return judged(
        "9",
        f"CPU time of all set metrics on two sets of {' / '.join(str(size) for size in sizes)} random features of "
        f"width {width}, {permutations} permutations; agreement on sets of 500",
        f"exponent of all together {slopes['all']:.2f}, last step {last['all']:.2f}, {times['all'][-1]:.0f} s at the "
        f"largest; {spread}. Largest difference {worst:.1e}: {', '.join(str(one) for one in agreed)}",
        "exponent of time ≤ 1.1 from 2,000 to 32,000, equal to the reference packages to 1e-3",
        max(slopes["all"], last["all"]) <= 1.1 and worst <= 1e-3,
    )


def metric_seconds(size: int, width: int, permutations: int) -> dict[str, float]:
    """CPU seconds of each metric and, as `all`, of them together with the drawing of labels."""
    sets = random_set(size, width, 0), random_set(size, width, 1)
    began = time.process_time()
    pair = Pair.of("all", *sets, permutations, 0, 30, 500)
    spent = {"all": time.process_time() - began}
    for name, measure in METRICS.items():
        began = time.process_time()
        measure(pair)
        spent[name] = time.process_time() - began
        spent["all"] += spent[name]
    return spent


@dataclass(frozen=True)
class Agreement:
    """How far a metric is from its reference: relative, but absolute where the value lies in 0..1."""

    metric: str
    reference: str
    difference: float

    def __str__(self) -> str:
        return f"{self.metric} with {self.reference}"


def agreements() -> Iterator[Agreement]:
    """Each metric beside the package that is its reference, or where that is not installed beside its formula."""
    one, two = random_features(500, 64, 1), random_features(500, 64, 2, 0.2)
    if importlib.util.find_spec("prdc"):
        found = prdc(one, two)
        with contextlib.redirect_stdout(io.StringIO()):
            expected = importlib.import_module("prdc").compute_prdc(real_features=one, fake_features=two, nearest_k=5)
        difference = max(abs(getattr(found, name) - float(value)) for name, value in expected.items())
        yield Agreement("PRDC", "prdc", difference)
    yield _relative("Fréchet", frechet_distance(moments(one), moments(two)), *frechet_reference(one, two))
    found_kid = kid(np.concatenate([one, two]), draw_labels(np.arange(500), np.arange(500), 0, 0), 0).value
    yield _relative("KID", found_kid, *kid_reference(one, two))
    yield _relative("Vendi", vendi_score(one), *vendi_reference(one))


def _relative(metric: str, ours: float, reference: str, theirs: float) -> Agreement:
    return Agreement(metric, reference, abs(ours - theirs) / abs(theirs))


def frechet_reference(one: Array, two: Array) -> tuple[str, float]:
    """torch-fidelity's value, or |μ₁ - μ₂|² + Tr(Σ₁ + Σ₂ - 2 (Σ₁Σ₂)^½) by SciPy's matrix square root."""
    wide = [part.astype(np.float64) for part in (one, two)]
    if importlib.util.find_spec("torch_fidelity"):
        import torch

        module = importlib.import_module("torch_fidelity.metric_fid")
        statistics = [module.fid_features_to_statistics(torch.from_numpy(part)) for part in wide]
        value = module.fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"]
        return "torch-fidelity", float(value)
    from scipy.linalg import sqrtm

    covariances = [np.cov(part, rowvar=False) for part in wide]
    root = np.trace(np.real(sqrtm(covariances[0] @ covariances[1])))
    apart = ((wide[0].mean(0) - wide[1].mean(0)) ** 2).sum()
    return "scipy.linalg.sqrtm", float(apart + np.trace(covariances[0] + covariances[1]) - 2 * root)


def kid_reference(one: Array, two: Array) -> tuple[str, float]:
    """torch-fidelity's value on one subset, or the unbiased estimate from scikit-learn's polynomial kernel."""
    wide = [part.astype(np.float64) for part in (one, two)]
    if importlib.util.find_spec("torch_fidelity"):
        import torch

        options = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
        options |= {"kid_kernel_poly_coef0": 1, "kid_subsets": 1, "kid_subset_size": len(one)}
        module = importlib.import_module("torch_fidelity.metric_kid")
        tensors = [torch.from_numpy(part) for part in wide]
        found = module.kid_features_to_metric(*tensors, **options, rng_seed=0, verbose=False)
        return "torch-fidelity", float(found["kernel_inception_distance_mean"])
    from sklearn.metrics.pairwise import polynomial_kernel

    count = len(one)
    within = [polynomial_kernel(part, degree=3, coef0=1) for part in wide]
    across = polynomial_kernel(*wide, degree=3, coef0=1)
    own = sum((kernel.sum() - np.trace(kernel)) / (count * (count - 1)) for kernel in within)
    return "sklearn's polynomial_kernel", float(own - 2 * across.mean())


def vendi_reference(one: Array) -> tuple[str, float]:
    """The package vendi-score's value, or exp of the entropy of the eigenvalues of all cosine similarities."""
    unit = one.astype(np.float64) / np.linalg.norm(one, axis=1, keepdims=True)
    if importlib.util.find_spec("vendi_score"):
        module = importlib.import_module("vendi_score.vendi")
        return "vendi-score", float(module.score_K(unit @ unit.T))
    values = np.linalg.eigvalsh(unit @ unit.T / len(unit))
    values = values[values > 1e-12]
    return "its formula in numpy", float(np.exp(-(values * np.log(values)).sum()))
