"""Faults 35 to 40: a run that is killed, starved, doubled, changed, trusted with secrets, or left with nothing."""

from __future__ import annotations

import resource
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthgen.rundir import RunDir
from tests.datasets_for_tests import tree, write_streets
from tests.faults.lab import Fault, Lab, strict_json
from tests.processes import command_line, started

PARTS = ("release", "private/ledger", "private/shards", "private/controls", "report")


def same_run(left: Path, right: Path) -> None:
    for part in PARTS:
        assert tree(left / part) == tree(right / part), part
    assert not list(left.rglob(".*.tmp")), "half a file"


@cache
def killed(lab: Lab) -> tuple[str, str]:
    """A run as a process; a second one beside it; kill −9; the same command again. What the last two came to."""
    value = lab.paint(lab.streets, execution={"shard_size": 1})
    value["generate"]["steps"] = 20
    folder = lab.folder()
    (folder / "config.yaml").write_text(yaml.safe_dump(value))
    out = folder / "run"
    with started(command_line, "run", str(folder / "config.yaml"), "--out", str(out)) as process:
        while process.running() and not list(out.glob("private/ledger/*.parquet")):
            time.sleep(0.005)
        process.send(signal.SIGSTOP)  # it holds the lock, and can't end before the second one has tried
        second = lab.run(value, out)
        process.send(signal.SIGKILL)
        errors = process.wait()
        assert process.returncode == -signal.SIGKILL, errors
    assert second.status == 2 and "another process is writing this run" in second.err, second.err
    store = RunDir(out).store
    finished = [shard for shard in store.shards() if store.done(shard)]
    assert 0 < len(finished) < len(store.shards()) and not (out / "release").exists()
    whole = lab.run(value)
    assert lab.run(value, out).status == whole.status == 0
    same_run(out, whole.root)
    return f"{len(finished)} of {len(store.shards())} shards were done", second.message()


def kill(lab: Lab) -> str:
    return f"equals the uninterrupted run · {killed(lab)[0]}; at every step: test_crash.py; at random: scripts/soak.py"


def two_processes(lab: Lab) -> str:
    return f"X · {killed(lab)[1]}"


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The kernel refuses to let any file grow over `size` bytes, as it does when a disk or a quota is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def disk_full(lab: Lab) -> str:
    value = lab.redact(lab.streets, execution={"shard_size": 3})
    whole = lab.run(value)
    out = lab.folder() / "run"
    with largest_file(12_000):
        ended = lab.run(value, out)
    assert ended.status == 1 and "make room, the same command goes on" in ended.err, (ended.status, ended.err)
    assert "Traceback" not in ended.err and not list(out.rglob(".*.tmp")) and not (out / "release").exists()
    store = RunDir(out).store
    finished = sum(map(store.done, store.shards()))
    assert lab.run(value, out).status == 0
    same_run(out, whole.root)
    return f"clean stop, resumable · exit 1 after {finished} shards: {ended.message()}"


def changed(lab: Lab) -> str:
    source = write_streets(lab.folder() / "source", bad=False)
    value = lab.redact(source, execution={"shard_size": 3})
    out = lab.run(value).root
    before = tree(out)
    config = lab.run(value | {"dilate": 0.5, "protect": ["inpaint"]}, out)
    assert config.status == 2 and "dilate: 0.15 → 0.5" in config.err and "protect" in config.err, config.err
    (source / "images/train/s0.jpg").write_bytes((source / "images/val/s5.jpg").read_bytes() + b"\0")
    data = lab.run(value, out)
    assert data.status == 2 and "inputs.source" in data.err, data.err
    assert tree(out) == before
    return f"X with the difference · {config.message()}"


TOKEN, PASSWORD = "hf_" + "aBcD1234" * 5, "open-sesame-42"


def secrets(lab: Lab) -> str:
    value = lab.paint(lab.streets, source={"format": "masks", "path": str(lab.streets), "limit": 2})
    told = []

    def load(self: Any, device: str) -> Any:
        raise RuntimeError(f"401 for https://jane:{PASSWORD}@hub.example/x?token={PASSWORD}: Bearer {TOKEN}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_TOKEN", TOKEN)
        patch.setenv("AWS_SECRET_ACCESS_KEY", PASSWORD)
        patch.setattr("huggingface_hub.constants.ENDPOINT", f"http://jane:{PASSWORD}@127.0.0.1:9")
        ok = lab.run(value)
        assert ok.status == 0, ok.err
        for keys in (
            {"card": {"url": f"https://jane:{PASSWORD}@x.example"}},
            {"name": "x", "card": {"creator": TOKEN}},
        ):
            refused = lab.run(value | keys)
            refused.stopped("card.", "holds a token or a password")
            assert not refused.root.exists()
            told.append(refused)
        unpinned = dict(value, generate=value["generate"] | {"model": f"https://jane:{PASSWORD}@hub.example/m"})
        told += [ok, lab.run(unpinned), lab.synthgen("run", "--source", f"https://jane:{PASSWORD}@x/y", "--set", TOKEN)]
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr("synthgen.generators._diffusion.DiffusionGenerator.load", load)
            traceback = lab.run(value)
        assert traceback.status == 1 and "Traceback" in traceback.err and "RuntimeError" in traceback.err
        assert "https://***@hub.example" in traceback.err, traceback.err
        told.append(traceback)
    for ended in told:
        assert TOKEN not in ended.out + ended.err and PASSWORD not in ended.out + ended.err, ended.err
    for path in lab.root.rglob("*"):
        if path.is_file() and path.parent not in {one.root.parent for one in told}:
            data = path.read_bytes()
            assert TOKEN.encode() not in data and PASSWORD.encode() not in data, path
    return f"redacted everywhere · {len(told)} commands; {traceback.err.strip().splitlines()[-1]}"


def nothing_left(lab: Lab) -> str:
    """A run of which every output was rejected, one of one class, one of one image; each evaluator on each."""
    one = write_streets(lab.folder() / "source", bad=False, names=("images/train/a.png",))
    strict = [{"kind": "quality", "min_std": 127}]
    folder = lab.folder() / "source"
    for path in list((lab.streets / "images").rglob("*.png")):
        (folder / "only").mkdir(parents=True, exist_ok=True)
        (folder / "only" / path.name).write_bytes(path.read_bytes())
    plain = {"format": "imagefolder", "path": str(folder)}
    runs = {
        "all filtered": lab.run(lab.redact(lab.streets, check=strict)),
        "n = 1": lab.run(lab.redact(one)),
        "one class": lab.run(lab.redact(folder, source=plain, protect=[{"kind": "solid", "region": "all"}])),
    }
    for name, ended in runs.items():
        assert ended.status == 0, (name, ended.err)
        strict_json(ended.out)
        assert strict_json((ended.root / "report/report.json").read_text())["verdict"] == "insufficient", name
        source = yaml.safe_load((ended.root / "run.yaml").read_text())["source"]["path"]
        release, out = ended.root / "release", lab.folder()
        commands: dict[str, tuple[str | Path, ...]] = {
            "compare": ("compare", source, release, "--features", "none", "--json"),
            "drift": ("drift", source, release, "--features", "none", "--json"),
            "bias": ("bias", ended.root, "--json"),
            "report": ("report", ended.root, "--features", "none", "--json"),
            "status": ("status", ended.root, "--json"),
        }
        for command, arguments in commands.items():
            got = lab.synthgen(*arguments)
            where = f"{name}, {command}: exit {got.status}, {got.err[-600:]}"
            assert "Traceback" not in got.err, where
            if got.out.strip():
                verdict = strict_json(got.out).get("verdict", "insufficient")
                assert verdict == "insufficient", f"{where} {verdict}"
            else:
                assert got.status == 2 and got.err.startswith("error: "), where
        for path in (*ended.root.rglob("*.json"), *out.rglob("*.json")):
            if path.is_file():
                strict_json(path.read_text())
    return f"insufficient · {', '.join(runs)}, by {len(commands)} commands"


FAULTS = (
    Fault(35, "kill −9", "equals the uninterrupted run", kill),
    Fault(36, "disk full", "clean stop, resumable", disk_full),
    Fault(37, "two processes, one output", "X", two_processes),
    Fault(38, "resume with changed config or input", "X with the difference", changed),
    Fault(39, "token in env, URL, traceback, config", "redacted everywhere", secrets),
    Fault(40, "all filtered, one class, n = 1", "insufficient", nothing_left),
)
