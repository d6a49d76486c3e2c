"""A segmenter that judges masks and outlines: classes by their IoU, objects by the share of their pixels."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from synthgen.checks._agreement import (
    Thing,
    agreement,
    class_ious,
    list_things,
    mean_agreement,
    pixel_losses,
    union,
)
from synthgen.checks._verdicts import Fate, Rules, count_fates, describe_lost
from synthgen.checks._vocabulary import Vocabulary
from synthgen.checks.base import Candidate, Learned
from synthgen.label_maps import labels_to_class_ids
from synthgen.segmenter import Segmenter
from synthgen.types import ClassIds, ClassInfo, Mask, Sample, Score, ignore_class

LOSSES, PIXELS = "losses", "pixels"
"""What is learned: the sum of the losses on real images and the number of pixels, by class."""
REMEMBERED = 512
"""Sources whose reading is kept for their further attempts and variants."""
FOUND = 0.5
"""An object was read on the source if at least this share of its pixels was."""


@dataclass(frozen=True)
class SourceReading:
    """IoU by class and, for each object in order, the share of its pixels that was read as its class."""

    ious: dict[int, float]
    shares: tuple[float, ...]


class MaskJudge:
    """Candidate → score. Safe to call from several threads."""

    def __init__(self, segmenter: Segmenter, rules: Rules, learned: Learned) -> None:
        self.segmenter = segmenter
        self._rules = rules
        self._learned = learned
        self._vocabularies: dict[tuple[ClassInfo, ...], Vocabulary] = {}
        self._sources: OrderedDict[tuple[str, str], SourceReading] = OrderedDict()
        self._lock = Lock()

    def vocabulary(self, classes: tuple[ClassInfo, ...]) -> Vocabulary:
        """The names in which a class table and the model meet.

        Raises:
            ConfigError: as `make_vocabulary`.
        """
        if classes not in self._vocabularies:
            self._vocabularies[classes] = self._rules.vocabulary(classes, self.segmenter.labels)
        return self._vocabularies[classes]

    def __call__(self, candidate: Candidate) -> Score:
        """Judge one output.

        Raises:
            BadSample: `mask-size-mismatch`, `class-unknown`: a label that can't be used.
        """
        sample, rules = candidate.sample, self._rules
        vocabulary = self.vocabulary(sample.labels.classes)
        ids = labels_to_class_ids(sample.labels, (sample.image.shape[0], sample.image.shape[1]))
        if ids is None and sample.labels.instances:
            return rules.unread_score("boxes without outlines; name an object detector as the model of this check")
        label = np.zeros(sample.image.shape[:2], np.int32) if ids is None else vocabulary.labelled(ids)
        if not label.any():
            return Score("labels", None, True)
        things = list_things(label, sample.labels, vocabulary.of_label, rules.small)
        source = self._source(sample, label, things, vocabulary)
        read = vocabulary.read(self.segmenter([candidate.generated.image])[0])
        return self._score(candidate, label, things, source, read, vocabulary)

    def _source(
        self, sample: Sample, label: ClassIds, things: Sequence[Thing], vocabulary: Vocabulary
    ) -> SourceReading:
        """What the model reads on the real image: made once, not at every attempt."""
        key = sample.item.id, sample.digest
        with self._lock:
            known = self._sources.get(key)
        if known is None:
            read = vocabulary.read(self.segmenter([sample.image])[0])
            known = SourceReading(class_ious(label, read), tuple(thing.share(read) for thing in things))
            with self._lock:
                self._sources[key] = known
                if len(self._sources) > REMEMBERED:
                    self._sources.popitem(last=False)
        return known

    def _score(
        self,
        candidate: Candidate,
        label: ClassIds,
        things: Sequence[Thing],
        source: SourceReading,
        read: ClassIds,
        vocabulary: Vocabulary,
    ) -> Score:
        rules, names = self._rules, vocabulary.names
        ious = class_ious(label, read)
        judged = agreement(ious, source.ious, rules.readable)
        value = mean_agreement(ious, source.ious, rules.readable)
        fates = [
            Fate(
                names[thing.number],
                thing.small,
                thing.share(read) >= rules.survives * share if share >= FOUND else None,
            )
            for thing, share in zip(things, source.shares, strict=True)
        ]
        columns: dict[str, float | None] = {f"labels:{names[number]}": judged.get(number) for number in source.ious}
        columns |= count_fates(fates)
        lost = describe_lost(fates)
        problems = [lost] if lost else []
        if value is not None and value < rules.least:
            problems.append(f"agreement {value:.2f} is below least ({rules.least:g})")
        unlabel = None
        fits = False
        if candidate.unlabels and ignore_class(candidate.sample.labels.classes) is not None:
            gone = [thing for thing, fate in zip(things, fates, strict=True) if fate.survived is False]
            unlabel = self._unlabelled(candidate, label, gone if rules.ignores else [], vocabulary)
            columns |= ignored_shares(unlabel, label, names)
            rest = mean_agreement(class_ious(np.where(unlabel, 0, label), read), source.ious, rules.readable)
            few = float(unlabel[label > 0].mean()) <= rules.max_ignored
            fits = rules.ignores and few and rest is not None and rest >= rules.least
            if not few:
                problems.append(f"more than {rules.max_ignored:.0%} of the labelled pixels would be ignored")
        if value is None and not problems:
            read_columns = {key: share for key, share in columns.items() if not key.startswith("ignored")}
            return rules.unread_score("the model reads none of its classes on the source", read_columns)
        return Score("labels", value, not problems, "; ".join(problems), {}, columns, unlabel, bool(problems) and fits)

    def _unlabelled(self, candidate: Candidate, label: ClassIds, gone: Sequence[Thing], vocabulary: Vocabulary) -> Mask:
        """The pixels of lost objects, and those that the filter takes."""
        where = union(gone, label.shape)
        if self._rules.factor is not None:
            probabilities = vocabulary.joined(self.segmenter.probabilities([candidate.generated.image])[0])
            where |= pixel_losses(probabilities, label) > self._limits(len(vocabulary.names))[label]
        unlabel: Mask = where & (label > 0)
        return unlabel

    def _limits(self, count: int) -> NDArray[np.float64]:
        """The loss above which a pixel of each number is taken; infinite where no real image showed the class."""
        limits = np.full(count, np.inf)
        if self._rules.factor is not None and len(pixels := self._learned[PIXELS]):
            shown = pixels > 0
            limits[shown] = self._rules.factor * self._learned[LOSSES][shown] / pixels[shown]
        return limits


def ignored_shares(unlabel: Mask, label: ClassIds, names: Sequence[str]) -> dict[str, float | None]:
    """Columns of the ledger: of the labelled pixels, and of those of each class, the share that becomes ignore."""
    shares: dict[str, float | None] = {"ignored": float(unlabel[label > 0].mean())}
    for number in np.unique(label[label > 0]):
        shares[f"ignored:{names[number]}"] = float(unlabel[label == number].mean())
    return shares
