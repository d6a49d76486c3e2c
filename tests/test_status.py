"""What `synthgen status` tells: of a run being made, one whose worker died or fell silent, and one that is done."""

from __future__ import annotations

import json
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from synthgen.progress import LOADING_SECONDS, Progress, ProgressNotes, clear_progress, read_progress, settle_progress
from synthgen.status import format_status, run_status
from synthgen.types import Row
from tests.datasets_for_tests import BAD, GOOD, config_value, run
from tests.test_shards import ROW

NOW = time.time()
WORKING = Progress("rank 0", "elsewhere", 1, "cpu", "working", NOW - 100, NOW, rate=1.0)


@pytest.mark.parametrize(
    ("progress", "state"),
    [
        (WORKING, "working"),
        (replace(WORKING, seen=NOW - 100), "working"),
        (replace(WORKING, seen=NOW - 200), "stalled"),
        (replace(WORKING, seen=NOW - 200, rate=0.02), "working"),
        (replace(WORKING, seen=NOW - 600, rate=0.02), "stalled"),
        (replace(WORKING, seen=NOW - 200, state="loading"), "loading"),
        (replace(WORKING, seen=NOW - LOADING_SECONDS - 1, state="loading"), "stalled"),
        (replace(WORKING, seen=NOW - 9000, state="waiting"), "waiting"),
        (replace(WORKING, seen=NOW - 9000, state="done"), "done"),
        (replace(WORKING, host=socket.gethostname(), pid=2**22 + 1), "gone"),
        (replace(WORKING, host=socket.gethostname(), pid=os.getpid()), "working"),
        (replace(WORKING, host=socket.gethostname(), pid=2**22 + 1, state="done"), "done"),
    ],
)
def test_how_a_worker_is_judged(progress: Progress, state: str) -> None:
    assert progress.judged(NOW).state == state


def test_what_a_worker_notes(tmp_path: Path) -> None:
    notes = ProgressNotes(tmp_path, "rank 0", "cuda:1")
    notes.begin("00000-a")
    for verdict, code in (("accepted", ""), ("quarantined", "check-quality"), ("quarantined", "check-quality")):
        notes.row(replace(ROW, verdict=verdict, code=code))  # type: ignore[arg-type]
    notes.end()
    (tmp_path / "half.json").write_text('{"worker": "rank 1", ')
    (found,) = read_progress(tmp_path)
    assert (found.outputs, found.accepted, dict(found.rejected)) == (3, 1, {"check-quality": 2})
    assert (found.shards, found.shard, found.in_shard, found.state) == (1, "", 0, "waiting")
    assert found.device == "cuda:1" and found.rate > 0 and found.seen >= found.began
    assert settle_progress(tmp_path) == [notes.path]
    assert next(read_progress(tmp_path)).state == "done"
    clear_progress(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_while_it_is_made_and_afterwards(street_set: Path, tmp_path: Path) -> None:
    """Asked from inside the run, while its lock is held."""
    value = config_value(street_set, Path("unused"), extract=[], generate={"kind": "none"})
    value["protect"] = [{"kind": "solid"}]
    del value["plan"]
    seen = []

    def look(row: Row) -> None:
        seen.append(run_status(tmp_path / "run"))

    run(value, tmp_path / "run", look)
    assert len(seen) == len(GOOD) + len(BAD)
    assert {one["state"] for one in seen} == {"running"} and not any(one["released"] for one in seen)
    assert [one["shards_done"] for one in seen] == sorted(one["shards_done"] for one in seen)
    assert seen[0]["workers"][0]["pid"] == os.getpid() and seen[0]["workers"][0]["state"] == "working"
    after = run_status(tmp_path / "run")
    assert (after["state"], after["released"], after["seconds_left"]) == ("done", True, 0.0)
    assert after["shards_done"] == after["shards"] == 4 and after["outputs"] == len(GOOD) + len(BAD)
    assert after["accepted"] == len(GOOD) and after["quarantined"] == dict.fromkeys(sorted(BAD.values()), 1)
    (worker,) = after["workers"]
    assert (worker["state"], worker["shards"], worker["outputs"]) == ("done", 4, len(GOOD) + len(BAD))
    assert after["rate"] > 0 and json.loads(json.dumps(after)) == after
    text = format_status(after)
    assert "done, 4 of 4 shards" in text and "1 × image-empty" in text and "release is written" in text
    assert f"rank 0 on {socket.gethostname()} (pid {os.getpid()}, cpu): done, 4 shards, 10 outputs" in text


def test_a_run_that_was_only_claimed(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    for name in ("run.yaml", "private/run.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    record = run_status(tmp_path)
    assert (record["state"], record["shards"], record["workers"]) == ("stopped", 0, [])
    assert "release is not written yet" in format_status(record)
