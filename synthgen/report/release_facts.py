"""What a release's card and its Croissant file say, gathered once: aggregates of the run and the shape of its files.

Built of an allowlist: no id, name, path, digest or seed of the source, and no file name under which one could be found.
The run id is left out too: it hashes the sizes of the source's files, so whoever guesses a source could confirm it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthgen.config import RunConfig
from synthgen.datasets.base import Dataset
from synthgen.metrics.factors import MEASURED
from synthgen.plan import Plan
from synthgen.provenance import Provenance, run_provenance
from synthgen.report.made import how_made
from synthgen.rundir import RunDir
from synthgen.types import BadSample, ConfigError, Item, Labels, Row, SourceIndex


@dataclass(frozen=True)
class Share:
    """One level (or levels joined by `/`) of a target: the share asked for and the one released."""

    level: str
    asked: float
    released: float


@dataclass(frozen=True)
class Answer:
    """What a report says of one question: `pass`, `fail`, `insufficient` or `not measured`, and why."""

    title: str
    state: str
    summary: str


@dataclass(frozen=True, eq=False)
class ReleaseFacts:
    """A release as everyone may know it.

    Attributes:
        items: of the release itself, under their released names; empty where nothing was released.
        tasks: what the labels are good for, in the hub's terms.
        accepted: number of accepted outputs; quarantined: of others, by code.
        targets: title of a target → its shares.
        measured: name → (mean, standard deviation) over the released outputs.
        made: (what, how).
    """

    config: RunConfig
    items: tuple[Item, ...]
    classes: tuple[str, ...]
    tasks: tuple[str, ...]
    accepted: int
    quarantined: Mapping[str, int]
    targets: Mapping[str, tuple[Share, ...]]
    measured: Mapping[str, tuple[float, float]]
    made: tuple[tuple[str, str], ...]
    provenance: Provenance
    answers: tuple[Answer, ...]

    @property
    def title(self) -> str:
        """What the release is called."""
        return self.config.card.pretty_name or self.config.name

    @property
    def splits(self) -> dict[str, int]:
        """Images by split, where there are splits."""
        return dict(sorted(Counter(item.split for item in self.items if item.split is not None).items()))

    @property
    def whole(self) -> bool:
        """Whether every pixel is new; else the background is the source's."""
        return self.config.mode == "scene" and self.config.generate.paints


def gather_release_facts(run: RunDir, release: Path) -> ReleaseFacts:
    """Read the facts off a finished run and its release in the folder `release`.

    Raises:
        ConfigError: the run's records can't be read.
    """
    config = run.config()
    dataset = run.dataset(release)
    index = _index(dataset)
    rows = list(run.store.rows())
    accepted = [row for row in rows if row.verdict == "accepted"]
    return ReleaseFacts(
        config=config,
        items=index.items,
        classes=tuple(info.name for info in index.classes if not info.ignore),
        tasks=_tasks(dataset, index.items),
        accepted=len(accepted),
        quarantined=dict(sorted(Counter(row.code for row in rows if row.verdict != "accepted").items())),
        targets=_target_shares(config, accepted),
        measured=_measured(accepted),
        made=how_made(config),
        provenance=run_provenance(run),
        answers=_answers(run.report / "report.json"),
    )


def _index(dataset: Dataset) -> SourceIndex:
    """The release's index; an empty one where nothing was released, which no format takes for a dataset."""
    try:
        return dataset.index()
    except ConfigError:
        return SourceIndex(())


def _tasks(dataset: Dataset, items: Sequence[Item]) -> tuple[str, ...]:
    """By the labels of the first image that has any."""
    for item in items[:100]:
        try:
            found = _tasks_of(dataset.labels_of(item))
        except BadSample:
            continue
        if found:
            return found
    return ()


def _tasks_of(labels: Labels) -> tuple[str, ...]:
    outlined = labels.mask is not None or any(instance.mask is not None for instance in labels.instances)
    tasks = {
        "image-classification": labels.image_class is not None,
        "image-segmentation": outlined,
        "keypoint-detection": any(instance.keypoints is not None for instance in labels.instances),
        "object-detection": bool(labels.instances),
    }
    return tuple(name for name, is_one in tasks.items() if is_one)


def _target_shares(config: RunConfig, accepted: Sequence[Row]) -> dict[str, tuple[Share, ...]]:
    """Asked for and released; a target per class is told over all classes."""
    shares = {}
    for target in Plan(config.plan, config.seed).targets if config.plan.targets else ():
        counts = Counter(tuple(row.factors.get(factor) for factor in target.factors) for row in accepted)
        total = max(sum(counts.values()), 1)
        asked = sum(target.shares.values()) or 1.0
        shares[target.name] = tuple(
            Share("/".join(levels), share / asked, counts[tuple(levels)] / total)
            for levels, share in target.shares.items()
            if share or counts[tuple(levels)]
        )
    return shares


def _measured(accepted: Sequence[Row]) -> dict[str, tuple[float, float]]:
    names = sorted({name for row in accepted for name in row.scores if name.startswith(MEASURED)})
    found = {}
    for name in names:
        values = [value for row in accepted if (value := row.scores.get(name)) is not None]
        if values:
            found[name.removeprefix(MEASURED)] = float(np.mean(values)), float(np.std(values))
    return found


def _answers(report: Path) -> tuple[Answer, ...]:
    """What `synthgen report` found, if it was run: its sections, from the edition that everyone may read."""
    try:
        sections = json.loads(report.read_text(encoding="utf-8"))["sections"]
        return tuple(Answer(str(one["title"]), str(one["state"]), str(one["summary"])) for one in sections)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ()
