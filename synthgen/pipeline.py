"""The loop: one shard in, one committed shard out; it reads top to bottom like the picture in the README.

Three things run side by side, joined by bounded queues: threads that prepare samples (read, detect, extract,
protect), the caller's thread that generates, and threads that restore, check and encode; on a CPU the generator has
the first claim on a core. Outcomes that a check rejected go back into the queue with a new seed, in the same stage or
prepared anew for the next one, so later batches stay full. No pixel depends on who ran beside whom: the noise belongs
to the sample and partial batches are padded. Redacted samples (generator `none`) pass by the generator.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from synthgen.checks.base import Candidate, Check, CheckRun
from synthgen.config import RunConfig
from synthgen.describe import describe_objects
from synthgen.generators.base import GeneratorRun, Painted, Size
from synthgen.images import encode_image, encode_mask
from synthgen.measurements import measure
from synthgen.people import count_small
from synthgen.plan import Plan
from synthgen.prepare import Prepared, Preparer, bad_row, restore
from synthgen.seeds import derive_seed
from synthgen.shards import Shard, ShardStore, ShardWriter, StoredImage
from synthgen.types import BadSample, ConfigError, Controls, Extra, Generated, Image, Item, Mask, Recipe, Row, Score

BLACK = ("output-black", "the generator painted black alone: NaN in its numbers, or flagged by its safety checker")
"""Code and message of an output that is none, whatever the checks are."""


@dataclass(frozen=True, eq=False)
class Task:
    """One output to be made. `tries` counts the rejected ones of this stage; `note` is the generator's, for the row."""

    prepared: Prepared
    recipe: Recipe
    tries: int = 0
    note: str = ""

    @property
    def painted_by(self) -> Recipe:
        """The recipe with the stage's factors on the scales of the ControlNets."""
        control, scale = self.recipe.control, self.prepared.scale
        kinds = sorted(control.keys() | scale.keys())
        return replace(self.recipe, control={kind: control.get(kind, 1.0) * scale.get(kind, 1.0) for kind in kinds})


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of a task: a row and perhaps an image, or another try."""

    row: Row | None = None
    image: StoredImage | None = None
    retry: Task | None = None


@dataclass(frozen=True, eq=False)
class Job:
    """Everything that a process needs to work on shards; loaded once."""

    config: RunConfig
    items: dict[str, Item]
    plan: Plan
    preparer: Preparer
    generate: GeneratorRun
    checks: Sequence[CheckRun]
    store: ShardStore
    on_row: Callable[[Row], None]


class BatchQueue:
    """Tasks by bucket and by the scales of their controls, since a batch has one of each.

    Retries go first, so that a hard sample does not hold its memory for long.
    """

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size
        self._tasks: dict[tuple[Size, frozenset[tuple[str, float]]], deque[Task]] = {}

    def add(self, task: Task, first: bool = False) -> None:
        """Queue a task among those that it may share a batch with."""
        key = task.prepared.bucket, frozenset(task.painted_by.control.items())
        queue = self._tasks.setdefault(key, deque())
        if first:
            queue.appendleft(task)
        else:
            queue.append(task)

    def take(self, partial: bool) -> list[Task]:
        """A full batch of one kind; if there is none and `partial`, what there is; else nothing."""
        waiting = [queue for queue in self._tasks.values() if queue]
        chosen = next((queue for queue in waiting if len(queue) >= self.batch_size), None)
        if chosen is None and partial and waiting:
            chosen = waiting[0]
        if chosen is None:
            return []
        return [chosen.popleft() for _ in range(min(self.batch_size, len(chosen)))]


def process_shard(job: Job, shard: Shard) -> None:
    """Make every output of a shard and commit it. On any error nothing of the shard is visible."""
    writer = ShardWriter(job.store, shard)
    try:
        _ShardLoop(job, shard, writer).run()
        writer.commit()
    except BaseException:
        writer.discard()
        raise


class _ShardLoop:
    def __init__(self, job: Job, shard: Shard, writer: ShardWriter) -> None:
        self.job = job
        self.writer = writer
        self.queue = BatchQueue(job.config.generate.batch_size)
        self.finishing: deque[Future[Outcome]] = deque()
        missing = [sample_id for sample_id in shard.ids if sample_id not in job.items]
        if missing:
            raise ConfigError(f"the source lost {len(missing)} image(s) since the run began, first: {missing[0]}")
        self.items = [job.items[sample_id] for sample_id in shard.ids]
        self.later_controls: dict[tuple[str, int, str], bytes] = {}
        self.extras: Mapping[str, list[Extra]] = defaultdict(list)
        for extra in shard.extras:
            self.extras[extra.sample_id].append(extra)

    def run(self) -> None:
        execution = self.job.config.execution
        bound = execution.queue * self.job.config.generate.batch_size
        with (
            ThreadPoolExecutor(execution.workers, "prepare", give_way) as preparing,
            ThreadPoolExecutor(execution.workers, "finish", give_way) as self.pool,
        ):
            feed = _prefetch(preparing, self.job.preparer, self.items, bound)
            more = True
            while True:
                self._settle(wait=False)
                while len(self.finishing) > bound:
                    self._settle(wait=True)
                batch = self.queue.take(partial=not more and not self.finishing)
                if batch:
                    self._generate(batch)
                elif more:
                    more = self._accept_prepared(feed)
                elif self.finishing:
                    self._settle(wait=True)
                else:
                    break
        for (sample_id, stage, kind), png in sorted(self.later_controls.items()):
            self.writer.add_control(sample_id, kind, stage, png)

    def _accept_prepared(self, feed: Iterator[Prepared | Row]) -> bool:
        prepared = next(feed, None)
        if prepared is None:
            return False
        if isinstance(prepared, Row):
            extras = self.extras[prepared.sample_id]
            for row in [replace(prepared, variant=extra.variant) for extra in extras] or [prepared]:
                self.writer.add_row(row)
                self.job.on_row(row)
            return True
        plan, sample_id = self.job.plan, prepared.sample.item.id
        objects = describe_objects(prepared.sample.labels) if plan.file.uses_objects else ""
        for extra in self.extras[sample_id]:
            self._begin_extra(prepared, extra, objects)
        if not self.extras[sample_id]:
            for kind, control in prepared.controls.maps.items():
                self.writer.add_control(sample_id, kind, prepared.stage, encode_image(control.image, ".png"))
            for variant in range(plan.variants_of(sample_id)):
                self._begin(Task(prepared, plan.recipe(sample_id, variant, 0, objects)))
        return True

    def _begin_extra(self, prepared: Prepared, extra: Extra, objects: str) -> None:
        """Queue an output of a later round, in the stage that it is to begin in."""
        sample = prepared.sample
        try:
            if extra.stage > prepared.stage:
                prepared = self.job.preparer.at_stage(sample, prepared.regions, extra.stage)[0]
                self._keep_later_controls(prepared)
        except BadSample as bad:
            row = replace(bad_row(sample.item, bad, 1), variant=extra.variant)
            self.writer.add_row(row)
            self.job.on_row(row)
            return
        self._begin(Task(prepared, self.job.plan.recipe(sample.item.id, extra.variant, 0, objects, extra)))

    def _keep_later_controls(self, prepared: Prepared) -> None:
        """Hold the maps of a later stage until the shard ends: the order of retries is not the same in every run."""
        sample_id, stage = prepared.sample.item.id, prepared.stage
        for kind, control in prepared.controls.maps.items():
            if (sample_id, stage, kind) not in self.later_controls:
                self.later_controls[sample_id, stage, kind] = encode_image(control.image, ".png")

    def _begin(self, task: Task, first: bool = False) -> None:
        """Queue a task for the generator; what is redacted already is finished at once."""
        redacted = task.prepared.redacted
        if redacted is None:
            self.queue.add(task, first)
            return
        unprompted = replace(task.recipe, prompt="", negative_prompt="", factors={}, control={})
        self.finishing.append(self.pool.submit(finish, self.job, replace(task, recipe=unprompted), redacted.image))

    def _generate(self, batch: list[Task]) -> None:
        controls = [task.prepared.controls for task in batch]
        images = self.job.generate(batch[0].prepared.bucket, controls, [task.painted_by for task in batch])
        note = images.note if isinstance(images, Painted) else ""
        for task, image in zip(batch, images, strict=True):
            self.finishing.append(self.pool.submit(finish, self.job, replace(task, note=note), image))

    def _settle(self, wait: bool) -> None:
        """Take finished outcomes in order; `wait` takes the oldest even if it is not finished."""
        while self.finishing and (wait or self.finishing[0].done()):
            outcome = self.finishing.popleft().result()
            wait = False
            if outcome.retry is not None:
                if outcome.retry.prepared.stage > 1:
                    self._keep_later_controls(outcome.retry.prepared)
                self._begin(outcome.retry, first=True)
            if outcome.image is not None:
                self.writer.add_image(outcome.image)
            if outcome.row is not None:
                self.writer.add_row(outcome.row)
                self.job.on_row(outcome.row)


def _prefetch(
    pool: ThreadPoolExecutor, preparer: Preparer, items: Sequence[Item], bound: int
) -> Iterator[Prepared | Row]:
    """Prepare items ahead in `pool`, in order, never more than `bound` at once."""
    ahead: deque[Future[list[Prepared | Row]]] = deque()
    waiting = iter(items)
    while True:
        while len(ahead) < bound and (item := next(waiting, None)) is not None:
            ahead.append(pool.submit(preparer, [item]))
        if not ahead:
            return
        yield from ahead.popleft().result()


def give_way() -> None:
    """Let the calling thread have a core only where the generator leaves one. Only Linux can tell threads apart."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, min(19, os.getpriority(os.PRIO_PROCESS, thread) + 10))


def finish(job: Job, task: Task, image: Image) -> Outcome:
    """Restore the source's size, randomize, check, and encode one generated image, or ask for another try."""
    sample, redacted = task.prepared.sample, task.prepared.redacted
    if redacted is None and is_black(image, task.prepared.controls):
        retry = next_try(job, task, ())
        return Outcome(_row(task, (), "", *BLACK)) if retry is None else Outcome(retry=retry)
    restored = image if redacted is not None else restore(task.prepared, image, job.config.mode)
    output = randomize(job, task, restored)
    generated = Generated(output, task.recipe)
    try:
        unlabels = job.config.source.unlabels()
        candidate = Candidate(sample, task.prepared.regions, kept_pixels(job, task.prepared), generated, unlabels)
        scores = [check(candidate) for check in job.checks]
        failed = [place for place, score in enumerate(scores) if score.passed is not True]
        retry = next_try(job, task, [job.config.check[place] for place in failed]) if failed else None
    except BadSample as bad:
        return Outcome(_row(task, (), "", bad.code, bad.message))
    if retry is not None:
        return Outcome(retry=retry)
    scores += [Score(f"measured:{name}", value, None) for name, value in measure(output).items()]
    if (hardness := job.plan.hardness_of(sample.item.id)) is not None:
        scores.append(Score("plan:hardness", hardness, None))
    beyond = [scores[place] for place in failed if not scores[place].mendable]
    if beyond:
        return Outcome(_row(task, scores, "", f"check-{beyond[0].check}", beyond[0].message))
    data = encode_image(output, PurePosixPath(sample.item.id).suffix)
    mended = "; ".join(f"label set to ignore: {scores[place].message}" for place in failed)
    row = _row(task, scores, hashlib.sha256(data).hexdigest(), "", mended)
    return Outcome(row, StoredImage(sample.item.id, task.recipe.variant, data, encode_unlabelled(scores)))


def is_black(image: Image, controls: Controls) -> bool:
    """Whether a generator painted nothing but black: what NaN becomes, and what a safety checker puts in its place."""
    painted = image if controls.hole is None else image[controls.hole]
    return painted.size > 0 and not painted.any()


def encode_unlabelled(scores: Sequence[Score]) -> bytes:
    """The pixels whose label does not hold, of all scores together, as a PNG; no bytes where there are none."""
    masks = [score.unlabel for score in scores if score.unlabel is not None]
    where = np.logical_or.reduce(masks) if masks else np.zeros((1, 1), np.bool_)
    return encode_mask(where) if where.any() else b""


def kept_pixels(job: Job, prepared: Prepared) -> Mask | None:
    """(height, width), True where an output keeps the source's pixels on purpose; None where every pixel is new."""
    if prepared.redacted is not None:
        return ~prepared.redacted.treated
    return ~prepared.hole if job.config.mode == "people" else None


def next_try(job: Job, task: Task, rejected_by: Sequence[Check]) -> Task | None:
    """The task once more with another seed: in its stage up to `attempts` times, then in the next one; None at the end.

    What `escalates` (an identity that was recognised) goes to the next stage at once, since another seed of the same
    protection would only be drawn until one happens to pass. So does a redaction, which another seed does not change.
    What every rejecting check `stays` with ends in its stage.

    Raises:
        BadSample: the sample can't be prepared for the next stage.
    """
    exhausted = task.tries + 1 >= job.config.attempts or not job.config.generate.paints
    recipe = job.plan.again(task.recipe)
    escalates = any(check.escalates for check in rejected_by)
    if escalates or (exhausted and not all(check.stays for check in rejected_by)):
        prepared = job.preparer.next_stage(task.prepared)
        if prepared is not None:
            return Task(prepared, recipe)
    return None if exhausted else Task(task.prepared, recipe, task.tries + 1)


def randomize(job: Job, task: Task, output: Image) -> Image:
    """The output after the randomizers of its levels, then those of the config, each with a stream of its own."""
    recipe, labels = task.recipe, task.prepared.sample.labels
    for place, randomizer in enumerate([*job.plan.randomizers(recipe), *job.config.randomize]):
        purpose = f"randomize:{place}:{randomizer.kind}"
        seed = derive_seed(job.config.seed, recipe.sample_id, recipe.variant, recipe.attempt, purpose)
        output, labels = randomizer(output, labels, np.random.default_rng(seed))
    return output


def _row(task: Task, scores: Sequence[Score], output_digest: str, code: str, message: str) -> Row:
    sample, recipe = task.prepared.sample, task.recipe
    kinds = [region.kind for region in task.prepared.regions]
    return Row(
        sample_id=sample.item.id,
        variant=recipe.variant,
        verdict="quarantined" if code else "accepted",
        code=code,
        message="; ".join(part for part in (message, task.note) if part),
        source_digest=sample.digest,
        output_digest=output_digest,
        split=sample.item.split,
        width=sample.size[0],
        height=sample.size[1],
        attempts=recipe.attempt + 1,
        seed=recipe.seed,
        prompt=recipe.prompt,
        factors=recipe.factors,
        scores={name: value for score in scores for name, value in score.to_columns().items()},
        regions={kind: kinds.count(kind) for kind in sorted(set(kinds))},
        stage=task.prepared.stage,
        small_people=count_small(task.prepared.regions, sample.size),
    )
