"""Is the output a copy of a picture of the source set: any of them, its own too?

**Another source.** A copy has both the composition (perceptual hash) and the content (features of a network) of what
it copies; either alone has false alarms, unless the hash is all but the same. The whole source set is hashed and
embedded once, before the run, whatever `limit` and `splits` leave of it. The limits lie beyond what pictures of
unrelated scenes reach.

**Its own source.** An output shares its source's layout on purpose, so hash and features say little. What it must not
share is the detail: the correlation of the two pictures less their local means. It is taken over the whole picture, and
again over the people alone: a person left in is a small part of a picture, and edges that the generator was told to
follow lie outside the people, so the limit there is lower. Sources that are near-duplicates of its own (the next frame
of a video) have that layout, too, and are left to this rule.

An output costs one product with the features of all sources: about 2 ms for 10,000 of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthgen.checks._likeness import HASH_BITS, correlation, hash_gaps, perceptual_hash
from synthgen.checks.base import Candidate, Check, CheckRun, Learned
from synthgen.component import components
from synthgen.embedders.base import Embedder, EmbedderRun
from synthgen.types import Image, Mask, Region, Sample, Score

MIN_PIXELS = 1024
"""Fewer pixels say nothing by their correlation."""


class CopyCheck(Check):
    """The score's value is the correlation with its own source as a share of its limit (the greater of picture and
    people): above 1 the output is rejected. None where too few pixels are new."""

    learns: ClassVar[bool] = True
    kind: Literal["copy"] = "copy"
    features: components("embedders", Embedder) = Field(default="lite0", validate_default=True)  # type: ignore[valid-type]
    cosine: float = Field(default=0.75, gt=0, le=1)
    bits: int = Field(default=14, ge=0, le=HASH_BITS)
    same_bits: int = Field(default=6, ge=0, le=HASH_BITS)
    """Another source is copied if the features' cosine is at least `cosine` and at most `bits` of the hash differ; or
    at most `same_bits` do (a blur changes the features and leaves the hash). Of 16,405 pairs of unrelated photographs
    none was within these limits; of copies (JPEG, half size, brighter, grey, grainy, blurred, 2 % cut off) at least
    95 % of each were, with 5 % cut off at every side 87 %."""
    own: float = Field(default=0.92, gt=0, le=1)
    own_people: float = Field(default=0.7, gt=0, le=1)
    """A correlation above these, of the whole picture or of the people, is a copy of its own source. Street scenes that
    were painted along the source's edges reached 0.80 as a whole and 0.51 in the people; copies (JPEG, half size,
    brighter, grey, grainy, blurred at σ = 1.2 % of the longer side) lay above 0.95, blurred at 2 % above 0.85."""

    def weights(self) -> tuple[str, ...]:
        """Those of the features."""
        refs: tuple[str, ...] = self.features.weights()
        return refs

    def learn(self, sources: Iterable[Sample], device: str) -> Learned:
        """`digests` (n, 32), `hashes` (n,) and `features` (n, d) of unit length."""
        embed = self.features.load(device)
        digests, hashes, features = [], [], []
        for batch in _batches(sources, self.features.batch_size):
            digests += [np.frombuffer(bytes.fromhex(sample.digest), dtype=np.uint8) for sample in batch]
            hashes += [perceptual_hash(sample.image) for sample in batch]
            features.append(_unit(embed([sample.image for sample in batch])))
        return {
            "digests": np.array(digests, dtype=np.uint8).reshape(-1, 32),
            "hashes": np.array(hashes, dtype=np.uint64),
            "features": np.concatenate(features) if features else np.zeros((0, 1), np.float32),
        }

    def load(self, device: str, learned: Learned) -> CheckRun:
        """Load the network of the features."""
        embed: EmbedderRun = self.features.load(device)

        def check(candidate: Candidate) -> Score:
            sample, output = candidate.sample, candidate.generated.image
            found = own_likeness(candidate)
            limits = {"picture": self.own, "people": self.own_people}
            value = max((likeness / limits[name] for name, likeness in found.items()), default=None)
            copied = [f"{name} {found[name]:.2f}" for name in found if found[name] > limits[name]]
            if copied:
                return Score("copy", value, False, f"correlation with its own source: {', '.join(copied)}")
            if self._copies_another(embed, learned, sample, output):
                return Score("copy", value, False, "a copy of another picture of the source")
            return Score("copy", value, True)

        return check

    def _copies_another(self, embed: EmbedderRun, learned: Learned, sample: Sample, output: Image) -> bool:
        """Whether the output is a copy of a source that is neither its own nor a near-duplicate of its own."""
        if not len(learned["hashes"]):
            return False
        own = (learned["digests"] == np.frombuffer(bytes.fromhex(sample.digest), dtype=np.uint8)).all(axis=1)
        kin = own | self._near(learned, perceptual_hash(sample.image), learned["features"][own])
        near = self._near(learned, perceptual_hash(output), _unit(embed([output])))
        return bool((near & ~kin).any())

    def _near(self, learned: Learned, one: int, features: NDArray[np.float32]) -> NDArray[np.bool_]:
        """(n,) which sources are within the limits of a picture with this hash and these features (1 or 0 rows)."""
        gaps = hash_gaps(learned["hashes"], one)
        alike = np.zeros(len(gaps), dtype=np.bool_)
        if len(features):
            alike = (learned["features"] @ features[0]) >= self.cosine
        return (alike & (gaps <= self.bits)) | (gaps <= self.same_bits)


def own_likeness(candidate: Candidate) -> dict[str, float]:
    """The correlations with its own source: over the `picture` (where all of it is new) and over the new `people`.

    People are the boxes of all regions; where the background is kept they are whatever is new. One that has too few
    pixels to tell is not there.
    """
    source, output = candidate.sample.image, candidate.generated.image
    if candidate.kept is not None:
        places = {"people": ~candidate.kept}
    else:
        shape = source.shape[:2]
        places = {"picture": np.ones(shape, dtype=np.bool_), "people": _union(candidate.regions, shape)}
    return {name: correlation(source, output, where) for name, where in places.items() if where.sum() >= MIN_PIXELS}


def _union(regions: Iterable[Region], shape: tuple[int, ...]) -> Mask:
    """The pixels of the regions' boxes."""
    union: Mask = np.zeros(shape, dtype=np.bool_)
    for region in regions:
        box = region.box
        union[max(int(box.y0), 0) : int(np.ceil(box.y1)), max(int(box.x0), 0) : int(np.ceil(box.x1))] = True
    return union


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (features / np.maximum(norms, 1e-12)).astype(np.float32)
    return unit


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    waiting = iter(samples)
    while batch := list(islice(waiting, size)):
        yield batch
