"""What follows the shards: further rounds where targets are missed, then the release, its documents and the counts."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from synthgen.config import RunConfig
from synthgen.refill import plan_round, target_distances
from synthgen.report.documents import write_documents
from synthgen.resolving import Resolved
from synthgen.rundir import RunDir
from synthgen.shards import Shard, write_atomic
from synthgen.types import ConfigError


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
