"""Directional bias amplification: does the release exaggerate how labels and groups go together in the source?

Wang & Russakovsky, "Directional Bias Amplification", ICML 2021 (arXiv 2102.12594). For each label l and group g that go
together in the source more than by chance (y = 1) or less (y = 0), Δ is how much a conditional probability grew:

    BiasAmp = mean of y Δ + (1 − y)(−Δ)
    label → group: Δ = P(g | l) released − P(g | l) source;   group → label: Δ = P(l | g) released − P(l | g) source

Positive is amplified. The sign y is estimated on the same source, so plain noise pulls the value below zero; its null
distribution is therefore drawn (see npmi.py), never taken to be centred on zero.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthgen.metrics.bias_table import Floats
from synthgen.metrics.npmi import Cooccurrences

Direction = Literal["label → group", "group → label"]
DIRECTIONS: tuple[Direction, ...] = ("label → group", "group → label")


def amplification(counts: Cooccurrences, use: NDArray[np.bool_], direction: Direction) -> Floats:
    """(1 + draws,) BiasAmp over the (labels, groups) of `use`; the first is observed."""
    independent = counts.label_source[:, :, None] * counts.group_source[:, None, :] / counts.total_source[:, None, None]
    sign = np.where(counts.source > independent, 1.0, -1.0)
    if direction == "label → group":
        given = counts.label_source[:, :, None], counts.label_released[:, :, None]
    else:
        given = counts.group_source[:, None, :], counts.group_released[:, None, :]
    before, after = (
        joint / np.maximum(known, 1e-12) for joint, known in zip((counts.source, counts.released), given, strict=True)
    )
    return (sign * (after - before))[:, use].mean(axis=1)
