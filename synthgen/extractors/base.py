"""What an extractor must do: turn samples into control maps of their own size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

from synthgen.component import Component
from synthgen.types import ClassInfo, ControlMap, Sample

ExtractorRun = Callable[[Sequence[Sample]], list[ControlMap]]
"""A batch of samples (sizes may differ) to one map each, in order; a map's `kind` is the extractor's kind."""


class Extractor(Component):
    """Source image (and labels) → one control map. In the image the protected regions were removed beforehand."""

    kind: str

    @abstractmethod
    def load(self, device: str) -> ExtractorRun:
        """Load what it needs onto `device` ("cpu", "cuda:0").

        Raises:
            ConfigError: a model that is missing, unpinned or not safetensors.
        """

    def check_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        """Refuse a class table that this extractor can't paint, before work starts.

        Raises:
            ConfigError: names the class without an entry and the key to change.
        """

    def weights(self) -> tuple[str, ...]:
        """The hub ids or local folders of the weights that it loads; their digests enter the run id."""
        return ()
