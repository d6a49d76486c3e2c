"""What a check must do: judge one output. An output is accepted only if every check passed it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from synthgen.component import Component
from synthgen.types import ClassInfo, Generated, Mask, Region, Sample, Score


@dataclass(frozen=True, eq=False)
class Candidate:
    """An output and what it is judged against.

    `regions` are those found in the source. `kept` (height, width) is True where the run keeps the source's pixels on
    purpose (the background, in mode `people` and in a classic redaction); None where every pixel is new. `unlabels`
    tells whether a released label can be set to *ignore* at single pixels.
    """

    sample: Sample
    regions: tuple[Region, ...]
    kept: Mask | None
    generated: Generated
    unlabels: bool = False


CheckRun = Callable[[Candidate], Score]
"""Safe to call from several threads at once."""
Learned = Mapping[str, NDArray[Any]]
"""What a check knows of the whole source set, by name; plain arrays, without ids."""


class Check(Component):
    """Candidate → score. A score whose `passed` is not True rejects the output."""

    escalates: ClassVar[bool] = False
    """Whether a rejected output goes to the next stage at once, and not to another seed of the same protection: so for
    whatever finds an identity, since one that is drawn again until it passes is still the same person's."""
    learns: ClassVar[bool] = False
    """Whether it has to see the whole source set before the run begins."""
    stays: ClassVar[bool] = False
    """Whether what it rejects is tried with other seeds only, never in a later stage: so for what stronger protection
    makes worse."""
    independent: ClassVar[bool] = False
    """Whether it means nothing if its weights are those of an extractor, whose map the output was painted from."""
    kind: str

    @property
    def unlabels(self) -> bool:
        """Whether it needs a source whose released labels can be set to *ignore* at single pixels."""
        return False

    @property
    def learns_from(self) -> int | None:
        """How many sources it has to see at most, spread evenly over the set; None for all of them."""
        return None

    def check_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        """Refuse a class table that this check can't work on, before work starts.

        Raises:
            ConfigError: names what is missing and the key to change.
        """

    def learn(self, sources: Iterable[Sample], device: str) -> Learned:
        """What `load` gets to know of the source set. Called once a run, on one rank, if `learns`."""
        return {}

    @abstractmethod
    def load(self, device: str, learned: Learned) -> CheckRun:
        """Load what it needs onto `device`.

        Args:
            learned: what `learn` gave; empty where it does not learn.

        Raises:
            ConfigError: a package or model is missing; the message says how to get it.
        """

    def weights(self) -> tuple[str, ...]:
        """The hub ids or local folders of the weights that it loads; their digests enter the run id."""
        return ()
