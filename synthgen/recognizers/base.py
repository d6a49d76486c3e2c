"""What a recogniser must do: turn a face or a person in a known box into an embedding of who it is.

Boxes come from the original, and every box is embedded, whether or not anyone would find a face in it: a recogniser
that skips what its detector misses calls a blurred face safe that it would still match. So there is no detection here,
no "no face", and one row for each box that went in.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from synthgen.component import Component
from synthgen.types import Box, Image

Embeddings = NDArray[np.float32]
"""(boxes, width)."""
Distances = NDArray[np.float64]
Subject = Literal["face", "person"]


class LoadedRecognizer(ABC):
    """A recogniser with its weights. Safe to call from several threads at once."""

    width: int
    """Numbers in an embedding."""
    threshold: float
    """Euclidean distance at or below which two embeddings are taken for one identity."""

    @abstractmethod
    def embed(self, images: Sequence[Image], boxes: Sequence[Box]) -> Embeddings:
        """(n, width), finite, row i for `boxes[i]` of `images[i]`; it depends on that image and box alone.

        Args:
            images: RGB, 0..255; one that has several boxes stands once for each.
            boxes: pixels of their image; they may reach out of its frame.

        Raises:
            ValueError: not one box for each image.
        """


class Recognizer(Component):
    """A frozen network. Embeddings of equal `digest` may be compared with each other, no others."""

    kind: str
    subject: Subject
    """What its boxes hold: faces, or whole persons."""

    def weights(self) -> tuple[str, ...]:
        """The hub ids or local folders of the weights that it loads; their digests enter the run id.

        Weights that are one file (of a package, or ONNX) are pinned by a digest among the keys instead.
        """
        return ()

    @abstractmethod
    def digest(self) -> str:
        """Hex that names weights and preprocessing; nothing is loaded.

        Raises:
            ConfigError: the weights are missing or not pinned.
        """

    @abstractmethod
    def load(self, device: str) -> LoadedRecognizer:
        """The network on `device`.

        Raises:
            ConfigError: a package or the weights are missing, or the weights are others than those pinned.
        """


def paired_distances(first: Embeddings, second: Embeddings) -> Distances:
    """(n,) Euclidean distance of row i to row i."""
    gaps: Distances = np.linalg.norm(first.astype(np.float64) - second.astype(np.float64), axis=1)
    return gaps


def unit_rows(rows: Embeddings) -> Embeddings:
    """(n, width) with every row scaled to length 1; a row of zeros stays."""
    lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    scaled: Embeddings = (rows / lengths).astype(np.float32)
    return scaled
