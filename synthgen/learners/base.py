"""What a learner must do: give a network to be trained on a dataset, of one architecture and for one task.

Nothing here looks at whether a picture is real: a learner sees pictures and targets. `prepare` is the part that never
learns; it is computed once for each picture and kept, so that many trainings on the same pictures are cheap.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from synthgen.component import Component

if TYPE_CHECKING:
    from torch import Tensor, nn

Task = Literal["segmentation", "classes"]
"""The class of each pixel; which classes are in the picture (or, with class folders, which one it is)."""


@dataclass(frozen=True, eq=False)
class Trainee:
    """A network before training.

    Attributes:
        prepare: pictures (n, 3, height, width), uint8, to the tensors, n rows each, that `network` takes as a list.
        network: to logits: (n, classes, h, w), scaled up to the picture by the caller, or (n, classes).
    """

    prepare: Callable[[Tensor], list[Tensor]]
    network: nn.Module


class Learner(Component):
    """A spec of one architecture for one task."""

    title: ClassVar[str]
    """What a report calls the architecture."""
    kind: str
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,47}$")
    task: Task
    learning_rate: float = Field(default=1e-3, gt=0)
    """Of AdamW at the first step; it falls to zero as (1 − progress)^0.9."""

    @abstractmethod
    def digest(self) -> str:
        """Hex that names the weights it starts from; empty where it starts from random ones.

        Raises:
            ConfigError: the weights are missing or not pinned.
        """

    @abstractmethod
    def load(self, device: str, classes: int) -> Trainee:
        """A new network on `device`; what is random in it follows torch's seed.

        Raises:
            ConfigError: the weights are missing or of another model.
        """
