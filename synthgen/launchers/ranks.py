"""The shards of one process, or of the ranks of `accelerate launch`: each rank takes every n-th.

Nothing else passes between ranks while they work, so uneven work costs waiting at the end and no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from synthgen.place import Place
from synthgen.ranks import Rank, Ranks
from synthgen.resolving import Resolved
from synthgen.shards import Shard
from synthgen.types import Row
from synthgen.working import Worker, learn_sources, made_with


class RankCrew:
    """This rank's share of the work."""

    def __init__(
        self,
        resolved: Resolved,
        place: Place,
        ranks: Ranks,
        on_start: Callable[[int, Rank], None],
        on_row: Callable[[Row], None],
    ) -> None:
        self._resolved, self._place, self._ranks, self._on_start = resolved, place, ranks, on_start
        self._worker = Worker(resolved, place, ranks.rank, f"rank {ranks.rank.index}", on_row)

    def made_with(self) -> dict[str, str]:
        """The kind of device and the library versions of this rank."""
        return made_with(self._resolved.config.device, self._ranks.rank)

    def learn(self) -> None:
        """Let the checks read the sources, in this process."""
        learn_sources(self._resolved, self._place.run, self._ranks.rank)

    def work(self, shards: Sequence[Shard]) -> None:
        """Make this rank's part of the shards.

        Raises:
            LostRank: another rank failed meanwhile; the shards made so far are committed.
        """
        rank = self._ranks.rank
        mine = shards[rank.index :: rank.count]
        self._on_start(sum(shard.count(self._resolved.config.plan.variants) for shard in mine), rank)
        for shard in mine:
            self._ranks.check()
            self._worker(shard)

    def close(self) -> None:
        """Nothing to end."""
