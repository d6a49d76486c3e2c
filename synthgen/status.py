"""`synthgen status`: how far a run is, how fast, what was rejected why, and what each worker does.

It reads what is committed and what the workers note of themselves, takes no lock, and may be asked at any time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synthgen.finishing import count_by_stage
from synthgen.place import open_place
from synthgen.progress import Progress, read_progress
from synthgen.remote import local_path
from synthgen.rundir import open_run

AT_WORK = ("loading", "working", "waiting")


def run_status(place: Path | str, cache: Path | None = None) -> dict[str, Any]:
    """How far the run in a folder or at a URL is. Rates are outputs a second, times seconds.

    Raises:
        SynthgenError: there is no run.
    """
    folder = local_path(place)
    if folder is None:
        remote = open_place(place, cache)
        remote.fetch_plan()
        remote.fetch_progress()
        remote.fetch_report()
        folder = remote.run.root
    run = open_run(folder)
    config = run.config()
    cut = (run.private / "shards.json").exists()
    shards = run.store.shards() if cut else []
    done = [shard for shard in shards if run.store.done(shard)]
    verdicts: Counter[tuple[str, str]] = Counter()
    stages: Counter[int] = Counter()
    for row in run.store.rows() if cut else ():
        verdicts[row.verdict, row.code] += 1
        stages[row.stage] += row.verdict == "accepted"
    accepted = verdicts.pop(("accepted", ""), 0)
    outputs = sum(shard.count(config.plan.variants) for shard in shards)
    seen = sum(shard.count(config.plan.variants) for shard in done)
    now = time.time()
    workers = [progress.judged(now) for progress in read_progress(run.progress)]
    # Of a run in a bucket only the report is fetched, which is put there last.
    released = (run.report / "report.json").is_file() and (local_path(place) is None or run.release.is_dir())
    return {
        "run_id": run.run_id(),
        "name": config.name,
        "state": _state(workers, bool(shards) and len(done) == len(shards), released),
        "shards": len(shards),
        "shards_done": len(done),
        "outputs": outputs,
        "accepted": accepted,
        "quarantined": {code: count for (_, code), count in sorted(verdicts.items())},
        "stages": count_by_stage(config, stages),
        **_speed(workers, outputs - seen),
        "workers": [asdict(worker) | {"silent": max(0.0, now - worker.seen)} for worker in workers],
        "released": released,
    }


def _state(workers: Sequence[Progress], all_done: bool, released: bool) -> str:
    """`running`, `stopped` before the end, `finishing` (the release is being written) or `done`."""
    if all_done:
        return "done" if released else "finishing"
    return "running" if any(worker.state in AT_WORK for worker in workers) else "stopped"


def _speed(workers: Sequence[Progress], left: int) -> dict[str, float | None]:
    """Rates of the last call of `run`; those at work now share what is left."""
    made = sum(worker.outputs for worker in workers)
    spent = max((worker.seen for worker in workers), default=0) - min((worker.began for worker in workers), default=0)
    recent = sum(worker.recent_rate for worker in workers if worker.state in AT_WORK)
    in_hand = sum(worker.in_shard for worker in workers if worker.state in AT_WORK)
    return {
        "rate": made / spent if spent > 0 else 0.0,
        "recent_rate": recent,
        "seconds_left": 0.0 if left == 0 else max(0, left - in_hand) / recent if recent else None,
    }


def format_status(record: Mapping[str, Any]) -> str:
    """For the terminal."""
    rejected = sum(record["quarantined"].values())
    lines = [
        f"run {record['run_id']} ({record['name']}): {record['state']}, "
        f"{record['shards_done']} of {record['shards']} shards done",
        f"accepted {record['accepted']}, quarantined {rejected}, of {record['outputs']} outputs",
    ]
    lines += [f"  {count} × {code}" for code, count in sorted(record["quarantined"].items())]
    lines += [f"stage {title}: released {count}" for title, count in record["stages"].items()]
    if record["rate"]:
        recent = f", {record['recent_rate']:.2f} lately" if record["recent_rate"] else ""
        lines.append(f"rate {record['rate']:.2f} outputs/s{recent}{_time_left(record['seconds_left'])}")
    lines += [_worker_line(worker) for worker in record["workers"]]
    lines.append("release is written" if record["released"] else "release is not written yet")
    return "\n".join(lines)


def _time_left(seconds: float | None) -> str:
    if not seconds:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f", {minutes // 60}:{minutes % 60:02d}:{rest:02d} left"


def _worker_line(worker: Mapping[str, Any]) -> str:
    rejected = sum(worker["rejected"].values())
    line = (
        f"{worker['worker']} on {worker['host']} (pid {worker['pid']}, {worker['device']}): {worker['state']}, "
        f"{worker['shards']} shards, {worker['outputs']} outputs, {rejected} quarantined, {worker['rate']:.2f}/s"
    )
    quiet = worker["state"] in {"stalled", "gone"}
    return f"{line}, not heard of for {worker['silent']:.0f} s" if quiet else line
