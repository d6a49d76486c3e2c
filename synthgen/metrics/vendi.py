"""Vendi score: the effective number of different images (Friedman & Dieng, arXiv 2210.02410).

exp(−Σ λ log λ) over the eigenvalues λ of K/n, K the cosine similarities. It grows with n, so only equal n compare.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def vendi_score(features: NDArray[np.floating]) -> float:
    """1 (all rows equal) to min(n, d) of (n, d) features, n ≥ 1, none of them zero.

    The eigenvalues that are not 0 are those of XᵀX/n as well, (d, d), so the cost is linear in n.
    """
    unit = features.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    gram = unit.T @ unit if unit.shape[1] < len(unit) else unit @ unit.T
    values = np.linalg.eigvalsh(gram / len(unit))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))
