"""How the time of the set metrics grows with the number of images (random features); the bar is an exponent of 1.1.

For each size n, real and synthetic sets of n features are compared; the exponent is the slope of log CPU time against
log n. Constants (the eigenvalues of a Fréchet distance) flatten it, so the exponent of the largest step is printed
beside it. Run it on an otherwise idle machine, one thread:

    OMP_NUM_THREADS=1 python scripts/bench/metrics_scaling.py [--sizes 2000 8000 32000] [--width 1280]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from synthgen.metrics.classical import classical_measurements
from synthgen.metrics.distribution import _classifier, _duplicates, _frechet, _modes, _prdc, _vendi, mmd_measurements
from synthgen.metrics.pair import Pair
from synthgen.metrics.sets import ImageSet


def random_set(count: int, width: int, seed: int) -> ImageSet:
    """Features of falling variance, as a network's are, and descriptors."""
    random = np.random.default_rng(seed)
    scale = (1 / np.sqrt(1 + np.arange(width))).astype(np.float32)
    features = np.maximum(random.normal(size=(count, width)).astype(np.float32) * scale + 0.1, 0)
    return ImageSet(
        units=np.arange(count),
        features=features,
        lab=random.dirichlet(np.ones(32), (count, 3)).astype(np.float32),
        scalars=random.normal(size=(count, 3)).astype(np.float32),
        objects=random.poisson(3, count).astype(np.float32),
        positions=random.poisson(0.1, (count, 64)).astype(np.float32),
        sizes=random.poisson(0.3, (count, 10)).astype(np.float32),
        classes=np.eye(6, dtype=np.float32)[random.integers(0, 6, count)],
        class_names=tuple("abcdef"),
    )


METRICS: dict[str, Callable[[Pair], object]] = {
    "classical": lambda pair: list(classical_measurements(pair)),
    "kid, mmd": lambda pair: list(mmd_measurements(pair)),
    "frechet": lambda pair: _frechet(pair, 15),
    "prdc": lambda pair: list(_prdc(pair)),
    "vendi": _vendi,
    "classifier": _classifier,
    "duplicates": _duplicates,
    "modes": _modes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 8000, 32000])
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--permutations", type=int, default=999)
    options = parser.parse_args()
    times: dict[str, list[float]] = {name: [] for name in (*METRICS, "all")}
    for size in options.sizes:
        sets = random_set(size, options.width, 0), random_set(size, options.width, 1)
        began = time.process_time()
        pair = Pair.of("all", *sets, options.permutations, 0, 30, 500)
        total = time.process_time() - began
        for name, measure in METRICS.items():
            began = time.process_time()
            measure(pair)
            times[name].append(time.process_time() - began)
            total += times[name][-1]
        times["all"].append(total)
        print(f"n = {size}: " + ", ".join(f"{name} {spent[-1]:.1f} s" for name, spent in times.items()), flush=True)
    logs = np.log(options.sizes)
    for name, spent in times.items():
        slope = np.polyfit(logs, np.log(spent), 1)[0]
        last = np.log(spent[-1] / spent[-2]) / (logs[-1] - logs[-2])
        print(f"{name:12s} exponent {slope:.2f}, last step {last:.2f}")


if __name__ == "__main__":
    main()
