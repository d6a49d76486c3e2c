"""What a check must do: judge one output. An output is accepted only if every check passed it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from synthgen.component import Component
from synthgen.types import Controls, Generated, Sample, Score

CheckRun = Callable[[Sample, Controls, Generated], Score]


class Check(Component):
    """(source sample, controls, output) → score. A score whose `passed` is not True rejects the output."""

    kind: str

    @abstractmethod
    def load(self, device: str) -> CheckRun:
        """Load what it needs onto `device`."""

    def weights(self) -> tuple[str, ...]:
        """The hub ids or local folders of the weights that it loads; their digests enter the run id."""
        return ()
