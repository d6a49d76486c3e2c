"""What the cells say together: scores, differences to real with intervals, verdicts, mixtures, trust in cues.

A verdict is non-inferiority in the metric itself, margin m fixed in the spec: `pass` where the whole interval of
(arm − real) lies above −m, `fail` where it lies below, else `insufficient`. It is insufficient as well with too few
seeds or stretches or, to pass, scenes, and where the model learnt so little on real pictures that a loss of m would not
show (real less than m above chance): who knows nothing loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from synthgen.learners.base import Learner, Task
from synthgen.metrics.sets import Verdict
from synthgen.seeds import derive_seed
from synthgen.utility.answers import Answers
from synthgen.utility.bootstrap import Draws, Interval, Replicates, draw, interval, over_seeds
from synthgen.utility.cells import Cell
from synthgen.utility.metrics import METRIC, accuracy, calibration_error, chance, class_scores, mean_over_classes
from synthgen.utility.spec import MIN_SEEDS, REAL, UtilitySpec
from synthgen.utility.study import Study, TrainingSet

MIN_ARCHITECTURES = 2
Loaded = Callable[[Cell], Mapping[str, Answers]]


@dataclass(frozen=True)
class ClassOutcome:
    """One class on the real test: its IoU or average precision, and the difference to training on real."""

    name: str
    score: Interval
    difference: Interval


@dataclass(frozen=True)
class Outcome:
    """One training set and one model, tried on the real test.

    Attributes:
        of: the arm that replaces real pictures; `share` of them.
        score: mean over seeds; `by_seed`: each. `difference`: score − that of training on real; `ratio`: ÷ (TSTR/TRTR).
        calibration_error: ECE on the real test, 0..1, lower is better.
        verdict: of non-inferiority; training on real has none to itself and says so.
    """

    arm: str
    of: str
    share: float
    model: str
    task: Task
    metric: str
    score: Interval
    by_seed: tuple[float, ...]
    difference: Interval
    ratio: Interval
    calibration_error: Interval
    accuracy: Interval
    verdict: Verdict
    reason: str
    classes: tuple[ClassOutcome, ...]


@dataclass(frozen=True)
class CrossTest:
    """A training set tried on the outputs of an arm, beside the real pictures of the very same scenes.

    `gap` and `accuracy_gap`: score and accuracy on `tested` − on real. Above that of training on real, the model
    trusts cues that only the outputs have.
    """

    arm: str
    tested: str
    model: str
    metric: str
    pictures: int
    score: Interval
    gap: Interval
    accuracy_gap: Interval


@dataclass(frozen=True)
class MixtureCurve:
    """The score on the real test by the share that is not real. `support`: of how many replicates `best` is best."""

    of: str
    model: str
    metric: str
    shares: tuple[float, ...]
    scores: tuple[Interval, ...]
    best: float
    support: float


@dataclass(frozen=True)
class FilterEffect:
    """Two arms of one run: the score on real of `arm`, whose labels partly became ignore, − of `kept`, with all."""

    arm: str
    kept: str
    model: str
    metric: str
    difference: Interval


@dataclass(frozen=True)
class ArmVerdict:
    """An arm over all models: fail if any fails, pass if all pass and they are of at least two architectures."""

    arm: str
    verdict: Verdict
    reason: str


@dataclass(frozen=True)
class Utility:
    """The whole answer. `decides`: the arms whose verdicts make the verdict of all."""

    verdict: Verdict
    reason: str
    decides: tuple[str, ...]
    arms: tuple[ArmVerdict, ...]
    outcomes: tuple[Outcome, ...]
    cross: tuple[CrossTest, ...]
    mixtures: tuple[MixtureCurve, ...]
    filters: tuple[FilterEffect, ...]
    trained_on: int
    tested_on: int
    scenes: int
    units: int
    scene_rule: str
    cut: bool
    known: int
    lacking: Mapping[str, int]
    unread: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class _Side:
    """Replicates of one (set, model) on one test: over seeds, and by class."""

    score: Replicates
    classes: NDArray[np.float64]
    accuracy: Replicates
    calibration: Replicates
    by_seed: tuple[float, ...]


class Assembler:
    """Reads the cells of one study."""

    def __init__(self, study: Study, spec: UtilitySpec, load: Loaded) -> None:
        self._study, self._spec, self._load = study, spec, load
        seed = derive_seed(spec.seed, "bootstrap", 0, 0, "utility")
        self._draws: Draws = draw(study.units, len(spec.seeds), spec.bootstraps, seed, spec.confidence)
        self._units = len(set(study.units.tolist()))

    def utility(self) -> Utility:
        """Everything, from the finished cells."""
        study, spec = self._study, self._spec
        outcomes, cross, mixtures, filters = [], [], [], []
        for model in spec.models:
            sides = {one.name: self._side(one, model, REAL, None) for one in study.sets}
            floor = self._chance(model)
            outcomes += [self._outcome(one, model, sides[one.name], sides[REAL], floor) for one in study.sets]
            cross += self._cross(model)
            mixtures += self._curves(model, sides)
            filters += self._filters(model, sides)
        architectures = {one.name: architecture(one) for one in spec.models}
        arms = tuple(arm_verdict(one, outcomes, architectures) for one in study.arms if one != REAL)
        decides = tuple(
            one for one in spec.arms if spec.arms[one].run is not None and spec.arms[one].labels == "release"
        )
        decides = decides or tuple(spec.arms)
        verdict, reason = over_arms([one for one in arms if one.arm in decides])
        return Utility(
            verdict, reason, decides, arms, tuple(outcomes), tuple(cross), tuple(mixtures), tuple(filters),
            len(study.arms[REAL].train.ids), len(study.test.ids), study.scenes, self._units, study.rule, study.cut,
            study.known, study.lacking, study.unread,
        )  # fmt: skip

    def _side(self, chosen: TrainingSet, model: Learner, tested: str, at: NDArray[np.int64] | None) -> _Side:
        """Replicates on a test; `at`: the places among the real test pictures that are looked at, None: all.

        The answers on `real` are cut to those places; an arm's own test holds no others.
        """
        arm = self._study.arms[tested].test
        assert arm is not None
        everything = np.arange(len(self._study.units))
        weights = self._draws.of_pictures(everything if at is None else at)
        cut = at if tested == REAL and at is not None else np.arange(len(arm.ids))
        present = arm.present[cut]
        seeds = []
        for seed in self._spec.seeds:
            stored = self._load(Cell(chosen, model, seed, (tested,)))[tested]
            answers = {name: value[cut] for name, value in stored.items()}
            classes = class_scores(answers, present, weights)
            seeds.append((classes, accuracy(answers, weights), calibration_error(answers, weights)))
        classes, right, calibration = (np.stack([one[place] for one in seeds], axis=1) for place in range(3))
        means = np.stack([mean_over_classes(classes[:, place]) for place in range(classes.shape[1])], axis=1)
        by_class = [over_seeds(classes[:, :, place], self._draws) for place in range(classes.shape[2])]
        return _Side(
            over_seeds(means, self._draws),
            np.stack(by_class, axis=1),
            over_seeds(right, self._draws),
            over_seeds(calibration, self._draws),
            tuple(float(value) for value in means[0]),
        )

    def _chance(self, model: Learner) -> float:
        real = next(one for one in self._study.sets if one.name == REAL)
        answers = self._load(Cell(real, model, self._spec.seeds[0], (REAL,)))[REAL]
        return chance(model.task, answers, self._study.test.present)

    def _outcome(self, chosen: TrainingSet, model: Learner, side: _Side, real: _Side, floor: float) -> Outcome:
        level = self._spec.confidence
        difference = interval(side.score - real.score, level)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = interval(side.score / real.score, level)
        verdict, reason = self._judge(chosen, difference, float(real.score[0]), floor)
        classes = tuple(
            ClassOutcome(
                name,
                interval(side.classes[:, place], level, True),
                interval(side.classes[:, place] - real.classes[:, place], level),
            )
            for place, name in enumerate(self._study.words.names)
        )
        return Outcome(
            chosen.name, chosen.of, chosen.share, model.name, model.task, METRIC[model.task],
            interval(side.score, level, True), side.by_seed, difference, ratio, interval(side.calibration, level, True),
            interval(side.accuracy, level, True), verdict, reason, classes,
        )  # fmt: skip

    def _judge(self, chosen: TrainingSet, difference: Interval, real: float, floor: float) -> tuple[Verdict, str]:
        spec, margin = self._spec, self._spec.margin
        if chosen.name == REAL:
            return "insufficient", "what the others are held against"
        if len(spec.seeds) < MIN_SEEDS:
            return "insufficient", f"{len(spec.seeds)} seed(s); {MIN_SEEDS} are needed"
        if self._units < spec.min_scenes:
            return "insufficient", f"{self._units} stretches in the test; {spec.min_scenes} are needed"
        if difference.value is None or difference.low is None or difference.high is None:
            return "insufficient", "the test's labels can't tell"
        if real - floor <= margin:
            return "insufficient", f"trained on real it reaches {real:.3f}, chance {floor:.3f}: too little to lose"
        if difference.low > -margin and self._study.scenes < spec.min_scenes:
            return "insufficient", f"{self._study.scenes} scenes in the test; {spec.min_scenes} are needed to pass"
        if difference.low > -margin:
            return "pass", f"worse by less than {margin:g}"
        if difference.high < -margin:
            return "fail", f"worse by more than {margin:g}"
        return "insufficient", f"the interval holds −{margin:g}"

    def _cross(self, model: Learner) -> list[CrossTest]:
        found = []
        place_of = {one: place for place, one in enumerate(self._study.test.ids)}
        for chosen in self._study.sets:
            for tested, arm in self._study.arms.items():
                if tested == REAL or arm.test is None or not self._tried(chosen, model, tested):
                    continue
                at = np.array([place_of[one] for one in arm.test.ids])
                there, real = (self._side(chosen, model, name, at) for name in (tested, REAL))
                level = self._spec.confidence
                found.append(
                    CrossTest(
                        chosen.name,
                        tested,
                        model.name,
                        METRIC[model.task],
                        len(at),
                        interval(there.score, level, True),
                        interval(there.score - real.score, level),
                        interval(there.accuracy - real.accuracy, level),
                    )
                )
        return found

    def _tried(self, chosen: TrainingSet, model: Learner, tested: str) -> bool:
        return tested in self._load(Cell(chosen, model, self._spec.seeds[0], (tested,)))

    def _curves(self, model: Learner, sides: Mapping[str, _Side]) -> list[MixtureCurve]:
        found = []
        for mixture in self._spec.mixtures:
            points = [one for one in self._study.sets if one.name == REAL or one.of == mixture.of]
            points.sort(key=lambda one: one.share)
            scores = np.stack([sides[one.name].score for one in points])
            best = int(np.argmax(np.nan_to_num(scores[:, 0], nan=-1.0)))
            support = float((np.nan_to_num(scores[:, 1:], nan=-1.0).argmax(0) == best).mean())
            intervals = tuple(interval(row, self._spec.confidence, True) for row in scores)
            shares = tuple(one.share for one in points)
            found.append(
                MixtureCurve(mixture.of, model.name, METRIC[model.task], shares, intervals, shares[best], support)
            )
        return found

    def _filters(self, model: Learner, sides: Mapping[str, _Side]) -> list[FilterEffect]:
        arms = {name: arm for name, arm in self._spec.arms.items() if arm.run is not None}
        runs = {name: arm.run.resolve() for name, arm in arms.items() if arm.run is not None}
        return [
            FilterEffect(
                name,
                kept,
                model.name,
                METRIC[model.task],
                interval(sides[name].score - sides[kept].score, self._spec.confidence),
            )
            for name, arm in arms.items()
            for kept, other in arms.items()
            if runs[name] == runs[kept] and (arm.labels, other.labels) == ("release", "source")
        ]


def architecture(model: Learner) -> str:
    """What tells one architecture from another: all keys but the name, the task and the rate."""
    return model.model_dump_json(exclude={"name", "task", "learning_rate"})


def arm_verdict(arm: str, outcomes: Sequence[Outcome], architectures: Mapping[str, str]) -> ArmVerdict:
    """The verdict of an arm over all models; `architectures`: of each model."""
    own = [one for one in outcomes if one.arm == arm]
    told = [f"{one.model}: {one.reason}" for one in own]
    if failed := [one for one in own if one.verdict == "fail"]:
        return ArmVerdict(arm, "fail", "; ".join(f"{one.model}: {one.reason}" for one in failed))
    if all(one.verdict == "pass" for one in own):
        count = len({architectures[one.model] for one in own})
        if count < MIN_ARCHITECTURES:
            return ArmVerdict(arm, "insufficient", f"{count} architecture; {MIN_ARCHITECTURES} are needed")
        return ArmVerdict(arm, "pass", "; ".join(told))
    return ArmVerdict(
        arm, "insufficient", "; ".join(f"{one.model}: {one.reason}" for one in own if one.verdict != "pass")
    )


def over_arms(arms: Sequence[ArmVerdict]) -> tuple[Verdict, str]:
    """Fail if one fails, pass if all pass."""
    order: tuple[Verdict, ...] = ("fail", "insufficient", "pass")
    verdict = next(one for one in order if any(arm.verdict == one for arm in arms))
    return verdict, "; ".join(f"{arm.arm}: {arm.reason}" for arm in arms if arm.verdict == verdict)
