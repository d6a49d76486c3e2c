"""Randomizers: seeds decide, effects have the right sign, and geometry moves image, mask and boxes as one."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from synthgen.component import parse_component
from synthgen.config import parse_config
from synthgen.launch import resolve
from synthgen.measurements import measure
from synthgen.randomizers.base import Randomizer
from synthgen.types import Box, ClassInfo, ConfigError, Image, Instance, Labels
from tests.datasets_for_tests import write_pair

WIDTH, HEIGHT = 96, 64


def picture() -> Image:
    """A gradient, a coloured block and some texture: nothing is clipped."""
    stream = np.random.default_rng(0)
    ramp = np.linspace(60, 190, WIDTH)[None, :, None] + stream.normal(0, 8, (HEIGHT, WIDTH, 3))
    ramp[20:44, 30:60] = [150, 90, 60]
    return ramp.clip(0, 255).astype(np.uint8)


def scene() -> tuple[Image, Labels]:
    """The block is labelled by a mask, by an outlined object and by a bare box."""
    mask = np.zeros((HEIGHT, WIDTH), np.int32)
    mask[20:44, 30:60] = 300
    box = Box(30, 20, 60, 44)
    classes = (ClassInfo(0, "wall"), ClassInfo(300, "block"))
    instances = (Instance(300, box, mask == 300), Instance(300, box))
    return picture(), Labels(classes, mask, instances, attributes={"page": 3})


def build(kind: str, **keys: object) -> Randomizer:
    spec = parse_component("randomizers", {"kind": kind, **keys})
    assert isinstance(spec, Randomizer)
    return spec


def run(spec: Randomizer, seed: int = 0) -> tuple[Image, Labels]:
    image, labels = scene()
    before = image.copy()
    result = spec(image, labels, np.random.default_rng(seed))
    assert np.array_equal(image, before), "the input is left as it is"
    return result


SPECS = [
    ("photometric", {"night": [0.2, 0.9], "noise": [2, 9], "temperature": [-50, 50]}),
    ("photometric", {"blur": [0.5, 2], "gain": [0.6, 1.4], "gamma": [0.8, 1.3], "fog": [0, 0.4]}),
    ("weather", {"effect": "rain"}),
    ("weather", {"effect": "snow"}),
    ("weather", {"effect": "fog"}),
    ("recolor", {"classes": ["block"]}),
    ("geometry", {"flip": 0.5, "crop": [0.6, 0.9], "rotate": [-10, 10]}),
]


@pytest.mark.parametrize(("kind", "keys"), SPECS, ids=str)
def test_the_stream_decides_everything(kind: str, keys: dict[str, object]) -> None:
    spec = build(kind, **keys)
    (one, labels), (again, _), (other, _) = run(spec, 1), run(spec, 1), run(spec, 2)
    assert one.shape == picture().shape and one.dtype == np.uint8
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert not np.array_equal(one, picture())
    assert labels.attributes == {"page": 3}


@pytest.mark.parametrize(("kind", "keys"), SPECS, ids=str)
def test_probability_zero_does_nothing(kind: str, keys: dict[str, object]) -> None:
    image, labels = run(build(kind, probability=0, **keys))
    assert np.array_equal(image, picture()) and labels.instances[1].box == Box(30, 20, 60, 44)


def test_probability_is_a_share() -> None:
    spec = build("photometric", gain=0.5, probability=0.3)
    changed = sum(not np.array_equal(run(spec, seed)[0], picture()) for seed in range(300))
    assert 65 <= changed <= 115, "300 draws at 0.3: 90 with a standard deviation of 8"


@pytest.mark.parametrize(
    ("keys", "name", "sign"),
    [
        ({"night": 1.0}, "luminance", -1),
        ({"gain": 0.5}, "luminance", -1),
        ({"gain": 1.5}, "luminance", 1),
        ({"gamma": 1.6}, "luminance", -1),
        ({"gamma": 0.7}, "luminance", 1),
        ({"temperature": 60}, "temperature", -1),
        ({"temperature": -60}, "temperature", 1),
        ({"fog": 0.5}, "contrast", -1),
        ({"fog": 0.5}, "saturation", -1),
        ({"blur": 2}, "sharpness", -1),
        ({"noise": 20}, "sharpness", 1),
    ],
    ids=str,
)
def test_effects_are_measured_with_the_right_sign(keys: dict[str, float], name: str, sign: int) -> None:
    before, after = measure(picture())[name], measure(run(build("photometric", **keys))[0])[name]
    assert before is not None and after is not None
    assert sign * (after - before) > 0.05 * before


@pytest.mark.parametrize("keys", [{"night": 0}, {"fog": 0}, {"temperature": 0}, {"gain": 1}, {"gamma": 1}, {"blur": 0}])
def test_neutral_values_change_nothing(keys: dict[str, float]) -> None:
    image = run(build("photometric", **keys))[0]
    assert np.abs(image.astype(int) - picture()).max() <= 1


def test_a_key_more_changes_no_other_draw() -> None:
    grain, labels = run(build("photometric", noise=[4, 9]), 5)
    both, _ = run(build("photometric", noise=[4, 9], gain=[1, 1]), 5)
    assert np.abs(both.astype(int) - grain).max() <= 1 and labels.instances


def test_a_warm_light_keeps_a_white() -> None:
    white = np.full((8, 8, 3), 200, np.uint8)
    warm, _ = build("photometric", temperature=40)(white, Labels(), np.random.default_rng(0))
    red, green, blue = warm.reshape(-1, 3).mean(axis=0)
    assert red > 200 > blue and abs(green - 200) < 12


@pytest.mark.parametrize("effect", ["rain", "snow", "fog"])
def test_weather_takes_contrast_and_leaves_labels(effect: str) -> None:
    thin, labels = run(build("weather", effect=effect, amount=0.1), 3)
    dense, _ = run(build("weather", effect=effect, amount=0.9), 3)
    assert labels.mask is not None and np.array_equal(labels.mask == 300, scene()[1].instances[0].mask)
    block = (slice(24, 40), slice(34, 56))
    gap = [abs(float(one[block].mean() - np.median(one[:, :20]))) for one in (picture(), thin, dense)]
    assert np.abs(dense.astype(int) - picture()).mean() > 2 * np.abs(thin.astype(int) - picture()).mean()
    assert gap[2] < gap[0] + 5


def test_flip_is_exact() -> None:
    image, labels = run(build("geometry", flip=1))
    source, before = scene()
    assert labels.mask is not None and before.mask is not None
    assert np.array_equal(image, source[:, ::-1]) and np.array_equal(labels.mask, before.mask[:, ::-1])
    assert [one.box for one in labels.instances] == [Box(36, 20, 66, 44)] * 2
    assert labels.instances[0].mask is not None and np.array_equal(labels.instances[0].mask, labels.mask == 300)


def test_a_half_crop_doubles() -> None:
    """The stream's place decides the offset; sizes and the match of image and labels do not depend on it."""
    image, labels = run(build("geometry", crop=0.5, min_visible=0.0), 4)
    assert labels.mask is not None and image.shape == (HEIGHT, WIDTH, 3)
    seen = labels.instances[1].box
    assert seen.width <= 60.01 and seen.height <= 48.01
    ys, xs = np.nonzero(labels.mask == 300)
    assert abs(xs.min() - seen.x0) <= 1 and abs(xs.max() + 1 - seen.x1) <= 1
    assert abs(ys.min() - seen.y0) <= 1 and abs(ys.max() + 1 - seen.y1) <= 1


@pytest.mark.parametrize("seed", range(8))
def test_image_mask_and_boxes_move_together(seed: int) -> None:
    image, labels = run(build("geometry", flip=0.5, crop=[0.8, 1], rotate=[-12, 12]), seed)
    assert labels.mask is not None and set(np.unique(labels.mask)) <= {0, 300}, "no id is made up"
    block = np.abs(image.astype(int) - [150, 90, 60]).sum(axis=2) < 12
    agree = (block & (labels.mask == 300)).sum() / (block | (labels.mask == 300)).sum()
    assert agree > 0.9
    outlined, bare = labels.instances
    assert outlined.mask is not None and np.array_equal(outlined.mask, labels.mask == 300)
    assert bare.box.x0 <= outlined.box.x0 + 1 and bare.box.x1 >= outlined.box.x1 - 1
    assert bare.box.y0 <= outlined.box.y0 + 1 and bare.box.y1 >= outlined.box.y1 - 1


@pytest.mark.parametrize("seed", range(6))
def test_the_view_never_leaves_the_image(seed: int) -> None:
    """A label image of ones stays one to the corners: nothing from outside was made up."""
    spec = build("geometry", rotate=[-45, 45], crop=[0.9, 1])
    framed = np.zeros((HEIGHT + 2, WIDTH + 2), np.int32)
    framed[1:-1, 1:-1] = 1
    _, labels = spec(np.zeros((*framed.shape, 3), np.uint8), Labels(mask=framed), np.random.default_rng(seed))
    assert labels.mask is not None and (labels.mask == 1).mean() > 0.93


def test_an_object_out_of_view_loses_its_label() -> None:
    image, labels = scene()
    far = Labels(labels.classes, None, (Instance(300, Box(0, 0, 4, 4)), Instance(300, Box(40, 28, 56, 36))))
    spec = build("geometry", crop=0.6)
    left = [len(spec(image, far, np.random.default_rng(seed))[1].instances) for seed in range(30)]
    assert set(left) <= {1, 2} and 1 in left


@pytest.mark.parametrize(
    ("kind", "keys", "words"),
    [
        ("photometric", {"fog": [0.5, 0.2]}, "low <= high"),
        ("photometric", {"fog": 1.5}, "fog"),
        ("photometric", {"gain": [-1, 1]}, "gain"),
        ("photometric", {"haze": 1}, "haze"),
        ("weather", {"effect": "hail"}, "rain"),
        ("weather", {}, "effect"),
        ("weather", {"effect": "rain", "amount": 2}, "0..1"),
        ("geometry", {"crop": 0.1}, "0.3..1"),
        ("geometry", {"rotate": 90}, "-45..45"),
        ("geometry", {"flip": 2}, "flip"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(kind: str, keys: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError) as raised:
        build(kind, **keys)
    assert words in str(raised.value)


def lab(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2LAB))


def test_recolor_moves_the_mean_of_an_object_and_nothing_else() -> None:
    before, labels = scene()
    wanted = {"lightness": 40, "chroma": 30, "hue": 270, "strength": 1}
    after, unchanged = run(build("recolor", classes=["block"], **wanted))
    assert unchanged.mask is not None and labels.mask is not None and (unchanged.mask == labels.mask).all()
    inner = np.s_[23:41, 33:57]
    assert lab(after)[inner].reshape(-1, 3).mean(0) == pytest.approx([40, 0, -30], abs=2)
    assert np.array_equal(after[:14], before[:14]) and np.array_equal(after[:, :24], before[:, :24])
    half, _ = run(build("recolor", classes=["block"], **wanted | {"strength": 0.5}))
    middle = (lab(before)[inner] + lab(after)[inner]).reshape(-1, 3).mean(0) / 2
    assert lab(half)[inner].reshape(-1, 3).mean(0) == pytest.approx(middle, abs=2)


def test_recolor_keeps_texture_and_by_object_gives_each_its_own_colour() -> None:
    stream = np.random.default_rng(1)
    image = np.clip(stream.normal(128, 12, (40, 80, 1)).repeat(3, axis=2), 0, 255).astype(np.uint8)
    mask = np.zeros((40, 80), np.int32)
    mask[10:30, 5:30] = mask[10:30, 45:70] = 1
    labels = Labels((ClassInfo(0, "wall"), ClassInfo(1, "coat"), ClassInfo(9, "void", ignore=True)), mask)
    patches = np.s_[13:27, 8:27], np.s_[13:27, 48:67]
    means = {}
    for per in ("object", "class"):
        spec = build("recolor", classes=["coat"], per=per, strength=1, lightness=[30, 80])
        after, _ = spec(image, labels, np.random.default_rng(4))
        means[per] = [lab(after)[patch].reshape(-1, 3).mean(0) for patch in patches]
        for patch in patches:
            assert lab(after)[patch][..., 0].std() == pytest.approx(lab(image)[patch][..., 0].std(), rel=0.25)
    assert np.abs(means["object"][0] - means["object"][1]).max() > 10
    assert np.abs(means["class"][0] - means["class"][1]).max() < 2


def test_recolor_without_names_takes_all_but_what_is_ignored_or_excluded() -> None:
    image, labels = scene()
    table = (ClassInfo(0, "wall", ignore=True), ClassInfo(300, "block"))
    ignored = Labels(table, labels.mask)
    after, _ = build("recolor", strength=1, lightness=10)(image, ignored, np.random.default_rng(0))
    assert np.array_equal(after[:14], image[:14]) and not np.array_equal(after[24:40, 34:56], image[24:40, 34:56])
    nothing, _ = build("recolor", exclude=["block"])(image, ignored, np.random.default_rng(0))
    boxes, _ = build("recolor")(image, Labels(table, None, labels.instances[1:]), np.random.default_rng(0))
    assert np.array_equal(nothing, image) and np.array_equal(boxes, image)


def test_recolor_refuses_classes_that_are_not_there_before_work_starts(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="chroma"):
        build("recolor", chroma=[0, 300])
    with pytest.raises(ConfigError, match="labels no classes"):
        build("recolor").check_classes(())
    image, labels = scene()
    assert labels.mask is not None
    write_pair(tmp_path / "source", "images/a.png", image, labels.mask // 300)
    (tmp_path / "source/classes.csv").write_text("id,name\n0,wall\n1,block\n")
    value = {"source": {"path": str(tmp_path / "source"), "format": "masks"}, "generate": {"kind": "none"}}
    value["protect"] = [{"kind": "blur", "region": "all"}]
    for key in ("classes", "exclude"):
        config = parse_config(value | {"randomize": [{"kind": "recolor", key: ["coat"]}]}, "test")
        with pytest.raises(ConfigError, match=rf"recolor: `{key}` names \['coat'\].* wall, block"):
            resolve(config)
