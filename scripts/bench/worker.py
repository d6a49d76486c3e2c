"""A run in a process of its own, which tells when its models were warm, every row, when it ended and its peak memory.

The processes are forked from a server that has imported the libraries and nothing else: starting one costs tenths of a
second, and what a run takes is not drowned in imports.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

from workload import Batches, load

from synthgen import launch
from synthgen.cli import compose

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["synthgen.launch", "synthgen.cli", "synthgen.generators._run", "diffusers.pipelines.controlnet", "onnxruntime"]
)


@dataclass(frozen=True)
class Done:
    """`seconds` from warm models to the finished release; `peak` resident memory of the process in bytes."""

    seconds: float
    rows: tuple[str, ...]
    peak: int


def work(source: Path, settings: Sequence[str], out: Path, tell: Connection) -> None:
    """Load and warm everything, then run: what a process does."""
    job = load(None, source, settings, out.with_name(f"{out.name}-warm"))
    rows = job.config.generate.batch_size
    Batches.of(replace(job, items=dict(list(job.items.items())[:rows]))).generate(job.generate)
    # The launcher is to start with these models: loading them is not what is measured.
    launch.load_job = lambda resolved, run, rank, on_row: replace(job, store=run.store, on_row=on_row)
    resolved = launch.resolve(compose(None, source, list(settings)))
    tell.send(time.monotonic())
    launch.launch(resolved, out, lambda total, rank: None, lambda row: tell.send(row.sample_id))
    end = time.monotonic()
    unit = 1 if sys.platform == "darwin" else 1024
    tell.send((end, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit))


class Worker:
    """A run in `out` that has loaded its models and is under way."""

    def __init__(self, source: Path, settings: Sequence[str], out: Path) -> None:
        self.hear, tell = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(target=work, args=(source, settings, out, tell))
        self.process.start()
        tell.close()
        try:
            self.began: float = self.hear.recv()
        except EOFError:
            raise SystemExit(f"a run of {source.name} failed before it began; its message stands above") from None

    def kill(self, after: float) -> Done:
        """SIGKILL, `after` seconds from its beginning; `seconds` is when it really was."""
        time.sleep(max(0.0, self.began + after - time.monotonic()))
        self.process.kill()
        seconds = time.monotonic() - self.began
        rows, _ = self._listen()
        return Done(seconds, rows, 0)

    def finish(self) -> Done:
        """Wait for its end."""
        rows, end = self._listen()
        if end is None:
            raise SystemExit("a run failed; its message stands above")
        return Done(end[0] - self.began, rows, end[1])

    def _listen(self) -> tuple[tuple[str, ...], tuple[float, int] | None]:
        rows: list[str] = []
        try:
            while True:
                message = self.hear.recv()
                if not isinstance(message, str):
                    return tuple(rows), message
                rows.append(message)
        except EOFError:
            return tuple(rows), None
        finally:
            self.process.join()
            self.hear.close()
