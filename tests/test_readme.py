"""The README says what is so: its example works, and the verbs, files, kinds and keys that it names are there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import synthgen.extractors
from synthgen.cli import app
from synthgen.component import component_class, kinds, parse_component
from synthgen.config import Execution, RunConfig
from synthgen.plan import PlanSpec
from synthgen.types import Item, Labels, Sample

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
TABLE = README.partition("## Config")[2].partition("## Train")[0]


def test_the_example_is_an_extractor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.S)
    assert code is not None
    (tmp_path / "scribble.py").write_text(code[1], encoding="utf-8")
    monkeypatch.setattr(synthgen.extractors, "__path__", [*synthgen.extractors.__path__, str(tmp_path)])
    assert "scribble" in kinds("extractors")
    spec = parse_component("extractors", {"kind": "scribble", "sigma": 2})
    image = np.full((32, 48, 3), 200, np.uint8)
    image[:, 20:23] = 0
    sample = Sample(Item("a.png", Path("a.png")), image, Labels(), "")
    (drawn,) = spec.load("cpu")([sample])
    assert drawn.kind == "scribble" and drawn.image.shape == image.shape
    assert (drawn.image[:, 21] == 255).all() and (drawn.image[:, :8] == 0).all()


def test_its_verbs_are_those_of_the_command_line() -> None:
    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    assert set(re.findall(r"^\| `synthgen (\w+)", README, re.M)) == verbs
    assert set(re.findall(r"synthgen (check|run|show|status|export|train|\w+) (?=configs/|DIR|OUT)", README)) <= verbs


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"\b(?:configs|scripts|synthgen)/[\w./-]+\.(?:yaml|sh|md)", README)))
)
def test_the_files_that_it_names_are_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_it_lists_every_ready_config(config: Path) -> None:
    assert f"`configs/{config.name}`" in README


def test_its_table_has_every_key_of_a_run_and_no_other() -> None:
    named = {key for row in re.findall(r"^\| (`[^|]*`) \|", TABLE, re.M) for key in re.findall(r"`(\w+)`", row)}
    assert named == set(RunConfig.model_fields)


@pytest.mark.parametrize(
    "family", ["detectors", "extractors", "protectors", "generators", "randomizers", "checks", "datasets"]
)
def test_it_names_every_kind_and_the_keys_of_each(family: str) -> None:
    for kind in kinds(family):
        assert f"`{kind}`" in README
    own = {key for kind in kinds(family) for key in component_class(family, kind).model_fields} - {
        "kind",
        "format",
        "path",
    }
    assert {key for key in own if f"`{key}`" not in README} == set()


@pytest.mark.parametrize("model", [PlanSpec, Execution])
def test_it_names_the_keys_of_plan_and_execution(model: type[PlanSpec] | type[Execution]) -> None:
    assert {key for key in model.model_fields if f"`{key}`" not in TABLE} == set()
