"""Read the real set and every arm, and cut them down to what all arms have: equal pictures, equal scenes.

A scene is trained on only if every arm has an output of it, so that no arm gains by having more. What each arm lacks
is counted and told. The test keeps every real picture; a test of outputs holds those that the arm has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.auditing.pairs import pairs_of_run
from synthgen.datasets.base import Dataset, resolve_source
from synthgen.launch import select_items
from synthgen.rundir import RunDir
from synthgen.seeds import derive_seed
from synthgen.types import BadSample, ClassInfo, ConfigError, Item, SynthgenError
from synthgen.utility.pictures import ABSENT, IGNORE, PRESENT, UNKNOWN, Picture, Pictures, Vocabulary, shrink
from synthgen.utility.spec import REAL, UtilitySpec, mixture_name
from synthgen.utility.survey import Survey

MIN_IMAGES = 8
Say = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Origin:
    """Where an arm's pictures lie.

    Attributes:
        items: id of the source's sample → item of `dataset`.
        own_labels: train on the release's labels, not on the source's.
        made_of: id → digest of the source's picture that the output was made of; empty for the source.
    """

    dataset: Dataset
    items: Mapping[str, Item]
    own_labels: bool = True
    run: RunDir | None = None
    made_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Arm:
    """One training set as it was read; `test` is None where it would be another arm's, or holds nothing."""

    name: str
    train: Pictures
    test: Pictures | None
    run: RunDir | None = None


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What one training sees: picture i of `arms[i]`; `share` of them are not real, of the arm `of`."""

    name: str
    arms: tuple[str, ...]
    of: str
    share: float


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that is trained on and tested on.

    Attributes:
        units: (test pictures,), the scene of each; `scenes` of them, named by `rule`; `cut`: too few, so cut in
            stretches, and intervals are too narrow.
        known: how many test pictures are of scenes that are trained on as well.
        lacking: arm → pictures of the training split that it has no output of; `unread`: bad ones, by code.
    """

    words: Vocabulary
    arms: Mapping[str, Arm]
    sets: tuple[TrainingSet, ...]
    units: NDArray[np.int64]
    scenes: int
    rule: str
    cut: bool
    known: int
    lacking: Mapping[str, int]
    unread: Mapping[str, int] = field(default_factory=dict)

    @property
    def test(self) -> Pictures:
        """The real test."""
        found = self.arms[REAL].test
        assert found is not None
        return found


def real_source(spec: UtilitySpec) -> Dataset:
    """The real dataset: of the spec, or of its first arm that is a run.

    Raises:
        ConfigError: neither, or the folder is no dataset.
    """
    value: dict[str, Any] = dict(spec.source)
    if not value.get("path"):
        runs = [arm.run for arm in spec.arms.values() if arm.run is not None]
        if not runs:
            raise ConfigError("source.path: names no real dataset; give --source DIR or the key source.path")
        of_run = RunDir(runs[0]).config().source.model_dump()
        value = of_run | {"splits": None, "limit": None} | value
    try:
        return resolve_source(value)
    except ValueError as error:
        raise ConfigError(f"source: {error}") from error


def read_study(spec: UtilitySpec, source: Dataset, runs: Mapping[str, Path], say: Say) -> Study:
    """Read and cut down.

    Args:
        runs: arm → the folder of its finished run.

    Raises:
        ConfigError: no such split, a run that is not finished or of another source, classes that differ, an arm with
            too few pictures, or a model whose task the labels can't serve.
    """
    index, items = select_items(source)
    by_id = {item.id: item for item in items}
    origins = {REAL: Origin(source, by_id)}
    for name, folder in runs.items():
        origins[name] = origin_of_run(name, folder, index.classes, spec.arms[name].labels == "release", by_id)
    survey = Survey(source, items, spec.scene)
    train_ids, test_ids = survey.split(spec)
    lacking = {name: len(set(train_ids) - origin.items.keys()) for name, origin in origins.items()}
    shared = [one for one in train_ids if all(one in origin.items for origin in origins.values())]
    shared.sort(key=lambda one: derive_seed(spec.seed, one, 0, 0, "utility-order"))
    wanted = shared[: spec.images]
    _refuse_few(wanted, lacking, len(train_ids))
    words = survey.vocabulary(spec, index.classes)
    reader = _Reader(spec, words, source, by_id)
    arms = _read_arms(origins, wanted, test_ids, reader, say)
    train, test = arms[REAL].train, arms[REAL].test
    assert test is not None
    _refuse_few(train.ids, lacking, len(train_ids))
    _refuse_tasks(spec, train, test)
    units, scenes, cut = survey.units(test.ids)
    sets = training_sets(spec, train.ids)
    known = survey.known(train.ids, test.ids)
    return Study(words, arms, sets, units, scenes, survey.rule, cut, known, lacking, reader.unread)


def training_sets(spec: UtilitySpec, ids: Sequence[str]) -> tuple[TrainingSet, ...]:
    """Real, every arm, every mixture; of a mixture the first pictures in order are replaced, so shares are nested."""
    count = len(ids)
    found = [TrainingSet(REAL, (REAL,) * count, REAL, 0.0)]
    found += [TrainingSet(name, (name,) * count, name, 1.0) for name in spec.arms]
    for mixture in spec.mixtures:
        for share in mixture.shares:
            replaced = round(share * count)
            if not 0 < replaced < count:
                raise ConfigError(
                    f"mixtures: a share of {share:g} of {count} pictures is {replaced}; take it out of `shares`"
                )
            arms = (mixture.of,) * replaced + (REAL,) * (count - replaced)
            found.append(TrainingSet(mixture_name(mixture.of, share), arms, mixture.of, share))
    return tuple(found)


def origin_of_run(
    name: str, folder: Path, classes: Sequence[ClassInfo], own_labels: bool, real: Mapping[str, Item]
) -> Origin:
    """The release of a finished run by the ids of its source; of several variants the first.

    Raises:
        ConfigError: no finished run, other classes, or no output of the source.
    """
    try:
        pairs = pairs_of_run(folder, None, None)
    except SynthgenError as error:
        raise ConfigError(f"arms.{name}: {error}") from error
    assert pairs.run is not None
    dataset = pairs.run.dataset(pairs.release)
    released = dataset.index()
    _refuse_other_classes(name, classes, released.classes)
    by_path = {item.image.resolve(): item for item in released.items}
    found = {}
    for sample_id, outputs in pairs.outputs.items():
        first = min(outputs, key=lambda output: output.variant)
        item = by_path.get(first.path.resolve())
        if sample_id in real and item is not None:
            found[sample_id] = item
    if not found:
        raise ConfigError(f"arms.{name}: {folder} has no output of a picture in the source; give the same source.path")
    made_of = {row.sample_id: row.source_digest for row in pairs.run.store.rows() if row.verdict == "accepted"}
    return Origin(dataset, found, own_labels, pairs.run, made_of)


def _refuse_other_classes(name: str, real: Sequence[ClassInfo], released: Sequence[ClassInfo]) -> None:
    one, other = ({(info.id, info.name, info.ignore) for info in table} for table in (real, released))
    if one != other:
        listed = sorted({text for _, text, _ in one ^ other})[:6]
        raise ConfigError(f"arms.{name}: its classes are not those of the source (they differ in {listed})")


def _refuse_few(ids: Sequence[str], lacking: Mapping[str, int], count: int) -> None:
    if len(ids) < MIN_IMAGES:
        worst = max(lacking, key=lambda name: lacking[name])
        raise ConfigError(
            f"arms.{worst}: has no output of {lacking[worst]} of {count} training pictures, which leaves {len(ids)} "
            f"that every arm has; {MIN_IMAGES} are needed. Run it on the whole source, or leave the arm out"
        )


def _refuse_tasks(spec: UtilitySpec, train: Pictures, test: Pictures) -> None:
    for model in spec.models:
        for split, pictures in (("train", train), ("test", test)):
            if model.task == "segmentation" and pictures.masks is None:
                raise ConfigError(
                    f"models: {model.name}: the labels of `{split}` have no masks or outlines; use task: classes"
                )


class _Reader:
    """Reads pictures of an arm; counts what can't be read or can't be learnt from."""

    def __init__(self, spec: UtilitySpec, words: Vocabulary, source: Dataset, real: Mapping[str, Item]) -> None:
        self.unread: dict[str, int] = {}
        self._spec, self._words, self._source, self._real = spec, words, source, real
        self._segments = any(model.task == "segmentation" for model in spec.models)
        self._digests: dict[str, str] = {}

    def read(self, name: str, origin: Origin, ids: Sequence[str], own_labels: bool) -> dict[str, Picture]:
        """By id; a bad one is missing. The real pictures are read before those of any run.

        Raises:
            ConfigError: an output was made of another picture than the source has now.
        """
        found = {}
        for one in ids:
            if one not in origin.items:
                continue
            try:
                sample = origin.dataset.read(origin.items[one])
                if origin.run is None:
                    self._digests[one] = sample.digest
                elif self._digests.get(one, origin.made_of.get(one)) != origin.made_of.get(one):
                    raise ConfigError(
                        f"arms.{name}: its output of {one} was made of another picture than the source has now: give "
                        "the source of the run, or run it again"
                    )
                labels = sample.labels if own_labels else self._source.labels_of(self._real[one])
                found[one] = shrink(sample.image, labels, self._words, self._spec.size, self._spec.present)
            except BadSample as error:
                self._count(error.code)
        return found

    def learnable(self, pictures: Mapping[str, Picture]) -> dict[str, Picture]:
        """The real pictures less those that teach and test nothing: of no class folder, or, where there is a
        segmenter among the models and other pictures have masks, without a mask.
        """
        masked = any(picture.mask is not None for picture in pictures.values())
        found = {}
        for one, picture in pictures.items():
            if self._words.from_folders and not (picture.present == PRESENT).any():
                self._count("class-missing")
            elif self._segments and masked and picture.mask is None:
                self._count("mask-missing")
            else:
                found[one] = picture
        return found

    def _count(self, code: str) -> None:
        self.unread[code] = self.unread.get(code, 0) + 1


def _read_arms(
    origins: Mapping[str, Origin], wanted: Sequence[str], test_ids: Sequence[str], reader: _Reader, say: Say
) -> dict[str, Arm]:
    train: dict[str, dict[str, Picture]] = {}
    test: dict[str, dict[str, Picture]] = {}
    for name, origin in origins.items():
        say(f"reading {name}")
        train[name] = reader.read(name, origin, wanted, origin.own_labels)
        twin = any(origins[other].run == origin.run for other in test)
        if not twin:
            # Labels of the source: outputs and the real pictures of the same scenes are scored on the same pixels.
            test[name] = reader.read(name, origin, test_ids, False)
    train[REAL], test[REAL] = reader.learnable(train[REAL]), reader.learnable(test[REAL])
    real_test = [one for one in test_ids if one in test[REAL]]
    if not real_test:
        raise ConfigError("test: none of its pictures can be read")
    everywhere = [one for one in wanted if all(one in part for part in train.values())]
    return {
        name: Arm(
            name,
            _stack(everywhere, train[name], train[REAL]),
            _stack(tried, test[name], test[REAL])
            if (tried := [one for one in real_test if one in test.get(name, ())])
            else None,
            origin.run,
        )
        for name, origin in origins.items()
    }


def _stack(ids: Sequence[str], pictures: Mapping[str, Picture], real: Mapping[str, Picture]) -> Pictures:
    """As arrays. A class of which the release has only *ignore* left is unknown, not absent."""
    if not ids:
        return Pictures((), np.zeros((0, 1, 1, 3), np.uint8), None, np.zeros((0, 0), np.int8))
    present = np.stack([pictures[one].present for one in ids])
    before = np.stack([real[one].present for one in ids])
    present[(present == ABSENT) & (before == PRESENT)] = UNKNOWN
    masks = [pictures[one].mask for one in ids]
    size = pictures[ids[0]].image.shape[:2]
    blank = np.full(size, IGNORE, np.uint8)
    return Pictures(
        tuple(ids),
        np.stack([pictures[one].image for one in ids]),
        None if all(mask is None for mask in masks) else np.stack([blank if mask is None else mask for mask in masks]),
        present,
    )


def set_digest(chosen: TrainingSet, arms: Mapping[str, Arm]) -> str:
    """SHA-256 (hex) of everything that a training on this set sees."""
    parts = [f"{name}={arms[name].train.digest}" for name in sorted(set(chosen.arms))]
    order = [sorted(set(chosen.arms)).index(name) for name in chosen.arms]
    return hashlib.sha256("\n".join([*parts, str(order)]).encode()).hexdigest()
