"""The plan: any recipe in any order, shares as asked for, and prompt files that can't be used stop the run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from synthgen import plan as plan_module
from synthgen.plan import PROMPTS, Plan, PlanSpec
from synthgen.types import ConfigError

FILE = """
template: "a street , {time}  {sky} "
negative: bad
factors:
  time: {day: {text: by day, share: 3}, night: {text: at night, share: 1}, never: {text: never, share: 0}}
  sky: {clear: {text: clear sky}, none: {text: ""}}
"""


def plan_of(tmp_path: Path, text: str = FILE, seed: int = 0, **spec: Any) -> Plan:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    return Plan(PlanSpec(prompts=str(path), **spec), seed)


def test_shares_are_met(tmp_path: Path) -> None:
    """2,000 draws at 3/4: a standard deviation of 0.0097, so 0.04 is four of them."""
    plan = plan_of(tmp_path)
    recipes = [plan.recipe(f"images/{number}.jpg", 0, 0) for number in range(2000)]
    times = Counter(recipe.factors["time"] for recipe in recipes)
    assert times["day"] / 2000 == pytest.approx(0.75, abs=0.04)
    assert times["never"] == 0
    both = Counter((recipe.factors["time"], recipe.factors["sky"]) for recipe in recipes)
    assert both["night", "clear"] / 2000 == pytest.approx(0.125, abs=0.04), "factors are drawn apart"


def test_recipe_is_the_same_in_any_order_and_attempts_change_the_noise_alone(tmp_path: Path) -> None:
    one, other = plan_of(tmp_path), plan_of(tmp_path)
    keys = [(f"{number}.png", variant, attempt) for number in range(5) for variant in range(3) for attempt in range(2)]
    assert {key: one.recipe(*key) for key in keys} == {key: other.recipe(*key) for key in reversed(keys)}
    first, second = one.recipe("a.png", 1, 0), one.recipe("a.png", 1, 1)
    assert (first.prompt, first.factors) == (second.prompt, second.factors)
    assert first.seed != second.seed
    assert len({one.recipe(*key).seed for key in keys}) == len(keys)
    assert first.negative_prompt == "bad"
    assert "  " not in first.prompt and first.prompt == first.prompt.strip()


def test_variants_draw_their_own_factors_and_the_seed_decides_them(tmp_path: Path) -> None:
    plan, reseeded = plan_of(tmp_path), plan_of(tmp_path, seed=1)
    skies = [tuple(plan.recipe(f"{n}.png", v, 0).factors["sky"] for n in range(30)) for v in (0, 1)]
    assert skies[0] != skies[1]
    assert skies[0] != tuple(reseeded.recipe(f"{n}.png", 0, 0).factors["sky"] for n in range(30))


def test_fix_holds_one_factor_and_leaves_the_others(tmp_path: Path) -> None:
    free, fixed = plan_of(tmp_path), plan_of(tmp_path, fix={"time": "never"})
    for number in range(20):
        before, after = free.recipe(f"{number}", 0, 0), fixed.recipe(f"{number}", 0, 0)
        assert after.factors == {**before.factors, "time": "never"}
        assert after.seed == before.seed
        assert "never" in after.prompt


@pytest.mark.parametrize("seed", [0, 2**63 - 1])
def test_extreme_seeds_give_a_level_with_a_share(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "derive_seed", lambda *_: seed)
    assert plan_of(tmp_path).recipe("a", 0, 0).factors["time"] == ("day" if seed == 0 else "night")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (FILE.replace("{sky}", "{weather}"), ["weather", "time"]),
        (FILE.replace("{sky}", "{}"), ["no factors"]),
        (FILE.replace("{sky}", "{sky"), ["prompts.yaml"]),
        (FILE.replace("{sky}", "{sky:d}"), ["template"]),
        (FILE.replace("{sky}", "{sky!x}"), ["template"]),
        (FILE.replace("{sky}", "{sky.upper}"), ["sky.upper"]),
        (FILE.replace("share: 3", "share: -1"), ["share"]),
        (FILE.replace("share: 3", "share: 0").replace("share: 1", "share: 0"), ["time", "share above 0"]),
        (FILE + "extra: 1", ["extra"]),
        ("[1, 2]", ["prompts.yaml"]),
        ("a: [", ["prompts.yaml"]),
        ("template: !!python/object/apply:os.getcwd []", ["prompts.yaml"]),
        ("a: " + "[" * 3000 + "]" * 3000, ["prompts.yaml"]),
    ],
)
def test_bad_prompt_files(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        plan_of(tmp_path, text)
    assert all(word in str(raised.value) for word in words), raised.value


@pytest.mark.parametrize(
    ("fix", "words"), [({"weather": "x"}, ["weather", "time"]), ({"time": "noon"}, ["plan.fix.time", "noon", "night"])]
)
def test_fix_names_what_there_is(tmp_path: Path, fix: dict[str, str], words: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        plan_of(tmp_path, fix=fix)
    assert all(word in str(raised.value) for word in words)


@pytest.mark.parametrize("name", ["nowhere", "nowhere.yaml"])
def test_missing_prompt_file(name: str) -> None:
    with pytest.raises(ConfigError, match=r"plan\.prompts"):
        Plan(PlanSpec(prompts=name), 0)


@pytest.mark.parametrize("path", sorted(PROMPTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_prompt_files_load(path: Path) -> None:
    assert Plan(PlanSpec(prompts=path.stem), 0).recipe("a", 0, 0).prompt
