"""Commands as processes of their own, to be killed, stopped and joined as ranks, without the cost of starting Python.

Half of a small run's time goes into importing torch, transformers and diffusers. A server (multiprocessing's
`forkserver`) imports them once and forks itself for every command, so a command is as much a process as one that a
shell starts: it has its own pid, signals, environment and standard error. What the launchers themselves do is tested
with the real ones (tests/test_launch.py, tests/test_launchers.py).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.warm"])


class Command:
    """A process that calls `work(*arguments)` under `environment`."""

    def __init__(self, work: Callable[..., Any], arguments: tuple[Any, ...], environment: Mapping[str, str]) -> None:
        descriptor, name = tempfile.mkstemp(prefix="command-")
        os.close(descriptor)
        self._errors = Path(name)
        self._process = _CONTEXT.Process(target=_begin, args=(work, arguments, dict(environment), name), daemon=True)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """As `subprocess.Popen` has it: None while it runs, −n after signal n."""
        return self._process.exitcode

    def running(self) -> bool:
        return self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def wait(self, seconds: float = 300) -> str:
        """Standard error, once it has ended."""
        self._process.join(seconds)
        assert not self._process.is_alive(), f"still running after {seconds} s: {self._errors.read_text()}"
        return self._errors.read_text(encoding="utf-8", errors="replace")

    def end(self) -> None:
        """Whatever it does."""
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._errors.unlink(missing_ok=True)


@contextmanager
def started(work: Callable[..., Any], *arguments: Any, **environment: str) -> Iterator[Command]:
    """A command that is over at the end of the block."""
    command = Command(work, arguments, environment)
    try:
        yield command
    finally:
        command.end()


def command_line(*arguments: str) -> None:
    """The command line, with the exit status of the command."""
    from synthgen.cli import main

    sys.argv = ["synthgen", *arguments]
    main()


@contextmanager
def ranks(*commands: list[str], work: Callable[..., Any] = command_line) -> Iterator[list[Command]]:
    """`work(*command)` once a rank, joined as torchrun and accelerate join them; no launcher ends the others."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(len(commands))}
    with ExitStack() as stack:
        yield [
            stack.enter_context(started(work, *command, RANK=str(rank), LOCAL_RANK=str(rank), **shared))
            for rank, command in enumerate(commands)
        ]


def two_ranks(*command: str) -> None:
    """`synthgen COMMAND…` on two ranks, to a good end."""
    with ranks(list(command), list(command)) as both:
        errors = [rank.wait() for rank in both]
    assert [rank.returncode for rank in both] == [0, 0], errors


def _begin(work: Callable[..., Any], arguments: tuple[Any, ...], environment: dict[str, str], errors: str) -> None:
    os.environ.update(environment)
    descriptor = os.open(errors, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    work(*arguments)
