from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from synthgen.palettes import (
    CLASS_MAPS,
    PALETTES,
    Palette,
    load_class_map,
    load_palette,
    map_classes,
    parse_class_map,
    parse_palette,
    part_of,
)
from synthgen.types import ConfigError

KEY = "extract.<i>.class_map"
SHARED = Path(__file__).parents[2].parent / "shared" / "data"


def colors_of(palette: Palette) -> dict[str, tuple[int, int, int]]:
    return {entry.name: entry.color for entry in palette.classes}


@pytest.mark.parametrize(
    ("place", "name", "color"),
    [  # spot checks against OpenMMLab's ADE20K palette, by the benchmark's index from 1
        (1, "wall", (120, 120, 120)),
        (3, "sky", (6, 230, 230)),
        (13, "person", (150, 5, 61)),
        (21, "car", (0, 102, 200)),
        (47, "sand", (160, 150, 20)),
        (94, "pole", (51, 0, 255)),
        (116, "bag", (70, 184, 160)),
        (137, "traffic light", (41, 0, 255)),
        (150, "flag", (92, 0, 255)),
    ],
)
def test_ade20k_has_the_benchmarks_names_and_colours_in_order(place: int, name: str, color: tuple) -> None:
    palette = load_palette("ade20k")
    assert len(palette.classes) == 150
    assert palette.names[place] == name
    assert tuple(palette.colors[place]) == color


def test_ade20k_shares_one_colour_only_as_published() -> None:
    colors = colors_of(load_palette("ade20k"))
    doubles = {name for name, color in colors.items() if list(colors.values()).count(color) > 1}
    assert doubles == {"road", "skyscraper"}


@pytest.mark.parametrize("name", PALETTES)
def test_black_is_unknown_alone(name: str) -> None:
    palette = load_palette(name)
    assert palette.names[0] == "unknown"
    assert not palette.colors[0].any()
    assert palette.colors[1:].any(axis=1).all()


def test_starter_keeps_ade_names_in_ade_colours_and_sets_its_own_apart() -> None:
    starter, ade = colors_of(load_palette("starter")), colors_of(load_palette("ade20k"))
    assert {name: starter[name] for name in starter if name in ade} == {n: ade[n] for n in starter if n in ade}
    assert len([name for name in starter if name not in ade]) == 8
    for name in set(starter) - set(ade):
        others = np.array([color for other, color in starter.items() if other != name] + [(0, 0, 0)])
        assert np.abs(others - starter[name]).max(axis=1).min() >= 60, name


def test_starter_ids_are_those_its_weights_were_trained_with() -> None:
    assert load_palette("starter").names == (
        *("unknown", "sky", "building", "pole", "road", "sidewalk", "tree", "signboard", "fence", "car", "person"),
        *("bicycle", "hair", "skin", "upper clothes", "lower clothes", "dress", "footwear", "bag", "hat", "accessory"),
    )


@pytest.mark.parametrize(("name", "whole"), [("hair", "person"), ("bag", "bag"), ("sky", "sky"), ("x", "x")])
def test_part_of(name: str, whole: str) -> None:
    assert part_of(name) == whole


def test_paint() -> None:
    palette = parse_palette([{"name": "a", "color": [1, 2, 3]}, {"name": "b", "color": [9, 8, 7]}], "test")
    painted = palette.paint(np.array([[0, 1], [2, 1]], dtype=np.int32))
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[[0, 0, 0], [1, 2, 3]], [[9, 8, 7], [1, 2, 3]]]


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("name", CLASS_MAPS)
def test_every_target_of_a_shipped_map_is_in_its_palette(name: str, palette: str) -> None:
    classes = load_class_map(name)
    ids = map_classes(classes, name, load_palette(palette), KEY)
    assert set(ids) == set(classes)
    assert max(ids.values()) > 0


CITYSCAPES = (
    "road,sidewalk,building,wall,fence,pole,traffic light,traffic sign,vegetation,terrain,sky,person,rider,car,truck,"
    "bus,train,motorcycle,bicycle"
)


@pytest.mark.parametrize(
    ("class_map", "palette", "name", "target"),
    [
        ("camvid", "ade20k", "Pavement", "sidewalk"),
        ("camvid", "starter", "SignSymbol", "signboard"),
        ("camvid", "starter", "signsymbol", "signboard"),
        ("camvid", "ade20k", "Unlabelled", "unknown"),
        ("camvid", "ade20k", "Column_Pole", "pole"),
        ("clothing", "ade20k", "coat", "person"),
        ("clothing", "starter", "coat", "upper clothes"),
        ("clothing", "starter", "t-shirt", "upper clothes"),
        ("clothing", "ade20k", "purse", "bag"),
        ("clothing", "starter", "null", "unknown"),
        ("cityscapes", "ade20k", "vegetation", "tree"),
        ("cityscapes", "ade20k", "rider", "person"),
        ("cityscapes", "starter", "terrain", "tree"),
        ("coco", "ade20k", "zebra", "animal"),
        ("coco", "starter", "zebra", "unknown"),
        ("coco", "ade20k", "sky-other-merged", "sky"),
        ("voc", "ade20k", "tvmonitor", "television receiver"),
        ("voc", "ade20k", "background", "unknown"),
        ("ade20k", "ade20k", "road, route", "road"),
        ("ade20k", "ade20k", "bed ", "bed"),
        ("ade20k", "ade20k", "windowpane; window", "windowpane"),
        ("ade20k", "ade20k", "street lamp", "streetlight"),
        ("starter", "ade20k", "hair", "person"),
        ("starter", "ade20k", "unknown", "unknown"),
    ],
)
def test_map_classes(class_map: str, palette: str, name: str, target: str) -> None:
    loaded = load_palette(palette)
    assert loaded.names[map_classes([name], class_map, loaded, KEY)[name]] == target


@pytest.mark.parametrize(
    ("names", "probe", "target"),
    [
        (["Sky", "Pavement", "SignSymbol", "Bicyclist"], "Bicyclist", "bicycle"),
        (CITYSCAPES.split(","), "terrain", "grass"),
        (["null", "blazer", "coat", "skin"], "skin", "person"),
        (["person", "surfboard", "hot dog"], "surfboard", "unknown"),
        (["aeroplane", "diningtable", "background"], "diningtable", "table"),
        (["WALL", "arcade machine", "escalator"], "WALL", "wall"),
        (["unknown", "hair", "sky", "accessory"], "hair", "person"),
        ([], None, None),
    ],
)
def test_auto_finds_the_map_that_holds_every_class(names: list[str], probe: str | None, target: str | None) -> None:
    palette = load_palette("ade20k")
    ids = map_classes(names, "auto", palette, KEY)
    assert list(ids) == names
    if probe is not None:
        assert palette.names[ids[probe]] == target


def test_auto_prefers_the_palettes_own_names() -> None:
    palette = parse_palette([{"name": "Wheel", "color": [1, 1, 1]}, {"name": "sky", "color": [2, 2, 2]}], "test")
    assert map_classes(["sky", "wheel"], "auto", palette, KEY) == {"sky": 2, "wheel": 1}


@pytest.mark.parametrize(
    ("names", "class_map", "said"),
    [
        (["Sky", "Spaceship"], "camvid", ["'Spaceship'", KEY]),
        (["Sky", "Pavement", "SignSymbol", "Spaceship"], "auto", ["'Spaceship'", "camvid", "1 of 4", KEY]),
        (["hut"], {"hut": "palace"}, ["'hut'", "'palace'", "starter", KEY]),
        (["hut"], {"hut": {"ade20k": "hovel"}}, ["'hut'", "ade20k", "starter", KEY]),
        (["hut"], "atlantis", ["'atlantis'", "camvid", ".yaml"]),
    ],
)
def test_a_class_without_a_target_is_named_with_the_key(names: list[str], class_map: object, said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        map_classes(names, class_map, load_palette("starter"), KEY)  # type: ignore[arg-type]
    assert all(part in str(caught.value) for part in said), str(caught.value)


GOOD = {"name": "a", "color": [1, 2, 3]}


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"a": [1, 2, 3]}, "list"),
        ([], "list"),
        ([{"color": [1, 2, 3]}], "entry 1"),
        ([GOOD, GOOD], "once"),
        ([{"name": "unknown", "color": [1, 2, 3]}], "id 0"),
        ([{"name": "a", "color": [0, 0, 0]}], "black"),
        ([{"name": "a", "color": [1, 2]}], "three"),
        ([{"name": "a", "color": [1, 2, 256]}], "0..255"),
        ([{"name": "a", "color": "red"}], "0..255"),
        ([{**GOOD, "part_of": "b"}], "no entry"),
        ([{**GOOD, "colour": [1, 2, 3]}], "part_of"),
    ],
)
def test_bad_palettes_are_refused(entries: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_palette(entries, "test")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (["car"], "mapping"),
        ({}, "mapping"),
        ({None: "car"}, "quotes"),
        ({"a": 3}, "'a'"),
        ({"a": {"starter": ["car"]}}, "'a'"),
        ({"Truck_Bus": "car", "truck bus": "car"}, "twice"),
    ],
)
def test_bad_class_maps_are_refused(value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_class_map(value, "test")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {name: a, color: [1, 2, 3]}\n", None),
        ("- &x {name: a, color: [1, 2, 3]}\n- *x\n", "aliases"),
        ("!!python/object/apply:os.getcwd []\n", "YAML"),
        ("- {name: a", "YAML"),
        ("#" * (1 << 20) + "\n\n", "larger"),
    ],
)
def test_palette_files_are_read_safely(tmp_path: Path, text: str, said: str | None) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    if said is None:
        assert load_palette(str(path)).names == ("unknown", "a")
    else:
        with pytest.raises(ConfigError, match=said):
            load_palette(str(path))


@pytest.mark.parametrize(("folder", "class_map"), [("camvid", "camvid"), ("pedestrians", "clothing")])
def test_class_tables_as_published_are_mapped_whole(folder: str, class_map: str) -> None:
    table = SHARED / folder / "classes.csv"
    if not table.is_file():
        pytest.skip(f"needs {folder}/classes.csv beside the repository")
    with table.open(newline="") as stream:
        names = [row["name"] for row in csv.DictReader(stream)]
    for palette in map(load_palette, PALETTES):
        assert map_classes(names, "auto", palette, KEY) == map_classes(names, class_map, palette, KEY)
