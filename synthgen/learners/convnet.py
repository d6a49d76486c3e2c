"""A small convolutional network that starts from random weights: what a set teaches to somebody who knows nothing.

For segmentation a U-Net (arXiv 1505.04597) on a stem of stride 2, for classes its encoder with a linear layer on the
mean of its last features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from synthgen.learners.base import Learner, Trainee

if TYPE_CHECKING:
    from torch import Tensor


class ConvNet(Learner):
    """`width`: channels after the stem, which double at each of `depth` further halvings."""

    title: ClassVar[str] = "convolutional network from random weights"
    kind: Literal["convnet"] = "convnet"
    learning_rate: float = Field(default=3e-3, gt=0)
    width: int = Field(default=12, ge=4, le=256)
    depth: int = Field(default=3, ge=1, le=5)

    def digest(self) -> str:
        """As `Learner`: empty."""
        return ""

    def load(self, device: str, classes: int) -> Trainee:
        """As `Learner`."""
        from synthgen.learners._convnet import ClassNet, UNet

        network = (UNet if self.task == "segmentation" else ClassNet)(self.width, self.depth, classes)

        def prepare(pictures: Tensor) -> list[Tensor]:
            return [pictures]

        return Trainee(prepare, network.to(device))
