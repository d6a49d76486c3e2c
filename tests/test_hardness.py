"""Hard masks get more outputs: the formula by hand, the deal, quotas that still hold, and a run that did it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from synthgen.hardness import HardnessSpec, class_hardness, count_pixels, deal_by_rank, mask_hardness, rank_members
from synthgen.launch import resolve
from synthgen.plan import Member, Plan, PlanSpec
from synthgen.refill import target_distances
from synthgen.status import run_status
from synthgen.types import ClassInfo, ConfigError, Row
from tests.datasets_for_tests import GOOD, config_value, parsed, rows, run, write_streets

CLASSES = (ClassInfo(4, "Road"), ClassInfo(2, "Sign"), ClassInfo(0, "Cow"), ClassInfo(9, "Void", ignore=True))
EASY = np.full((4, 4), 4, np.int32)
MIXED = np.array([[4, 4, 2, 2]] * 3 + [[9] * 4], np.int32)
VOID = np.full((4, 4), 9, np.int32)
PIXELS = {name: count_pixels(ids, CLASSES) for name, ids in (("easy", EASY), ("mixed", MIXED), ("void", VOID))}


def test_hardness_by_hand() -> None:
    assert PIXELS["mixed"].tolist() == [6, 6, 0, 0] and PIXELS["void"].tolist() == [0, 0, 0, 0]
    table = np.stack(list(PIXELS.values()))
    hardness = class_hardness(table, CLASSES, {})
    assert hardness == pytest.approx([-np.log(22 / 28), -np.log(6 / 28), 0, 0])
    assert mask_hardness(table, hardness) == pytest.approx([hardness[0], hardness[:2].mean(), 0])
    given = class_hardness(table, CLASSES, {"Road": 3.0, "Sign": 1.0})
    assert mask_hardness(table, given).tolist() == [3.0, 2.0, 0.0], "a model's losses may say otherwise"
    with pytest.raises(ConfigError, match="'Lorry'"):
        class_hardness(table, CLASSES, {"Lorry": 1.0})


def test_the_deal_is_linear_in_the_rank_and_knows_no_order() -> None:
    hardness = {f"{place:03d}": float(place % 50) for place in range(100)}
    dealt = deal_by_rank(hardness, 3)
    assert Counter(dealt.values()) == {0: 17, 1: 33, 2: 33, 3: 17}
    assert dealt["049"] == dealt["099"] == 3 and dealt["000"] == dealt["050"] == 0
    assert all(dealt[a] <= dealt[b] for a in hardness for b in hardness if hardness[a] < hardness[b])
    assert deal_by_rank(dict(reversed(hardness.items())), 3) == dealt
    assert deal_by_rank({"only": 1.0}, 2) == {"only": 0}


def test_what_can_not_be_ranked_is_refused_or_gets_nothing() -> None:
    members = [Member("easy"), Member("mixed"), Member("unread")]
    ranked = rank_members(members, PIXELS, CLASSES, HardnessSpec(cap=3), 1)
    assert [(one.further, one.hardness is None) for one in ranked] == [(1, False), (2, False), (0, True)]
    with pytest.raises(ConfigError, match="outlines"):
        rank_members(members, {}, CLASSES, HardnessSpec(cap=3), 1)
    with pytest.raises(ConfigError, match="cap"):
        rank_members(members, PIXELS, CLASSES, HardnessSpec(cap=2), 2)
    with pytest.raises(ValueError, match="from 0"):
        HardnessSpec(cap=2, classes={"Road": -1.0})


def test_targets_hold_over_all_outputs(tmp_path: Path) -> None:
    file = tmp_path / "prompts.yaml"
    file.write_text("template: a {time} street\nfactors:\n  time: {day: {text: day}, night: {text: night}}\n")
    members = [Member(f"{place:03d}.png", further=place % 4) for place in range(100)]
    target = {"factors": ["time"], "shares": {"day": 0.7, "night": 0.3}}
    plan = Plan(PlanSpec.model_validate({"prompts": str(file), "targets": [target]}), 0, members)
    assert plan.first_round == 100 + 150 and plan.variants_of("003.png") == 4
    recipes = [plan.recipe(one.sample_id, v, 0) for one in members for v in range(1 + one.further)]
    assert Counter(recipe.factors["time"] for recipe in recipes) == {"day": 175, "night": 75}
    done = [
        Row(r.sample_id, r.variant, "accepted", "", "", "", "", None, 1, 1, 1, r.seed, r.prompt, r.factors)
        for r in recipes
    ]
    assert max(target_distances(plan, done).values()) < 1e-9


def test_a_run_makes_more_of_hard_masks_and_says_so(tmp_path: Path, tiny_sd: Path) -> None:
    source = write_streets(tmp_path / "source", bad=False)
    value = config_value(source, tiny_sd, names="pseudonym", plan={"hardness": {"cap": 3}})
    with pytest.raises(ConfigError, match="names: keep"):
        parsed(value | {"names": "keep"})
    planned = resolve(parsed(value)).plan
    run(value, tmp_path / "run")
    found = rows(tmp_path / "run")
    made = Counter(name for name, _ in found)
    assert made == {name: planned.variants_of(name) for name in made} and set(made.values()) == {1, 2, 3}
    assert len(found) == planned.first_round == run_status(tmp_path / "run")["outputs"] > len(GOOD)
    hardness = {name: row.scores["plan:hardness"] for (name, _), row in found.items()}
    assert max(hardness, key=lambda name: hardness[name] or 0.0) == max(made, key=lambda name: (made[name], name))
