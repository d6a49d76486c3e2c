"""Launchers: one process, or the ranks of `accelerate launch`. All of them run `pipeline.process_shard`.

Rank 0 alone claims the run folder, cuts the shards and writes the release. It tells the others what is left; each takes
every n-th shard. There is no other communication, so uneven work cannot hang a rank until the end.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from synthgen.config import RunConfig, run_id
from synthgen.datasets.base import Dataset
from synthgen.hardness import count_pixels, rank_members
from synthgen.learned import LearnedStore
from synthgen.pipeline import Job, process_shard
from synthgen.plan import Member, Plan
from synthgen.prepare import Preparer
from synthgen.refill import plan_round, target_distances
from synthgen.refusals import refuse_fixed_labels, refuse_moved_labels, refuse_own_judge
from synthgen.report.documents import write_documents
from synthgen.rundir import RunDir
from synthgen.shards import Shard, write_atomic
from synthgen.types import BadSample, ConfigError, Item, Row, SourceIndex
from synthgen.weights import digest_weights


@dataclass(frozen=True, eq=False)
class Resolved:
    """A config with everything that it names looked up: what a run needs to know before work starts."""

    config: RunConfig
    index: SourceIndex
    items: dict[str, Item]
    plan: Plan
    digests: dict[str, str]
    run_id: str

    @property
    def outputs(self) -> int:
        """How many outputs the run is to make."""
        return self.plan.first_round


@dataclass(frozen=True)
class Summary:
    """What a run came to."""

    root: Path
    run_id: str
    accepted: int
    quarantined: dict[str, int]
    released: dict[str, int] = field(default_factory=dict)
    targets: dict[str, float] = field(default_factory=dict)
    """Total variation of what was accepted to each of the plan's targets."""
    stages: dict[str, int] = field(default_factory=dict)
    """How many outputs each stage released, by its title; empty where the config names no stages."""


@dataclass(frozen=True)
class Rank:
    """This process among those of the run."""

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone claims, cuts and exports."""
        return self.index == 0


def resolve(config: RunConfig) -> Resolved:
    """Look everything up and refuse what can't work, before anything is loaded or written.

    Raises:
        ConfigError: an empty source, a class without a palette entry, a missing or unpinned model.
    """
    index, chosen = select_items(config.source)
    for labelled in (*config.detect, *config.extract, *config.check):
        labelled.check_classes(index.classes)
    plan = Plan(config.plan, config.seed, list_members(config, chosen))
    refuse_moved_labels(config, plan)
    refuse_fixed_labels(config)
    components = [*config.detect, *config.extract, config.generate, *config.check]
    digests = {f"weights {ref}": digest_weights(ref) for spec in components for ref in spec.weights()}
    refuse_own_judge(config, digests)
    digests |= {"source": digest_index(index, chosen), "prompts": plan.digest}
    items = {item.id: item for item in chosen}
    return Resolved(config, index, items, plan, digests, run_id(config, digests))


def list_members(config: RunConfig, items: tuple[Item, ...]) -> list[Member]:
    """The items as the plan sees them; labels are read only where a target is per class, or hardness counts.

    Raises:
        ConfigError: a target per class, and a source without classes; hardness, and a source without outlines.
    """
    per_class = any(target.per == "class" for target in config.plan.targets)
    hardness = config.plan.hardness
    if not per_class and hardness is None:
        return [Member(item.id) for item in items]
    members, pixels, classes = [], {}, config.source.index().classes
    for item in items:
        member = Member(item.id)
        with suppress(BadSample):
            labels = config.source.labels_of(item)
            member = Member(item.id, (labels.image_class or "") if per_class else "")
            if hardness is not None and labels.mask is not None:
                pixels[item.id] = count_pixels(labels.mask, classes)
        members.append(member)
    if per_class and not any(member.image_class for member in members):
        raise ConfigError("plan.targets: per: class needs images with a class (class folders); remove `per`")
    return members if hardness is None else rank_members(members, pixels, classes, hardness, config.plan.variants)


def select_items(source: Dataset) -> tuple[SourceIndex, tuple[Item, ...]]:
    """The source's index and those of its items that `source.splits` and `source.limit` leave.

    Raises:
        ConfigError: none are left.
    """
    index = source.index()
    if not index.items:
        raise ConfigError(f"source.path: {source.path} holds no images that format {source.format} can read")
    items = index.items
    if source.splits is not None:
        items = tuple(item for item in items if item.split in source.splits)
        if not items:
            there = sorted({str(item.split) for item in index.items})
            raise ConfigError(f"source.splits: {list(source.splits)} leaves no image; the splits are {there}")
    return index, items[: source.limit]


def digest_index(index: SourceIndex, items: tuple[Item, ...]) -> str:
    """SHA-256 over the ids, sizes in bytes and splits of all items and the class table.

    Contents are not read here (that would read the whole source twice); each ledger row has its image's digest.
    """
    digest = hashlib.sha256()
    for item in items:
        label = item.label.stat().st_size if item.label is not None and item.label.is_file() else -1
        size = item.image.stat().st_size if item.image.is_file() else -1
        digest.update(json.dumps([item.id, item.split, size, label]).encode())
    digest.update(json.dumps([[info.id, info.name, info.color, info.ignore] for info in index.classes]).encode())
    return digest.hexdigest()


def pick_device(wanted: str, rank: Rank) -> str:
    """`auto`, `cpu`, `cuda` or `mps` to a torch device string; ranks spread over the GPUs of their machine.

    Raises:
        ConfigError: the device is not there.
    """
    import torch

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted == "cuda" and torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_RANK", rank.index))
        return f"cuda:{local % torch.cuda.device_count()}"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device: {wanted}, but torch sees no GPU; set device: cpu or auto")
    return wanted


def made_with(wanted: str, rank: Rank) -> dict[str, str]:
    """What rounds numbers besides the config: the kind of device and the versions of the libraries."""
    versions = {name: version(name) for name in ("torch", "diffusers", "transformers", "opencv-python-headless")}
    return {"device": pick_device(wanted, rank).partition(":")[0], **versions}


def load_job(resolved: Resolved, run: RunDir, rank: Rank, on_row: Callable[[Row], None]) -> Job:
    """Load every model of the run onto this rank's device."""
    import torch

    config = resolved.config
    device = pick_device(config.device, rank)
    torch.set_num_threads(config.threads)
    torch.backends.cudnn.benchmark = False
    learned = LearnedStore(run.private / "learned", resolved.run_id)
    return Job(
        config=config,
        items=resolved.items,
        plan=resolved.plan,
        preparer=Preparer(config, config.source, device),
        generate=config.generate.load(device),
        checks=[check.load(device, learned.read(place, check)) for place, check in enumerate(config.check)],
        store=run.store,
        on_row=on_row,
    )


@contextmanager
def ranks() -> Iterator[tuple[Rank, Callable[[Any], Any]]]:
    """This process's rank and a function that hands rank 0's value to all, waiting for all to call it."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Rank(), lambda value: value
        return
    import torch
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list

    # Without a GPU accelerate must be told so, or it takes every rank for the only one.
    on_cpu = os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" or not torch.cuda.is_available()
    state = PartialState(timeout=timedelta(days=30), cpu=on_cpu)

    def share(value: Any) -> Any:
        state.wait_for_everyone()
        box = [value]
        broadcast_object_list(box)
        return box[0]

    yield Rank(state.process_index, state.num_processes), share
    state.destroy_process_group()


def launch(
    resolved: Resolved, root: Path, on_start: Callable[[int, Rank], None], on_row: Callable[[Row], None]
) -> Summary | None:
    """Run, or go on with a run, in `root`; returns the summary on rank 0, None on the others.

    `on_start` hears how many outputs this rank still has to make; `on_row` hears every finished one.

    Raises:
        ConfigError: the folder is taken, unwritable, or holds another run.
    """
    run = RunDir(root)
    config = resolved.config
    with ranks() as (rank, share):
        problem = None
        pending = None
        with run.lock(config.execution.lock_timeout) if rank.first else nullcontext():
            if rank.first:
                try:
                    run.claim(config, resolved.run_id, resolved.digests | made_with(config.device, rank))
                    run.remove_partials()
                    further = {member.sample_id: member.further for member in resolved.plan.members}
                    run.store.plan(sorted(resolved.items), config.execution.shard_size, further)
                    pending = run.store.pending()
                    if pending:
                        learn_sources(resolved, run, rank)
                except ConfigError as error:
                    problem = error
            problem, pending = share((problem, pending))
            if problem is not None:
                raise problem
            job, worked = None, False
            while True:
                mine = pending[rank.index :: rank.count]
                on_start(sum(shard.count(config.plan.variants) for shard in mine), rank)
                if mine:
                    job = job or load_job(resolved, run, rank, on_row)
                    for shard in mine:
                        process_shard(job, shard)
                worked = worked or bool(pending)
                share("done")
                pending = share(next_round(resolved, run) if rank.first else None)
                if not pending:
                    break
            if not rank.first:
                return None
            if not worked and run.release.is_dir() and (run.report / "report.json").is_file():
                write_documents(run, run.release)
                return summarize(run, resolved)
            return finish_run(resolved, run)


def learn_sources(resolved: Resolved, run: RunDir, rank: Rank) -> None:
    """Show the whole source set, whatever is chosen of it, to the checks that have to know it."""
    config = resolved.config
    store = LearnedStore(run.private / "learned", resolved.run_id)
    store.fill(config.check, config.source, resolved.index.items, pick_device(config.device, rank))


def next_round(resolved: Resolved, run: RunDir) -> list[Shard]:
    """When all shards are done: the shards of a further round where the plan's targets do not hold yet, stored."""
    wait_for_shards(run)
    if resolved.plan.quotas is None:
        return []
    rounds = [[extra for shard in shards for extra in shard.extras] for shards in run.store.rounds()]
    extras = plan_round(resolved.plan, list(run.store.rows()), rounds, resolved.config.names == "keep")
    if extras:
        run.store.add_round(extras, resolved.config.execution.shard_size)
    return run.store.pending()


def wait_for_shards(run: RunDir, patience: float = 60.0) -> None:
    """See that every shard is there; a shared folder may show another machine's files a little late.

    Raises:
        ConfigError: shards are missing after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while left := run.store.pending():
        if time.monotonic() > deadline:
            raise ConfigError(f"{run.root}: {len(left)} shard(s) are not done; run the same command again to go on")
        time.sleep(0.2)


def finish_run(resolved: Resolved, run: RunDir) -> Summary:
    """Join the ledgers and write the release with its card."""
    run.store.write_whole_ledger()
    finish = partial(write_documents, run)
    released = run.export(resolved.config.source, resolved.items, run.release, run.names(resolved.config), finish)
    summary = summarize(run, resolved, released)
    write_atomic(run.report / "report.json", json.dumps(release_report(summary), indent=1).encode())
    return summary


def release_report(summary: Summary) -> dict[str, Any]:
    """What everyone who gets the release may know of the run: counts, no ids. Nothing unmeasured is called safe.

    The run's own id is left out too: it hashes the sizes of the source's files, so it would confirm a guessed source.
    """
    return {
        "verdict": "insufficient",
        "reason": "no attack has been run on this release, so nothing is known about who could be recognised in it",
        "accepted": summary.accepted,
        "quarantined": summary.quarantined,
        "released": summary.released,
        "targets": {name: round(distance, 6) for name, distance in summary.targets.items()},
        "stages": summary.stages,
    }


def summarize(run: RunDir, resolved: Resolved, released: dict[str, int] | None = None) -> Summary:
    """Count the rows of a run by verdict and code, and the accepted ones by stage."""
    plan = resolved.plan
    quarantined: Counter[str] = Counter()
    accepted: Counter[int] = Counter()
    targets = target_distances(plan, list(run.store.rows())) if plan.quotas is not None else {}
    for row in run.store.rows():
        if row.verdict == "accepted":
            accepted[row.stage] += 1
        else:
            quarantined[row.code] += 1
    stages = count_by_stage(resolved.config, accepted)
    return Summary(run.root, run.run_id(), accepted.total(), dict(quarantined), released or {}, targets, stages)


def count_by_stage(config: RunConfig, accepted: Mapping[int, int]) -> dict[str, int]:
    """Counts by stage number → by stage title, in order, zeros too; empty where the config names no stages."""
    stages = config.resolved_stages if config.stages else ()
    return {stage.title: accepted.get(stage.number, 0) for stage in stages}
