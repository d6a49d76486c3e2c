"""What an embedder must do: name itself and its weights, and turn images into feature vectors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from synthgen.component import Component
from synthgen.types import Image

EmbedderRun = Callable[[Sequence[Image]], NDArray[np.float32]]
"""From images of any size, RGB, 0..255, to (images, features)."""


class Embedder(Component):
    """A frozen network. Its features depend on the image and the weights alone, not on what is in the batch."""

    title: ClassVar[str]
    """What a report calls the features."""
    frechet_name: ClassVar[str] = "Fréchet distance"
    """`FID` for Inception alone: its values compare with nobody else's."""
    mmd_name: ClassVar[str] = "Gaussian MMD"
    """`CMMD` for CLIP alone."""
    kind: str
    batch_size: int = Field(default=16, ge=1)

    @abstractmethod
    def weights(self) -> tuple[str, ...]:
        """Weights references; none where a package brings them."""

    @abstractmethod
    def digest(self) -> str:
        """Hex that names weights and preprocessing: features of equal digest may be mixed.

        Raises:
            ConfigError: the weights are missing or not pinned.
        """

    @abstractmethod
    def load(self, device: str) -> EmbedderRun:
        """The network on `device`.

        Raises:
            ConfigError: the weights are missing or of another model.
        """
