"""The loop: one shard in, one committed shard out; it reads top to bottom like the picture in the README.

Three things run side by side, joined by bounded queues: threads that prepare samples (read, detect, extract,
protect), the caller's thread that generates, and threads that restore, check and encode. Outcomes that a check
rejected go back into the queue with a new seed, so later batches stay full. No pixel depends on who ran beside whom:
the noise belongs to the sample and partial batches are padded.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import numpy as np

from synthgen.checks.base import CheckRun
from synthgen.config import RunConfig
from synthgen.describe import describe_objects
from synthgen.generators.base import GeneratorRun, Size
from synthgen.images import encode_image
from synthgen.measurements import measure
from synthgen.plan import Plan
from synthgen.prepare import Prepared, Preparer, restore
from synthgen.seeds import derive_seed
from synthgen.shards import Shard, ShardStore, ShardWriter, StoredImage
from synthgen.types import BadSample, ConfigError, Extra, Generated, Image, Item, Recipe, Row, Score


@dataclass(frozen=True, eq=False)
class Task:
    """One output to be made."""

    prepared: Prepared
    recipe: Recipe


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
        key = task.prepared.bucket, frozenset(task.recipe.control.items())
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
        self.extras: Mapping[str, list[Extra]] = defaultdict(list)
        for extra in shard.extras:
            self.extras[extra.sample_id].append(extra)

    def run(self) -> None:
        execution = self.job.config.execution
        bound = execution.queue * self.job.config.generate.batch_size
        with (
            ThreadPoolExecutor(execution.workers, "prepare") as preparing,
            ThreadPoolExecutor(execution.workers, "finish") as self.pool,
        ):
            feed = _prefetch(preparing, self.job.preparer, self.items, bound)
            more = True
            while True:
                self._settle(wait=False)
                batch = self.queue.take(partial=not more and not self.finishing)
                if batch:
                    self._generate(batch)
                    while len(self.finishing) > bound:
                        self._settle(wait=True)
                elif more:
                    more = self._accept_prepared(feed)
                elif self.finishing:
                    self._settle(wait=True)
                else:
                    return

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
            self.queue.add(Task(prepared, plan.recipe(sample_id, extra.variant, 0, objects, extra)))
        if not self.extras[sample_id]:
            for kind, control in prepared.controls.maps.items():
                self.writer.add_control(sample_id, kind, encode_image(control.image, ".png"))
            for variant in range(self.job.config.plan.variants):
                self.queue.add(Task(prepared, plan.recipe(sample_id, variant, 0, objects)))
        return True

    def _generate(self, batch: list[Task]) -> None:
        controls = [task.prepared.controls for task in batch]
        images = self.job.generate(batch[0].prepared.bucket, controls, [task.recipe for task in batch])
        for task, image in zip(batch, images, strict=True):
            self.finishing.append(self.pool.submit(finish, self.job, task, image))

    def _settle(self, wait: bool) -> None:
        """Take finished outcomes in order; `wait` takes the oldest even if it is not finished."""
        while self.finishing and (wait or self.finishing[0].done()):
            outcome = self.finishing.popleft().result()
            wait = False
            if outcome.retry is not None:
                self.queue.add(outcome.retry, first=True)
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


def finish(job: Job, task: Task, image: Image) -> Outcome:
    """Restore the source's size, randomize, check, and encode one generated image, or ask for another try."""
    sample = task.prepared.sample
    output = randomize(job, task, restore(task.prepared, image, job.config.mode))
    generated = Generated(output, task.recipe)
    try:
        scores = [check(sample, task.prepared.controls, generated) for check in job.checks]
    except BadSample as bad:
        return Outcome(_row(task, (), "", bad.code, bad.message))
    failed = next((score for score in scores if score.passed is not True), None)
    if failed is not None and task.recipe.attempt + 1 < job.config.attempts:
        return Outcome(retry=Task(task.prepared, job.plan.again(task.recipe)))
    scores += [Score(f"measured:{name}", value, None) for name, value in measure(output).items()]
    if failed is not None:
        return Outcome(_row(task, scores, "", f"check-{failed.check}", failed.message))
    data = encode_image(output, PurePosixPath(sample.item.id).suffix)
    row = _row(task, scores, hashlib.sha256(data).hexdigest(), "", "")
    return Outcome(row, StoredImage(sample.item.id, task.recipe.variant, data))


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
        message=message,
        source_digest=sample.digest,
        output_digest=output_digest,
        split=sample.item.split,
        width=sample.size[0],
        height=sample.size[1],
        attempts=recipe.attempt + 1,
        seed=recipe.seed,
        prompt=recipe.prompt,
        factors=recipe.factors,
        scores={score.check: score.value for score in scores},
        regions={kind: kinds.count(kind) for kind in sorted(set(kinds))},
    )
