"""Training an attacker: a linear head on a frozen network, fitted to people other than those it attacks.

Features are centred for each kind of picture (photograph, output), cut to their principal components, whitened by how
much pictures of one person differ among themselves (within-class covariance normalisation, Hatch, Kajarekar and
Stolcke 2006), and scaled to unit length. Trained on photographs alone it is the *lazy* attacker; with outputs of the
same people beside them, the *informed* one, who has learnt what the anonymiser leaves (arXiv 2304.01635).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]
COMPONENTS = 150
"""Principal components at most; also at most a third of the pictures, since a covariance needs more than that."""
WIDTH = 256
"""Features of wider networks are cut to so many principal components before anything else."""
SHRINKAGE = 0.3
"""Share of the within-person covariance that is spread evenly: it is estimated from a few hundred pictures."""


@dataclass(frozen=True, eq=False)
class Head:
    """A map from features of a network to features of identity, with one mean for each kind of picture."""

    real_mean: Features
    output_mean: Features
    matrix: Features

    def real(self, features: NDArray[np.floating]) -> Features:
        """(n, d) features of photographs → (n, c), unit length."""
        return _unit((features - self.real_mean) @ self.matrix)

    def output(self, features: NDArray[np.floating]) -> Features:
        """(n, d) features of outputs → (n, c), unit length."""
        return _unit((features - self.output_mean) @ self.matrix)


def train_head(
    real: NDArray[np.floating],
    real_identity: NDArray[np.int64],
    output: NDArray[np.floating] | None = None,
    output_identity: NDArray[np.int64] | None = None,
) -> Head | None:
    """Fit a head; None where there are too few people with two pictures to learn anything.

    Args:
        real: (n, d) features of photographs; `output`: (m, d) of outputs of the same people, for an informed attacker.
    """
    real_mean = real.mean(axis=0)
    output_mean = real_mean if output is None or not len(output) else output.mean(axis=0)
    rows, names = real - real_mean, real_identity
    if output is not None and output_identity is not None:
        rows = np.concatenate([rows, output - output_mean])
        names = np.concatenate([names, output_identity])
    _, groups, counts = np.unique(names, return_inverse=True, return_counts=True)
    if (counts > 1).sum() < 3:
        return None
    rows = rows.astype(np.float64)
    basis = principal_axes(rows, min(COMPONENTS, len(rows) // 3))
    width = basis.shape[1]
    points = rows @ basis
    means = np.stack([np.bincount(groups, points[:, one]) / counts for one in range(width)], axis=1)
    inner = points - means[groups]
    spread = inner.T @ inner / max(len(rows) - len(counts), 1)
    even = np.trace(spread) / width
    if even <= 0:
        return Head(real_mean, output_mean, basis)
    values, vectors = np.linalg.eigh((1 - SHRINKAGE) * spread + SHRINKAGE * even * np.eye(width))
    return Head(real_mean, output_mean, basis @ (vectors / np.sqrt(values)))


def principal_axes(rows: Features, count: int) -> Features:
    """(n, d) centred rows → (d, c) the orthonormal axes of the largest variance, c ≤ `count`, at least one."""
    values, axes = np.linalg.eigh(rows.T @ rows)
    values, axes = values[-max(count, 1) :], axes[:, -max(count, 1) :]
    kept = values > 1e-12 * max(values[-1], 0)
    kept[-1] = True
    found: Features = axes[:, kept]
    return found


def narrow(*parts: NDArray[np.floating]) -> list[NDArray[np.float32]]:
    """Several sets of features (n, d) of one network, on their joint principal axes where d is above `WIDTH`.

    Distances within and between them stay nearly as they are; what is trained on them trains faster.
    """
    if parts[0].shape[1] <= WIDTH:
        return [part.astype(np.float32) for part in parts]
    rows = np.concatenate(parts).astype(np.float64)
    mean = rows.mean(axis=0)
    axes = principal_axes(rows - mean, WIDTH)
    return [((part - mean) @ axes).astype(np.float32) for part in parts]


def _unit(rows: Features) -> Features:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
