"""Does the label still tell what the picture shows? An independent model reads the output; what it read on the source
sets what can be asked of it.

The model is by default the starter's judge, which knows streets and full-length people; name another for anything else.

**Masks and outlines** are read by a segmenter. `labels` is its mIoU on the output ÷ its mIoU on the source, at most 1,
over the classes that it read on the source with at least `readable` IoU; `labels:<class>` is the same for one class. An
object (an outlined instance, or a connected patch of the mask) that was read on the source did not survive if the share
of its pixels that is read as its class fell below `survives` of that on the source.

**Boxes** are found again by an object detector: same class and an overlap of at least `iou` IoU. Of the objects that it
found on the source, `labels` is the share that it finds on the output.

A lost object, or an agreement below `least`, rejects the output: it is painted again with another seed, in its stage,
since stronger protection would keep less. After the last try the lost objects of a mask become *ignore* in the released
label, if the rest agrees and at most `max_ignored` of the labelled pixels is lost so; else the image is quarantined.
Objects of at most `small` of the picture are counted apart and reject nothing.

`filter` also sets to *ignore* every pixel whose loss (cross-entropy of the label) is above `factor` × the mean loss of
its class on real images of the source, read once before the run (FreeMask, Yang et al.,
NeurIPS 2023, https://openreview.net/forum?id=XOotfgPiUF).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from synthgen.checks._agreement import pixel_losses
from synthgen.checks._box_judge import BoxJudge
from synthgen.checks._mask_judge import LOSSES, PIXELS, MaskJudge
from synthgen.checks._verdicts import Rules
from synthgen.checks.base import Check, CheckRun, Learned
from synthgen.label_maps import labels_to_class_ids
from synthgen.palettes import CLASS_MAPS, parse_class_map
from synthgen.pretrained import architecture_of
from synthgen.segmenter import Segmenter
from synthgen.types import BadSample, ClassInfo, ConfigError, Sample
from synthgen.weights import resolve_weights

ClassMapSpec = str | dict[str, str | dict[str, str | None] | None]
JUDGE = "starter/judge"
"""The embedded one; needs the package of the extra `metrics`."""
_DETECTOR = "ForObjectDetection"
_KINDS = ("ForSemanticSegmentation", "ForUniversalSegmentation", "MaskFormerForInstanceSegmentation", _DETECTOR)


class LossFilter(BaseModel):
    """FreeMask's filter of pixels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    factor: float = Field(default=1.25, gt=0)
    """A pixel's label becomes ignore where its loss is above this × the mean loss of its class on real images."""
    images: int = Field(default=200, ge=1)
    """How many real images at most the mean is taken over, spread evenly over the source."""


class LabelsCheck(Check):
    """See above. Values are None where the model could not read the class on the source."""

    learns: ClassVar[bool] = True
    stays: ClassVar[bool] = True
    independent: ClassVar[bool] = True
    kind: Literal["labels"] = "labels"
    model: str = JUDGE
    """Weights reference of a segmenter or an object detector of transformers; not the one under `extract`."""
    palette: Literal["source", "ade20k", "starter"] = "source"
    """The names in which labels and model meet: the dataset's own, or those of a palette; the starter's for its judge.
    """
    class_map: ClassMapSpec = "auto"
    """The dataset's classes → those names; null leaves a class unjudged."""
    model_class_map: ClassMapSpec = "auto"
    """The model's labels → those names."""
    least: float = Field(default=0.5, ge=0, le=1)
    readable: float = Field(default=0.3, gt=0, le=1)
    survives: float = Field(default=0.5, gt=0, le=1)
    small: float = Field(default=0.001, ge=0, le=1)
    """COCO calls 32² pixels small: a thousandth of a picture of one megapixel."""
    lost: Literal["ignore", "reject"] = "ignore"
    """What becomes of the labels of lost objects after the last try, where the source's label files can say ignore."""
    unread: Literal["count", "reject"] = "reject"
    """What becomes of an output of whose source the model read nothing."""
    max_ignored: float = Field(default=0.5, ge=0, le=1)
    filter: LossFilter | None = None
    iou: float = Field(default=0.5, gt=0, lt=1)
    threshold: float = Field(default=0.5, gt=0, lt=1)
    """Least score of a box that the detector finds."""

    @model_validator(mode="before")
    @classmethod
    def _palette_of_the_judge(cls, value: Any) -> Any:
        if isinstance(value, dict) and str(value.get("model", JUDGE)).partition("#")[0] == JUDGE:
            return {"palette": "starter", **value}
        return value

    @field_validator("class_map", "model_class_map")
    @classmethod
    def _known_map(cls, value: ClassMapSpec) -> ClassMapSpec:
        if isinstance(value, str):
            if value not in ("auto", *CLASS_MAPS):
                raise ValueError(f"expected auto, one of {', '.join(CLASS_MAPS)}, or a mapping; got {value!r}")
            return value
        try:
            parse_class_map(value, "of the config")
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return value

    @model_validator(mode="after")
    def _maps_fit_the_palette(self) -> LabelsCheck:
        shipped = [name for name in (self.class_map, self.model_class_map) if isinstance(name, str) and name != "auto"]
        if self.palette == "source" and shipped:
            raise ValueError(f"the shipped map {shipped[0]} leads to a palette: set palette to ade20k or starter")
        return self

    @property
    def unlabels(self) -> bool:
        """As `Check`."""
        return self.filter is not None

    @property
    def learns_from(self) -> int | None:
        """As `Check`."""
        return None if self.filter is None else self.filter.images

    def weights(self) -> tuple[str, ...]:
        """The model's."""
        return (self.model,)

    def check_classes(self, classes: tuple[ClassInfo, ...]) -> None:
        """As `Check`. Of a hub id the labels are only known once it is downloaded, which is when the run begins."""
        if all(info.ignore for info in classes):
            raise ConfigError("check, labels: this source labels no classes, so there is nothing to agree with")
        if "@" not in self.model:
            self._judge("cpu", {}).vocabulary(classes)

    def learn(self, sources: Iterable[Sample], device: str) -> Learned:
        """With a filter: the loss of each class, summed over the pixels of real images, and their number."""
        judge = self._judge(device, {})
        losses = pixels = np.zeros(0)
        if self.filter is None or isinstance(judge, BoxJudge):
            return {LOSSES: losses, PIXELS: pixels}
        for sample in sources:
            vocabulary = judge.vocabulary(sample.labels.classes)
            if not len(pixels):
                losses, pixels = np.zeros(len(vocabulary.names)), np.zeros(len(vocabulary.names))
            try:
                ids = labels_to_class_ids(sample.labels, (sample.image.shape[0], sample.image.shape[1]))
                label = None if ids is None else vocabulary.labelled(ids)
            except BadSample:
                continue
            if label is not None:
                loss = pixel_losses(vocabulary.joined(judge.segmenter.probabilities([sample.image])[0]), label)
                losses += np.bincount(label.ravel(), loss.ravel(), len(losses))
                pixels += np.bincount(label.ravel(), minlength=len(pixels))
        return {LOSSES: losses, PIXELS: pixels}

    def load(self, device: str, learned: Learned) -> CheckRun:
        """Read the model's config; the network is loaded with the first output."""
        return self._judge(device, learned)

    def _judge(self, device: str, learned: Learned) -> MaskJudge | BoxJudge:
        """What reads the pictures: which of the two is decided by the model's class.

        Raises:
            ConfigError: a model of another class, or a filter and a model that gives no probabilities.
        """
        _, architecture = architecture_of(resolve_weights(self.model), self.model, _KINDS)
        if architecture.endswith(_DETECTOR):
            if self.filter is not None:
                raise ConfigError(f"check, labels: filter needs a segmenter, {self.model} finds boxes; remove one")
            return BoxJudge(self.model, device, self.threshold, self._rules)
        segmenter = Segmenter(self.model, device, 1)
        if self.filter is not None and not segmenter.gives_probabilities:
            raise ConfigError(
                f"check, labels: filter needs a probability of each class, {self.model} ({architecture}) gives none; "
                "name a …ForSemanticSegmentation"
            )
        return MaskJudge(segmenter, self._rules, learned)

    @property
    def _rules(self) -> Rules:
        return Rules(
            palette=self.palette,
            class_map=self.class_map,
            model_class_map=self.model_class_map,
            least=self.least,
            readable=self.readable,
            survives=self.survives,
            small=self.small,
            ignores=self.lost == "ignore",
            passes_unread=self.unread == "count",
            max_ignored=self.max_ignored,
            factor=None if self.filter is None else self.filter.factor,
            iou=self.iou,
        )
