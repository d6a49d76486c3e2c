"""A semantic segmenter of `transformers` (SegFormer, Mask2Former, OneFormer, UperNet …) by weights reference.

What can be wrong is found at once: the folder, the class of the model and its label names are read when a run starts.
The network itself is loaded at the first picture that needs it, since a dataset with masks may never need it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.batches import predict_by_size
from synthgen.pretrained import PYRAMID, architecture_of, from_folder, processor_and_model
from synthgen.types import ClassIds, ConfigError, Image
from synthgen.weights import resolve_weights

_KINDS = ("ForSemanticSegmentation", "ForUniversalSegmentation", "MaskFormerForInstanceSegmentation")
_Loaded = tuple[Callable[[list[Image]], Any], Any, Any]
"""Pictures → the model's inputs, its processor, the model."""


class Segmenter:
    """Pictures → the model's own class ids. Safe to call from several threads."""

    def __init__(self, ref: str, device: str, batch_size: int) -> None:
        """Raises ConfigError where `ref` is missing or no semantic segmenter."""
        self._ref, self._device, self._batch_size = ref, device, batch_size
        self._folder: Path = resolve_weights(ref)
        self._config, architecture = architecture_of(self._folder, ref, _KINDS)
        if self._config.model_type == PYRAMID:
            from synthgen.lite0.config import check_backbone

            check_backbone(self._config)
        self._universal = not architecture.endswith("ForSemanticSegmentation")
        self._lock = threading.Lock()
        self._loaded: _Loaded | None = None

    @property
    def labels(self) -> Mapping[int, str]:
        """The model's class id → its name."""
        return {int(place): str(name) for place, name in self._config.id2label.items()}

    def __call__(self, images: Sequence[Image]) -> list[ClassIds]:
        """(height, width, 3) RGB each → (height, width) ids each.

        Raises:
            ConfigError: the weights can't be loaded (at the first call).
        """
        return predict_by_size(images, self._batch_size, self._ids)

    @property
    def gives_probabilities(self) -> bool:
        """Whether the model gives a probability for each class at each place (a universal one gives masks)."""
        return not self._universal

    def probabilities(self, images: Sequence[Image]) -> list[NDArray[np.float32]]:
        """(height, width, 3) RGB each → (classes, h, w) each, 0..1, at the resolution at which the model thinks.

        Raises:
            ConfigError: as a call; a model that does not give them.
        """
        if not self.gives_probabilities:
            raise ConfigError(f"model {self._ref!r} gives no probabilities; expected a …ForSemanticSegmentation")
        return predict_by_size(images, self._batch_size, self._softmax)

    def _ids(self, images: NDArray[np.uint8]) -> list[ClassIds]:
        outputs, processor = self._outputs(images)
        maps = processor.post_process_semantic_segmentation(outputs, target_sizes=[images.shape[1:3]] * len(images))
        return [ids.cpu().numpy().astype(np.int32) for ids in maps]

    def _softmax(self, images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return list(self._outputs(images)[0].logits.softmax(dim=1).cpu().numpy())

    def _outputs(self, images: NDArray[np.uint8]) -> tuple[Any, Any]:
        """What the model says of a batch, and the processor that reads it."""
        import torch

        with self._lock:
            if self._loaded is None:
                self._loaded = self._oneformer() if self._config.model_type == "oneformer" else self._other()
        inputs_of, processor, model = self._loaded
        with torch.inference_mode():
            return model(**inputs_of(list(images)).to(self._device)), processor

    def _other(self) -> _Loaded:
        from transformers import AutoModelForSemanticSegmentation, AutoModelForUniversalSegmentation

        if self._config.model_type == PYRAMID:
            import synthgen.lite0.pyramid  # noqa: F401  (as for its config)
        auto_class = AutoModelForUniversalSegmentation if self._universal else AutoModelForSemanticSegmentation
        processor, model = processor_and_model(auto_class, self._folder, self._ref, self._device)
        if not hasattr(processor, "post_process_semantic_segmentation"):
            raise ConfigError(f"model {self._ref!r}: its processor {type(processor).__name__} has no semantic output")

        def inputs_of(images: list[Image]) -> Any:
            return processor(images=images, return_tensors="pt")

        return inputs_of, processor, model

    def _oneformer(self) -> _Loaded:
        """OneFormer takes its task as text.

        The table of class names that its processor would fetch from an unpinned hub dataset serves training and
        instances only, so it is left out.
        """
        from transformers import AutoTokenizer, OneFormerForUniversalSegmentation, OneFormerProcessor

        images_of, model = processor_and_model(
            OneFormerForUniversalSegmentation, self._folder, self._ref, self._device, class_info_file=None
        )
        tokenizer = from_folder(AutoTokenizer, self._folder, self._ref)
        processor = OneFormerProcessor(images_of, tokenizer, task_seq_length=self._config.task_seq_len)

        def inputs_of(images: list[Image]) -> Any:
            return processor(images, ["semantic"] * len(images), return_tensors="pt")

        return inputs_of, processor, model
