"""What a detector must do: find the regions that may identify someone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from synthgen.component import Component
from synthgen.detectors._labelled import labelled_faces
from synthgen.types import ClassInfo, Region, Sample

__all__ = ["Detector", "DetectorRun", "labelled_faces"]

DetectorRun = Callable[[Sequence[Sample]], list[list[Region]]]
"""A batch of samples (sizes may differ) to the regions of each, in order. Safe to call from several threads at once."""


class Detector(Component):
    """Sample → regions. No region is not "no person": what a detector missed, labels or another one may find."""

    kind: str

    @abstractmethod
    def load(self, device: str) -> DetectorRun:
        """Load what it needs onto `device`.

        Raises:
            ConfigError: a package or model is missing; the message says how to get it.
        """

    def check_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        """Refuse a class table that this detector can't work on, before work starts.

        Raises:
            ConfigError: names what is missing from the table and the key to change.
        """

    def weights(self) -> tuple[str, ...]:
        """The hub ids or local folders of the weights that it loads; their digests enter the run id."""
        return ()
