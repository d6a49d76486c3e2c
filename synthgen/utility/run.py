"""`synthgen utility CONFIG`: make the arms, train every cell, and put the table together.

Cells are files (see cells.py): the same command goes on where it was, and under `accelerate launch` the cells are dealt
out to the processes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from synthgen.benchmark import BenchmarkSpec, MethodSpec, method_config
from synthgen.datasets.base import Dataset
from synthgen.launch import Rank, launch, pick_device, resolve, select_items
from synthgen.ranks import join_ranks
from synthgen.types import Row
from synthgen.utility.answers import Answers
from synthgen.utility.cells import CellStore, cell_digest, cells_of
from synthgen.utility.result import Assembler, Utility
from synthgen.utility.spec import UtilitySpec
from synthgen.utility.study import Say, Study, origin_of_run, read_study, real_source
from synthgen.utility.survey import ids_of_splits
from synthgen.utility.workshop import Workshop


def measure_utility(
    spec: UtilitySpec,
    root: Path,
    say: Say,
    on_start: Callable[[int, Rank], None],
    on_row: Callable[[Row], None],
) -> tuple[Utility, Study] | None:
    """The whole table, or what is left of it, below `root`, and what it was made of; None but on the first process.

    Raises:
        SynthgenError: what can't be trained or compared, before anything is trained.
    """
    source = real_source(spec)
    for model in spec.models:
        model.digest()
    refuse_wrong_runs(spec, source)
    with join_ranks() as ranks:
        folders = make_runs(spec, source, root, say, on_start, on_row)
        ranks.share()  # the first process finishes the last run's release
        study = read_study(spec, source, folders, say)
        store = CellStore(root / "private" / "cells")
        cells = cells_of(study, spec)
        rank = ranks.rank
        device = pick_device(spec.device, rank)
        digests = {cell.key: cell_digest(cell, study, spec, device) for cell in cells}
        left = ranks.share([list(cell.key) for cell in cells if not store.done(digests[cell.key])])
        workshop = Workshop(study, spec, device)
        for model in spec.models if left else ():
            workshop.refuse_unfit(model)
        for number, key in enumerate(left[rank.index :: rank.count], start=1):
            cell = next(one for one in cells if list(one.key) == key)
            began = time.monotonic()
            store.save(digests[cell.key], workshop.answers(cell))
            took = time.monotonic() - began
            say(f"{number} of {len(left[rank.index :: rank.count])}: {' · '.join(map(str, key))} in {took:.1f} s")
        ranks.share()
        if not rank.first:
            return None

    @lru_cache(maxsize=256)
    def load(digest: str) -> Mapping[str, Answers]:
        return store.load(digest)

    say("drawing replicates")
    return Assembler(study, spec, lambda cell: load(digests[cell.key])).utility(), study


def refuse_wrong_runs(spec: UtilitySpec, source: Dataset) -> None:
    """Look at the finished runs among the arms, and at the splits, before any config is run.

    Raises:
        ConfigError: as `read_study`, as far as no picture must be read for it.
    """
    index, items = select_items(source)
    by_id = {item.id: item for item in items}
    for name, arm in spec.arms.items():
        if arm.run is not None:
            origin_of_run(name, arm.run, index.classes, arm.labels == "release", by_id)
    for key, splits in (("train", spec.train), ("test", spec.test)):
        if splits is not None:
            ids_of_splits(key, splits, {item.id: item.split for item in items})


def make_runs(
    spec: UtilitySpec,
    source: Dataset,
    root: Path,
    say: Say,
    on_start: Callable[[int, Rank], None],
    on_row: Callable[[Row], None],
) -> dict[str, Path]:
    """Arm → the folder of its finished run; the runs of configs are made, or gone on with, below `root`.

    Raises:
        SynthgenError: a config that can't run; all are resolved before the first begins.
    """
    made = {}
    for name, arm in spec.arms.items():
        if arm.config is not None:
            method = MethodSpec(name=name, config=arm.config, set=arm.set)
            of_source = BenchmarkSpec(source=source.model_dump(mode="json"), methods=(method,))
            made[name] = resolve(method_config(of_source, method))
    folders = {}
    for name, arm in spec.arms.items():
        folders[name] = arm.run.resolve() if arm.run is not None else root / "private" / "runs" / name
        if name in made:
            say(f"making {name}")
            launch(made[name], folders[name], on_start, on_row)
    return folders
