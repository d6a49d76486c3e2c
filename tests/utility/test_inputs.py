"""What is read: ignored pixels, arms that lack pictures, classes that differ, and errors that name key and fix."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as PIL

import synthgen.palettes
from synthgen.types import Box, ClassInfo, ConfigError, Instance, Labels
from synthgen.utility.pictures import BACKGROUND, IGNORE, UNKNOWN, shrink, view, vocabulary_of_table
from synthgen.utility.spec import load_utility_spec
from synthgen.utility.study import Study, read_study, real_source
from tests.utility import shapes

TABLE = (ClassInfo(0, "ground"), ClassInfo(1, "box"), ClassInfo(2, "disc"), ClassInfo(9, "void", ignore=True))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shapes.write_shapes(tmp_path_factory.mktemp("inputs") / "source")


@pytest.fixture(scope="module")
def run(source: Path) -> Path:
    return shapes.write_run(source, source.parent / "run")


def study(folder: Path, arms: dict[str, dict[str, Any]], **changes: Any) -> Study:
    spec = shapes.spec(folder, arms=arms, **changes)
    runs = {name: arm.run for name, arm in spec.arms.items() if arm.run is not None}
    return read_study(spec, real_source(spec), runs, lambda line: None)


def test_the_filter_is_two_arms_of_one_run(source: Path, run: Path, tmp_path: Path) -> None:
    """Pixels that a check set to ignore count with `labels: release`, and have their label with `labels: source`."""
    shutil.copytree(run, tmp_path / "run")
    label = sorted((tmp_path / "run/release/labels/train").iterdir())[0]
    ids = np.array(PIL.open(label))
    lost = int(np.unique(ids)[-1])
    ids[ids == lost] = 9
    PIL.fromarray(ids).save(label)
    arms = {
        "filtered": {"run": str(tmp_path / "run")},
        "unfiltered": {"run": str(tmp_path / "run"), "labels": "source"},
    }
    read = study(source, arms)
    place = read.arms["real"].train.ids.index(f"images/train/{label.stem}.png")
    real, filtered, unfiltered = (read.arms[name].train for name in ("real", "filtered", "unfiltered"))
    assert real.masks is not None and filtered.masks is not None and unfiltered.masks is not None
    assert (filtered.masks[place] == IGNORE).any() and not (unfiltered.masks == IGNORE).any()
    assert filtered.present[place, lost] == UNKNOWN and unfiltered.present[place, lost] == 1
    assert (real.masks == unfiltered.masks).all()
    assert read.arms["filtered"].test is not None and read.arms["unfiltered"].test is None


def test_what_an_arm_lacks_no_arm_is_trained_on(source: Path, run: Path) -> None:
    shorter = shapes.write_shapes(source.parent / "shorter")
    for path in sorted((shorter / "images/train").iterdir())[:5]:
        path.unlink()
    made = shapes.write_run(shorter, source.parent / "shorter-run")
    read = study(source, {"all": {"run": str(run)}, "some": {"run": str(made)}})
    assert read.lacking == {"real": 0, "all": 0, "some": 5}
    assert len(read.arms["real"].train.ids) == shapes.TRAIN - 5 == len(read.arms["all"].train.ids)


def test_the_source_of_the_run_is_the_default(source: Path, run: Path) -> None:
    read = study(source, {"all": {"run": str(run)}}, source={}, images=10)
    assert len(read.arms["real"].train.ids) == 10


def test_scenes_are_held_back_where_there_are_no_splits(source: Path, run: Path) -> None:
    read = study(source, {"all": {"run": str(run)}}, train=None, test=None, test_share=0.25)
    train, test = read.arms["real"].train.ids, read.test.ids
    assert not set(train) & set(test) and len(test) == 12 and len(train) == 36
    assert len(set(read.units.tolist())) == 12


def test_classes_are_merged() -> None:
    words = vocabulary_of_table(TABLE, {"thing": ("box", "disc")}, outlined=False)
    assert words.names == ("ground", "thing") and words.places == {0: 0, 1: 1, 2: 1}
    mask = np.array([[0, 1, 2, 9]] * 4, np.int32)
    picture = shrink(np.zeros((4, 4, 3), np.uint8), Labels(TABLE, mask), words, (4, 4), 0.0)
    assert picture.mask is not None and picture.mask[0].tolist() == [0, 1, 1, IGNORE]
    with pytest.raises(ConfigError, match="no class is named"):
        vocabulary_of_table(TABLE, {"thing": ("boxes",)}, outlined=False)


def test_objects_make_classes_and_outlines_make_pixels() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    words = vocabulary_of_table(TABLE, {}, outlined=False)
    boxed = Labels(TABLE, instances=(Instance(2, Box(0, 0, 4, 4)),))
    assert shrink(image, boxed, words, (8, 8), 0.0).present.tolist() == [0, 0, 1]
    outline = np.zeros((8, 8), bool)
    outline[:4] = True
    words = vocabulary_of_table(TABLE, {}, outlined=True)
    outlined = Labels(TABLE, instances=(Instance(1, Box(0, 0, 8, 4), outline),))
    mask = shrink(image, outlined, words, (8, 8), 0.0).mask
    assert words.names[-1] == BACKGROUND
    assert mask is not None and mask[0, 0] == 1 and mask[7, 0] == words.names.index(BACKGROUND)


def test_views_move_picture_and_mask_together() -> None:
    image, ids = shapes.shapes(3)
    one, other = (view(image, ids.astype(np.uint8), "a.png", 1, 0) for _ in range(2))
    assert (one.image == other.image).all() and not (one.image == image).all()
    flat = np.repeat((ids[:, :, None] * 60).astype(np.uint8), 3, axis=2)
    moved = view(flat, ids.astype(np.uint8), "a.png", 1, 0)
    assert moved.mask is not None
    brightness = [moved.image[moved.mask == place].mean() for place in np.unique(moved.mask)]
    assert brightness == sorted(brightness)


def test_arms_that_do_not_fit(source: Path, run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(run, other)
    table = other / "release/classes.csv"
    table.write_text(table.read_text().replace("disc", "ball"))
    with pytest.raises(ConfigError, match=r"arms\.odd: its classes are not those.*ball"):
        study(source, {"odd": {"run": str(other)}})
    unfinished = tmp_path / "unfinished"
    shutil.copytree(run, unfinished)
    shutil.rmtree(unfinished / "release")
    with pytest.raises(ConfigError, match=r"arms\.half: .*not finished"):
        study(source, {"half": {"run": str(unfinished)}})
    with pytest.raises(ConfigError, match=r"test: no picture lies in the split\(s\) \['val'\]"):
        study(source, {"all": {"run": str(run)}}, test=["val"])
    with pytest.raises(ConfigError, match=r"leaves 5 that every arm has; 8 are needed"):
        study(source, {"all": {"run": str(run)}}, images=5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": {}}, "arms"),
        ({"arms": {"real": {"run": "x"}}}, "real is always one"),
        ({"arms": {"a": {}}}, "give either run"),
        ({"arms": {"a": {"run": "x", "set": {"seed": 1}}}}, "set changes a config"),
        ({"colour": 1}, "colour"),
        ({"mixtures": [{"of": "b"}]}, "is no arm"),
        ({"mixtures": [{"of": "a", "shares": [1.5]}]}, "between 0 and 1"),
        ({"models": [{"name": "m", "kind": "resnext", "task": "classes"}]}, "no kind 'resnext'"),
        ({"models": [{"name": "m", "kind": "convnet", "task": "boxes"}]}, "task"),
        ({"test": ["train"]}, "train and test share"),
        ({"test": None}, "set both to null"),
        ({"seeds": [0, 0]}, "may stand once"),
    ],
)
def test_a_wrong_spec(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    value = shapes.spec_value(tmp_path, arms={"a": {"run": "x"}}) | changes
    (tmp_path / "u.yaml").write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_utility_spec(tmp_path / "u.yaml", None, [])


def test_the_shipped_spec_is_whole() -> None:
    from synthgen.shipped import shipped_folder

    spec = load_utility_spec(shipped_folder("configs") / "utility.yaml", None, [])
    by_task = {task: [one.kind for one in spec.models if one.task == task] for task in ("segmentation", "classes")}
    assert all(len(set(kinds)) >= 2 for kinds in by_task.values()) and len(spec.seeds) >= 3
    assert spec.quickened().steps < spec.steps


def test_the_shipped_spec_for_people_merges_into_the_palettes_parts() -> None:
    """No class twice, and each where the class map of the controls puts it."""
    from synthgen.shipped import shipped_folder

    spec = load_utility_spec(shipped_folder("configs") / "utility-people.yaml", None, [])
    palettes = Path(synthgen.palettes.__file__).parent
    table = yaml.safe_load((palettes / "classmaps/clothing.yaml").read_text())
    merged = {name: new for new, names in spec.merge.items() for name in names}
    assert len(merged) == sum(len(names) for names in spec.merge.values())
    assert set(spec.merge) <= set(synthgen.palettes.load_palette("starter").names)
    for name, new in merged.items():
        painted = table[name]
        assert (painted["starter"] if isinstance(painted, dict) else painted) == new
    assert {name for name, painted in table.items() if painted} - set(merged) == {"hair", "hat", "skin"}
