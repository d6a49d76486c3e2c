"""Stages: what a check rejects is tried again more strongly, the ledger says where it ended, and no rank matters."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from synthgen.checks.base import CheckRun, Learned
from synthgen.checks.quality import QualityCheck
from synthgen.config import dump_config, parse_config
from synthgen.generators.base import Size
from synthgen.generators.sd import StableDiffusion
from synthgen.inspect import describe
from synthgen.launch import resolve
from synthgen.prepare import Preparer
from synthgen.report.contact_sheet import draw_contact_sheet
from synthgen.rundir import RunDir
from synthgen.status import run_status
from synthgen.types import BadSample, ConfigError, Controls, Generated, Image, Recipe, Row, Sample, Score
from tests.datasets_for_tests import GOOD, config_value, open_image, parsed, people_value, rows, run, tree
from tests.processes import two_ranks

STAGES = [
    {"name": "mild"},
    {"name": "wide", "strength": "strong", "dilate": 0.3},
    {"strength": "strict", "dilate": 0.5, "scale": {"canny": 0.5}},
]
Runner = Callable[..., Path]
Verdict = Callable[[Generated], bool | None]


@pytest.fixture
def run_of(street_set: Path, tiny_sd: Path, tmp_path: Path) -> Runner:
    """Run the street dataset in three stages with some keys changed; the run's folder."""

    def start(name: str = "run", **changes: Any) -> Path:
        value = config_value(street_set, tiny_sd) | {"stages": STAGES, "attempts": 2} | changes
        run(value, tmp_path / name)
        return tmp_path / name

    return start


def judge_by(monkeypatch: pytest.MonkeyPatch, verdict: Verdict, escalates: bool = False) -> None:
    """Let `verdict` decide in place of the quality check."""

    def load(self: QualityCheck, device: str, learned: Learned) -> CheckRun:
        return lambda candidate: Score("quality", 1.0, verdict(candidate.generated), "because")

    monkeypatch.setattr(QualityCheck, "load", load)
    monkeypatch.setattr(QualityCheck, "escalates", escalates)


def redaction(source: Path, sd: Path, **changes: Any) -> dict[str, Any]:
    stages = [
        {"name": "blurred", "protect": [{"kind": "blur", "sigma": 2}]},
        {"name": "shuffled", "protect": [{"kind": "tiles", "size": 4}]},
        {"name": "masked", "protect": ["solid"], "dilate": 0.3},
    ]
    return config_value(source, sd, generate={"kind": "none"}, extract=[], protect=[], stages=stages) | changes


# ---- the config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stages": [{"strength": "weak"}]}, "stages.0.strength"),
        ({"strength": "utmost"}, "strength"),
        ({"stages": [{"dilate": -1}]}, "stages.0.dilate"),
        ({"stages": [{"bogus": 1}]}, "stages.0.bogus: unknown key"),
        ({"stages": [{"scale": {"canny": 1.5}}]}, "stages.0.scale.canny"),
        ({"stages": [{"scale": {"depth": 0.5}}]}, "['depth']; generate reads ['canny', 'segmentation']"),
        ({"stages": [{"strength": "strict"}, {"strength": "light"}]}, "stage 2 has strength light after strict"),
        ({"stages": [{"dilate": 0.5}, {"name": "b"}]}, "stage 2 (b) has dilate 0.15 after 0.5"),
        ({"stages": [{}] * 17}, "stages"),
        ({"stages": {"strength": "strict"}}, "stages"),
        ({"mode": "people", "protect": ["canvas"], "stages": [{}, {"protect": ["edges"]}]}, "stage 2: mode: people"),
        ({"generate": {"kind": "none"}, "extract": []}, "classic method"),
        ({"generate": {"kind": "none"}, "extract": [], "protect": ["blur", "edges"]}, "['edges'] act on control maps"),
        ({"generate": {"kind": "none"}, "protect": ["blur"]}, "extract empty"),
        ({"generate": {"kind": "none"}, "extract": [], "protect": ["blur"], "detect": []}, "region: all"),
        (
            {"generate": {"kind": "none"}, "extract": [], "protect": ["blur"], "plan": {"variants": 2}}
            | {"names": "pseudonym"},
            "plan.variants must be 1",
        ),
        ({"generate": {"kind": "none", "sizes": [[64, 64]]}, "extract": [], "protect": ["blur"]}, "sizes"),
        (
            {"generate": {"kind": "none"}, "extract": [], "stages": [{"protect": ["blur"]}, {}]},
            "stage 2: generate: none",
        ),
    ],
)  # fmt: skip
def test_configs_that_are_refused(street_set: Path, tiny_sd: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(config_value(street_set, tiny_sd) | changes)
    assert words in str(raised.value)


def test_a_stage_has_the_runs_values_where_it_names_none(street_set: Path, tiny_sd: Path) -> None:
    config = parsed(config_value(street_set, tiny_sd, stages=STAGES, strength="light", dilate=0.2))
    found = [(stage.number, stage.title, stage.strength, stage.dilate) for stage in config.resolved_stages]
    assert found == [(1, "1 (mild)", "light", 0.2), (2, "2 (wide)", "strong", 0.3), (3, "3", "strict", 0.5)]
    assert {stage.protect for stage in config.resolved_stages} == {config.protect}
    assert parse_config(yaml.safe_load(dump_config(config)), "again") == config


def test_without_stages_the_run_is_the_one_stage(street_set: Path, tiny_sd: Path) -> None:
    config = parsed(config_value(street_set, tiny_sd))
    (stage,) = config.resolved_stages
    assert (stage.number, stage.strength, stage.dilate, stage.scale) == (1, "standard", 0.15, {})


def test_the_run_id_covers_them(street_set: Path, tiny_sd: Path) -> None:
    def id_of(**changes: Any) -> str:
        return resolve(parsed(config_value(street_set, tiny_sd) | changes)).run_id

    other = [{"name": "mild"}, {"name": "wide", "protect": ["edges"]}]
    variants = [{}, {"stages": STAGES}, {"stages": STAGES[:2]}, {"stages": other}, {"strength": "strong"}]
    assert len({id_of(**changes) for changes in variants}) == len(variants)
    assert id_of(stages=STAGES) == id_of(stages=STAGES)


# ---- escalation


@pytest.mark.parametrize("good", [0, 1, 2, 3, 4, 5, None])
def test_tries_go_through_the_stages(run_of: Runner, monkeypatch: pytest.MonkeyPatch, good: int | None) -> None:
    """Two attempts in each of three stages; the `good`-th passes, or none."""
    judge_by(monkeypatch, lambda generated: generated.recipe.attempt == good)
    out = run_of()
    found = [row for (name, _), row in rows(out).items() if name in GOOD]
    if good is None:
        assert {(row.verdict, row.code, row.stage, row.attempts) for row in found} == {
            ("quarantined", "check-quality", 3, 6)
        }
        assert not [name for name in tree(out / "release") if name in GOOD]
    else:
        assert {(row.verdict, row.stage, row.attempts) for row in found} == {("accepted", good // 2 + 1, good + 1)}


def test_an_identity_goes_to_the_next_stage_at_once(run_of: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 in each stage but the last, where there is nowhere to go: two seeds, as `attempts` says."""
    judge_by(monkeypatch, lambda generated: None, escalates=True)
    found = [row for (name, _), row in rows(run_of()).items() if name in GOOD]
    assert {(row.stage, row.attempts, row.code) for row in found} == {(3, 4, "check-quality")}


def test_what_could_not_be_read_has_no_stage(run_of: Runner) -> None:
    assert {row.stage for (name, _), row in rows(run_of()).items() if name not in GOOD} == {0}


def by_sample(generated: Generated) -> bool:
    """The i-th image passes at its i-th attempt, so one run has outputs of every stage and rejected ones."""
    return generated.recipe.attempt == GOOD.index(generated.recipe.sample_id)


@pytest.fixture
def mixed(run_of: Runner, monkeypatch: pytest.MonkeyPatch) -> Path:
    judge_by(monkeypatch, by_sample)
    return run_of("mixed")


def test_each_image_goes_its_own_way(mixed: Path, street_set: Path) -> None:
    found = rows(mixed)
    assert [found[name, 0].stage for name in GOOD] == [1, 1, 2, 2, 3, 3, 3]
    assert [found[name, 0].verdict for name in GOOD] == ["accepted"] * 6 + ["quarantined"]
    assert [found[name, 0].attempts for name in GOOD] == [1, 2, 3, 4, 5, 6, 6]
    status = run_status(mixed)
    assert status["stages"] == {"1 (mild)": 2, "2 (wide)": 2, "3": 2} and status["accepted"] == 6
    assert draw_contact_sheet(mixed, False, 6, None).stat().st_size > 0


def test_maps_are_kept_for_every_stage_that_was_tried(mixed: Path, street_set: Path, tiny_sd: Path) -> None:
    tables = [pq.read_table(path).to_pylist() for path in sorted((mixed / "private/controls").glob("*.parquet"))]
    kept = [(row["sample_id"], row["kind"], row["stage"]) for table in tables for row in table]
    stages = {name: row.stage for (name, _), row in rows(mixed).items() if name in GOOD}
    wanted = {
        (n, kind, s) for n, last in stages.items() for s in range(1, last + 1) for kind in ("canny", "segmentation")
    }
    assert len(kept) == len(set(kept)) and set(kept) == wanted
    png = {(row["sample_id"], row["kind"], row["stage"]): row["image"] for table in tables for row in table}
    assert len({png[GOOD[5], "canny", stage] for stage in (1, 2, 3)}) == 3


@pytest.mark.parametrize(
    "execution",
    [{"shard_size": 1}, {"shard_size": 100, "workers": 4, "queue": 4}, {"shard_size": 3, "workers": 1, "queue": 1}],
    ids=str,
)
def test_how_the_work_is_done_changes_no_byte(mixed: Path, run_of: Runner, execution: dict[str, int]) -> None:
    out = run_of(execution=execution)
    assert tree(out / "release") == tree(mixed / "release")
    assert rows(out) == rows(mixed)


def test_the_same_shards_have_the_same_maps_in_the_same_order(mixed: Path, run_of: Runner) -> None:
    out = run_of(execution={"shard_size": 3, "workers": 4, "queue": 3})
    assert tree(RunDir(out).store.controls) == tree(RunDir(mixed).store.controls)


def test_stopped_half_way_it_goes_on_to_the_same_bytes(
    mixed: Path, street_set: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    class Stop(Exception):
        pass

    seen: list[Row] = []

    def stop(row: Row) -> None:
        seen.append(row)
        if len(seen) == 5:
            raise Stop

    value = config_value(street_set, tiny_sd) | {"stages": STAGES, "attempts": 2}
    with pytest.raises(Stop):
        run(value, tmp_path / "again", stop)
    assert RunDir(tmp_path / "again").store.pending()
    run(value, tmp_path / "again")
    assert tree(tmp_path / "again/release") == tree(mixed / "release")
    assert rows(tmp_path / "again") == rows(mixed)


def test_two_ranks_give_the_bytes_of_one(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    """With a threshold that some outputs of the tiny model miss, so that stages are really gone through."""
    import torch

    if torch.cuda.device_count() == 1:
        pytest.skip("two ranks need two GPUs or none")
    value = config_value(street_set, tiny_sd) | {"stages": STAGES, "attempts": 1}
    run(value, tmp_path / "loose")
    scores = [row.scores["quality"] for row in rows(tmp_path / "loose").values() if row.verdict == "accepted"]
    value["check"] = [
        {"kind": "quality", "min_std": float(np.median([one for one in scores if one is not None])) + 0.01}
    ]
    run(value, tmp_path / "one")
    assert {row.stage for row in rows(tmp_path / "one").values()} > {1, 3} or {
        row.stage for row in rows(tmp_path / "one").values()
    } >= {1, 2}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(value))
    two_ranks("run", str(tmp_path / "c.yaml"), "--out", str(tmp_path / "two"))
    assert tree(tmp_path / "two/release") == tree(tmp_path / "one/release")
    assert tree(tmp_path / "two/private/ledger") == tree(tmp_path / "one/private/ledger")


def test_variants_have_stages_of_their_own(run_of: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    judge_by(monkeypatch, lambda generated: generated.recipe.attempt >= 2 * generated.recipe.variant)
    found = rows(run_of(names="pseudonym", plan={"prompts": "street", "variants": 2}))
    assert {(variant, row.stage) for (name, variant), row in found.items() if name in GOOD} == {(0, 1), (1, 2)}


def test_a_sample_that_a_later_stage_cannot_take_is_quarantined(
    run_of: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Preparer, prepared: Any) -> None:
        raise BadSample("canvas-not-protected", "no")

    judge_by(monkeypatch, lambda generated: False)
    monkeypatch.setattr(Preparer, "next_stage", fail)
    found = rows(run_of())
    assert {found[name, 0].code for name in GOOD} == {"canvas-not-protected"}


def test_scale_reaches_the_generator_times_that_of_the_level(
    street_set: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[int, set[tuple[tuple[str, float], ...]]] = {}

    def load(self: object, device: str) -> Callable[..., list[Image]]:
        def write_down(size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]) -> list[Image]:
            assert len({tuple(sorted(recipe.control.items())) for recipe in recipes}) == 1, "one scale a batch"
            for recipe in recipes:
                seen.setdefault(recipe.attempt, set()).add(tuple(sorted(recipe.control.items())))
            return [np.full((size[1], size[0], 3), 90, np.uint8) for _ in controls]

        return write_down

    prompts = tmp_path / "prompts.yaml"
    prompts.write_text("template: '{time}'\nfactors: {time: {night: {text: night, control: {canny: 0.8}}}}\n")
    monkeypatch.setattr(StableDiffusion, "load", load)
    judge_by(monkeypatch, lambda generated: False)
    stages = [{}, {"scale": {"canny": 0.5, "segmentation": 0.25}}]
    value = config_value(street_set, tiny_sd, stages=stages, attempts=1, plan={"prompts": str(prompts)})
    run(value, tmp_path / "run")
    assert seen == {0: {(("canny", 0.8),)}, 1: {(("canny", 0.4), ("segmentation", 0.25))}}


@pytest.mark.parametrize("make", [config_value, people_value], ids=["scene", "people"])
def test_later_stages_take_more_away(make: Callable[..., dict[str, Any]], street_set: Path, tiny_sd: Path) -> None:
    config = parsed(make(street_set, tiny_sd) | {"stages": STAGES})
    preparer = Preparer(config, config.source, "cpu")
    prepared = preparer.prepare(config.source.read(next(i for i in config.source.index().items if i.id == GOOD[1])))
    holes, edges = [], []
    while prepared is not None:
        holes.append(prepared.hole)
        edges.append(int(np.count_nonzero(prepared.controls.maps["canny"].image)))
        assert prepared.stage == len(holes)
        prepared = preparer.next_stage(prepared)
    assert len(holes) == 3 and not (holes[0] & ~holes[1]).any() and not (holes[1] & ~holes[2]).any()
    assert edges[0] >= edges[1] > edges[2] == 0


def test_check_tells_the_stages(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump(config_value(street_set, tiny_sd, stages=STAGES, attempts=2)))
    told = describe(path, None, [], False)
    assert told["stages"] == [
        "1 (mild): edges, silhouette; strength standard, dilate 0.15",
        "2 (wide): edges, silhouette; strength strong, dilate 0.3",
        "3: edges, silhouette; strength strict, dilate 0.5, canny × 0.5",
    ]
    assert "2 attempts an output in each of 3 stages" in told["cost"]


# ---- redaction in stages


def test_a_redaction_goes_on_to_the_next_method(
    street_set: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`attempts` does not count here: another seed of a blur is the same blur."""
    wanted = {name: place % 4 for place, name in enumerate(GOOD)}
    judge_by(monkeypatch, lambda generated: generated.recipe.attempt == wanted[generated.recipe.sample_id])
    out = tmp_path / "run"
    summary = run(redaction(street_set, tiny_sd, attempts=5), out)
    found = rows(out)
    assert [found[name, 0].stage for name in GOOD] == [min(wanted[name] + 1, 3) for name in GOOD]
    assert summary.stages == {"1 (blurred)": 2, "2 (shuffled)": 2, "3 (masked)": 2}
    assert summary.quarantined["check-quality"] == 1 and GOOD[3] not in tree(out / "release")
    black = (open_image(out / "release" / GOOD[6]) == 0).all(axis=2).mean()
    assert black > 0.02
    assert draw_contact_sheet(out, False, 6, None).stat().st_size > 0
    again = tmp_path / "again"
    run(redaction(street_set, tiny_sd, attempts=5, execution={"shard_size": 1, "workers": 4}), again)
    assert tree(again / "release") == tree(out / "release") and rows(again) == found


def test_where_nobody_is_found_the_source_is_released_only_on_request(
    street_set: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    nobody = {"detect": [{"kind": "labels", "classes": []}]}
    summary = run(redaction(street_set, tiny_sd, **nobody), tmp_path / "kept")
    assert summary.accepted == 0 and summary.quarantined["no-region"] == len(GOOD)
    assert run(redaction(street_set, tiny_sd, no_region="release", **nobody), tmp_path / "out").accepted == len(GOOD)
    whole = {"protect": [{"kind": "pixelate", "region": "all"}], "stages": [], **nobody}
    assert run(redaction(street_set, tiny_sd, **whole), tmp_path / "whole").accepted == len(GOOD)


def test_methods_that_move_pixels_leave_labelled_pictures_in_place(street_set: Path, tiny_sd: Path) -> None:
    value = redaction(street_set, tiny_sd, stages=[], protect=[{"kind": "warp", "region": "all"}])
    with pytest.raises(ConfigError, match="warp moves what the labels"):
        resolve(parsed(value))
    resolve(parsed(redaction(street_set, tiny_sd, stages=[], protect=["warp"])))


def test_memory_is_bounded_without_a_generator_too(
    street_set: Path, tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finishing is slow: preparing has to wait for it."""
    import time

    started: list[str] = []
    finished: list[str] = []
    most = 0
    real = Preparer.prepare

    def counted(self: Preparer, sample: Sample) -> Any:
        nonlocal most
        started.append(sample.item.id)
        most = max(most, len(started) - len(finished))
        return real(self, sample)

    def slow(generated: Generated) -> bool:
        time.sleep(0.02)
        finished.append(hashlib.sha256(generated.image.tobytes()).hexdigest())
        return True

    from tests.datasets_for_tests import write_streets

    names = tuple(f"images/train/{number:03}.png" for number in range(30))
    source = write_streets(tmp_path / "source", bad=False, names=names)
    judge_by(monkeypatch, slow)
    monkeypatch.setattr(Preparer, "prepare", counted)
    run(redaction(source, tiny_sd, execution={"shard_size": 30, "workers": 2, "queue": 1}), tmp_path / "run")
    assert len(finished) == 30 and most <= 8
