"""A small head on a frozen EfficientNet-Lite0 (ImageNet): what a pretrained model learns from a set, in a minute.

For segmentation a feature pyramid on strides 4, 8, 16 and 32; for classes a linear layer on the pooled features of the
same strides. Only the head learns, so the features are computed once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from synthgen.learners.base import Learner, Trainee
from synthgen.lite0 import file_digest, weights_file

if TYPE_CHECKING:
    from torch import Tensor


class Lite0Head(Learner):
    """`width`: channels of the pyramid."""

    title: ClassVar[str] = "frozen EfficientNet-Lite0 and a small head"
    kind: Literal["lite0"] = "lite0"
    learning_rate: float = Field(default=3e-3, gt=0)
    width: int = Field(default=64, ge=8, le=512)

    def digest(self) -> str:
        """As `Learner`; of the file in the package."""
        return file_digest(_weights_file())

    def load(self, device: str, classes: int) -> Trainee:
        """As `Learner`."""
        import torch

        from synthgen.learners._heads import TAPS, PooledHead, PyramidHead
        from synthgen.lite0.network import load_network

        backbone = load_network(_weights_file()).to(device)
        channels = tuple(TAPS.values())
        segments = self.task == "segmentation"

        def prepare(pictures: Tensor) -> list[Tensor]:
            with torch.inference_mode():
                found = backbone.taps((pictures.to(device).float() - 127) / 128, tuple(TAPS))
            pooled = [torch.cat([level.mean((2, 3)) for level in found], dim=1)]
            return [level.half().cpu() for level in (found if segments else pooled)]

        head = PyramidHead(channels, self.width, classes) if segments else PooledHead(sum(channels), classes)
        return Trainee(prepare, head.to(device))


def _weights_file() -> Path:
    return weights_file("models.kind: lite0", "choose another kind under models")
