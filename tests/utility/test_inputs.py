"""What is read: ignored pixels, arms that lack pictures, classes that differ, and errors that name key and fix."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image as PIL

import synthgen.palettes
from synthgen.types import Box, ClassInfo, ConfigError, Instance, Item, Labels, Sample
from synthgen.utility.cells import cell_digest, cells_of
from synthgen.utility.pictures import BACKGROUND, IGNORE, UNKNOWN, shrink, view, vocabulary_of_table
from synthgen.utility.run import measure_utility
from synthgen.utility.spec import load_utility_spec
from synthgen.utility.study import Study, read_study, real_source
from synthgen.utility.survey import Survey
from synthgen.utility.workshop import Workshop
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
        ({"mixtures": [{"of": "a", "shares": [0.5]}, {"of": "a", "shares": [0.1]}]}, "stands twice"),
        ({"arms": {"a": {"run": "x"}, "a 50 %": {"run": "x"}}, "mixtures": [{"of": "a"}]}, "what a mixture is called"),
        ({"models": [{"name": name, "kind": "convnet", "task": "classes"} for name in "mn"]}, "which is one model"),
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


COCO_CLASSES = [{"id": 1, "name": "box"}, {"id": 2, "name": "disc"}]


def write_coco(root: Path, empty: Sequence[int] = (), shift: int = 0) -> Path:
    """Outlined squares of two classes in the splits train and test; pictures `empty` have no object."""
    for split in ("train", "test"):
        images, objects = [], []
        for number in range(12):
            pixels = np.full((48, 64, 3), 90 + shift, np.uint8)
            images.append({"id": number, "file_name": f"{split}{number}.png", "width": 64, "height": 48})
            if number not in empty:
                x = 4 + 3 * number
                pixels[8:28, x : x + 20] = (200, 60, 60) if number % 2 else (60, 200, 60)
                outline = [x, 8, x + 20, 8, x + 20, 28, x, 28]
                box = {"bbox": [x, 8, 20, 20], "area": 400, "segmentation": [outline], "iscrowd": 0}
                objects.append({"id": number, "image_id": number, "category_id": 1 + number % 2, **box})
            path = root / split / f"{split}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.fromarray(pixels).save(path)
        file = root / "annotations" / f"instances_{split}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"images": images, "annotations": objects, "categories": COCO_CLASSES}))
    return root


def coco_study(root: Path, run: Path, **changes: Any) -> Study:
    return study(root, {"all": {"run": str(run)}}, source={"path": str(root), "format": "coco"}, **changes)


def run_of(source: Path, out: Path) -> Path:
    return shapes.write_run(source, out, source_format="coco")


def test_what_no_outline_covers_is_background_and_a_picture_without_objects_is_all_of_it(tmp_path: Path) -> None:
    source = write_coco(tmp_path / "coco", empty=[3])
    read = coco_study(source, run_of(source, tmp_path / "run"))
    assert read.words.names == ("box", "disc", BACKGROUND)
    for pictures in (read.arms["real"].train, read.arms["all"].train, read.test):
        assert pictures.masks is not None and len(pictures.ids) == 12
        place = next(place for place, one in enumerate(pictures.ids) if one.endswith("3.png"))
        assert (pictures.masks[place] == 2).all()
        assert {0, 1, 2} == set(np.unique(pictures.masks))


def test_a_picture_without_a_mask_is_left_out_where_pixels_are_learnt(tmp_path: Path) -> None:
    """As in Pascal VOC, of which a sixth has masks."""
    root = shapes.write_shapes(tmp_path / "source")
    real = real_source(shapes.spec(root, arms={"all": {"run": "x"}}))
    run = shapes.write_run(root, tmp_path / "run")

    class Patchy(type(real)):  # type: ignore[misc]
        def read(self, item: Item) -> Sample:
            sample = super().read(item)
            maskless = item.id.endswith(("traina.png", "testa.png"))
            return replace(sample, labels=replace(sample.labels, mask=None)) if maskless else sample

    patchy = Patchy.model_validate(real.model_dump())
    for task, left in (("segmentation", 1), ("classes", 0)):
        models = [{"name": "m", "kind": "convnet", "task": task}]
        spec = shapes.spec(root, arms={"all": {"run": str(run)}}, models=models)
        read = read_study(spec, patchy, {"all": run}, lambda line: None)
        assert len(read.arms["all"].train.ids) == shapes.TRAIN - left and len(read.test.ids) == shapes.TEST - left
        assert read.unread == ({"mask-missing": 2} if left else {})


def test_a_run_without_test_pictures_is_trained_on_and_tested_on_real(source: Path) -> None:
    value = {"path": str(source), "format": "masks", "splits": ["train"]}
    run = shapes.write_run(source, source.parent / "train-only", source=value)
    spec = shapes.spec(source, arms={"some": {"run": str(run)}})
    read = study(source, {"some": {"run": str(run)}})
    assert read.arms["some"].test is None
    assert {cell.tests for cell in cells_of(read, spec)} == {("real",)}


def test_outputs_are_tested_with_the_labels_of_the_source(source: Path, run: Path, tmp_path: Path) -> None:
    """Pixels that became ignore would be counted on the real side alone."""
    shutil.copytree(run, tmp_path / "run")
    for path in (tmp_path / "run/release/labels/test").iterdir():
        ids = np.array(PIL.open(path))
        ids[:10] = 9
        PIL.fromarray(ids).save(path)
    read = study(source, {"some": {"run": str(tmp_path / "run")}})
    there = read.arms["some"].test
    assert there is not None and (there.masks == read.test.masks).all() and (there.present == read.test.present).all()


def test_a_source_that_changed_since_the_run_is_refused(tmp_path: Path) -> None:
    source = shapes.write_shapes(tmp_path / "source")
    run = shapes.write_run(source, tmp_path / "run")
    picture = source / "images/train/trainc.png"
    PIL.fromarray(np.array(PIL.open(picture))[:, ::-1]).save(picture)
    with pytest.raises(ConfigError, match=r"arms\.all: .*trainc\.png was made of another picture.*run it again"):
        study(source, {"all": {"run": str(run)}})


def test_one_run_spelled_two_ways_is_one(source: Path, run: Path) -> None:
    arms = {"one": {"run": str(run)}, "two": {"run": str(run.parent / "x" / ".." / run.name), "labels": "source"}}
    spec = shapes.spec(source, arms=arms)
    runs = {name: arm.run.resolve() for name, arm in spec.arms.items() if arm.run is not None}
    read = read_study(spec, real_source(spec), runs, lambda line: None)
    assert read.arms["one"].test is not None and read.arms["two"].test is None


def test_a_share_that_replaces_nothing_is_refused(source: Path, run: Path) -> None:
    mixtures = [{"of": "all", "shares": [0.01, 0.5]}]
    with pytest.raises(ConfigError, match=r"a share of 0\.01 of 24 pictures is 0"):
        study(source, {"all": {"run": str(run)}}, mixtures=mixtures)


def test_scenes_that_are_trained_on_too_are_counted(source: Path, run: Path) -> None:
    assert study(source, {"all": {"run": str(run)}}).known == 0
    survey = Survey(real_source(shapes.spec(source, arms={"all": {"run": "x"}})), (), None)
    survey.scene_of = {"a": "one", "b": "two", "c": "one", "d": "three"}
    assert survey.known(["a", "b"], ["c", "d"]) == 1


def test_a_cell_does_not_depend_on_the_models_name(source: Path, run: Path) -> None:
    read = study(source, {"all": {"run": str(run)}})
    seeds, digests = set(), set()
    for name in ("one", "two"):
        model = {"name": name, "kind": "convnet", "task": "classes"}
        spec = shapes.spec(source, arms={"all": {"run": str(run)}}, models=[model], seeds=[5])
        cell = cells_of(read, spec)[0]
        seeds.add(cell.weights_seed)
        digests.add(cell_digest(cell, read, spec, "cpu"))
    assert len(seeds) == len(digests) == 1


def test_wrong_runs_and_splits_are_found_before_a_config_is_run(source: Path, run: Path, tmp_path: Path) -> None:
    arms: dict[str, dict[str, Any]] = {"blur": {"config": "redact"}, "typo": {"run": str(tmp_path / "typo")}}
    nothing = tmp_path / "out"
    for changes, message in (
        ({"arms": arms}, r"arms\.typo"),
        ({"arms": {"blur": arms["blur"]}, "test": ["x"]}, "test: no"),
    ):
        with pytest.raises(ConfigError, match=message):
            measure_utility(shapes.spec(source, **changes), nothing, print, lambda total, rank: None, lambda row: None)
        assert not nothing.exists()


def test_a_model_that_cannot_read_this_size_is_refused_by_its_name(source: Path, run: Path) -> None:
    config = {"model_type": "vit", "image_size": 32, "patch_size": 16, "hidden_size": 8, "num_hidden_layers": 1}
    config |= {"num_attention_heads": 1, "intermediate_size": 8}
    model = {"name": "small vit", "kind": "transformers", "task": "classes", "config": config}
    arms = {"all": {"run": str(run)}}
    read = study(source, arms)
    spec = shapes.spec(source, arms=arms, models=[model, model | {"name": "scaled", "side": 32}])
    workshop = Workshop(read, spec, "cpu")
    with pytest.raises(ConfigError, match=r"models: small vit: can't read pictures of 32 × 24 .*set its `side`"):
        workshop.refuse_unfit(spec.models[0])
    workshop.refuse_unfit(spec.models[1])


def test_pictures_outside_class_folders_teach_nothing(tmp_path: Path) -> None:
    root = tmp_path / "source"
    for split in ("train", "test"):
        for number in range(20):
            pixels = np.full((24, 32, 3), 200 if number % 2 else 60, np.uint8)
            path = root / split / ("light" if number % 2 else "dark") / f"{split}{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            PIL.fromarray(pixels).save(path)
    PIL.fromarray(np.zeros((24, 32, 3), np.uint8)).save(root / "train/stray.png")
    run = shapes.write_run(root, tmp_path / "run", source_format="imagefolder")
    models = [{"name": "m", "kind": "convnet", "task": "classes"}]
    source = {"path": str(root), "format": "imagefolder"}
    read = study(root, {"all": {"run": str(run)}}, source=source, models=models)
    assert "stray" not in " ".join(read.arms["all"].train.ids) and len(read.arms["all"].train.ids) == 20
    assert read.unread == {"class-missing": 1}
