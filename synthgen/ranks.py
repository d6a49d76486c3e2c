"""The ranks of one job: who they are, and the few words they exchange.

The words go through the key-value store by which torch's launchers let ranks find each other, and not through
collectives: a collective waits for a rank that died, on some backends for as long as its timeout, and can't say which
one is missing. Here every rank beats, and a rank that fails says so before it ends; whoever waits, or is about to begin
a shard, sees either and ends with a message that names the rank.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import Any

from synthgen.types import ConfigError, SynthgenError

JOIN_SECONDS = 1800.0
"""How long the ranks of all machines may take until each was heard of once."""
BEAT_SECONDS = 1.0
POLL_SECONDS = 0.1
FAREWELL_SECONDS = 5.0
"""How long rank 0 stays after a failure or the end, so that the others can hear of it."""


class LostRank(SynthgenError):
    """Another rank of the job failed or fell silent, so this one ends too; the same command again goes on."""


@dataclass(frozen=True)
class Rank:
    """This process among those of the run."""

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone claims, cuts and exports."""
        return self.index == 0


class Ranks:
    """What one rank knows of the others. `store` is a torch.distributed.Store, or None for a job of one process."""

    def __init__(self, rank: Rank, store: Any = None) -> None:
        self.rank = rank
        self.patience = 300.0
        """Seconds of silence after which a rank counts as lost."""
        self.depth = 0
        """Blocks of `join_ranks` that are open."""
        self._store = store
        self._shares = 0
        self._visits = 0
        self.come()

    @property
    def first(self) -> bool:
        """Whether this is rank 0."""
        return self.rank.first

    @property
    def left(self) -> bool:
        """Whether it beats no more."""
        return self._ended.is_set()

    def come(self) -> None:
        """Begin to beat and to listen: at first, and again after `leave`, as commands of several runs do."""
        now = time.monotonic()
        self._visits += 1
        self._heard = {other: (b"", now) for other in range(self.rank.count) if other != self.rank.index}
        self._ended = threading.Event()
        if self._store is not None:
            threading.Thread(target=self._beat, args=[self._ended], name="beat", daemon=True).start()

    def share(self, value: Any = None) -> Any:
        """Rank 0's JSON value, on every rank, once all have called.

        Raises:
            LostRank: one of them failed or fell silent.
        """
        if self._store is None:
            return value
        self._shares += 1
        self._set(f"share/{self._shares}/{self.rank.index}", value if self.rank.first else None)
        waiting = set(range(self.rank.count))
        while waiting := {rank for rank in waiting if not self._there(f"share/{self._shares}/{rank}")}:
            self.check(waiting)
            time.sleep(POLL_SECONDS)
        return self._get(f"share/{self._shares}/0")

    def check(self, awaited: Iterable[int] | None = None) -> None:
        """See that no rank has failed, and that those `awaited` (default: all others) still beat.

        Raises:
            LostRank: otherwise.
        """
        if self._store is None:
            return
        if self._there("failed"):
            failed = self._get("failed")
            self._set(f"heard/{self.rank.index}", True)
            raise LostRank(f"rank {failed['rank']} on {failed['host']} failed, so all ranks end: {failed['message']}")
        now = time.monotonic()
        for rank in self._heard if awaited is None else self._heard.keys() & set(awaited):
            before, since = self._heard[rank]
            beat = self._call("get", f"beat/{rank}") if self._there(f"beat/{rank}") else b""
            if beat != before:
                self._heard[rank] = beat, now
            elif now - since > (self.patience if beat else JOIN_SECONDS):
                raise LostRank(
                    f"rank {rank} has not been heard of for {now - since:.0f} s (execution.rank_timeout), so all ranks "
                    "end; the same command again goes on"
                )

    def fail(self, error: BaseException) -> None:
        """Tell the others that this rank ends with an error."""
        self._ended.set()
        if self._store is None or isinstance(error, LostRank):
            return
        message = str(error) if isinstance(error, SynthgenError) else f"{type(error).__name__}: {error}"
        try:
            self._set("failed", {"rank": self.rank.index, "host": socket.gethostname(), "message": message})
            self._linger("heard")
        except LostRank:
            return

    def leave(self) -> None:
        """End well. Rank 0 goes last, since the store may be its own."""
        self._ended.set()
        if self._store is not None:
            self._set(f"left/{self._visits}/{self.rank.index}", True)
            self._linger(f"left/{self._visits}")

    def _linger(self, word: str) -> None:
        deadline = time.monotonic() + FAREWELL_SECONDS
        while self.rank.first and time.monotonic() < deadline:
            if all(self._there(f"{word}/{rank}") for rank in self._heard):
                return
            time.sleep(POLL_SECONDS)

    def _beat(self, ended: threading.Event) -> None:
        for number in count(1):
            try:
                self._call("set", f"beat/{self.rank.index}", f"{self._visits}.{number}")
            except LostRank:
                return
            if ended.wait(min(BEAT_SECONDS, self.patience / 10)):
                return

    def _set(self, key: str, value: Any) -> None:
        self._call("set", key, json.dumps(value))

    def _get(self, key: str) -> Any:
        return json.loads(self._call("get", key))

    def _there(self, key: str) -> bool:
        return bool(self._call("check", [key]))

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._store, method)(*arguments)
        except RuntimeError as error:  # torch's DistError
            raise LostRank(
                "the machine of rank 0 can't be reached any more, so all ranks end; the same command again goes on"
            ) from error


@contextmanager
def join_ranks() -> Iterator[Ranks]:
    """The ranks of this process's job; an error that leaves the block is told to the others.

    Blocks may lie in each other, and follow each other. A process that no launcher started is the only rank of its job.

    Raises:
        ConfigError: the others can't be found.
    """
    ranks = _join()
    if ranks.left:
        ranks.come()
    ranks.depth += 1
    try:
        yield ranks
    except BaseException as error:
        ranks.fail(error)
        raise
    finally:
        ranks.depth -= 1
    if not ranks.depth:
        ranks.leave()


@cache
def _join() -> Ranks:
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Ranks(Rank())
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    try:
        store, index, world = next(rendezvous("env://", timeout=timedelta(seconds=JOIN_SECONDS)))
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the ranks of this job did not find each other: {error}") from error
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Ranks(Rank(index, world), PrefixStore(f"synthgen/{attempt}", store))
