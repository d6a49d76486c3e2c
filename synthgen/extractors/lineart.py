"""Line drawings (Chan et al. 2022, "Learning to generate line drawings") as the lineart ControlNets expect.

The network of `controlnet_aux.lineart` draws dark lines on white; the ControlNets read white lines on black, so its
output is inverted, as its detector does. The coarse drawing is the same network with other weights (sk_model2).
"""

from __future__ import annotations

from typing import Any, Literal

from synthgen.extractors._annotators import AnnotatorExtractor, pad_to_multiple
from synthgen.extractors.base import ExtractorRun

_STRIDE = 4
"""Two halvings: only sides that divide by it come out of the network as they went in."""


class Lineart(AnnotatorExtractor):
    """White lines on black, 3 equal channels."""

    kind: Literal["lineart"] = "lineart"
    file: str = "sk_model.safetensors"

    def load(self, device: str) -> ExtractorRun:
        """Raises ConfigError where controlnet_aux or the weights are missing."""
        network = self.load_network("lineart", lambda module: module.Generator(3, 1, 3), device)

        def predict(pixels: Any) -> Any:
            height, width = pixels.shape[-2:]
            return 1 - network(pad_to_multiple(pixels / 255, _STRIDE))[:, 0, :height, :width]

        return self.run_network(predict, device)
