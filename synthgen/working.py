"""One process's part of a run: it loads the job at its first shard, keeps it, and makes and commits shard after shard.

Whoever hands out the shards, a rank's own loop or a Ray cluster, does it through `Worker`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import version

from synthgen.learned import LearnedStore
from synthgen.pipeline import Job, process_shard
from synthgen.place import Place
from synthgen.prepare import Preparer
from synthgen.progress import ProgressNotes
from synthgen.ranks import Rank
from synthgen.resolving import Resolved
from synthgen.rundir import RunDir
from synthgen.shards import Shard
from synthgen.types import ConfigError, Row


def pick_device(wanted: str, rank: Rank) -> str:
    """`auto`, `cpu`, `cuda` or `mps` to a torch device string; ranks spread over the GPUs of their machine.

    Raises:
        ConfigError: the device is not there.
    """
    import torch

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if wanted == "cuda" and torch.cuda.is_available():
        local = int(os.environ.get("LOCAL_RANK", rank.index))
        return f"cuda:{local % torch.cuda.device_count()}"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device: {wanted}, but torch sees no GPU; set device: cpu or auto")
    return wanted


def made_with(wanted: str, rank: Rank) -> dict[str, str]:
    """What rounds numbers besides the config: the kind of device and the versions of the libraries."""
    versions = {name: version(name) for name in ("torch", "diffusers", "transformers", "opencv-python-headless")}
    return {"device": pick_device(wanted, rank).partition(":")[0], **versions}


def load_job(resolved: Resolved, run: RunDir, rank: Rank, on_row: Callable[[Row], None]) -> Job:
    """Load every model of the run onto this rank's device."""
    import torch

    config = resolved.config
    device = pick_device(config.device, rank)
    torch.set_num_threads(config.threads)
    torch.backends.cudnn.benchmark = False
    learned = LearnedStore(run.private / "learned", resolved.run_id)
    return Job(
        config=config,
        items=resolved.items,
        plan=resolved.plan,
        preparer=Preparer(config, config.source, device),
        generate=config.generate.load(device),
        checks=[check.load(device, learned.read(place, check)) for place, check in enumerate(config.check)],
        store=run.store,
        on_row=on_row,
    )


def learn_sources(resolved: Resolved, run: RunDir, rank: Rank) -> None:
    """Show the whole source set, whatever is chosen of it, to the checks that have to know it."""
    config = resolved.config
    store = LearnedStore(run.private / "learned", resolved.run_id)
    store.fill(config.check, config.source, resolved.index.items, pick_device(config.device, rank))


class Worker:
    """Makes shards in this process and notes how far it is. Models are loaded at the first call and kept."""

    def __init__(self, resolved: Resolved, place: Place, rank: Rank, name: str, on_row: Callable[[Row], None]) -> None:
        self.place = place
        self.on_row = on_row
        """Hears every finished output; may be set anew between shards."""
        self.resolved = resolved
        self._rank, self._name = rank, name
        self._job: Job | None = None
        self._notes: ProgressNotes | None = None

    def __call__(self, shard: Shard) -> None:
        """Make every output of a shard and commit it; on any error nothing of it is visible."""
        if self._notes is None:
            device = pick_device(self.resolved.config.device, self._rank)
            self._notes = ProgressNotes(self.place.run.progress, self._name, device)
        if self._job is None:
            self._job = load_job(self.resolved, self.place.run, self._rank, self._hear)
        self._notes.begin(shard.name)
        process_shard(self._job, shard)
        self.place.keep_shard(shard)
        self._notes.end()
        self.place.keep_progress(self._notes.path)

    def _hear(self, row: Row) -> None:
        assert self._notes is not None
        self._notes.row(row)
        self.on_row(row)
