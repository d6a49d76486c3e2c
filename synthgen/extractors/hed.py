"""HED soft edges (Xie & Tu 2015) by the Apache-licensed network that the softedge ControlNets were trained with.

The network of `controlnet_aux.hed` gives five maps of logits at falling resolutions; the edge is the sigmoid of their
mean at the picture's size, as its detector computes it. A picture is read at its own size, which is the generator's.
"""

from __future__ import annotations

from typing import Any, Literal

from synthgen.extractors._annotators import AnnotatorExtractor, pad_to_multiple
from synthgen.extractors.base import ExtractorRun

_STRIDE = 16
"""Four halvings: sides that divide by it keep the five maps aligned."""


class Hed(AnnotatorExtractor):
    """Soft white edges on black, 3 equal channels."""

    kind: Literal["hed"] = "hed"
    file: str = "ControlNetHED.safetensors"

    def load(self, device: str) -> ExtractorRun:
        """Raises ConfigError where controlnet_aux or the weights are missing."""
        import torch
        from torch.nn.functional import interpolate

        network = self.load_network("hed", lambda module: module.ControlNetHED_Apache2(), device)

        def predict(pixels: Any) -> Any:
            height, width = pixels.shape[-2:]
            padded = pad_to_multiple(pixels, _STRIDE)
            size = padded.shape[-2:]
            maps = [interpolate(logits, size, mode="bilinear", align_corners=False) for logits in network(padded)]
            return torch.cat(maps, dim=1).mean(dim=1).sigmoid()[:, :height, :width]

        return self.run_network(predict, device)
