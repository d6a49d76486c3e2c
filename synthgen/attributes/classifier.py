"""An attribute by an image classifier that the user names, such as perceived age or gender: never on by default.

Any image-classification model of `transformers` by weights reference. Its classes are mapped to groups; probabilities
of classes of one group add up. A classifier errs, and more often for some than for others: name a column that tells the
truth (`truth`), or counts of a test on known people (`confusion`), and shares are corrected for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from synthgen.attributes.base import Attribute, AttributeRun, Reading, Subject
from synthgen.pretrained import architecture_of, processor_and_model
from synthgen.types import ConfigError, Image, Region
from synthgen.weights import resolve_weights


class Classifier(Attribute):
    """A reading is unknown where nobody was found, or no group is probable enough."""

    kind: Literal["classifier"] = "classifier"
    model: str
    """A local folder or a pinned hub id."""
    names: Mapping[str, str | None] = {}
    """The model's class → group; null makes it unknown. Empty takes the classes as groups."""
    on: Literal["face", "image"] = "face"
    min_probability: float = Field(default=0.6, ge=0, le=1)
    """A group that is less probable is unknown."""
    min_score: float = Field(default=0.5, ge=0, le=1)
    """Faces of which the detector is less sure are not read."""
    min_side: int = Field(default=24, ge=1)
    """Faces smaller than this (pixels) are not read."""
    margin: float = Field(default=0.3, ge=0, le=2)
    """A face's box grows by this share of its longer side: classifiers are trained on whole heads."""
    batch_size: int = Field(default=16, ge=1)
    truth: str | None = None
    """A column whose values are these groups: the classifier's error is measured on it."""
    confusion: Mapping[str, Mapping[str, float]] = {}
    """Counts on known people, truth → group read → how many; used where there is no `truth`."""

    @property
    def per_image(self) -> bool:
        """As `Attribute`."""
        return self.on == "image"

    @property
    def groups(self) -> tuple[str, ...]:
        """Those of `names`, in its order."""
        return tuple(dict.fromkeys(name for name in self.names.values() if name is not None))

    @property
    def known_truth(self) -> str | None:
        """As `Attribute`."""
        return self.truth

    @property
    def known_confusion(self) -> Mapping[str, Mapping[str, float]]:
        """As `Attribute`."""
        return self.confusion

    def load(self, device: str) -> AttributeRun:
        """As `Attribute`."""
        predict, classes = load_classifier(self.model, device)
        if missing := sorted(set(self.names) - set(classes)):
            raise ConfigError(f"attribute {self.name}: {self.model} has no classes {missing}; it has {list(classes)}")
        names = self.names or {name: name for name in classes}
        groups = tuple(dict.fromkeys(name for name in names.values() if name is not None))
        member = np.array([[names.get(name) == group for group in groups] for name in classes], dtype=np.float64)

        def read(subjects: Sequence[Subject]) -> list[Reading]:
            crops = [self._crop(subject) for subject in subjects]
            seen = [crop for crop in crops if crop is not None]
            parts = [predict(seen[start : start + self.batch_size]) for start in range(0, len(seen), self.batch_size)]
            rows = iter(np.concatenate(parts) @ member if parts else ())
            return [Reading() if crop is None else self._reading(next(rows), groups) for crop in crops]

        return read

    def _reading(self, probabilities: Any, groups: tuple[str, ...]) -> Reading:
        best = int(np.argmax(probabilities))
        return Reading(groups[best]) if probabilities[best] >= self.min_probability else Reading()

    def _crop(self, subject: Subject) -> Image | None:
        if self.on == "image":
            return subject.image
        face = subject.region
        if face is None or face.score < self.min_score or min(face.box.width, face.box.height) < self.min_side:
            return None
        return grown_crop(subject.image, face, self.margin)


def grown_crop(image: Image, face: Region, margin: float) -> Image | None:
    """The pixels of a region's box grown by `margin` of its longer side, cut at the frame; None where none are left."""
    height, width = image.shape[:2]
    grow = margin * max(face.box.width, face.box.height)
    x0, y0 = max(0, round(face.box.x0 - grow)), max(0, round(face.box.y0 - grow))
    x1, y1 = min(width, round(face.box.x1 + grow)), min(height, round(face.box.y1 + grow))
    return np.ascontiguousarray(image[y0:y1, x0:x1]) if x0 < x1 and y0 < y1 else None


def load_classifier(ref: str, device: str) -> tuple[Any, tuple[str, ...]]:
    """A function from images to (images, classes) probabilities, and the names of the classes.

    Raises:
        ConfigError: the weights are missing or no image classifier.
    """
    import torch
    from transformers import AutoModelForImageClassification

    folder = resolve_weights(ref)
    config, _ = architecture_of(folder, ref, ("ForImageClassification",))
    processor, model = processor_and_model(AutoModelForImageClassification, folder, ref, device)
    names = tuple(str(config.id2label[number]) for number in sorted(config.id2label))

    def predict(images: Sequence[Image]) -> Any:
        inputs = processor(images=list(images), return_tensors="pt").to(device)
        with torch.inference_mode():
            return model(**inputs).logits.float().softmax(dim=-1).cpu().numpy().astype(np.float64)

    return predict, names
