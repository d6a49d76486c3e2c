"""Who is nearest to whom: embeddings of outputs against a gallery of known people.

One guess an identity: an attacker who is given all outputs of a person averages what they say. Each output's distances
to the identities of the gallery (the nearest photograph of each) are standardised, so that an output which is near to
everyone says little, and added up. So guessing succeeds in exactly K of G, however many outputs there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Matrix = NDArray[np.float64]
Indices = NDArray[np.int64]
MIN_STRANGERS = 30
FLAT = 1e-6
"""Distances that differ by less than this share of their mean are the same."""


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where each attacked identity's own gallery stands among all.

    Attributes:
        identities: (n,) those attacked; `rank`: (n,) 1 is the best, ties take the middle.
        gallery: how many identities there were to choose from.
        any_output: (n,) whether at least one of its outputs, alone, ranks it first.
        guess: (n,) the identity that was guessed.
    """

    identities: Indices
    rank: NDArray[np.float64]
    gallery: int
    any_output: NDArray[np.bool_]
    guess: Indices

    def within(self, top: int) -> NDArray[np.bool_]:
        """(n,) whether the own identity is among the first `top`."""
        hits: NDArray[np.bool_] = self.rank <= top
        return hits


def squared_distances(first: NDArray[np.floating], second: NDArray[np.floating]) -> Matrix:
    """(n, d), (m, d) → (n, m) squared Euclidean distances, none negative."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    gaps: Matrix = np.maximum((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 0)
    return gaps


def distances(first: NDArray[np.floating], second: NDArray[np.floating]) -> Matrix:
    """(n, d), (m, d) → (n, m) Euclidean distances."""
    roots: Matrix = np.sqrt(squared_distances(first, second))
    return roots


def rank_identities(gaps: Matrix, probe_identity: Indices, gallery_identity: Indices) -> Ranks:
    """Rank the identities of a gallery for the outputs of each identity that is in it.

    Args:
        gaps: (probes, gallery photographs) distances.
        probe_identity: (probes,); gallery_identity: (gallery photographs,). Probes of others are not attacked.
    """
    known = np.unique(gallery_identity)
    near = np.stack([gaps[:, gallery_identity == one].min(axis=1) for one in known], axis=1)
    spread = near.std(axis=1, keepdims=True)
    scores = (near - near.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1)
    alone = _own_rank(scores, np.searchsorted(known, np.clip(probe_identity, known[0], known[-1])))
    attacked = np.array([one for one in np.unique(probe_identity) if one in known], dtype=np.int64)
    fused = np.stack([scores[probe_identity == one].mean(axis=0) for one in attacked]) if len(attacked) else scores[:0]
    return Ranks(
        attacked,
        _own_rank(fused, np.searchsorted(known, attacked)),
        len(known),
        np.array([(alone[probe_identity == one] <= 1).any() for one in attacked], dtype=np.bool_),
        known[fused.argmin(axis=1)] if len(attacked) else attacked,
    )


def _own_rank(scores: Matrix, own: Indices) -> NDArray[np.float64]:
    mine = scores[np.arange(len(scores)), own][:, None]
    ties = (scores == mine).sum(axis=1) - 1
    ranks: NDArray[np.float64] = 1 + (scores < mine).sum(axis=1) + ties / 2
    return ranks


def far_threshold(impostors: NDArray[np.floating], far: float) -> float:
    """The largest distance at which at most a share `far` of impostor pairs is accepted (distance ≤ threshold).

    Raises:
        ValueError: fewer than 3 / far pairs: the share can't be told.
    """
    if len(impostors) * far < 3 - 1e-9:
        raise ValueError(f"{len(impostors)} impostor pairs; a false acceptance rate of {far:g} takes {3 / far:.0f}")
    ordered = np.sort(impostors)
    return float(np.nextafter(ordered[int(np.floor(len(ordered) * far))], -np.inf))


def equal_error_rate(genuine: NDArray[np.floating], impostors: NDArray[np.floating]) -> float:
    """Where false acceptances and false rejections are equally frequent, 0..1; 0.5 is guessing."""
    cuts = np.sort(np.concatenate([genuine, impostors]))
    accepted = np.searchsorted(np.sort(impostors), cuts, side="right") / len(impostors)
    rejected = 1 - np.searchsorted(np.sort(genuine), cuts, side="right") / len(genuine)
    place = int(np.argmin(np.abs(accepted - rejected)))
    return float((accepted[place] + rejected[place]) / 2)


def single_out(gaps: Matrix, own: NDArray[np.bool_], alpha: float) -> NDArray[np.bool_]:
    """(probes,) whether a probe is nearer to its own than chance explains; see `beyond_impostors`.

    Twice, at half of α each: by distances as they are, and, where there are `MIN_STRANGERS`, by distances less their
    mean over that probe's strangers, in standard deviations (the prediction interval of Student's t). The first finds a
    copy among noise. The second finds who stands out where all others look alike (one face left in among empty edge
    maps), and are therefore nearer to each other than anyone to himself.

    Args:
        gaps: (probes, gallery) distances; `own`: the same shape, whose photograph each is.
    """
    found: NDArray[np.bool_] = np.zeros(len(gaps), np.bool_)
    rows = np.nonzero(own)[0]
    found[rows[beyond_impostors(gaps[own], gaps[~own], alpha / 2)[0]]] = True
    strangers = int((~own).sum(axis=1).min()) if own.size else 0
    if strangers < MIN_STRANGERS or not len(rows):
        return found
    scores = _studentized(gaps, own)
    reach = float(stats.t.ppf(alpha / 2 / len(rows), strangers - 1)) * (1 + 1 / strangers) ** 0.5
    found[rows[scores[own] < min(reach, float(scores[~own].min()))]] = True
    return found


def _studentized(gaps: Matrix, own: NDArray[np.bool_]) -> Matrix:
    """Each distance less the mean of its row's strangers, in their standard deviations; a stranger is left out of the
    mean and deviation that it is measured by (externally studentized residuals), so that all are measured alike."""
    apart = (~own).astype(np.float64)
    count = apart.sum(axis=1, keepdims=True)
    away = gaps - (gaps * apart).sum(axis=1, keepdims=True) / count
    squares = (away**2 * apart).sum(axis=1, keepdims=True)
    shift = np.where(own, 1.0, count / (count - 1))
    freedom = np.where(own, count - 1, count - 2)
    left = np.where(own, squares, squares - shift * away**2)
    spread = np.sqrt(np.maximum(left, 0) / freedom)
    scores: Matrix = away * shift / np.maximum(spread, FLAT * max(float(gaps.mean()), FLAT))
    return scores


def beyond_impostors(
    own: NDArray[np.floating], impostors: NDArray[np.floating], alpha: float
) -> tuple[NDArray[np.bool_], float]:
    """Which own distances can't be chance, each for itself, and the threshold.

    Below every impostor distance, and below the normal quantile at α over the number of own distances: so that a set
    without any leak is called leaking with probability α, and one single leak is still found.
    """
    if len(impostors) < 2 or not len(own):
        return np.zeros(len(own), np.bool_), -np.inf
    quantile = float(impostors.mean() + stats.norm.ppf(alpha / len(own)) * impostors.std())
    limit = min(quantile, float(impostors.min()))
    found: NDArray[np.bool_] = own < limit
    return found, limit
