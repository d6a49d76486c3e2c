"""The config: one YAML, unknown keys refused, and an id that changes with what changes the output and nothing else."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from synthgen.config import MAX_YAML_BYTES, dump_config, load_yaml, parse_config, set_key
from synthgen.launch import resolve
from synthgen.types import ConfigError
from tests.datasets_for_tests import TABLE, config_value, parsed, street, write_image, write_pair, write_streets

Value = dict[str, Any]


@pytest.fixture
def value(street_set: Path, tiny_sd: Path) -> Value:
    return config_value(street_set, tiny_sd)


# ---- reading YAML


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: &a [1,1]\nb: &b [*a,*a,*a]\nc: [*b,*b,*b]", "aliases"),
        ("a: &a {b: 1}\nc: {<<: *a}", "aliases"),
        ("a: !!python/object/apply:os.system ['true']", "YAML"),
        ("a: !!python/name:os.system", "YAML"),
        ("a: " + "[" * 200_000, "deeper"),
        ("a: " + "{b: " * 5000 + "1" + "}" * 5000, "deeper"),
        ("\n".join(" " * depth + "a:" for depth in range(900)), "deeper"),
        ("a: 1\nb: 2\na: 3", "'a' stands twice (line 3)"),
        ("a: {b: {c: 1, c: 2}}", "'c' stands twice"),
        ("a: [{b: 1, b: 2}]", "'b' stands twice"),
        ("- a\n- b", "mapping"),
        ("just words", "mapping"),
        ("", "mapping"),
        ("a: [", "YAML"),
        ("a: 1\n---\nb: 2", "YAML"),
        ("a: '" + "x" * MAX_YAML_BYTES + "'", str(MAX_YAML_BYTES)),
    ],
)
def test_yaml_that_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_yaml(path)
    assert words in str(raised.value) and "config.yaml" in str(raised.value)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir, lambda path: path.write_bytes(b"a: \xff\xfe")])
def test_files_that_are_no_text(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "config.yaml"
    make(path)
    with pytest.raises(ConfigError, match=r"config\.yaml"):
        load_yaml(path)


# ---- validating


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        (["bogus"], "bogus"),
        (["source", "bogus"], "source.bogus"),
        (["extract", 1, "bogus"], "extract.1.bogus"),
        (["generate", "bogus"], "generate.bogus"),
        (["generate", "controlnets", 0, "bogus"], "generate.controlnets.0.bogus"),
        (["check", 0, "bogus"], "check.0.bogus"),
        (["plan", "bogus"], "plan.bogus"),
        (["execution", "bogus"], "execution.bogus"),
    ],
)
def test_unknown_key_at_any_depth_is_named(value: Value, keys: list[Any], named: str) -> None:
    node: Any = value
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = 1
    with pytest.raises(ConfigError, match=f"{named}: unknown key"):
        parsed(value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": "many"}, "seed"),
        ({"name": "../up"}, "name"),
        ({"names": "secret"}, "names"),
        ({"attempts": 0}, "attempts"),
        ({"extract": []}, "extract"),
        ({"extract": ["canny", "canny"]}, "every kind may stand once"),
        ({"extract": ["canny"]}, "segmentation"),
        ({"extract": ["bogus"]}, "bogus"),
        ({"generate": {"kind": "bogus"}}, "generate"),
        ({"plan": {"variants": 2}}, "pseudonym"),
        ({"plan": {"variants": 0}}, "plan.variants"),
        ({"execution": {"shard_size": 0}}, "execution.shard_size"),
        ({"source": {"path": "no such folder", "format": "auto"}}, "source"),
        ({"source": 3}, "source"),
        ({"mode": "people"}, "canvas"),
        ({"mode": "people", "protect": ["canvas"], "detect": []}, "detect"),
    ],
)
def test_values_that_are_refused(value: Value, changes: Value, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(value | changes)
    assert words in str(raised.value) and str(raised.value).startswith("test.yaml")


def test_every_problem_has_its_line(value: Value) -> None:
    with pytest.raises(ConfigError) as raised:
        parsed(value | {"bogus": 1, "seed": -1, "plan": {"other": 1}})
    text = str(raised.value)
    assert "3 problem(s)" in text and all(f"\n  {key}: " in text for key in ("bogus", "seed", "plan.other"))


def test_dump_and_parse_give_an_equal_config(value: Value, tmp_path: Path) -> None:
    config = parsed(value | {"plan": {"prompts": "street", "fix": {"time": "night"}}, "dilate": 0.3})
    path = tmp_path / "run.yaml"
    path.write_text(dump_config(config))
    again = parse_config(load_yaml(path), "run.yaml")
    assert again == config
    assert dump_config(again) == dump_config(config)
    assert "silhouette" in dump_config(config) and "smooth" in dump_config(config), "fields of the subclass"


# ---- set_key

BEFORE = {"a": {"b": [1, {"c": 2}], "empty": None}, "plain": 3}


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("plain=4", BEFORE | {"plain": 4}),
        ("plain=", BEFORE | {"plain": None}),
        ("new.deep.key=[1, two]", BEFORE | {"new": {"deep": {"key": [1, "two"]}}}),
        ("a.b.0=x", BEFORE | {"a": {"b": ["x", {"c": 2}], "empty": None}}),
        ("a.b.1.c={d: 1}", BEFORE | {"a": {"b": [1, {"c": {"d": 1}}], "empty": None}}),
        ("a.empty.x=yes", BEFORE | {"a": {"b": [1, {"c": 2}], "empty": {"x": True}}}),
        ("plain=a=b", BEFORE | {"plain": "a=b"}),
        ("plain=3e-1", BEFORE | {"plain": "3e-1"}),
    ],
)
def test_set_key(assignment: str, expected: Value) -> None:
    config = copy.deepcopy(BEFORE)
    assert set_key(config, assignment) == expected
    assert config == BEFORE, "a copy"


@pytest.mark.parametrize(
    "assignment", ["", "plain", "=3", "plain.x=1", "a.b.2=1", "a.b.x=1", "a.b.-1=1", "a.b.²=1", "a=[", "a.b.0.x=1"]
)
def test_set_key_refuses(assignment: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        set_key(BEFORE, assignment)


def test_set_key_after_a_value_that_json_lacks() -> None:
    """YAML reads 2020-01-01 as a date; the validation must see it, not a crash on the way."""
    assert set_key(set_key({}, "name=2020-01-01"), "seed=1")["seed"] == 1


WORDS = st.text("abcxyz_", min_size=1, max_size=6)
PLAIN = st.none() | st.booleans() | st.integers() | WORDS.map(lambda word: f"w{word}")


@given(
    st.dictionaries(WORDS, st.dictionaries(WORDS, PLAIN, max_size=3), max_size=4), st.lists(WORDS, min_size=1), PLAIN
)
def test_set_key_reads_back_and_leaves_the_rest(config: Value, path: list[str], new: Any) -> None:
    before = copy.deepcopy(config)
    try:
        after = set_key(config, f"{'.'.join(path)}={json.dumps(new)}")
    except ConfigError:
        assert len(path) > 2, "only a plain value can be in the way"
        return
    node: Any = after
    for key in path:
        node = node[key]
    assert node == new and config == before
    assert {key: kept for key, kept in after.items() if key != path[0]} == {
        key: kept for key, kept in before.items() if key != path[0]
    }


# ---- run_id


def id_of(value: Value) -> str:
    return resolve(parsed(value)).run_id


def with_keys(value: Value, **assignments: Any) -> Value:
    for path, new in assignments.items():
        value = set_key(value, f"{path.replace('__', '.')}={json.dumps(new)}")
    return value


@pytest.mark.parametrize(
    "assignments",
    [
        {"execution__shard_size": 1},
        {"execution__workers": 7},
        {"execution__queue": 5},
        {"name": "other"},
        {"seed": 0},
        {"generate__batch_size": 2},
        {"check__0__kind": "quality"},
    ],
)
def test_run_id_stays(value: Value, assignments: Value) -> None:
    assert id_of(with_keys(value, **assignments)) == id_of(value)


@pytest.mark.parametrize(
    "assignments",
    [
        {"seed": 1},
        {"names": "pseudonym"},
        {"threads": 2},
        {"dilate": 0.2},
        {"attempts": 4},
        {"source__limit": 2},
        {"source__splits": ["train"]},
        {"generate__steps": 3},
        {"generate__dtype": "bfloat16"},
        {"generate__guidance": 3.5},
        {"generate__batch_size": 3},
        {"generate__sizes": [[64, 48]]},
        {"generate__controlnets__0__scale": 0.5},
        {"generate__scheduler": "UniPCMultistepScheduler"},
        {"extract__0": {"kind": "canny", "low": 61}},
        {
            "extract__1__class_map": {
                "Sky": "sky",
                "Building": "road",
                "Road": "road",
                "Car": "car",
                "Pedestrian": "person",
            }
        },
        {"protect__0": {"kind": "edges", "shape": "ellipse"}},
        {"protect__1": {"kind": "silhouette", "smooth": 5}},
        {"protect": ["edges"]},
        {"detect": []},
        {"detect__0": {"kind": "labels", "classes": ["Car"]}},
        {"check__0__min_std": 1},
        {"plan__prompts": "plain"},
        {"plan__fix": {"time": "night"}},
    ],
    ids=str,
)
def test_run_id_changes_with_every_key_that_changes_the_output(value: Value, assignments: Value) -> None:
    """Those of component subclasses too: a field typed by its base class would drop them from the hash."""
    assert id_of(with_keys(value, **assignments)) != id_of(value)


def test_run_id_does_not_tell_where_the_source_lies(value: Value, street_set: Path, tmp_path: Path) -> None:
    shutil.copytree(street_set, tmp_path / "elsewhere")
    assert id_of(with_keys(value, source__path=str(tmp_path / "elsewhere"))) == id_of(value)


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write_pair(root, "images/train/more.png", *street(9)),
        lambda root: (root / "images/train/s1.png").unlink(),
        lambda root: write_image(root / "images/train/s1.png", street(99)[0]),
        lambda root: write_image(root / "labels/train/s1.png", street(99)[0][..., 0] % 5),
        lambda root: (root / "labels/train/s1.png").unlink(),
        lambda root: (root / "classes.csv").write_text(TABLE.replace("Car", "Bus")),
        lambda root: (root / "classes.csv").write_text(TABLE.replace("Car,120,135,90,", "Car,121,135,90,")),
        lambda root: (root / "classes.csv").write_text(TABLE.replace("Car,120,135,90,", "Car,120,135,90,ignore")),
    ],
    ids=["image added", "image lost", "image", "label", "label lost", "class name", "class colour", "class ignored"],
)
def test_run_id_changes_with_the_source(tiny_sd: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    root = write_streets(tmp_path / "source", bad=False)
    value = config_value(
        root, tiny_sd, extract=["canny", {"kind": "segmentation", "class_map": "camvid", "model": None}]
    )
    value["extract"][1]["class_map"] = dict.fromkeys(["Sky", "Building", "Road", "Car", "Bus", "Pedestrian"], "road")
    before = id_of(value)
    change(root)
    assert id_of(value) != before


def test_run_id_changes_with_prompts_and_weights(value: Value, tiny_sd: Path, tmp_path: Path) -> None:
    prompts = tmp_path / "p.yaml"
    prompts.write_text("template: a street")
    copied = shutil.copytree(tiny_sd, tmp_path / "sd")
    value = with_keys(value, plan__prompts=str(prompts), generate__controlnets__1__model=str(copied / "seg"))
    ids = [id_of(value)]
    prompts.write_text("template: a road")
    ids.append(id_of(value))
    weights = next((copied / "seg").glob("*.safetensors"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    ids.append(id_of(value))
    assert len(set(ids)) == 3, ids


CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
RUN_CONFIGS = [path for path in CONFIGS if "generate" in load_yaml(path)]
"""The others hold the parameters of a verb."""


@pytest.mark.parametrize("path", RUN_CONFIGS, ids=lambda p: p.stem)
def test_shipped_configs_parse(path: Path, street_set: Path) -> None:
    value = load_yaml(path)
    value["source"] = {"format": "masks", "path": str(street_set)}
    assert yaml.safe_load(dump_config(parse_config(value, path.name)))["generate"]["kind"]
