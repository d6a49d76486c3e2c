"""What detectors by an object-detection network have in common: where the network is, and how an image is shown to it.

The network is a model of `transformers` (DETR, RT-DETR, YOLOS …) by weights reference, or an ONNX file of the YOLO
family. Large images are seen whole and in tiles, so that small objects are found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from synthgen.batches import predict_by_size
from synthgen.detectors._views import Floats, crop_view, merge_boxes, plan_views, to_image
from synthgen.detectors._yolo import Layout, YoloFinder
from synthgen.detectors.base import Detector
from synthgen.pinned import read_pinned
from synthgen.pretrained import architecture_of, processor_and_model
from synthgen.regions import clip_box
from synthgen.types import Box, ConfigError, Sample
from synthgen.weights import resolve_weights

BoxFinder = Callable[[Sequence[Sample]], list[list[tuple[Box, float]]]]


class BoxModel(Detector):
    """The keys of a detector that an object-detection network does the work of. One of `model` and `file` is given."""

    words: ClassVar[frozenset[str]]
    """A class of the network is wanted if its name holds one of these words (`classes: auto`)."""
    model: str | None = None
    """Weights reference of an object detector of transformers: a local folder, or `org/name@<commit>`."""
    classes: Literal["auto"] | tuple[str, ...] = "auto"
    """The names of the model's classes that are wanted."""
    file: Path | None = None
    """An ONNX file of the YOLO family, in place of `model`."""
    sha256: str = ""
    """Digest of `file`."""
    layout: Layout = "yolov8"
    """How `file` gives its boxes; see _yolo.py."""
    class_ids: tuple[int, ...] = Field(default=(0,), min_length=1)
    """The numbers of the classes of `file` that are wanted."""
    threshold: float = Field(default=0.3, gt=0, lt=1)
    """Least score of an object. A false one costs a patch of edges, a missed one costs a person."""
    tile: int = Field(default=1333, ge=128, le=8192)
    """Images whose longer side (pixels) is more are seen whole, and again in tiles of this size."""
    overlap: float = Field(default=0.25, ge=0, le=0.5)
    """Share of a tile's side that its neighbour sees too."""
    batch_size: int = Field(default=1, ge=1)
    """Views at once; a partial batch is filled up."""

    @model_validator(mode="after")
    def _one_network(self) -> BoxModel:
        if self.model is not None and self.file is not None:
            raise ValueError("model and file are two networks: give one of them")
        if self.file is not None and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError("file needs its digest under the key sha256 (sha256sum FILE)")
        return self

    def weights(self) -> tuple[str, ...]:
        """The model; a file is pinned by its digest instead."""
        return () if self.model is None else (self.model,)

    def load_finder(self, device: str) -> BoxFinder:
        """Samples → boxes of the wanted classes with their scores, inside the frame.

        Raises:
            ConfigError: the network is missing, of another class, not the pinned one, or has no wanted class.
        """
        predict = self._load_file() if self.file is not None else self._load_model(device)

        def find(samples: Sequence[Sample]) -> list[list[tuple[Box, float]]]:
            plans = [plan_views(sample.size, 1, self.tile, self.overlap, 1.0) for sample in samples]
            found = []
            for sample, views in zip(samples, plans, strict=True):
                rows = [np.zeros((0, 5), np.float32)]
                for start in range(0, len(views), self.batch_size):
                    part = views[start : start + self.batch_size]
                    seen = predict_by_size([crop_view(sample.image, view) for view in part], self.batch_size, predict)
                    rows += [to_image(boxes, view) for boxes, view in zip(seen, part, strict=True)]
                whole = np.concatenate(rows) if len(views) == 1 else merge_boxes(np.concatenate(rows), join=True)
                boxes = [(clip_box(Box(*map(float, row[:4])), sample.size), float(row[4])) for row in whole]
                found.append([(box, score) for box, score in boxes if box is not None])
            return found

        return find

    def _load_file(self) -> Callable[[NDArray[np.uint8]], list[Floats]]:
        owner = f"detect, {self.kind}"
        assert self.file is not None
        data = read_pinned(self.file, self.sha256, owner, "set the key sha256 if you trust that file")
        finder = YoloFinder(data, self.layout, self.class_ids, self.threshold, owner)
        return lambda pictures: [finder(picture) for picture in pictures]

    def _load_model(self, device: str) -> Callable[[NDArray[np.uint8]], list[Floats]]:
        import torch
        from transformers import AutoModelForObjectDetection

        if self.model is None:
            raise ConfigError(f"detect, {self.kind}: give an object detector under model (weights) or file (ONNX)")
        folder = resolve_weights(self.model)
        config, _ = architecture_of(folder, self.model, ("ForObjectDetection",))
        wanted = self._wanted({int(place): str(name) for place, name in config.id2label.items()})
        processor, model = processor_and_model(AutoModelForObjectDetection, folder, self.model, device)
        if not hasattr(processor, "post_process_object_detection"):
            raise ConfigError(f"detect, {self.kind}: the processor of {self.model} gives no boxes; change model")

        def predict(pictures: NDArray[np.uint8]) -> list[Floats]:
            inputs = processor(images=list(pictures), return_tensors="pt").to(device)
            with torch.inference_mode():
                outputs = model(**inputs)
                sizes = torch.tensor([pictures.shape[1:3]] * len(pictures), device=device)
                found = processor.post_process_object_detection(outputs, self.threshold, target_sizes=sizes)
            return [_rows(entry, wanted) for entry in found]

        return predict

    def _wanted(self, names: dict[int, str]) -> frozenset[int]:
        if self.classes == "auto":
            ids = {
                place for place, name in names.items() if self.words.intersection(re.findall("[a-z]+", name.lower()))
            }
        else:
            places = {name.casefold(): place for place, name in names.items()}
            missing = [name for name in self.classes if name.casefold() not in places]
            if missing:
                raise ConfigError(f"detect, {self.kind}: {self.model} has no classes {missing}; it has {_some(names)}")
            ids = {places[name.casefold()] for name in self.classes}
        if not ids:
            raise ConfigError(
                f"detect, {self.kind}: no class of {self.model} fits: name some under classes, of {_some(names)}"
            )
        return frozenset(ids)


def _some(names: dict[int, str]) -> str:
    shown = list(names.values())[:40]
    return ", ".join(shown) + (" …" if len(names) > len(shown) else "")


def _rows(entry: dict[str, Any], wanted: frozenset[int]) -> Floats:
    """One picture's `boxes`, `scores`, `labels` → (n, 5) of the wanted classes."""
    rows = np.concatenate([entry["boxes"].cpu().numpy(), entry["scores"].cpu().numpy()[:, None]], axis=1)
    return rows[np.isin(entry["labels"].cpu().numpy(), list(wanted))].astype(np.float32)
