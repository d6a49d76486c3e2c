"""A segmenter over a palette's classes: a SegFormer (arXiv 2105.15203) for the maps of images that come without masks,
and a pyramid on frozen features (lite0/pyramid.py) to judge labels, so that the judge is not of the extractor's kind.

Its class names are the palette's and class 0 is `unknown`, so an extractor needs no class map to paint what it says.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

from synthgen.lite0 import file_digest, pyramid, weights_file
from synthgen.lite0.config import Lite0PyramidConfig
from synthgen.palettes import Palette, load_palette
from synthgen.pretrained import architecture_of
from synthgen.training.data import cut_ids, cut_image, draw_window, pack_crops, pick_source
from synthgen.training.kinds import SegmenterSpec
from synthgen.training.loop import Batch, Task, slot_rng
from synthgen.training.photometric import camera_jitter
from synthgen.training.pictures import maps_to_tensor, sheet
from synthgen.training.spec import Pair
from synthgen.types import ConfigError, Image
from synthgen.weights import digest_weights, resolve_weights

IGNORED = 255
Scaling = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Mean and deviation of each channel, taken out of pixels in 0..1."""
SCALINGS: dict[str, Scaling] = {
    "segformer": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "lite0-pyramid": (pyramid.MEAN, pyramid.STD),
}
"""By architecture; ImageNet's is the default of transformers' SegFormer processor."""
PREVIEWS = 6


class SegmenterLoss(nn.Module):
    """`forward({"pixels": (batch, 3, height, width) normalised, "ids": (batch, height, width) int64})`."""

    weights: Tensor

    def __init__(self, model: Any, weights: Tensor) -> None:
        super().__init__()
        self.model: Any = model
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """(weighted cross-entropy at the labels' size, {accuracy: share of labelled pixels that are right})."""
        logits = self.logits(batch).float()
        logits = F.interpolate(logits, batch["ids"].shape[-2:], mode="bilinear")
        loss = F.cross_entropy(logits, batch["ids"], self.weights, ignore_index=IGNORED)
        labelled = batch["ids"] != IGNORED
        right = (logits.argmax(1) == batch["ids"]) & labelled
        return loss, {"accuracy": right.sum() / labelled.sum().clamp(min=1)}

    def logits(self, batch: Batch) -> Tensor:
        """What the model says of a batch."""
        logits: Tensor = self.model(pixel_values=batch["pixels"]).logits
        return logits


class SegmenterTask(Task):
    """One source a step (their crops differ in shape), windows of the packed crops, under changed light."""

    module: SegmenterLoss
    loss: ClassVar[type[SegmenterLoss]] = SegmenterLoss

    def __init__(self, spec: SegmenterSpec, accelerator: Accelerator) -> None:
        self.spec, self.palette = spec, load_palette(spec.palette)
        self.scaling = SCALINGS[spec.architecture]
        unknown = sorted(set(spec.class_weights) - set(self.palette.names))
        if unknown:
            raise ConfigError(f"class_weights: {unknown} are no classes of the palette {spec.palette}")
        cache, workers = spec.out / "cache", spec.execution.workers
        self.packs = [pack_crops(source, cache, spec.seed, self.palette, workers) for source in spec.sources]
        torch.manual_seed(spec.seed)
        weights = torch.tensor([spec.class_weights.get(name, 1.0) for name in self.palette.names])
        self.module = self.loss(make_segmenter(spec, self.palette), weights)

    def slots(self, step: int) -> int:
        """The same in every step."""
        return self.spec.optimisation.batch_size

    def batch(self, step: int, slots: Sequence[int]) -> Batch:
        """Normalised pixels and palette ids of one source."""
        chosen = pick_source(self.packs, self.spec.sources, np.random.default_rng((self.spec.seed, step)))
        rngs = [slot_rng(self.spec.seed, step, slot) for slot in slots]
        pairs = [self.view(chosen, int(rng.integers(len(self.packs[chosen]))), rng) for rng in rngs]
        ids = torch.from_numpy(np.stack([pair[1] for pair in pairs]).astype(np.int64))
        return {"pixels": normalise([pair[0] for pair in pairs], self.scaling), "ids": ids}

    def view(self, chosen: int, row: int, rng: np.random.Generator) -> tuple[Image, NDArray[np.uint8]]:
        """A window of one crop under changed light, and its labels at 1/`label_stride`."""
        pack, source = self.packs[chosen], self.spec.sources[chosen]
        size = view_size(self.spec.view, source.size)
        low, high = np.log(self.spec.view_scales)
        share = min(float(np.exp(rng.uniform(low, high))), 1.0)
        window = draw_window(source.size, size, share, 0.5, rng)
        image = camera_jitter(cut_image(pack["image"][row], window, size), rng)
        stride = self.spec.label_stride
        ids = cut_ids(pack["ids"][row], window, (size[0] // stride, size[1] // stride))
        return image, np.where(ids == 0, IGNORED, ids) if source.unknown == "ignore" else ids

    def picture(self) -> Image:
        """Rows of photograph, labels and what the model says."""
        rows: list[list[Image]] = []
        device = self.module.weights.device
        for pack in self.packs:
            for row in np.linspace(0, len(pack) - 1, max(PREVIEWS // len(self.packs), 1)).astype(int):
                image, ids = pack["image"][row], pack["ids"][row]
                logits = self.module.model(pixel_values=normalise([image], self.scaling).to(device)).logits.float()
                found = F.interpolate(logits, ids.shape, mode="bilinear").argmax(1)[0].cpu().numpy()
                rows.append([image, self.palette.paint(ids), self.palette.paint(found)])
        return sheet(rows)

    def export(self, folder: Path) -> None:
        """A transformers folder: config.json, safetensors (float16 with `half`), preprocessor_config.json."""
        model = copy.deepcopy(self.module.model)
        (model.half() if self.spec.half else model).save_pretrained(folder)
        width, height = view_size(self.spec.view, self.spec.sources[0].size)
        mean, std = self.scaling
        size = {"height": height, "width": width}
        SegformerImageProcessor(size=size, image_mean=list(mean), image_std=list(std)).save_pretrained(folder)

    def digests(self) -> dict[str, str]:
        """The packed crops, and the weights it started from."""
        found = {f"source.{index}": pack.digest for index, pack in enumerate(self.packs)}
        return found if self.spec.start is None else {**found, "start": digest_weights(self.spec.start)}


def normalise(images: Sequence[Image], scaling: Scaling) -> Tensor:
    """uint8 images of one size → (n, 3, height, width) with mean and deviation taken out."""
    mean, std = (torch.tensor(values)[:, None, None] for values in scaling)
    return (maps_to_tensor(images) - mean) / std


def view_size(view: Pair, size: Pair) -> Pair:
    """(short, long) as (width, height) in the direction of `size` (width, height)."""
    short, long = view
    return (long, short) if size[0] >= size[1] else (short, long)


def make_segmenter(spec: SegmenterSpec, palette: Palette) -> Any:
    """A segmenter of the spec's architecture and sizes over the palette's names, or the one under `start`.

    Raises:
        ConfigError: `start` is of another architecture or has other classes than the palette.
    """
    names = dict(enumerate(palette.names))
    if spec.start is not None:
        return _load_start(spec.start, spec, names)
    named: dict[str, Any] = {"id2label": names, "label2id": {name: index for index, name in names.items()}}
    if spec.architecture == "lite0-pyramid":
        backbone = file_digest(weights_file("architecture lite0-pyramid", "set architecture: segformer"))
        config = Lite0PyramidConfig(width=spec.decoder_width, backbone_sha256=backbone, **named)
        return pyramid.Lite0PyramidForSemanticSegmentation(config)
    return SegformerForSemanticSegmentation(
        SegformerConfig(
            depths=list(spec.depths),
            hidden_sizes=list(spec.widths),
            num_attention_heads=list(spec.heads),
            sr_ratios=[8, 4, 2, 1],
            mlp_ratios=[4, 4, 4, 4],
            decoder_hidden_size=spec.decoder_width,
            drop_path_rate=spec.drop_path,
            classifier_dropout_prob=spec.dropout,
            **named,
        )
    )


def _load_start(ref: str, spec: SegmenterSpec, names: dict[int, str]) -> Any:
    classes: dict[str, Any] = {
        "segformer": SegformerForSemanticSegmentation,
        "lite0-pyramid": pyramid.Lite0PyramidForSemanticSegmentation,
    }
    folder, wanted = resolve_weights(ref), classes[spec.architecture]
    _, found = architecture_of(folder, ref, ("ForSemanticSegmentation",))
    if found != wanted.__name__:
        raise ConfigError(f"start: {ref} is a {found}, architecture is {spec.architecture}; change one")
    model = wanted.from_pretrained(folder, dtype=torch.float32)
    if {int(index): name for index, name in model.config.id2label.items()} != names:
        raise ConfigError(f"start: {ref} has other classes than the palette {spec.palette}")
    return model
