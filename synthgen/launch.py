"""A run from its claim to its release, on one process, the ranks of `accelerate launch`, or a Ray cluster.

Rank 0 (the only process, or Ray's driver) alone claims the run, cuts the shards and writes the release. Who makes the
shards is a crew (launchers/); every crew runs `pipeline.process_shard`, so all of them give the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Protocol

from synthgen.finishing import Summary, count_by_stage, finish_run, next_round, summarize
from synthgen.place import Place, open_place
from synthgen.progress import settle_progress
from synthgen.ranks import Rank, Ranks, join_ranks
from synthgen.report.documents import write_documents
from synthgen.resolving import Resolved, list_members, resolve, select_items
from synthgen.rundir import differences
from synthgen.shards import Shard
from synthgen.types import ConfigError, Row
from synthgen.working import load_job, pick_device

__all__ = [
    "Rank",
    "Resolved",
    "Summary",
    "count_by_stage",
    "finish_run",
    "launch",
    "list_members",
    "load_job",
    "pick_device",
    "resolve",
    "select_items",
]


class Crew(Protocol):
    """Those who make shards, as one rank sees them."""

    def made_with(self) -> dict[str, str]:
        """The kind of device and the library versions that the outputs are made with."""
        ...

    def learn(self) -> None:
        """Let the checks that have to know the sources read them."""
        ...

    def work(self, shards: Sequence[Shard]) -> None:
        """Make this rank's part of the shards."""
        ...

    def close(self) -> None:
        """Let everyone go."""
        ...


def launch(
    resolved: Resolved,
    root: Path | str,
    on_start: Callable[[int, Rank], None],
    on_row: Callable[[Row], None],
    note: Callable[[str], None] = lambda text: None,
) -> Summary | None:
    """Run, or go on with a run, in the folder or at the URL `root`; the summary on rank 0, None on the others.

    `on_start` hears how many outputs this rank still has to make; `on_row` hears every finished one; `note` hears what
    went wrong and is tried again.

    Raises:
        ConfigError: the place is taken, unwritable, or holds another run.
        LostRank: another rank failed.
    """
    execution = resolved.config.execution
    with join_ranks() as ranks:
        ranks.patience = execution.rank_timeout
        place = open_place(root, execution.cache)
        with (
            place.lock(execution.lock_timeout) if ranks.first else nullcontext(),
            open_crew(resolved, place, ranks, on_start, on_row, note) as crew,
        ):
            made_with = agree(ranks, resolved, crew)
            names = ranks.share(begin(resolved, place, crew, made_with) if ranks.first else None)
            worked = bool(names)
            while True:
                crew.work(find_shards(place, names))
                ranks.share()
                names = ranks.share(go_on(resolved, place) if ranks.first else None)
                if not names:
                    break
            return finish(resolved, place, worked) if ranks.first else None


@contextmanager
def open_crew(
    resolved: Resolved,
    place: Place,
    ranks: Ranks,
    on_start: Callable[[int, Rank], None],
    on_row: Callable[[Row], None],
    note: Callable[[str], None],
) -> Iterator[Crew]:
    """The crew of `execution.launcher`.

    Raises:
        ConfigError: a cluster asked for by several ranks.
    """
    crew: Crew
    if resolved.config.execution.launcher == "ray":
        from synthgen.launchers.cluster import RayCrew

        if ranks.rank.count > 1:
            raise ConfigError("execution.launcher: ray starts workers itself; run synthgen without accelerate launch")
        crew = RayCrew(resolved, place, on_start, on_row, note)
    else:
        from synthgen.launchers.ranks import RankCrew

        crew = RankCrew(resolved, place, ranks, on_start, on_row)
    try:
        yield crew
    finally:
        crew.close()


def agree(ranks: Ranks, resolved: Resolved, crew: Crew) -> dict[str, str]:
    """What the outputs are made with, the same on all ranks.

    Raises:
        ConfigError: this rank would make other bytes than rank 0.
    """
    made_with = crew.made_with()
    here = {"run id": resolved.run_id, "inputs": resolved.digests, **made_with}
    there = ranks.share(here)
    if here != there:
        listed = "\n  ".join(differences(there, here, ""))
        raise ConfigError(
            f"this rank would make another run than rank 0:\n  {listed}\n"
            "All ranks need the same config, source, weights, library versions and kind of device."
        )
    return made_with


def begin(resolved: Resolved, place: Place, crew: Crew, made_with: dict[str, str]) -> list[str]:
    """Claim the place, cut the shards, and tell the names of those that are left.

    Raises:
        ConfigError: as `RunDir.claim`.
    """
    run = place.run
    place.fetch_plan()
    run.claim(resolved.config, resolved.run_id, resolved.digests | made_with)
    run.remove_partials()
    further = {member.sample_id: member.further for member in resolved.plan.members}
    run.store.plan(sorted(resolved.items), resolved.config.execution.shard_size, further)
    place.keep_plan()
    names = [shard.name for shard in run.store.pending()]
    if names:
        place.forget_progress()
        crew.learn()
        place.keep_plan()
    return names


def find_shards(place: Place, names: Sequence[str], patience: float = 60.0) -> list[Shard]:
    """The shards of these names; a shared folder may show another machine's files a little late.

    Raises:
        ConfigError: the cut is not there after `patience` seconds.
    """
    wanted = set(names)
    deadline = time.monotonic() + patience
    while wanted:
        place.fetch_plan()
        found = [shard for shard in place.run.store.shards() if shard.name in wanted]
        if len(found) == len(wanted):
            return found
        if time.monotonic() > deadline:
            raise ConfigError(f"{place.name}: {len(wanted)} shards are to be made, {len(found)} are known here")
        time.sleep(0.2)
    return []


def go_on(resolved: Resolved, place: Place) -> list[str]:
    """When all shards are done: the names of those of a further round, if there is one."""
    place.fetch_plan()
    shards = next_round(resolved, place.run)
    place.keep_plan()
    return [shard.name for shard in shards]


def finish(resolved: Resolved, place: Place, worked: bool) -> Summary:
    """Write the release; where nothing was made and it is there, only its documents."""
    run = place.run
    place.fetch_progress()
    for notes in settle_progress(run.progress):
        place.keep_progress(notes)
    if not worked and run.release.is_dir() and (run.report / "report.json").is_file():
        write_documents(run, run.release)
        summary = summarize(run, resolved)
    else:
        place.fetch()
        summary = finish_run(resolved, run)
    place.keep_release()
    return summary
