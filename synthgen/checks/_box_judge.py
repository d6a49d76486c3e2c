"""An object detector that judges boxes: what it finds on the source must be found on the output, at the same place."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.batches import predict_by_size
from synthgen.checks._verdicts import Fate, Rules, count_fates, describe_lost
from synthgen.checks._vocabulary import Vocabulary
from synthgen.checks.base import Candidate
from synthgen.pretrained import architecture_of, processor_and_model
from synthgen.types import Box, ClassInfo, ConfigError, Image, Instance, Sample, Score
from synthgen.weights import resolve_weights

REMEMBERED = 4096
Found = list[tuple[int, Box]]
"""(number, box) of what a detector found."""


class BoxJudge:
    """Candidate → score. Safe to call from several threads."""

    def __init__(self, ref: str, device: str, threshold: float, rules: Rules) -> None:
        """Raises ConfigError where `ref` is missing or no object detector."""
        self._ref, self._device, self._threshold, self._rules = ref, device, threshold, rules
        self._folder = resolve_weights(ref)
        config, _ = architecture_of(self._folder, ref, ("ForObjectDetection",))
        self._labels = {int(place): str(name) for place, name in config.id2label.items()}
        self._predict: Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]] | None = None
        self._vocabularies: dict[tuple[ClassInfo, ...], Vocabulary] = {}
        self._sources: OrderedDict[tuple[str, str], tuple[bool, ...]] = OrderedDict()
        self._lock = Lock()

    def vocabulary(self, classes: tuple[ClassInfo, ...]) -> Vocabulary:
        """As `MaskJudge.vocabulary`."""
        if classes not in self._vocabularies:
            self._vocabularies[classes] = self._rules.vocabulary(classes, self._labels)
        return self._vocabularies[classes]

    def __call__(self, candidate: Candidate) -> Score:
        """Judge one output."""
        labels, rules = candidate.sample.labels, self._rules
        vocabulary = self.vocabulary(labels.classes)
        if labels.mask is not None and not labels.instances:
            return rules.unread_score("a mask without objects; name a segmenter as the model of this check")
        objects = [one for one in labels.instances if not one.crowd and vocabulary.of_label.get(one.class_id, 0)]
        if not objects:
            return Score("labels", None, True)
        numbers = [vocabulary.of_label[one.class_id] for one in objects]
        on_source = self._source(candidate.sample, objects, numbers, vocabulary)
        on_output = match_boxes(objects, numbers, self._find(candidate.generated.image, vocabulary), rules.iou)
        limit = rules.small * candidate.sample.size[0] * candidate.sample.size[1]
        fates = [
            Fate(vocabulary.names[number], one.box.width * one.box.height <= limit, after if before else None)
            for one, number, before, after in zip(objects, numbers, on_source, on_output, strict=True)
        ]
        columns: dict[str, float | None] = {
            f"labels:{name}": surviving_share([fate for fate in fates if fate.name == name])
            for name in sorted({fate.name for fate in fates})
        }
        columns |= count_fates(fates)
        value = surviving_share(fates)
        large = surviving_share([fate for fate in fates if not fate.small])
        lost = describe_lost(fates)
        if value is None:
            return rules.unread_score("the model finds none of the objects on the source", columns)
        if not lost and large is not None and large < rules.least:
            lost = f"agreement {large:.2f} is below least ({rules.least:g})"
        return Score("labels", value, not lost, lost, columns=columns)

    def _source(
        self, sample: Sample, objects: Sequence[Instance], numbers: Sequence[int], vocabulary: Vocabulary
    ) -> tuple[bool, ...]:
        """Which objects are found on the real image: looked for once, not at every attempt."""
        key = sample.item.id, sample.digest
        with self._lock:
            known = self._sources.get(key)
        if known is None:
            known = match_boxes(objects, numbers, self._find(sample.image, vocabulary), self._rules.iou)
            with self._lock:
                self._sources[key] = known
                if len(self._sources) > REMEMBERED:
                    self._sources.popitem(last=False)
        return known

    def _find(self, image: Image, vocabulary: Vocabulary) -> Found:
        with self._lock:
            if self._predict is None:
                self._predict = self._load()
        rows = predict_by_size([image], 1, self._predict)[0]
        return [(vocabulary.of_model[int(row[4])], Box(*(float(value) for value in row[:4]))) for row in rows]

    def _load(self) -> Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]:
        import torch
        from transformers import AutoModelForObjectDetection

        processor, model = processor_and_model(AutoModelForObjectDetection, self._folder, self._ref, self._device)
        if not hasattr(processor, "post_process_object_detection"):
            raise ConfigError(f"check, labels: the processor of {self._ref} gives no boxes; change model")

        def predict(images: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
            inputs = processor(images=list(images), return_tensors="pt").to(self._device)
            with torch.inference_mode():
                outputs = model(**inputs)
                sizes = torch.tensor([images.shape[1:3]] * len(images), device=self._device)
                found = processor.post_process_object_detection(outputs, self._threshold, target_sizes=sizes)
            return [_rows(entry) for entry in found]

        return predict


def _rows(entry: dict[str, Any]) -> NDArray[np.float32]:
    """One picture's `boxes` and `labels` → (n, 5)."""
    boxes, labels = entry["boxes"].cpu().numpy(), entry["labels"].cpu().numpy()
    return np.concatenate([boxes, labels[:, None]], axis=1).astype(np.float32)


def match_boxes(objects: Sequence[Instance], numbers: Sequence[int], found: Found, least: float) -> tuple[bool, ...]:
    """Which objects have a found box of their class with at least `least` IoU; each box serves one, the best first."""
    pairs = [
        (iou, place, other)
        for place, (one, number) in enumerate(zip(objects, numbers, strict=True))
        for other, (theirs, box) in enumerate(found)
        if theirs == number and (iou := box_iou(one.box, box)) >= least
    ]
    matched: set[int] = set()
    taken: set[int] = set()
    for _, place, other in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if place not in matched and other not in taken:
            matched.add(place)
            taken.add(other)
    return tuple(place in matched for place in range(len(objects)))


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(one.x1, other.x1) - max(one.x0, other.x0)
    height = min(one.y1, other.y1) - max(one.y0, other.y0)
    shared = max(width, 0.0) * max(height, 0.0)
    return shared / max(one.width * one.height + other.width * other.height - shared, 1e-9)


def surviving_share(fates: Sequence[Fate]) -> float | None:
    """Of the objects that can be judged, small ones too, the share that survived; None for none."""
    judged = [fate.survived for fate in fates if fate.survived is not None]
    return sum(judged) / len(judged) if judged else None
