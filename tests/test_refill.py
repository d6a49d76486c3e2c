"""Refilling: the shares hold in what is released, however unevenly checks reject, and after any kill."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from synthgen.launch import resolve
from synthgen.metrics.factors import factor_report
from synthgen.plan import Member, Plan, PlanSpec
from synthgen.refill import plan_round, target_distances
from synthgen.rundir import RunDir
from synthgen.seeds import derive_seed
from synthgen.types import Extra, Recipe, Row
from tests.datasets_for_tests import config_value, parsed, rows, run, tree, write_streets
from tests.processes import command_line, started, two_ranks

FILE = """
template: "a street , {time} , {sky}"
factors:
  time: {day: {text: day}, night: {text: night}}
  sky: {clear: {text: clear}, rain: {text: rain}, fog: {text: fog}}
"""
MEMBERS = [Member(f"{'ab'[n % 2]}/{n:03d}.png", "ab"[n % 2]) for n in range(240)]
MARGINS = ({"factors": ["time"], "shares": {"day": 0.6, "night": 0.4}}, {"factors": ["sky"]})
JOINT = {
    "factors": ["time", "sky"],
    "shares": {"day/clear": 0.4, "day/rain": 0.1, "day/fog": 0.1, "night/clear": 0.2, "night/rain": 0.2},
}
PER_CLASS = {"factors": ["time"], "shares": {"day": 0.6, "night": 0.4}, "per": "class"}


def plan_of(tmp_path: Path, *targets: dict[str, Any], **spec: Any) -> Plan:
    (tmp_path / "p.yaml").write_text(FILE)
    value = {"prompts": str(tmp_path / "p.yaml"), "targets": targets, **spec}
    return Plan(PlanSpec.model_validate(value), 0, MEMBERS)


def chance(recipe: Recipe) -> float:
    return derive_seed(recipe.seed, "", 0, 0) / 2**63


def mostly_not_at_night(recipe: Recipe) -> bool:
    """70 % of the nights are rejected, and 5 % of the rest."""
    return chance(recipe) > (0.7 if recipe.factors["time"] == "night" else 0.05)


def row_of(recipe: Recipe, accept: Callable[[Recipe], bool]) -> Row:
    verdict = "accepted" if accept(recipe) else "quarantined"
    code = "" if verdict == "accepted" else "check-x"
    return Row(recipe.sample_id, recipe.variant, verdict, code, "", "", "", None, 1, 1, 1, recipe.seed, recipe.prompt,
               recipe.factors)  # fmt: skip


def play(
    plan: Plan, keep: bool, accept: Callable[[Recipe], bool], lost: int = 0, order: int | None = None
) -> tuple[list[Row], list[list[Extra]]]:
    """A whole run without images; the first `lost` samples can't be read; `order` shuffles the ledger."""
    found = []
    for member in plan.members:
        for variant in range(plan.spec.variants):
            row = row_of(plan.recipe(member.sample_id, variant, 0), accept)
            found.append(row)
    unread = {member.sample_id for member in plan.members[:lost]}
    bad = [Row(name, 0, "quarantined", "image-corrupt", "", "", "", None, 0, 0, 0, 0, "") for name in sorted(unread)]
    found = [*bad, *(row for row in found if row.sample_id not in unread)]
    rounds: list[list[Extra]] = []
    while True:
        if order is not None:
            random.Random(order).shuffle(found)
        extras = plan_round(plan, found, rounds, keep)
        if not extras:
            return found, rounds
        rounds.append(extras)
        found += [row_of(plan.recipe(extra.sample_id, extra.variant, 0, "", extra), accept) for extra in extras]


@pytest.mark.parametrize("targets", [MARGINS, (JOINT,), (PER_CLASS,), (PER_CLASS, MARGINS[1])], ids=range(4))
@pytest.mark.parametrize("lost", [0, 30])
def test_shares_hold_after_rejection(tmp_path: Path, targets: tuple[dict[str, Any], ...], lost: int) -> None:
    plan = plan_of(tmp_path, *targets)
    found, rounds = play(plan, keep=False, accept=mostly_not_at_night, lost=lost)
    assert rounds and len({(row.sample_id, row.variant) for row in found}) == len(found)
    first = [row for row in found if row.variant == 0]
    before, after = target_distances(plan, first), target_distances(plan, found)
    assert max(before.values()) > 0.1 and max(after.values()) <= 0.02, (before, after)
    assert max(len(extras) for extras in rounds) < 2 * len(MEMBERS)
    classes = {member.sample_id: member.image_class for member in MEMBERS}
    report = factor_report(found, plan.targets, {"class": classes})
    for summary in report.targets:
        assert summary.released == pytest.approx(after[summary.target])


def test_the_ledgers_order_changes_nothing(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, *MARGINS)
    one, other = (play(plan, False, mostly_not_at_night, lost=3, order=order)[1] for order in (None, 7))
    assert one == other


def test_names_keep_tries_rejected_images_again_and_no_other(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, *MARGINS, max_rounds=12)
    found, rounds = play(plan, keep=True, accept=mostly_not_at_night)
    accepted = Counter(row.sample_id for row in found if row.verdict == "accepted")
    assert set(accepted.values()) == {1}, "one released output an image"
    assert max(target_distances(plan, found).values()) <= 0.02
    served = {row.sample_id for row in found if row.verdict == "accepted" and row.variant == 0}
    assert rounds and not served & {extra.sample_id for extra in rounds[0]}


def test_a_level_that_never_passes_ends_the_refilling_and_is_told(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, *MARGINS)
    found, rounds = play(plan, False, lambda recipe: recipe.factors["time"] == "day")
    assert len(rounds) == 1, "a round that brought nothing is not repeated"
    assert target_distances(plan, found)["time"] == pytest.approx(0.4)


@pytest.mark.parametrize("spec", [{"max_rounds": 0}, {"tolerance": 1.0}])
def test_refilling_can_be_switched_off(tmp_path: Path, spec: dict[str, Any]) -> None:
    assert play(plan_of(tmp_path, *MARGINS, **spec), False, mostly_not_at_night)[1] == []


def test_where_no_image_can_be_read_nothing_is_refilled(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, *MARGINS)
    found, rounds = play(plan, False, mostly_not_at_night, lost=len(MEMBERS))
    assert rounds == [] and target_distances(plan, found) == {"time": 1.0, "sky": 1.0}


def test_nothing_is_refilled_where_nothing_is_missing_or_targeted(tmp_path: Path) -> None:
    assert play(plan_of(tmp_path, *MARGINS), False, lambda recipe: True)[1] == []
    assert play(plan_of(tmp_path), False, mostly_not_at_night)[1] == []


REAL = """
template: "a street , {time}"
factors:
  time: {day: {text: day}, night: {text: night, randomize: [{kind: photometric, fog: [0.0, 1.0]}]}}
  blur: {low: 0.2, high: 1.0, drives: {kind: photometric, key: blur}}
"""
"""At night a veil of any density comes over the picture, and the check for contrast rejects the dense ones."""
NAMES = tuple(f"images/train/s{scene}_{frame:02d}.png" for scene in range(4) for frame in range(10))


@pytest.fixture(scope="module")
def hard(tmp_path_factory: pytest.TempPathFactory, tiny_sd: Path) -> dict[str, Any]:
    """A config over 40 images, whose check rejects about half of the nights."""
    root = tmp_path_factory.mktemp("hard")
    (root / "p.yaml").write_text(REAL)
    source = write_streets(root / "source", bad=False, names=NAMES)
    target = {"factors": ["time"], "shares": {"day": 0.5, "night": 0.5}}
    value = config_value(
        source,
        tiny_sd,
        names="pseudonym",
        plan={"prompts": str(root / "p.yaml"), "targets": [target]},
        check=[{"kind": "quality", "min_std": 8, "max_clipped": 1}],
        attempts=1,
        execution={"shard_size": 7},
    )
    value["generate"]["batch_size"] = 4
    return value


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, hard: dict[str, Any]) -> Path:
    """The finished run of `hard`. Read only."""
    out = tmp_path_factory.mktemp("filled") / "run"
    summary = run(hard, out)
    assert summary.targets["time"] <= 0.02
    return out


def times(out: Path, first_round: bool) -> Counter[str]:
    return Counter(
        str(row.factors["time"])
        for row in rows(out).values()
        if row.verdict == "accepted" and not (first_round and row.variant)
    )


def test_a_real_run_releases_the_shares_that_were_asked_for(filled: Path, hard: dict[str, Any]) -> None:
    before, after = times(filled, True), times(filled, False)
    assert before["night"] / before.total() < 0.42, "the check hits one level"
    assert abs(after["night"] / after.total() - 0.5) <= 0.02
    released = [name for name in tree(filled / "release") if name.startswith("images/")]
    assert len(released) == after.total() >= 39
    found = rows(filled)
    measured = [row.scores for row in found.values() if row.verdict == "accepted"]
    assert all(scores["measured:luminance"] is not None for scores in measured)
    report = factor_report(found.values(), resolve(parsed(hard)).plan.targets)
    night, day = ({one.level: one for one in report.levels}[level] for level in ("night", "day"))
    assert night.tried > night.accepted and day.tried == day.accepted
    assert report.targets[0].planned <= 0.01 < 0.05 < report.targets[0].left
    assert report.targets[0].released <= 0.02
    blurred = {one.measured: one.explained for one in report.steering if one.factor == "blur"}
    assert blurred["sharpness"] is not None


def test_a_finished_run_is_left_as_it_is(filled: Path, hard: dict[str, Any]) -> None:
    before = tree(filled)
    assert run(hard, filled).targets["time"] <= 0.02
    assert tree(filled) == before


@pytest.mark.parametrize("when", ["ledger/*.parquet", "round-01.json", "ledger/r01-*.parquet"])
def test_killed_anywhere_it_goes_on_to_the_same_end(
    filled: Path, hard: dict[str, Any], tmp_path: Path, when: str
) -> None:
    """SIGKILL in the first round, when a round of refilling has been planned, and within it."""
    config, out = tmp_path / "c.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(hard))
    with started(command_line, "run", str(config), "--out", str(out)) as process:
        while process.running() and not list((out / "private").glob(when)):
            time.sleep(0.002)
        process.send(signal.SIGKILL)
        process.wait()
    run(hard, out)
    for part in ("ledger", "shards"):
        assert tree(out / "private" / part) == tree(filled / "private" / part)


@pytest.mark.parametrize("execution", [{"shard_size": 100}, {"shard_size": 3, "workers": 3}], ids=str)
def test_the_cut_of_the_work_changes_no_row(
    filled: Path, hard: dict[str, Any], tmp_path: Path, execution: dict[str, int]
) -> None:
    run(hard | {"execution": execution}, tmp_path / "run")
    assert rows(tmp_path / "run") == rows(filled)


def test_two_ranks_refill_like_one(filled: Path, hard: dict[str, Any], tmp_path: Path) -> None:
    import torch

    if torch.cuda.device_count() == 1:
        pytest.skip("two ranks need two GPUs or none")
    config, out = tmp_path / "c.yaml", tmp_path / "run"
    config.write_text(yaml.safe_dump(hard))
    two_ranks("run", str(config), "--out", str(out))
    for part in ("ledger", "shards"):
        assert tree(out / "private" / part) == tree(filled / "private" / part)


def test_names_kept_refills_in_place(hard: dict[str, Any], tmp_path: Path) -> None:
    plan = hard["plan"] | {"max_rounds": 12}
    summary = run(hard | {"names": "keep", "plan": plan}, tmp_path / "run")
    accepted = Counter(row.sample_id for row in RunDir(tmp_path / "run").store.rows() if row.verdict == "accepted")
    assert set(accepted.values()) == {1} and summary.targets["time"] <= 0.02
    released = {name for name in tree(tmp_path / "run/release") if name.startswith("images/")}
    assert released == set(accepted)
