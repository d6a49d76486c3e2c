"""Membership inference: does the model paint what it was trained on with less loss than what it never saw?

A model that was tuned on the private photographs may have learnt them by heart. The attack takes the denoising loss of
each image as its score (Carlini et al., arXiv 2301.13188) and is judged where it hurts: true positives at a false
positive rate of 0.1 % (arXiv 2112.03570), not on average.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FPR = 1e-3


@dataclass(frozen=True, eq=False)
class Membership:
    """`hits`: (members,) those told from outsiders at a false positive rate of `fpr`; `auc` 0.5 is guessing."""

    hits: NDArray[np.bool_]
    fpr: float
    auc: float


def infer_membership(members: NDArray[np.floating], outsiders: NDArray[np.floating], fpr: float = FPR) -> Membership:
    """Which members have a loss below all but a share `fpr` of the outsiders.

    Raises:
        ValueError: too few outsiders for that rate (1 / fpr), or a loss that is not finite.
    """
    if len(outsiders) < 1 / fpr or not len(members):
        raise ValueError(
            f"{len(members)} members and {len(outsiders)} outsiders; the rate takes {1 / fpr:.0f} outsiders"
        )
    if not (np.isfinite(members).all() and np.isfinite(outsiders).all()):
        raise ValueError("a loss is not finite")
    ordered = np.sort(outsiders)
    limit = ordered[int(np.floor(len(ordered) * fpr))]
    below = np.searchsorted(ordered, members, side="left")
    upto = np.searchsorted(ordered, members, side="right")
    return Membership(members < limit, fpr, float(1 - ((below + upto) / 2).mean() / len(ordered)))
