"""Shards as tasks of a Ray cluster: for workers that come and go, or differ.

The driver holds the run's lock and hands out shards; a task is one `process_shard`. Each worker process resolves the
config itself, refuses to work if it comes to another run id, device or library version than the driver (its bytes would
differ), then loads the job once and keeps it. A shard whose worker was lost, or whose task raised, is handed out anew a
bounded number of times; nothing of an unfinished shard is visible, so that is harmless.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from synthgen.config import RaySpec, RunConfig, parse_config
from synthgen.place import Place, open_place
from synthgen.ranks import Rank
from synthgen.resolving import Resolved, resolve
from synthgen.rundir import differences
from synthgen.shards import Shard
from synthgen.types import ConfigError, Row, SynthgenError
from synthgen.working import Worker, learn_sources, made_with

WAITING = 1000
"""Tasks handed to the cluster at once where `workers` sets no limit: enough for an autoscaler to see the demand."""
OBJECT_STORE_BYTES = 100 << 20
"""Of a cluster that is started for one run: tasks take a config and a shard's ids, and return rows."""


@dataclass(frozen=True)
class Order:
    """What a worker process needs to load the job: JSON of the config, and of what its output must be made with."""

    config: str
    root: str
    run_id: str
    made_with: str


class RayCrew:
    """The workers of a cluster, as the driver sees them."""

    def __init__(
        self,
        resolved: Resolved,
        place: Place,
        on_start: Callable[[int, Rank], None],
        on_row: Callable[[Row], None],
        note: Callable[[str], None],
    ) -> None:
        self._resolved, self._place, self._on_start, self._on_row = resolved, place, on_start, on_row
        self._note = note
        self._ray = connect(resolved.config.execution.ray)
        self._failures: Counter[str] = Counter()
        self._order = Order(resolved.config.model_dump_json(), place.name, resolved.run_id, "")
        needs = resources(resolved.config, self._ray.cluster_resources())
        # A task on a GPU ends its process by default, and with it the loaded job: 0 keeps both.
        options = {**needs, "max_retries": 0, "max_calls": 0}
        self._describe = self._ray.remote(**options)(_describe)
        self._learn = self._ray.remote(**options)(_learn)
        self._work = self._ray.remote(**options)(_work)

    def made_with(self) -> dict[str, str]:
        """The kind of device and the library versions of the first worker; all others must have the same."""
        found: dict[str, str] = self._get(self._describe.remote(self._resolved.config.device))
        self._order = Order(self._order.config, self._order.root, self._order.run_id, json.dumps(found, sort_keys=True))
        return found

    def learn(self) -> None:
        """Let the checks read the sources, on a worker."""
        if any(check.learns for check in self._resolved.config.check):
            self._get(self._learn.remote(self._order))

    def work(self, shards: Sequence[Shard]) -> None:
        """Make all shards.

        Raises:
            ConfigError: a worker can't do this run.
            SynthgenError: a shard failed more often than `execution.retries`.
        """
        config = self._resolved.config
        self._on_start(sum(shard.count(config.plan.variants) for shard in shards), Rank())
        limit = config.execution.ray.workers or WAITING
        waiting = deque(shards)
        running: dict[Any, Shard] = {}
        try:
            while waiting or running:
                while waiting and len(running) < limit:
                    shard = waiting.popleft()
                    running[self._work.remote(self._order, shard)] = shard
                ready, _ = self._ray.wait(list(running), num_returns=1)
                for task in ready:
                    shard = running.pop(task)
                    if not self._settle(task, shard):
                        waiting.append(shard)
        finally:
            # No task may go on when the lock is given back.
            for task in running:
                self._ray.cancel(task, force=True)
            if running:
                self._ray.wait(list(running), num_returns=len(running), timeout=60)
            self._place.run.store.remove_partials()

    def _settle(self, task: Any, shard: Shard) -> bool:
        """Whether the shard is done; a failure is counted."""
        try:
            rows = self._get(task)
        except ConfigError:
            raise
        except (self._ray.exceptions.RayError, SynthgenError) as error:
            self._failures[shard.name] += 1
            retries = self._resolved.config.execution.retries
            reason = f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"
            if self._failures[shard.name] > retries:
                raise SynthgenError(
                    f"shard {shard.name} failed {retries + 1} times (execution.retries {retries}), at last with "
                    f"{reason}; the same command again goes on"
                ) from error
            self._note(f"shard {shard.name}: {reason}; it is handed out again")
            return False
        for row in rows:
            self._on_row(row)
        return True

    def _get(self, task: Any) -> Any:
        try:
            return self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, ConfigError):
                raise error.cause from None
            raise SynthgenError(f"{type(error.cause).__name__}: {error.cause}") from error

    def close(self) -> None:
        """Leave the cluster, or end it where it was started for this run."""
        self._ray.shutdown()


def connect(spec: RaySpec) -> Any:
    """The `ray` module, connected to the cluster of `spec` or of RAY_ADDRESS, else to a new one on this machine.

    Raises:
        ConfigError: Ray is not installed, or the cluster does not answer.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray gives its workers the lowest priority but four; beside any other load they would hardly run.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # 0: a worker without GPUs must not see them; without it Ray says that this will be the default.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise ConfigError(
            "execution.launcher: ray needs Ray: pip install 'synthgen[ray]', or set it to local"
        ) from error
    address = spec.address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"address": address}
    if not address:
        options = {"address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
    try:
        ray.init(**options, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"execution.ray.address: {address}: no cluster answers there ({error})") from error
    return ray


def resources(config: RunConfig, cluster: dict[str, float]) -> dict[str, float]:
    """What one task asks of Ray: as the config says, else its torch threads, and a GPU where the device is one."""
    spec = config.execution.ray
    gpu = config.device == "cuda" or (config.device == "auto" and cluster.get("GPU", 0) > 0)
    return {
        "num_cpus": config.threads if spec.num_cpus is None else spec.num_cpus,
        "num_gpus": float(gpu) if spec.num_gpus is None else spec.num_gpus,
    }


def _describe(device: str) -> dict[str, str]:
    return made_with(device, Rank())


def _learn(order: Order) -> None:
    worker = _worker(order)
    learn_sources(worker.resolved, worker.place.run, Rank())
    worker.place.keep_plan()


def _work(order: Order, shard: Shard) -> list[Row]:
    """One task: a shard's rows, once it is committed."""
    worker = _worker(order)
    rows: list[Row] = []
    worker.on_row = rows.append
    worker(shard)
    return rows


@lru_cache(maxsize=1)
def _worker(order: Order) -> Worker:
    """This process's worker for an order, loaded at its first task.

    Raises:
        ConfigError: what this process sees would make other bytes than the driver promised.
    """
    resolved = resolve(parse_config(json.loads(order.config), "the driver's config"))
    here = {"run id": resolved.run_id, **made_with(resolved.config.device, Rank())}
    there = {"run id": order.run_id, **json.loads(order.made_with)}
    if here != there:
        listed = "\n  ".join(differences(there, here, ""))
        raise ConfigError(
            f"a Ray worker on {os.uname().nodename} would make another run than the driver:\n  {listed}\n"
            "All workers need the same source, weights, library versions and kind of device."
        )
    place = open_place(order.root, resolved.config.execution.cache)
    place.fetch_plan()
    return Worker(resolved, place, Rank(), "ray", lambda row: None)
