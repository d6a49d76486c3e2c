"""How far each worker is: one small JSON a worker under `private/progress`, read by `synthgen status` without a lock.

A worker notes its own progress and nobody else's, a few times a minute, each time as a whole new file; so a reader
sees a true state a little late, and a worker that stopped is one whose file no longer changes.
"""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from synthgen.types import Row

State = Literal["loading", "working", "waiting", "done", "stalled", "gone"]
EVERY_SECONDS = 2.0
RECENT = 64
"""Outputs over which the recent rate is taken."""
LOADING_SECONDS = 900.0
QUIET_SECONDS = 120.0
PACES = 10
"""A worker is stalled when it was silent for `QUIET_SECONDS` and for so many times its own mean time an output."""


@dataclass(frozen=True)
class Progress:
    """One worker's account of itself. Times are seconds since 1970 by its own clock, rates outputs a second."""

    worker: str
    host: str
    pid: int
    device: str
    state: State
    began: float
    seen: float
    shard: str = ""
    in_shard: int = 0
    """Outputs of the shard in hand; they are not in the ledger yet."""
    shards: int = 0
    outputs: int = 0
    accepted: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    rate: float = 0.0
    recent_rate: float = 0.0

    def judged(self, now: float) -> Progress:
        """The same as a reader sees it: `gone` if it died on this machine, `stalled` if it is silent for too long."""
        if self.state == "done":
            return self
        if self.host == socket.gethostname() and not _alive(self.pid):
            return replace(self, state="gone")
        if self.state == "waiting":
            return self
        pace = PACES / self.rate if self.rate else 0.0
        patience = LOADING_SECONDS if self.state == "loading" else max(QUIET_SECONDS, pace)
        return replace(self, state="stalled") if now - self.seen > patience else self


class ProgressNotes:
    """What one worker notes of itself, in `folder`."""

    def __init__(self, folder: Path, worker: str, device: str) -> None:
        now = time.time()
        host, pid = socket.gethostname(), os.getpid()
        self.path = folder / f"{re.sub('[^A-Za-z0-9.-]+', '-', f'{worker}-{host}')}-{pid}.json"
        self._now = Progress(worker, host, pid, device, "loading", now, now)
        self._written = 0.0
        self._ends: deque[float] = deque(maxlen=RECENT)
        self._write()

    def begin(self, shard: str) -> None:
        """A shard is taken in hand."""
        self._now = replace(self._now, shard=shard, in_shard=0, state="working")
        self._write()

    def row(self, row: Row) -> None:
        """An output is finished."""
        now = self._now
        rejected = dict(now.rejected)
        if row.verdict != "accepted":
            rejected[row.code] = rejected.get(row.code, 0) + 1
        accepted = now.accepted + (row.verdict == "accepted")
        self._now = replace(
            now, in_shard=now.in_shard + 1, outputs=now.outputs + 1, accepted=accepted, rejected=rejected
        )
        self._ends.append(time.time())
        if time.time() - self._written >= EVERY_SECONDS:
            self._write()

    def end(self) -> None:
        """The shard is committed."""
        self._now = replace(self._now, shard="", in_shard=0, shards=self._now.shards + 1, state="waiting")
        self._write()

    def _write(self) -> None:
        now = time.time()
        spent, recent = now - self._now.began, now - self._ends[0] if self._ends else 0.0
        rate = self._now.outputs / spent if spent > 0 else 0.0
        recent_rate = (len(self._ends) - 1) / recent if recent > 0 else 0.0
        self._now = replace(self._now, seen=now, rate=rate, recent_rate=recent_rate)
        self._written = now
        _write_whole(self.path, self._now)


def clear_progress(folder: Path) -> None:
    """Forget the workers of earlier calls."""
    for path in folder.glob("*"):
        path.unlink(missing_ok=True)


def read_progress(folder: Path) -> Iterator[Progress]:
    """What each worker of the last call noted, in order of name; a file that goes while it is read is left out."""
    for path in sorted(folder.glob("*.json")):
        yield from _read(path)


def settle_progress(folder: Path) -> list[Path]:
    """Mark the workers that wait for a shard as done, since there are no more; their files."""
    settled = []
    for path in sorted(folder.glob("*.json")):
        for progress in _read(path):
            if progress.state == "waiting":
                _write_whole(path, replace(progress, state="done"))
                settled.append(path)
    return settled


def _read(path: Path) -> list[Progress]:
    try:
        record: dict[str, Any] = json.loads(path.read_text())
        return [Progress(**record)]
    except (OSError, ValueError, TypeError):
        return []


def _write_whole(path: Path, progress: Progress) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(asdict(progress)))
    os.replace(partial, path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
