"""Readers of attributes: the angle of skin, columns, and a classifier of the very class that users load."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from synthgen.attributes.base import Reading, Subject
from synthgen.attributes.classifier import Classifier, grown_crop
from synthgen.attributes.column import Column
from synthgen.attributes.ita import Ita, face_skin, tone_of, typology_angle
from synthgen.component import parse_component
from synthgen.types import Box, ClassInfo, ConfigError, Image, Instance, Labels, Region
from tests.bias_runs import SKINS, save_classifier


def plain(colour: tuple[int, int, int], side: int = 40) -> Image:
    return np.full((side, side, 3), colour, dtype=np.uint8)


def face(x0: float, y0: float, x1: float, y1: float, score: float = 0.9) -> Region:
    return Region("face", Box(x0, y0, x1, y1), score, "detector")


def test_the_angle_of_known_colours() -> None:
    """CIELAB of (224, 172, 105) is L* 74.02, b* 42.36 (D65)."""
    angle = typology_angle(plain((224, 172, 105)).reshape(-1, 3))
    assert angle == pytest.approx(math.degrees(math.atan((74.02 - 50) / 42.36)), abs=0.2)
    assert typology_angle(plain((80, 90, 200)).reshape(-1, 3)) is None


@pytest.mark.parametrize(
    ("angle", "tone"),
    [(55.1, "very light"), (55, "light"), (41, "intermediate"), (28, "tan"), (10, "brown"), (-30, "dark")],
)
def test_cuts_belong_to_the_darker_side(angle: float, tone: str) -> None:
    assert tone_of(angle) == tone


def test_lighter_skin_has_a_larger_angle() -> None:
    angles = [typology_angle(plain(skin).reshape(-1, 3)) for skin in SKINS]
    assert angles == sorted(angles, key=lambda angle: -(angle or 0)) and None not in angles


def test_only_the_middle_of_a_face_is_read() -> None:
    image = plain((30, 60, 200), 80)
    image[20:60, 20:60] = SKINS[1]
    pixels, share = face_skin(image, face(20, 20, 60, 60))
    assert share == 1.0 and set(map(tuple, pixels.tolist())) == {SKINS[1]}
    assert len(pixels) == pytest.approx(math.pi / 4 * (0.7 * 40) ** 2, rel=0.05)


@pytest.mark.parametrize(
    ("image", "region"),
    [
        (plain(SKINS[0]), None),
        (plain(SKINS[0]), face(0, 0, 40, 40, score=0.4)),
        (plain((40, 80, 200)), face(0, 0, 40, 40)),
        (plain(SKINS[0]), face(0, 0, 8, 8)),
        (plain(SKINS[0]), face(50, 50, 90, 90)),
        (plain((0, 0, 0)), face(0, 0, 40, 40)),
        (plain((255, 255, 255)), face(0, 0, 40, 40)),
    ],
    ids=["nobody", "doubtful", "no skin", "tiny", "outside", "black", "white"],
)
def test_what_cannot_be_told_is_unknown(image: Image, region: Region | None) -> None:
    assert Ita().load("cpu")([Subject(image, Labels(), region)]) == [Reading()]


def test_skin_by_mask_and_by_outlined_instance() -> None:
    image = plain((40, 80, 200))
    image[10:30, 10:30] = SKINS[2]
    ids = np.zeros((40, 40), np.int32)
    ids[10:30, 10:30] = 7
    classes = (ClassInfo(0, "background"), ClassInfo(7, "Skin"))
    outlined = Instance(7, Box(10, 10, 30, 30), ids == 7)
    run = Ita(classes=("skin",)).load("cpu")
    by_mask, by_instance, none = run(
        [
            Subject(image, Labels(classes, mask=ids)),
            Subject(image, Labels(classes, instances=(outlined,))),
            Subject(image, Labels(classes)),
        ]
    )
    assert by_mask == by_instance and by_mask.group is not None and none == Reading()


def test_columns_keep_rename_and_cut() -> None:
    subjects = [
        Subject(plain(SKINS[0], 1), Labels(image_class="cat", attributes={"sex": sex, "age": age}))
        for sex, age in [("f", "17"), ("m", 18), ("x", "old"), ("", None)]
    ]

    def read(**spec: object) -> list[str | None]:
        return [one.group for one in Column.model_validate(spec).load("cpu")(subjects)]

    assert read(column="sex") == ["f", "m", "x", None]
    assert read(column="sex", values={"f": "female", "x": None}) == ["female", "m", None, None]
    assert read(column="age", bins=[18, 60]) == ["<18", "18..60", None, None]
    assert read(column="image_class") == ["cat"] * 4
    assert Column(column="age", bins=(18, 60)).groups == ("<18", "18..60", "≥60")


def test_many_numbers_become_quarters_and_words_stay() -> None:
    column = parse_component("attributes", {"kind": "column", "column": "age"})
    assert column.fitted([*range(101), None, ""]).bins == (25, 50, 75)
    assert column.fitted(range(5)).bins == () and column.fitted([*range(50), "old"]).bins == ()


@pytest.mark.parametrize("spec", [{"bins": [3, 1]}, {"bins": [1], "values": {"1": "one"}}, {"target": {"a": -1}}])
def test_a_wrong_column_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|both"):
        Column.model_validate({"column": "age", **spec})


@pytest.fixture(scope="module")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_classifier(tmp_path_factory.mktemp("classifier"), ("young woman", "woman", "man"))


def test_a_classifier_adds_up_the_classes_of_a_group(tiny_classifier: Path) -> None:
    spec = Classifier(
        name="gender",
        model=str(tiny_classifier),
        names={"young woman": "female", "woman": "female", "man": "male"},
        min_probability=0,
        on="image",
        batch_size=2,
    )
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (20 + i, 24, 3), dtype=np.uint8) for i in range(5)]
    subjects = [Subject(image, Labels()) for image in images]
    read = spec.load("cpu")
    assert spec.groups == ("female", "male") and {one.group for one in read(subjects)} <= {"female", "male"}
    assert read(subjects) == [one for subject in subjects for one in read([subject])]
    sure = spec.model_copy(update={"min_probability": 1.0}).load("cpu")
    assert sure(subjects) == [Reading()] * 5


def test_a_classifier_of_faces_needs_one_and_names_that_the_model_has(tiny_classifier: Path) -> None:
    spec = Classifier(name="gender", model=str(tiny_classifier), min_probability=0)
    nobody, small, there = spec.load("cpu")(
        [
            Subject(plain(SKINS[0]), Labels()),
            Subject(plain(SKINS[0]), Labels(), face(0, 0, 20, 20)),
            Subject(plain(SKINS[0]), Labels(), face(0, 0, 30, 30)),
        ]
    )
    assert nobody == small == Reading() and there.group in {"young woman", "woman", "man"}
    with pytest.raises(ConfigError, match="has no classes"):
        spec.model_copy(update={"names": {"boy": "male"}}).load("cpu")


def test_a_model_of_another_class_is_refused(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    config = ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=16, patch_size=8
    )
    ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="ForImageClassification"):
        Classifier(name="gender", model=str(tmp_path)).load("cpu")


def test_a_crop_grows_and_stays_inside() -> None:
    crop = grown_crop(plain(SKINS[0]), face(0, 0, 20, 20), 0.5)
    assert crop is not None and crop.shape == (30, 30, 3)
    assert grown_crop(plain(SKINS[0]), face(80, 80, 90, 90), 0.5) is None
