"""All metrics on two measured sets: which apply at which size, what each is tested against, and its verdict.

Under `MIN_ALL` images in a set everything is insufficient; under `MIN_LARGE` only the unbiased (KID, Gaussian MMD) and
the classical ones have a verdict. The whole sets are the gate, under Holm's correction over its metrics; classes and
groups are explored, under Benjamini-Hochberg over all of theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.classical import classical_measurements
from synthgen.metrics.distribution import feature_measurements, mmd_measurements
from synthgen.metrics.pair import Pair
from synthgen.metrics.permutation import benjamini_hochberg, holm
from synthgen.metrics.sets import ImageSet, Measurement, Verdict

MAX_SUBSETS = 200


@dataclass(frozen=True)
class Settings:
    """`level` is the family-wise error of the gate, `explore` the false discovery rate of classes and groups.

    The gate's is 2 %, so that a user who compares a set with itself sees a flag once in fifty times.
    """

    seed: int = 0
    level: float = 0.02
    explore: float = 0.05
    permutations: int = 999
    by: tuple[str, ...] = ("class",)
    min_all: int = 30
    min_large: int = 500
    points: int = 15
    """Sizes of the fit of FD∞."""


def measure_sets(
    real: ImageSet, synthetic: ImageSet, settings: Settings, step: Callable[[str], None] = lambda _: None
) -> list[Measurement]:
    """Every metric on the whole sets, then KID, Gaussian MMD and the image descriptors by class and group.

    Args:
        step: hears the name of what is measured next.
    """
    names = tuple(sorted({*real.class_names, *synthetic.class_names}))
    real, synthetic = real.with_classes(names), synthetic.with_classes(names)
    whole = Pair.of("all", real, synthetic, settings.permutations, settings.seed, settings.min_all, settings.min_large)
    step("all")
    found = [*classical_measurements(whole), *mmd_measurements(whole), *feature_measurements(whole, settings.points)]
    gates = judge_measurements(found, lambda ps: holm(ps, settings.level))
    subsets = list(_subsets(real, synthetic, settings.by))[:MAX_SUBSETS]
    needed = int(np.clip(2 * 6 * len(subsets) / settings.explore, settings.permutations, 5 * settings.permutations + 4))
    parts: list[Measurement] = []
    for name, in_real, in_synthetic in subsets:
        step(name)
        pair = Pair.of(
            name,
            real.take(in_real),
            synthetic.take(in_synthetic),
            needed,
            settings.seed,
            settings.min_all,
            settings.min_large,
        )
        parts += [*classical_measurements(pair, labels=False), *mmd_measurements(pair)]
    return gates + judge_measurements(parts, lambda ps: benjamini_hochberg(ps, settings.explore))


def overall_verdict(measurements: list[Measurement]) -> Verdict:
    """Of the whole sets: fail where a metric fails; insufficient where none has a verdict; else pass.

    A metric without a verdict does not stop a pass where others have one: the table shows it beside them.
    """
    verdicts = {one.verdict for one in measurements if one.subset == "all" and one.p is not None}
    if "fail" in verdicts:
        return "fail"
    return "pass" if "pass" in verdicts else "insufficient"


def judge_measurements(
    measurements: list[Measurement], correct: Callable[[list[float]], list[float]]
) -> list[Measurement]:
    """Give every measurement that has a test its corrected level and its verdict."""
    tested = [one for one in measurements if one.p is not None]
    levels = iter(correct([one.p for one in tested if one.p is not None]))
    judged = []
    for one in measurements:
        if one.p is None:
            judged.append(one)
            continue
        level, smallest = next(levels), float(one.details.get("smallest_p", 0.0))
        if one.p > level and smallest > level:
            reason = f"too few scenes: p can't be below {smallest:.2g}"
            judged.append(replace(one, level=level, verdict="insufficient", reason=reason))
        else:
            judged.append(replace(one, level=level, verdict="fail" if one.p <= level else "pass"))
    return judged


def _subsets(
    real: ImageSet, synthetic: ImageSet, by: tuple[str, ...]
) -> Iterator[tuple[str, NDArray[np.bool_], NDArray[np.bool_]]]:
    """(name, rows of real, rows of synthetic) of each class and of each value of each column in either set."""
    for column in by:
        if column == "class":
            if real.classes is not None and synthetic.classes is not None:
                for position, name in enumerate(real.class_names):
                    if real.classes[:, position].any() or synthetic.classes[:, position].any():
                        yield f"class={name}", real.classes[:, position] > 0, synthetic.classes[:, position] > 0
            continue
        one, two = (group_values(part.groups[column]) for part in (real, synthetic) if column in part.groups)
        for value in sorted({*one, *two} - {""}):
            yield f"{column}={value}", np.array(one) == value, np.array(two) == value


def group_values(values: tuple[str | None, ...]) -> list[str]:
    """The values of a column as text; empty where there is none."""
    return ["" if value is None else value for value in values]
