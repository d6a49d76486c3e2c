"""A pyramid on a frozen backbone (lite0/pyramid.py): its features are computed once, then only the pyramid is trained.

A step then costs a quarter of what it would with the backbone in it. The price is that a crop is always seen in the one
view that was drawn for it, so `sources.crops` is what gives variety.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from synthgen.lite0.pyramid import TAPS
from synthgen.seeds import derive_seed
from synthgen.training.data import pick_source
from synthgen.training.kinds import SegmenterSpec
from synthgen.training.loop import Batch, slot_rng
from synthgen.training.pack import PackWriter, map_ahead, open_pack
from synthgen.training.segmenter import SegmenterLoss, SegmenterTask, normalise

LEVELS = tuple(f"level{number}" for number in range(len(TAPS)))
DECIDING = {"palette", "view", "view_scales", "label_stride", "seed"}
"""Keys of the spec that decide the views."""


class PyramidLoss(SegmenterLoss):
    """`forward({"level0": (batch, channels, h, w), …, "ids": (batch, height, width) int64})`."""

    def logits(self, batch: Batch) -> Tensor:
        """What the pyramid says of a batch of features."""
        logits: Tensor = self.model.read([batch[name] for name in LEVELS])
        return logits


class PyramidTask(SegmenterTask):
    """As `SegmenterTask`, on stored features."""

    loss: ClassVar[type[SegmenterLoss]] = PyramidLoss

    def __init__(self, spec: SegmenterSpec, accelerator: Accelerator) -> None:
        super().__init__(spec, accelerator)
        self.module.model.to(accelerator.device).eval()
        self.features = [self._pack(place) for place in range(len(spec.sources))]
        self.module.model.train()

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """Features and palette ids of one source."""
        chosen = pick_source(self.packs, self.spec.sources, np.random.default_rng((self.spec.seed, step)))
        pack = self.features[chosen]
        rows = [int(slot_rng(self.spec.seed, step, slot).integers(len(pack))) for slot in slots]
        batch = {name: torch.from_numpy(np.stack([pack[name][row] for row in rows])).float() for name in LEVELS}
        return {**batch, "ids": torch.from_numpy(np.stack([pack["ids"][row] for row in rows]).astype(np.int64))}

    def _pack(self, place: int) -> Any:
        spec, crops, model = self.spec, self.packs[place], self.module.model
        source = spec.sources[place]

        def draw(row: int) -> tuple[Any, Any]:
            note = crops.notes[row]
            rng = np.random.default_rng(derive_seed(spec.seed, note["id"], note["crop"], 0, "view"))
            return self.view(place, row, rng)

        def build(writer: PackWriter) -> None:
            drawn = map_ahead(draw, range(len(crops)), spec.execution.workers)
            for (image, ids), note in zip(drawn, crops.notes, strict=True):
                levels = model.levels(normalise([image], self.scaling).to(model.device))
                found = {name: level[0].half().cpu().numpy() for name, level in zip(LEVELS, levels, strict=True)}
                writer.append({**found, "ids": ids.astype(np.uint8)}, note)

        made_from = {
            "crops": crops.digest,
            "backbone": model.config.backbone_sha256,
            "unknown": source.unknown,
            **spec.model_dump(mode="json", include=DECIDING),
        }
        return open_pack(spec.out / "cache", "features", made_from, build)
