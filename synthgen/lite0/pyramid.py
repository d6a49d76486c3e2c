"""A segmenter whose backbone is not trained: a small feature pyramid on the packaged EfficientNet-Lite0.

A judge of labels needs to know the classes and little else, and a CPU can teach a pyramid on frozen ImageNet features
in an hour, where a network from scratch would take days. It is a model of `transformers` by its class, so a reference
to its folder serves wherever one to a SegFormer does. The folder holds the pyramid alone; `backbone_sha256` in its
config names the file in the package, so the folder's digest pins both.

The design is the semantic branch of Panoptic FPN (arXiv 1901.02446), without its top-down path: the side outputs at
strides 4, 8, 16 and 32 are brought to one width, to stride 4, and added.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForSemanticSegmentation, PreTrainedModel
from transformers.modeling_outputs import SemanticSegmenterOutput

from synthgen.lite0.config import Lite0PyramidConfig, check_backbone
from synthgen.lite0.network import Lite0Network, load_network

TAPS = {2: 24, 4: 40, 10: 112, 15: 320}
"""Block → channels of its output; strides 4, 8, 16, 32."""
MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""What the backbone takes out of pixels in 0..1."""


class Lite0PyramidForSemanticSegmentation(PreTrainedModel):
    """Pixels (n, 3, height, width), normalised by `MEAN` and `STD` → logits (n, classes, height / 4, width / 4).

    The backbone is no submodule: it is neither trained nor saved nor ever in train mode, and is read from the package
    with the first picture.
    """

    config_class = Lite0PyramidConfig
    main_input_name = "pixel_values"

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        width = config.width
        self.sides = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in TAPS.values())
        self.mix = nn.Sequential(
            *(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False)),
            *(nn.BatchNorm2d(width), nn.ReLU()),
        )
        self.classifier = nn.Conv2d(width, config.num_labels, 1)
        self._frozen: tuple[Lite0Network, ...] = ()
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, pixel_values: Tensor, **_: Any) -> SemanticSegmenterOutput:
        """As every `…ForSemanticSegmentation`.

        Raises:
            ConfigError: as `levels`.
        """
        return SemanticSegmenterOutput(logits=self.read(self.levels(pixel_values)))

    @torch.no_grad()
    def levels(self, pixel_values: Tensor) -> list[Tensor]:
        """What the backbone sees: (n, channels, height / stride, width / stride) for each of `TAPS`.

        Raises:
            ConfigError: the package is not installed, or its file is another.
        """
        if not self._frozen:
            network = load_network(check_backbone(self.config))
            self._frozen = (network.to(pixel_values.device).to(memory_format=torch.channels_last),)  # type: ignore[call-overload]
        return self._frozen[0].taps(pixel_values.to(memory_format=torch.channels_last), tuple(TAPS))

    def read(self, levels: Sequence[Tensor]) -> Tensor:
        """Logits of what the backbone saw: all that is trained."""
        size = levels[0].shape[-2:]
        sides = [F.interpolate(side(x), size, mode="bilinear") for side, x in zip(self.sides, levels, strict=True)]
        logits: Tensor = self.classifier(self.mix(torch.stack(sides).sum(0)))
        return logits

    def _apply(self, fn: Any, recurse: bool = True) -> Any:
        """`.to`, `.float` and the like reach the backbone too."""
        for network in self._frozen:
            network._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]


AutoModelForSemanticSegmentation.register(Lite0PyramidConfig, Lite0PyramidForSemanticSegmentation, exist_ok=True)
