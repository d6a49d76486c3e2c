"""The soak: a run that is killed at random, again and again, on 1 to 4 ranks, ends with the bytes of one left alone.

It makes images, labels and tiny models of diffusers' own classes, runs them once undisturbed, and then begins the same
run over and over: each time on a random number of ranks, each time killed with SIGKILL (every rank at once) after a
random number of further shards, until one start reaches the end. Release and ledger must equal the undisturbed ones
byte for byte, and a kill may cost no more than the one shard that each rank was at.

    python scripts/soak.py [--images 2000] [--seed 0] [--shard-size 25] [--kills 12] [--folder DIR]

Exit status 1 where anything differs. Needs no network and no GPU.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY)]

from synthgen.rundir import RunDir  # noqa: E402
from tests.datasets_for_tests import TABLE, config_value, street, write_pair  # noqa: E402
from tests.generators import tiny  # noqa: E402

SIZE = (64, 48)


@dataclass(frozen=True)
class Start:
    """One start of the run: its ranks, how many shards it finished, and whether it was killed."""

    ranks: int
    seconds: float
    shards: int
    redone: int
    killed: bool


def write_source(root: Path, count: int) -> Path:
    """`count` streets as JPEG and PNG, in two splits, with a bad file in every hundred."""
    for number in range(count):
        split, suffix = "val" if number % 5 == 4 else "train", "jpg" if number % 2 else "png"
        write_pair(root, f"images/{split}/{number:05d}.{suffix}", *street(number, SIZE))
        if number % 100 == 50:
            (root / f"images/{split}/{number:05d}.{suffix}").write_bytes(b"broken")
    (root / "classes.csv").write_text(TABLE)
    return root


def write_config(folder: Path, count: int, shard_size: int) -> Path:
    """A config over new images and new tiny models."""
    models = tiny.save_sd(folder / "models")
    value = config_value(write_source(folder / "source", count), models)
    value["generate"] |= {"steps": 1, "batch_size": 8, "sizes": [list(SIZE)]}
    value["execution"] = {"shard_size": shard_size}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def start(config: Path, out: Path, ranks: int) -> list[subprocess.Popen[bytes]]:
    """The command as `ranks` processes that find each other as a launcher would have them, without a launcher."""
    path = os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])
    more = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "MASTER_ADDR": "127.0.0.1"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        more |= {"MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(ranks), "LOCAL_WORLD_SIZE": str(ranks)}
    command = [sys.executable, "-m", "synthgen", "run", str(config), "--out", str(out)]
    processes = []
    with (out.parent / f"{out.name}.log").open("ab") as log:
        for rank in range(ranks):
            place = {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            processes.append(subprocess.Popen(command, env=os.environ | more | place, stdout=log, stderr=log))
    return processes


def done(out: Path) -> dict[str, int]:
    """The finished shards and when each was finished, nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in (out / "private/ledger").glob("[!.]*.parquet")}


def begun(out: Path) -> int:
    """Shards that are half-written."""
    return len({path.name.rpartition(".")[0] for path in (out / "private/shards").glob(".*.tmp")})


def run_until_killed(config: Path, out: Path, ranks: int, more: int | None, delay: float) -> Start:
    """Start the run and kill all its ranks `delay` seconds after `more` further shards; None lets it end."""
    before, began = done(out), time.monotonic()
    processes = start(config, out, ranks)

    def alive() -> bool:
        ends = [process.poll() for process in processes]
        return None in ends and not any(ends)

    try:
        while alive() and (more is None or len(done(out)) < len(before) + more):
            time.sleep(0.02)
        if more is not None and alive():
            time.sleep(delay)
    finally:
        broken = any(process.poll() for process in processes)
        for process in processes if more is not None or broken else ():
            process.send_signal(signal.SIGKILL)
        status = [process.wait() for process in processes]
    killed = -signal.SIGKILL in status
    if broken:
        log = (out.parent / f"{out.name}.log").read_text(errors="replace")
        raise SystemExit(f"a start ended by itself with status {status}:\n{log[-3000:]}")
    after = done(out)
    touched = [name for name, stamp in before.items() if after.get(name) != stamp]
    if touched:
        raise SystemExit(f"finished shards were made again: {touched}")
    return Start(ranks, time.monotonic() - began, len(after) - len(before), begun(out) if killed else 0, killed)


def digest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def differences(out: Path, whole: Path) -> list[str]:
    """What differs in release, ledger, stored images and report; and what a kill left behind."""
    found = []
    for part in ("release", "private/ledger", "private/shards", "private/controls", "report"):
        left, right = digest(out / part), digest(whole / part)
        found += [f"{part}/{name}" for name in sorted(left.keys() | right.keys()) if left.get(name) != right.get(name)]
    left, right = ((root / "private/ledger.parquet").read_bytes() for root in (out, whole))
    found += ["private/ledger.parquet"] if left != right else []
    return found + [f"left over: {path.relative_to(out)}" for path in out.rglob(".*") if path.is_file()]


def soak(folder: Path, images: int, seed: int, shard_size: int, kills: int) -> bool:
    """Print the log; whether all held."""
    dice = random.Random(seed)
    config = write_config(folder, images, shard_size)
    whole, out = folder / "whole", folder / "soaked"
    alone = run_until_killed(config, whole, 1, None, 0)
    shards = len(done(whole))
    per_shard = alone.seconds / shards
    print(f"undisturbed: {images} images in {shards} shards, 1 rank, {alone.seconds:.1f} s", flush=True)
    starts: list[Start] = []
    print(f"{'start':>5} {'ranks':>5} {'seconds':>8} {'shards':>7} {'begun':>6}  end")
    while not starts or starts[-1].killed:
        ranks = dice.randint(1, 4)
        most = max(1, round(1.6 * shards / (kills + 1)))
        more = dice.randint(0, most) if len(starts) < kills else None
        one = run_until_killed(config, out, ranks, more, dice.random() * per_shard)
        starts.append(one)
        end = "killed" if one.killed else "done"
        print(f"{len(starts):5} {ranks:5} {one.seconds:8.1f} {one.shards:7} {one.redone:6}  {end}", flush=True)
    return verdict(starts, alone, shards, differences(out, whole), RunDir(out))


def verdict(starts: list[Start], alone: Start, shards: int, different: list[str], run: RunDir) -> bool:
    """Print what it came to."""
    killed = [one for one in starts if one.killed]
    redone = sum(one.redone for one in killed)
    within = all(one.redone <= one.ranks for one in killed)
    counts: dict[str, int] = {}
    for row in run.store.rows():
        counts[row.code or "accepted"] = counts.get(row.code or "accepted", 0) + 1
    ranks = sorted({one.ranks for one in starts})
    seconds = sum(one.seconds for one in starts)
    print(f"rows: {', '.join(f'{count} {code}' for code, count in sorted(counts.items()))}")
    print(
        f"{len(killed)} kills on {ranks} ranks; {redone} shards begun and redone, at most one a rank and kill: {within}"
    )
    made = sum(one.shards for one in starts)
    print(f"{seconds:.1f} s in all, {alone.seconds:.1f} s undisturbed; shards finished: {made} of {shards}")
    print(f"different from the undisturbed run: {', '.join(different[:10]) or 'nothing'}")
    held = not different and within and made == shards
    print("verdict: " + ("byte-identical" if held else "FAILED"))
    return held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shard-size", type=int, default=25)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--folder", type=Path, help="an empty folder that is kept; default a temporary one")
    options = parser.parse_args()
    arguments: tuple[Any, ...] = (options.images, options.seed, options.shard_size, options.kills)
    if options.folder is not None:
        options.folder.mkdir(parents=True, exist_ok=True)
        return int(not soak(options.folder.resolve(), *arguments))
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return int(not soak(Path(folder), *arguments))


if __name__ == "__main__":
    raise SystemExit(main())
