"""The sums over a dataset that triage keeps while images stream by: counts, the worst images, recall against labels."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from synthgen.metrics.detection import Recall
from synthgen.people import complete_people, distinct, is_small
from synthgen.regions import Size
from synthgen.triage.levels import LEVELS, Level
from synthgen.triage.scan import Seen
from synthgen.types import Finding, Region

WORST = 200
"""Images that the register lists; all of them are in images.jsonl."""
FINDINGS = 1000
HEADS = "head of a labelled person"


@dataclass
class ReasonTotal:
    """One reason over the whole set."""

    level: Level
    images: int = 0
    things: int = 0
    largest: int = 0


@dataclass
class Totals:
    """What a set adds up to. `looked_for` are the kinds of region that some detector looks for."""

    looked_for: frozenset[str]
    images: int = 0
    levels: Counter[Level] = field(default_factory=Counter)
    reasons: dict[str, ReasonTotal] = field(default_factory=dict)
    people: Counter[str] = field(default_factory=Counter)
    columns: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    unread: int = 0
    recall: Recall = field(default_factory=Recall)
    _worst: list[tuple[int, int, int, dict[str, Any]]] = field(default_factory=list)
    _number: itertools.count[int] = field(default_factory=itertools.count)

    def add(self, seen: Seen) -> None:
        """Count one image."""
        self.images += 1
        if seen.problem is not None:
            self.unread += 1
            if len(self.findings) < FINDINGS:
                self.findings.append(seen.problem)
        if seen.level is None or seen.contents is None:
            return
        self.levels[seen.level] += 1
        for reason in seen.reasons:
            total = self.reasons.setdefault(reason.code, ReasonTotal(reason.level))
            total.level = max(total.level, reason.level, key=LEVELS.index)
            total.images += 1
            total.things += reason.count
            total.largest = max(total.largest, reason.largest)
        people = seen.contents.people
        self.people.update(people=people.people, small=people.small, unseen=people.unseen, unlabelled=people.unlabelled)
        self.people.update(faces=len(seen.contents.faces))
        self.columns |= seen.columns
        self._add_recall(seen.labelled, seen.detected, seen.contents.size)
        entry = (LEVELS.index(seen.level), sum(reason.count for reason in seen.reasons), -next(self._number))
        heapq.heappush(self._worst, (*entry, seen.record()))
        if len(self._worst) > WORST:
            heapq.heappop(self._worst)

    def _add_recall(self, labelled: tuple[Region, ...], detected: tuple[Region, ...], size: Size) -> None:
        """Kinds that a detector looks for against labels; and the heads found in the labelled people that are large
        enough: no recall of a label (who looks away shows no face), but what the fail-closed rule rests on."""
        self.recall.add_image([region for region in labelled if region.kind in self.looked_for], detected, size)
        if "head" not in self.looked_for:
            return
        persons = [region for region in labelled if region.kind == "person"]
        heads = [region for region in detected if region.kind == "head"]
        for person in distinct(persons):
            if not is_small(person, size):
                self.recall.add(HEADS, person.box, complete_people([person, *heads], size).unseen == 0)

    @property
    def level(self) -> Level:
        """The highest level of any image; `none` without any."""
        return max(self.levels, key=LEVELS.index, default="none")

    def worst(self) -> list[dict[str, Any]]:
        """The gravest images, at most `WORST`, the gravest first."""
        return [entry[-1] for entry in sorted(self._worst, key=lambda entry: entry[:3], reverse=True)]
