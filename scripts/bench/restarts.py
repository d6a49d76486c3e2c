"""Bars 5 and 6: the same bytes whatever happens on the way, and what a kill costs.

On the starter at 64 pixels and a few steps: the bytes do not depend on the model's size, and short shards show the cost
of beginning one again larger than a real run would.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from record import Ratios, Result, judged
from worker import Worker
from workload import CANNY, Options, make_photos

from synthgen.cli import compose
from synthgen.config import dump_config
from synthgen.rundir import RunDir

SIZE = (64, 48)
RANKS = ("--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no")
"""Without a GPU `--multi_gpu` is what makes accelerate start several processes at all."""


def settings(options: Options, steps: int) -> list[str]:
    """Of a run that makes the same release each time: kept names, since the others come from a random key."""
    return [*options.settings(steps, SIZE), *CANNY, "detect=[]", "names=keep", "device=cpu", "execution.shard_size=4"]


def contents(run: Path) -> dict[str, bytes]:
    """The release and the ledger, file by file."""
    files = [path for part in ("release", "private/ledger") for path in (run / part).rglob("*") if path.is_file()]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


def bar_5(options: Options) -> Result:
    """One rank, two ranks, input written in another order, killed and resumed."""
    count = 12 if options.quick else 32
    source = make_photos(options.folder / "photos", count, SIZE)
    config = settings(options, 2)
    whole = options.folder / "whole"
    seconds = Worker(source, config, whole).finish().seconds
    shuffled = options.folder / "shuffled-photos"
    shuffled.mkdir()
    for name in np.random.default_rng(0).permutation([path.name for path in source.iterdir()]):
        (shuffled / name).write_bytes((source / name).read_bytes())
    Worker(shuffled, config, options.folder / "shuffled").finish()
    killed = Worker(source, config, options.folder / "killed").kill(seconds / 2)
    Worker(source, config, options.folder / "killed").finish()
    two_ranks(source, config, options.folder / "ranks")
    expected = contents(whole)
    others = {name: contents(options.folder / name) == expected for name in ("ranks", "shuffled", "killed")}
    titles = {"ranks": "2 ranks", "shuffled": "shuffled input"}
    titles["killed"] = f"killed after {len(killed.rows)} images and resumed"
    return judged(
        "5",
        f"starter, {count} images at 64 pixels in shards of 4: every file of the release and of the ledger "
        f"({len(expected)} files) against those of one uninterrupted rank",
        ", ".join(f"{titles[name]}: {'equal' if same else 'DIFFERENT'}" for name, same in others.items()),
        "byte-identical",
        all(others.values()),
    )


def two_ranks(source: Path, config: list[str], out: Path) -> None:
    """The run as two processes of `accelerate launch`."""
    path = out.with_suffix(".yaml")
    path.write_text(dump_config(compose(None, source, config)), encoding="utf-8")
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", *RANKS, "--dynamo_backend", "no"]
    command = [*launcher, "--main_process_port", "0", "-m", "synthgen", "run", str(path), "--out", str(out)]
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": "", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode or "rank 1: " not in done.stderr:
        raise SystemExit(f"two ranks did not run:\n{done.stderr[-2000:]}")


def bar_6(options: Options) -> Result:
    """SIGKILL when half of the uninterrupted time is over, then the same command again."""
    count = options.count(160)
    source = make_photos(options.folder / "photos", count, SIZE)
    config = settings(options, 4)
    shard = compose(None, source, config).execution.shard_size
    found, redone, sound = [], [], True
    for number in range(options.rounds):
        whole, killed = options.folder / f"whole-{number}", options.folder / f"killed-{number}"
        uninterrupted = Worker(source, config, whole).finish()
        first = Worker(source, config, killed).kill(uninterrupted.seconds / 2)
        second = Worker(source, config, killed).finish()
        found.append((first.seconds + second.seconds) / uninterrupted.seconds)
        redone.append(len(first.rows) + len(second.rows) - count)
        sound = sound and each_once(killed, source) and contents(killed) == contents(whole)
    times = Ratios(tuple(found))
    return judged(
        "6",
        f"starter, {count} images at 64 pixels in shards of {shard}, one rank, models warm at both starts (each start "
        "of a process costs its loading on top)",
        f"time until the kill and from the resume / uninterrupted = {times}; at most {max(redone)} images were "
        f"finished twice; every image is {'there once, in the same bytes' if sound else 'NOT there once'}",
        "nothing missing or double, ≤ 1 shard a rank redone, ≤ 1.05 of the time",
        sound and max(redone) <= shard and times.median <= 1.05,
    )


def each_once(run: Path, source: Path) -> bool:
    """Whether the ledger has one row for each photograph, and the release each that was accepted."""
    rows = list(RunDir(run).store.rows())
    released = sorted(path.name for path in (run / "release").iterdir() if path.suffix == ".jpg")
    accepted = sorted(row.sample_id for row in rows if row.verdict == "accepted")
    return Counter(row.sample_id for row in rows) == Counter(path.name for path in source.iterdir()) and (
        released == accepted
    )
