"""Targets: quotas that are met exactly, in every scene and class, in any order; and files that cannot be used."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthgen.factors import PROMPTS
from synthgen.inspect import describe
from synthgen.launch import resolve
from synthgen.pipeline import BatchQueue
from synthgen.plan import Member, Plan, PlanSpec, tidy
from synthgen.targets import scene_of
from synthgen.types import ConfigError
from tests.datasets_for_tests import DOCUMENTS, GOOD, config_value, parsed, run, tree, write_streets
from tests.test_pipeline import task

FILE = """
template: "a street , {time} , {sky} , {objects}"
factors:
  time: {day: {text: day, share: 3}, night: {text: night, control: {canny: 0.5}}}
  sky: {clear: {text: clear}, rain: {text: rain, control: {canny: 0.5, depth: 0}}, fog: {text: fog}}
  haze: {low: 0, high: 2, bands: [{upto: 1, text: ""}, {upto: 2, text: haze}]}
  blur: {low: 0.5, high: 3, drives: {kind: photometric, key: blur}}
"""
MEMBERS = [Member(f"train/s{scene:02d}_{frame:03d}.png", "ab"[scene % 2]) for scene in range(8) for frame in range(25)]
TIME = {"factors": ["time"], "shares": {"day": 0.7, "night": 0.3}}


def plan_of(tmp_path: Path, *targets: dict[str, Any], members: list[Member] = MEMBERS, **spec: Any) -> Plan:
    path = tmp_path / "prompts.yaml"
    path.write_text(spec.pop("text", FILE))
    seed = spec.pop("seed", 0)
    return Plan(PlanSpec.model_validate({"prompts": str(path), "targets": targets, **spec}), seed, members)


def count(plan: Plan, *names: str, where: str = "", variants: int = 1) -> Counter[tuple[str, ...]]:
    recipes = [plan.recipe(member.sample_id, v, 0) for member in plan.members for v in range(variants)]
    chosen = [recipe for recipe in recipes if where in recipe.sample_id]
    return Counter(tuple(str(recipe.factors[name]) for name in names) for recipe in chosen)


@pytest.mark.parametrize("size", [1, 3, 10, 57, 200])
@pytest.mark.parametrize("variants", [1, 3])
def test_a_margin_is_met_exactly(tmp_path: Path, size: int, variants: int) -> None:
    plan = plan_of(tmp_path, TIME, members=MEMBERS[:size], variants=variants)
    days = count(plan, "time", variants=variants)[("day",)]
    assert abs(days - 0.7 * size * variants) <= 0.5


def test_every_scene_has_its_part(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, TIME)
    for scene in range(8):
        days = count(plan, "time", where=f"s{scene:02d}_")[("day",)]
        assert abs(days - 17.5) <= 2.5, "drawn one by one, a scene would be off by 2.3 on average and by 6 at times"


def test_joint_and_marginal_targets_together(tmp_path: Path) -> None:
    joint = {"factors": ["sky", "time"], "shares": {"rain/day": 0.1, "clear/day": 0.6, "fog/night": 0.3}}
    found = count(plan_of(tmp_path, joint, TIME), "time", "sky")
    assert found == {("day", "rain"): 20, ("day", "clear"): 120, ("night", "fog"): 60}


def test_separate_targets_are_filled_independently(tmp_path: Path) -> None:
    found = count(plan_of(tmp_path, TIME, {"factors": ["sky"]}), "time", "sky")
    assert all(abs(n - 200 / 3 * (0.7 if time == "day" else 0.3)) <= 1.5 for (time, _), n in found.items())
    assert len(found) == 6


def test_shares_of_the_file_where_none_are_given(tmp_path: Path) -> None:
    assert count(plan_of(tmp_path, {"factors": ["time"]}), "time") == {("day",): 150, ("night",): 50}


def test_per_class(tmp_path: Path) -> None:
    members = [
        Member(f"{name}/{number}.png", name) for name, size in (("cat", 10), ("dog", 37)) for number in range(size)
    ]
    plan = plan_of(tmp_path, TIME | {"per": "class"}, members=members)
    assert count(plan, "time", where="cat/")[("day",)] == 7
    assert count(plan, "time", where="dog/")[("day",)] == 26


def test_any_order_of_the_members_gives_the_same_plan(tmp_path: Path) -> None:
    shuffled = MEMBERS.copy()
    random.Random(3).shuffle(shuffled)
    one, other = (plan_of(tmp_path, TIME, {"factors": ["sky"]}, members=members) for members in (MEMBERS, shuffled))
    assert [one.recipe(m.sample_id, 0, 0) for m in MEMBERS] == [other.recipe(m.sample_id, 0, 0) for m in MEMBERS]
    reseeded = plan_of(tmp_path, TIME, {"factors": ["sky"]}, seed=1)
    assert [one.recipe(m.sample_id, 0, 0).factors for m in MEMBERS] != [
        reseeded.recipe(m.sample_id, 0, 0).factors for m in MEMBERS
    ]


def test_what_no_target_names_is_drawn_as_before(tmp_path: Path) -> None:
    free, bound = plan_of(tmp_path), plan_of(tmp_path, TIME)
    for member in MEMBERS[:30]:
        before, after = free.recipe(member.sample_id, 0, 0), bound.recipe(member.sample_id, 0, 0)
        assert before.factors["sky"] == after.factors["sky"] and before.seed == after.seed


def test_continuous_factors_are_spread_evenly(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    points = np.array([[float(r.factors[n]) for n in ("haze", "blur")] for r in recipes(plan)])
    assert points[:, 0].min() >= 0 and points[:, 0].max() < 2 and points[:, 1].min() >= 0.5
    for axis, (low, high) in enumerate([(0, 2), (0.5, 3)]):
        bins = np.bincount(((points[:, axis] - low) / (high - low) * 8).astype(int), minlength=8)
        assert bins.min() >= 23 and bins.max() <= 27, "25 each; independent draws would be off by 5 and more"
    hazy = [recipe for recipe in recipes(plan) if "haze" in recipe.prompt]
    assert not hazy, "the template has no field for it"
    fixed = plan_of(tmp_path, fix={"haze": 1.5})
    assert {recipe.factors["haze"] for recipe in recipes(fixed)} == {1.5}


def recipes(plan: Plan) -> list[Any]:
    return [plan.recipe(member.sample_id, 0, 0) for member in plan.members]


def test_levels_act_on_controls_and_randomizers(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, fix={"time": "night", "sky": "rain", "blur": 2.0})
    recipe = plan.recipe(MEMBERS[0].sample_id, 0, 0)
    assert recipe.control == {"canny": 0.25, "depth": 0.0}
    (spec,) = plan.randomizers(recipe)
    assert spec.kind == "photometric" and spec.blur == (2.0, 2.0)  # type: ignore[attr-defined]
    assert (
        plan.again(recipe).control == recipe.control
        and plan.again(recipe).seed == plan.recipe(MEMBERS[0].sample_id, 0, 1).seed
    )


def test_objects_fill_the_template_and_leave_no_gap(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, fix={"time": "day", "sky": "fog"})
    name = MEMBERS[0].sample_id
    assert plan.recipe(name, 0, 0, "two cars, a person").prompt == "a street , day , fog , two cars, a person"
    assert plan.recipe(name, 0, 0, "").prompt == "a street , day , fog"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a , b", "a , b"),
        ("a ,  , b", "a , b"),
        ("a , b , a", "a , b"),
        ("a  b,c ", "a b,c"),
        ("", ""),
        (" , ", ""),
    ],
)
def test_tidy(prompt: str, expected: str) -> None:
    assert tidy(prompt) == expected


@pytest.mark.parametrize(
    ("sample_id", "pattern", "expected"),
    [
        ("images/train/0001TP_006690.jpg", None, "images/train/0001TP"),
        ("a/Seq05VD_f00330.png", None, "a/Seq05VD_f"),
        ("cat/12.jpg", None, "cat"),
        ("portrait.jpg", None, "portrait"),
        ("images/day3_0001.jpg", r"(day\d)", "day3"),
        ("images/other.jpg", r"(day\d)", "images/other.jpg"),
    ],
)
def test_scene_of(sample_id: str, pattern: str | None, expected: str) -> None:
    assert scene_of(sample_id, pattern) == expected


@pytest.mark.parametrize(
    ("targets", "spec", "words"),
    [
        ([{"factors": ["weather"]}], {}, ["plan.targets.0", "weather", "time"]),
        ([{"factors": ["haze"]}], {}, ["haze", "levels"]),
        ([{"factors": ["time"], "shares": {"noon": 1}}], {}, ["plan.targets.0.shares", "noon", "night"]),
        ([{"factors": ["time", "sky"], "shares": {"day": 1}}], {}, ["time/sky", "day/rain"]),
        ([TIME], {"fix": {"time": "day"}}, ["plan.fix", "time"]),
        ([TIME, TIME], {}, ["time", "twice"]),
        ([TIME, {"factors": ["time", "sky"], "shares": {"day/fog": 0.5, "night/fog": 0.5}}], {}, ["joint", "agree"]),
        ([], {"fix": {"haze": 7}}, ["plan.fix.haze", "0.0..2.0"]),
        ([], {"factors": ["nowhere"]}, ["plan.factors", "nowhere", "season"]),
        ([], {"text": FILE.replace("canny", "cany")}, ["cany", "canny"]),
        ([], {"text": FILE.replace("upto: 2", "upto: 1.5")}, ["bands", "2"]),
        ([], {"text": FILE.replace("key: blur", "key: blurr")}, ["blurr"]),
        ([], {"text": FILE.replace("  sky:", "  objects:").replace("{sky}", "")}, ["objects"]),
        ([], {"text": "use: [sky]\n" + FILE}, ["use", "sky", "season"]),
        ([], {"text": "use: season\n" + FILE}, ["use", "season"]),
        ([], {"text": "use: [time]\n" + FILE}, ["time", "rename"]),
    ],
    ids=range(16),
)
def test_what_cannot_be_filled_stops_the_run(
    tmp_path: Path, targets: list[dict[str, Any]], spec: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigError) as raised:
        plan_of(tmp_path, *targets, **spec)
    assert all(word in str(raised.value) for word in words), raised.value


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        ({"targets": [{"factors": ["time"], "shares": {"day": 0.5}}]}, ["plan.targets.0", "add up to 0.5"]),
        ({"targets": [{"factors": ["time", "time"]}]}, ["once"]),
        ({"targets": [{"factors": []}]}, ["plan.targets.0.factors"]),
        ({"targets": [{"factors": ["time"], "per": "image"}]}, ["plan.targets.0.per"]),
        ({"targets": [{"factors": ["time"], "per": "class"}]}, ["per: class", "class folders"]),
        ({"scene": "["}, ["plan.scene"]),
        ({"scene": "abc"}, ["plan.scene", "group"]),
    ],
    ids=range(7),
)
def test_config_errors_of_the_plan(tiny_sd: Path, tmp_path: Path, plan: dict[str, Any], words: list[str]) -> None:
    source = write_streets(tmp_path / "source", bad=False, names=GOOD[:2])
    with pytest.raises(ConfigError) as raised:
        resolve(parsed(config_value(source, tiny_sd, plan={"prompts": "street", **plan})))
    assert all(word in str(raised.value) for word in words), raised.value


@pytest.mark.parametrize("path", sorted((PROMPTS / "factors").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_factor_file_can_be_added_to_any_prompts(path: Path) -> None:
    plan = Plan(PlanSpec(prompts="plain", factors=(path.stem,)), 0, MEMBERS)
    found = [plan.recipe(member.sample_id, 0, 0) for member in MEMBERS]
    assert {path.stem} == set(found[0].factors) and len({str(recipe.factors) for recipe in found}) > 1
    for recipe in found:
        assert recipe.prompt.startswith("a photo") and "{" not in recipe.prompt
        assert all(spec.kind for spec in plan.randomizers(recipe))


def test_batches_share_their_control_scales() -> None:
    queue = BatchQueue(2)
    names = ["a", "b", "c", "d"]
    for name, scale in zip(names, (1.0, 0.5, 0.5, 1.0), strict=True):
        one = task((64, 48), name)
        recipe = type(one.recipe)(**(vars(one.recipe) | {"control": {"canny": scale}}))
        queue.add(type(one)(one.prepared, recipe))
    assert [[one.recipe.sample_id for one in queue.take(False)] for _ in range(3)] == [["a", "d"], ["b", "c"], []]


def test_geometry_is_refused_where_labels_have_places(tiny_sd: Path, tmp_path: Path) -> None:
    source = write_streets(tmp_path / "source", bad=False, names=GOOD[:2])
    value = config_value(source, tiny_sd, randomize=[{"kind": "geometry", "flip": 0.5}])
    with pytest.raises(ConfigError, match="geometry moves what the labels"):
        resolve(parsed(value))
    resolve(parsed(config_value(source, tiny_sd, randomize=[{"kind": "photometric", "gain": 0.5}])))
    value["source"] = {"format": "imagefolder", "path": str(source / "images")}
    value |= {"detect": [], "extract": ["canny"]}
    value["generate"]["controlnets"] = value["generate"]["controlnets"][:1]
    resolve(parsed(value))
    (source / "images/metadata.csv").write_text("file_name,x0\ntrain/s0.jpg,3\ntrain/s1.png,4\n")
    with pytest.raises(ConfigError, match="geometry moves what the labels"):
        resolve(parsed(value))


def test_randomizers_change_the_output_by_the_samples_own_stream(tiny_sd: Path, tmp_path: Path) -> None:
    source = write_streets(tmp_path / "source", bad=False, names=GOOD[:3])
    changed = {"randomize": [{"kind": "photometric", "gain": [0.3, 0.6]}, {"kind": "weather", "effect": "snow"}]}
    outs = []
    for name, keys in [("plain", {}), ("one", changed), ("other", changed | {"execution": {"shard_size": 1}})]:
        run(config_value(source, tiny_sd, **keys), tmp_path / name)
        outs.append(tree(tmp_path / name / "release"))
    assert outs[1] == outs[2]
    differ = {name for name in outs[0] if outs[0][name] != outs[1][name]}
    assert differ - DOCUMENTS == set(GOOD[:3])


def test_check_tells_the_targets(tiny_sd: Path, tmp_path: Path) -> None:
    import yaml

    source = write_streets(tmp_path / "source", bad=False, names=GOOD[:2])
    plan = {"prompts": "street", "targets": [TIME], "factors": ["haze"]}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump(config_value(source, tiny_sd, plan=plan)))
    lines = "\n".join(describe(config, None, None, True)["plan"])
    assert "target time: day 70.0%, night 30.0%" in lines and "factor haze: 0 to 0.5" in lines
