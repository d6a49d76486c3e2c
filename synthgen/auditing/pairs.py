"""Originals and what was made of them: from a run, or from two folders with the same names.

Of a run the files of its release are audited, since those leave; the ledger tells which original each was made of.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from synthgen.auditing.identities import Identities, dataset_identities, read_identities
from synthgen.config import RunConfig
from synthgen.datasets.base import Dataset, resolve_source
from synthgen.images import SUFFIXES
from synthgen.rundir import RunDir, open_run
from synthgen.types import BadSample, ConfigError, Item


@dataclass(frozen=True)
class Output:
    """One released image; `variant` tells outputs of one original apart."""

    path: Path
    variant: int = 0


@dataclass(frozen=True, eq=False)
class Pairs:
    """What is audited.

    Attributes:
        dataset: the originals; `items`: those of them that were asked for.
        outputs: image id → what was made of it and released.
        release: the folder that leaves; `run`: the run that made it, None for two folders.
        keeps_names: whether released names are the source's on purpose.
    """

    dataset: Dataset
    items: tuple[Item, ...]
    outputs: Mapping[str, tuple[Output, ...]]
    release: Path
    identities: Identities
    run: RunDir | None = None
    config: RunConfig | None = None
    keeps_names: bool = True


def pairs_of_run(folder: Path, identities: Path | None, column: str | None) -> Pairs:
    """The release of a run beside its source.

    Raises:
        SynthgenError: no finished run, its source or a released file is gone, or identities that don't fit.
    """
    run = open_run(folder)
    if run.store.pending() or not run.release.is_dir():
        raise ConfigError(f"{folder}: the run is not finished; run it to the end first")
    config = run.config()
    index = config.source.index()
    items = {item.id: item for item in index.items}
    names = run.names(config)
    outputs: dict[str, list[Output]] = defaultdict(list)
    lost = 0
    for row in run.store.rows():
        if row.verdict != "accepted":
            continue
        if row.sample_id not in items:
            raise ConfigError(f"{folder}: the source has lost {row.sample_id}; the audit needs the originals")
        path = run.release / names.image(items[row.sample_id], row.variant)
        if path.is_file():
            outputs[row.sample_id].append(Output(path, row.variant))
        lost += not path.is_file()
    if lost:
        raise ConfigError(f"{run.release}: {lost} accepted output(s) are not there; run the same config again")
    return Pairs(
        config.source,
        index.items,
        {one: tuple(made) for one, made in outputs.items()},
        run.release,
        _identities(config.source, index.items, identities, column),
        run,
        config,
        config.names == "keep",
    )


def pairs_of_folders(real: Path, synthetic: Path, identities: Path | None, column: str | None) -> Pairs:
    """Two folders: an output has the path of its original, whatever its suffix.

    Raises:
        ConfigError: a folder is no dataset, no output has the name of an original, or identities that don't fit.
    """
    try:
        dataset = resolve_source(real)
    except ValueError as error:
        raise ConfigError(f"--real: {error}") from error
    if not synthetic.is_dir():
        raise ConfigError(f"--synthetic: {synthetic} is not a folder")
    if real.resolve() == synthetic.resolve():
        raise ConfigError("--real and --synthetic are the same folder")
    index = dataset.index()
    stems: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(synthetic.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            stems[path.relative_to(synthetic).with_suffix("").as_posix()].append(path)
    outputs: dict[str, tuple[Output, ...]] = {}
    for item in index.items:
        made = stems.get(PurePosixPath(item.id).with_suffix("").as_posix(), [])
        exact = [path for path in made if path.relative_to(synthetic).as_posix() == item.id]
        if made:
            outputs[item.id] = tuple(Output(path) for path in exact or made[:1])
    if not outputs:
        raise ConfigError(
            f"--synthetic {synthetic}: no image has the path of one in {real}; outputs are paired with originals by "
            "name. For a run with pseudonyms audit the run's folder: synthgen audit RUN"
        )
    found = _identities(dataset, index.items, identities, column)
    return Pairs(dataset, index.items, outputs, synthetic, found)


def _identities(dataset: Dataset, items: tuple[Item, ...], path: Path | None, column: str | None) -> Identities:
    if path is not None:
        return read_identities(path, [item.id for item in items])
    rows: dict[str, Mapping[str, Any]] = {}
    for item in items:
        try:
            rows[item.id] = dataset.labels_of(item).attributes if column != "folders" else {}
        except BadSample:
            continue
    return dataset_identities(rows, column)
