"""The loop end to end on a small dataset with bad files, in one process."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthgen import prepare
from synthgen.checks.base import Candidate, CheckRun, Learned
from synthgen.checks.quality import QualityCheck
from synthgen.launch import resolve
from synthgen.pipeline import BatchQueue, Task, give_way
from synthgen.plan import Plan, PlanSpec
from synthgen.rundir import RunDir
from synthgen.types import BadSample, Controls, Generated, Item, Labels, Row, Sample, Score
from tests.datasets_for_tests import (
    BAD,
    DOCUMENTS,
    GOOD,
    config_value,
    open_image,
    parsed,
    rows,
    run,
    street,
    tree,
    write_streets,
)

Runner = Callable[..., Path]


@pytest.fixture
def run_of(street_set: Path, tiny_sd: Path, tmp_path: Path) -> Runner:
    """Run the street dataset with some keys changed; the run's folder."""

    def start(name: str = "run", **changes: Any) -> Path:
        run(config_value(street_set, tiny_sd, **changes), tmp_path / name)
        return tmp_path / name

    return start


def labels_of(names: tuple[str, ...]) -> set[str]:
    return {str(Path(name.replace("images/", "labels/", 1)).with_suffix(".png")) for name in names}


def test_the_release_is_the_source_less_what_was_rejected(finished: Path, street_set: Path) -> None:
    released, source = tree(finished / "release"), tree(street_set)
    assert set(released) == {*GOOD, *labels_of(GOOD), "classes.csv", *DOCUMENTS}
    for name in (*labels_of(GOOD), "classes.csv"):
        assert released[name] == source[name], f"{name} must be the source's, byte for byte"
    for name in GOOD:
        output, original = open_image(finished / "release" / name), open_image(street_set / name)
        assert output.shape == original.shape
        assert (output != original).any(axis=2).mean() > 0.9


def test_every_image_has_its_row(finished: Path) -> None:
    found = rows(finished)
    assert {key[0]: row.code for key, row in found.items()} == dict.fromkeys(GOOD, "") | BAD
    for name in GOOD:
        row = found[name, 0]
        assert row.verdict == "accepted" and len(row.source_digest) == len(row.output_digest) == 64
        assert (row.width, row.height) == ((48, 64) if "tall" in name else (64, 48))
        assert row.regions == {"head": 1, "person": 1}
        assert row.split == name.split("/")[1]
        assert row.scores["quality"] is not None and row.factors.keys() >= {"time"} and row.prompt
    for name in BAD:
        assert found[name, 0].verdict == "quarantined" and found[name, 0].message


def test_control_maps_stay_private_and_whole(finished: Path) -> None:
    private = {path.name for path in (finished / "private").iterdir()}
    assert private >= {"shards", "controls", "ledger", "ledger.parquet", "key", "run.json", "shards.json"}
    assert not list(finished.rglob("*.tmp"))
    released = set(tree(finished / "release")) - DOCUMENTS
    assert not [name for name in released if name.endswith((".parquet", ".json", ".yaml"))]


@pytest.mark.parametrize(
    "execution",
    [{"shard_size": 1}, {"shard_size": 100}, {"shard_size": 3, "workers": 4, "queue": 4}, {"workers": 1, "queue": 1}],
    ids=str,
)
def test_how_the_work_is_done_changes_no_byte(finished: Path, run_of: Runner, execution: dict[str, int]) -> None:
    out = run_of(execution=execution)
    assert tree(out / "release") == tree(finished / "release")
    assert rows(out) == rows(finished)
    assert RunDir(out).run_id() == RunDir(finished).run_id()


def test_order_of_the_listing_changes_no_byte(finished: Path, run_of: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    real = os.walk

    def backwards(top: Any, **options: Any) -> Any:
        for folder, folders, files in real(top, **options):
            folders.reverse()
            yield folder, folders, sorted(files, reverse=True)

    monkeypatch.setattr(os, "walk", backwards)
    assert tree(run_of() / "release") == tree(finished / "release")


@pytest.mark.parametrize(("key", "new"), [("seed", 1), ("plan", {"prompts": "street", "fix": {"time": "night"}})])
def test_seed_and_prompt_change_the_pixels(finished: Path, run_of: Runner, key: str, new: Any) -> None:
    before, after = tree(finished / "release"), tree(run_of(**{key: new}) / "release")
    assert before.keys() == after.keys()
    assert [name for name in GOOD if before[name] == after[name]] in ([], [n for n in GOOD if is_night(finished, n)])
    assert all(before[name] == after[name] for name in labels_of(GOOD))


def is_night(out: Path, name: str) -> bool:
    return rows(out)[name, 0].factors["time"] == "night"


def test_variants_are_new_pictures_under_pseudonyms(run_of: Runner, street_set: Path) -> None:
    out = run_of(names="pseudonym", plan={"prompts": "street", "variants": 3})
    released = tree(out / "release")
    images = {name: data for name, data in released.items() if name.startswith("images/")}
    assert len(images) == 3 * len(GOOD) and len(set(images.values())) == 3 * len(GOOD)
    assert {str(Path(name).with_suffix("")) for name in images} == {
        str(Path(name).with_suffix("")).replace("labels/", "images/", 1)
        for name in released
        if name.startswith("labels/")
    }
    stems = {Path(name).stem for name in tree(street_set) if "/" in name}
    assert not [name for name in released for stem in stems if stem in name], "a source's name in the release"
    found = rows(out)
    assert {variant for name, variant in found if name in GOOD} == {0, 1, 2}
    assert len({row.seed for row in found.values() if row.verdict == "accepted"}) == 3 * len(GOOD)


def test_what_every_check_rejects_is_quarantined_and_the_release_is_empty(
    street_set: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    value = config_value(street_set, tiny_sd, check=[{"kind": "quality", "min_std": 127}], attempts=3)
    summary = run(value, tmp_path / "run")
    assert summary.accepted == 0
    assert summary.quarantined == {"check-quality": len(GOOD)} | dict.fromkeys(BAD.values(), 1)
    assert set(tree(tmp_path / "run/release")) == {"classes.csv", *DOCUMENTS}
    plan = Plan(PlanSpec(prompts="street"), 0)
    for name in GOOD:
        row = rows(tmp_path / "run")[name, 0]
        assert (row.attempts, row.output_digest) == (3, "") and "min_std" in row.message
        assert row.seed == plan.recipe(name, 0, 2).seed


def judge_by(monkeypatch: pytest.MonkeyPatch, verdict: Callable[[Generated], bool | None]) -> list[Generated]:
    """Let `verdict` decide in place of the quality check; the list fills with what it saw."""
    seen: list[Generated] = []

    def load(self: QualityCheck, device: str, learned: Learned) -> CheckRun:
        def check(candidate: Candidate) -> Score:
            seen.append(candidate.generated)
            return Score("quality", 1.0, verdict(candidate.generated), "because")

        return check

    monkeypatch.setattr(QualityCheck, "load", load)
    return seen


def test_a_retry_has_a_new_seed_and_the_same_prompt(run_of: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = judge_by(monkeypatch, lambda generated: generated.recipe.attempt >= 1)
    found = rows(run_of(attempts=2))
    assert all(found[name, 0].attempts == 2 and found[name, 0].verdict == "accepted" for name in GOOD)
    for name in GOOD:
        first, second = sorted((one.recipe for one in seen if one.recipe.sample_id == name), key=lambda r: r.attempt)
        assert first.seed != second.seed and first.prompt == second.prompt
        assert found[name, 0].seed == second.seed
    pictures = {one.image.tobytes() for one in seen}
    assert len(pictures) == 2 * len(GOOD), "every try is another picture"


def test_a_retry_of_one_changes_no_other(run_of: Runner, finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries fill up other batches: their neighbours must not notice."""
    judge_by(monkeypatch, lambda one: one.recipe.attempt >= 1 or one.recipe.sample_id not in GOOD[::2])
    before, after = tree(finished / "release"), tree(run_of() / "release")
    assert [name for name in GOOD if before[name] != after[name]] == list(GOOD[::2])


@pytest.mark.parametrize("verdict", [None, False])
def test_what_a_check_cannot_tell_fails_closed(
    run_of: Runner, monkeypatch: pytest.MonkeyPatch, verdict: bool | None
) -> None:
    judge_by(monkeypatch, lambda _: verdict)
    found = rows(run_of(attempts=1))
    assert {found[name, 0].code for name in GOOD} == {"check-quality"}


def test_a_sample_that_a_check_cannot_take_is_quarantined(run_of: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def verdict(generated: Generated) -> bool:
        if generated.recipe.sample_id == GOOD[2]:
            raise BadSample("no-face", "nothing to compare")
        return True

    judge_by(monkeypatch, verdict)
    found = rows(run_of())
    assert found[GOOD[2], 0].code == "no-face"
    assert sum(row.verdict == "accepted" for row in found.values()) == len(GOOD) - 1


def test_a_failing_generator_leaves_nothing_of_its_shard(
    street_set: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: object, device: str) -> Callable[..., Any]:
        def generate(*_: object) -> Any:
            raise MemoryError

        return generate

    value = config_value(street_set, tiny_sd)
    with monkeypatch.context() as patch:
        patch.setattr(type(parsed(value).generate), "load", load)
        with pytest.raises(MemoryError):
            run(value, tmp_path / "run")
    store = RunDir(tmp_path / "run").store
    assert len(store.pending()) == len(store.shards()) and not list((tmp_path / "run/private").rglob("*.tmp"))
    assert run(value, tmp_path / "run").accepted == len(GOOD), "the same command goes on"


def test_memory_is_bounded_by_the_queue_and_not_by_the_dataset(
    tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At no time are more samples prepared and not yet finished than the queues allow."""
    names = tuple(f"images/train/{number:03}.png" for number in range(40))
    value = config_value(write_streets(tmp_path / "source", bad=False, names=names), tiny_sd)
    value |= {"execution": {"shard_size": 40, "workers": 2, "queue": 1}}
    started: list[str] = []
    finished: list[str] = []
    most = 0
    real = prepare.Preparer.prepare

    def counted(self: prepare.Preparer, sample: Sample) -> prepare.Prepared:
        nonlocal most
        started.append(sample.item.id)
        most = max(most, len(started) - len(finished))
        return real(self, sample)

    def on_row(row: Row) -> None:
        finished.append(row.sample_id)

    monkeypatch.setattr(prepare.Preparer, "prepare", counted)
    run(value, tmp_path / "run", on_row)
    assert len(finished) == 40
    assert most <= 4 * 2 + 2, "ahead, in the batch, being finished, with 2 a batch and one for each thread"


def test_a_run_that_runs_out_of_memory_goes_on_with_the_same_seeds_and_says_so(
    finished: Path, run_of: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    from synthgen.generators._batch import Batch
    from synthgen.generators._loop import DenoisingLoop

    real = DenoisingLoop.__call__

    def allocate(self: DenoisingLoop, batch: Batch) -> Any:
        if batch.rows > 1:
            raise MemoryError
        return real(self, batch)

    monkeypatch.setattr(DenoisingLoop, "__call__", allocate)
    found, before = rows(run_of()), rows(finished)
    for name in GOOD:
        row = found[name, 0]
        assert row.verdict == "accepted" and row.message == "out of memory: painted 1 at a time"
        assert (row.seed, row.prompt) == (before[name, 0].seed, before[name, 0].prompt)
        assert not before[name, 0].message


def task(bucket: tuple[int, int], name: str) -> Task:
    image, ids = street(0)
    sample = Sample(Item(name, Path(name)), image, Labels(mask=ids), "")
    prepared = prepare.Prepared(sample, (), ids > 99, bucket, Controls({}, bucket))
    return Task(prepared, Plan(PlanSpec(), 0).recipe(name, 0, 0))


def test_batches_hold_one_bucket_and_retries_come_first() -> None:
    queue = BatchQueue(2)
    wide, tall = (64, 48), (48, 64)
    for bucket, name in [(wide, "a"), (tall, "b"), (tall, "c"), (tall, "d")]:
        queue.add(task(bucket, name))
    queue.add(task(tall, "again"), first=True)

    def names(partial: bool) -> list[str]:
        return [one.recipe.sample_id for one in queue.take(partial)]

    assert names(False) == ["again", "b"]
    assert names(False) == ["c", "d"]
    assert names(False) == []
    assert names(True) == ["a"]
    assert names(True) == []


def test_the_run_is_resolved_before_anything_is_written(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    resolved = resolve(parsed(config_value(street_set, tiny_sd)))
    assert set(resolved.items) == {*GOOD, *BAD} and resolved.outputs == len(GOOD) + len(BAD)
    assert list(tmp_path.iterdir()) == []
    assert np.all([item.image.is_file() for item in resolved.items.values()])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives each thread a priority")
def test_a_worker_gives_way_and_the_generators_thread_keeps_its_claim() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = niceness()
    with ThreadPoolExecutor(1, initializer=give_way) as pool:
        assert pool.submit(niceness).result() == min(19, before + 10)
    assert niceness() == before
