"""Image by image through a dataset: read, look, assess. Few images are in memory at once; a bad one is a finding."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from synthgen.datasets.base import Dataset
from synthgen.metadata import MetadataKind, read_metadata
from synthgen.people import complete_people
from synthgen.triage.file_names import NameClue, name_clues
from synthgen.triage.levels import Contents, Level, Reason, assess, contents_of, level_of
from synthgen.triage.looking import Lookers
from synthgen.types import BadSample, Finding, Item, Region, Sample

BATCH = 8
NOTE_SECONDS = 15.0
"""How often progress is told."""


@dataclass(frozen=True, eq=False)
class Seen:
    """One image and all that was found. `problem` tells why it could not be looked at; then `level` is None."""

    item: Item
    level: Level | None
    reasons: tuple[Reason, ...] = ()
    metadata: frozenset[MetadataKind] = frozenset()
    names: frozenset[NameClue] = frozenset()
    contents: Contents | None = None
    problem: Finding | None = None
    columns: frozenset[str] = frozenset()
    labelled: tuple[Region, ...] = field(default=(), repr=False)
    detected: tuple[Region, ...] = field(default=(), repr=False)

    def record(self) -> dict[str, Any]:
        """A line of images.jsonl: sizes in pixels, no pixels."""
        contents = self.contents
        found = {} if contents is None else _contents_record(contents)
        return {
            "image": self.item.id,
            "split": self.item.split,
            "level": self.level,
            "problem": None if self.problem is None else f"{self.problem.code}: {self.problem.message}",
            "reasons": [vars(reason) for reason in self.reasons],
            **found,
            "metadata": sorted(self.metadata),
            "names": sorted(self.names),
        }


def _contents_record(contents: Contents) -> dict[str, Any]:
    people = contents.people
    return {
        "size": list(contents.size),
        "people": people.people,
        "people_too_small_to_check": people.small,
        "people_without_a_head_found": people.unseen,
        "people_nobody_labelled": people.unlabelled,
        "face_widths": list(contents.faces),
        "person_heights": list(contents.heights),
        "plate_sizes": [[round(plate.box.width), round(plate.box.height)] for plate in contents.plates],
        "text_sizes": [[round(line.box.width), round(line.box.height)] for line in contents.text],
    }


def scan(
    dataset: Dataset, items: Sequence[Item], look: Lookers, workers: int, note: Callable[[str], None]
) -> Iterator[Seen]:
    """What is in each item, in order; `workers` threads work ahead by a few batches."""
    began = told = time.monotonic()
    done = 0
    waiting = iter([items[start : start + BATCH] for start in range(0, len(items), BATCH)])
    ahead: deque[Future[list[Seen]]] = deque()
    with ThreadPoolExecutor(workers, "triage") as pool:
        while True:
            while len(ahead) < workers + 1 and (batch := next(waiting, None)) is not None:
                ahead.append(pool.submit(_look_at, dataset, batch, look))
            if not ahead:
                return
            for seen in ahead.popleft().result():
                yield seen
                done += 1
            if time.monotonic() - told > NOTE_SECONDS:
                told = time.monotonic()
                note(f"{done}/{len(items)} images, {done / (told - began):.1f}/s")


def _look_at(dataset: Dataset, items: Sequence[Item], look: Lookers) -> list[Seen]:
    samples: dict[str, Sample] = {}
    problems: dict[str, Finding] = {}
    for item in items:
        try:
            samples[item.id] = dataset.read(item)
        except BadSample as bad:
            problems[item.id] = Finding(bad.code, item.id, bad.message)
    found = dict(zip(samples, look(list(samples.values())), strict=True))
    return [
        _assess(dataset, item, samples[item.id], *found[item.id], look.guessed_plates)
        if item.id in samples
        else Seen(item, None, names=name_clues(item.id), problem=problems[item.id])
        for item in items
    ]


def _assess(
    dataset: Dataset, item: Item, sample: Sample, labelled: list[Region], detected: list[Region], guessed: bool
) -> Seen:
    metadata = read_metadata(item.image, dataset.path)
    contents = contents_of(complete_people([*labelled, *detected], sample.size), sample.size, guessed)
    names = name_clues(item.id)
    reasons = assess(contents, metadata, names)
    attributes = frozenset(sample.labels.attributes)
    return Seen(
        item, level_of(reasons), reasons, metadata, names, contents, None, attributes, tuple(labelled), tuple(detected)
    )
