"""Conversions that are refused, runs that are exported, and the command line: nothing is left half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthgen.convert import whole_folder
from synthgen.datasets.base import resolve_source
from synthgen.inspect import convert_finished
from synthgen.rundir import RunDir
from synthgen.types import ConfigError, SynthgenError
from tests.datasets.conftest import tree
from tests.datasets.round_trips import assert_same_labels, convert, named_mask, samples
from tests.datasets_for_tests import config_value, parsed, python, run, street, write_image


@pytest.mark.parametrize(("form", "words"), [("yolo9", r"no such format.*coco, .*yolo"), ("../yolo", "no such format")])
def test_an_unknown_format_lists_those_there_are(streets: Path, tmp_path: Path, form: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        convert(streets, tmp_path / "out", form)


def test_a_folder_that_holds_something_is_refused_and_an_empty_one_is_taken(streets: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    convert(streets, tmp_path / "out", "voc")
    before = tree(tmp_path / "out")
    with pytest.raises(ConfigError, match="holds something"):
        convert(streets, tmp_path / "out", "yolo")
    with pytest.raises(ConfigError, match="holds something"):
        convert(streets, streets / "classes.csv", "yolo")
    assert tree(tmp_path / "out") == before


def test_no_image_no_folder(tmp_path: Path) -> None:
    (tmp_path / "in/cat").mkdir(parents=True)
    with pytest.raises(ConfigError, match="looks like no known format"):
        convert(tmp_path / "in", tmp_path / "out", "yolo")
    for number in range(5):
        (tmp_path / f"in/cat/{number}.jpg").write_bytes(b"")
    words = (
        r"no image that could be read\n  image-empty: cat/0.jpg: .*\n.*\n  image-empty: cat/2.jpg: .*\n  and 2 more$"
    )
    with pytest.raises(SynthgenError, match=words):
        convert(tmp_path / "in", tmp_path / "out", "yolo")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), whole_folder(tmp_path / "out") as partial:
        (partial / "a").write_text("x")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_key_of_the_source_is_named(streets: Path, tmp_path: Path) -> None:
    words = r"streets: 2 problem\(s\)\n  source.limit: Input should be .* 1\n  source.imges: unknown key; remove it"
    with pytest.raises(ConfigError, match=words) as raised:
        convert(streets, tmp_path / "out", "yolo", "format=masks", "imges=x", "limit=0")
    assert "validation error" not in str(raised.value)


def test_the_folder_one_is_in_is_not_exchanged(streets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for out in (Path("."), tmp_path / "here"):
        with pytest.raises(ConfigError, match=r"the folder you are in.*choose a new one"):
            convert(streets, out, "voc")
    convert(streets, Path("new"), "voc")
    assert len(samples(tmp_path / "here/new")) == 7 and len(list(tmp_path.glob(".*"))) == 0


def test_a_run_is_exported_in_another_format(finished: Path, tmp_path: Path) -> None:
    """The outputs under the names of the release, with the labels of the source."""
    conversion = convert_finished(finished, "voc", tmp_path / "voc")
    released = samples(finished / "release")
    exported = samples(tmp_path / "voc")
    assert conversion.counts["images"] == len(released) == len(exported) > 0 and not conversion.left_out
    for key, sample in released.items():
        assert (sample.image == exported[key].image).all()
        assert (named_mask(sample.labels) == named_mask(exported[key].labels)).all()
    with pytest.raises(ConfigError, match="holds something"):
        convert_finished(finished, "yolo", tmp_path / "voc")


def test_an_exported_run_holds_back_what_its_release_does(tiny_sd: Path, tmp_path: Path) -> None:
    """Columns that tell who do not leave by the other door."""
    write_image(tmp_path / "source/a.png", street(1)[0])
    (tmp_path / "source/metadata.csv").write_text("file_name,photographer,weather\na.png,Jane,rain\n")
    changes = {"source": {"path": str(tmp_path / "source")}, "names": "pseudonym", "detect": [], "extract": ["canny"]}
    value = config_value(tmp_path / "source", tiny_sd, protect=["edges"], **changes)
    value["generate"]["controlnets"] = value["generate"]["controlnets"][:1]
    assert run(value, tmp_path / "run").accepted == 1
    for form in ("hf", "webdataset", "imagefolder"):
        convert_finished(tmp_path / "run", form, tmp_path / form)
        (sample,) = samples(tmp_path / form).values()
        assert dict(sample.labels.attributes) == {"weather": "rain"}


def test_the_command_line(streets: Path, tmp_path: Path) -> None:
    done = python("-m", "synthgen", "convert", str(streets), str(tmp_path / "out"), "--format", "coco", "--json")
    record = json.loads(done.stdout)
    assert record["images"] == 7 and record["format"] == "coco"
    assert {"mask-as-objects", "colours-not-held"} == {finding["code"] for finding in record["findings"]}
    again = python("-m", "synthgen", "convert", str(streets), str(tmp_path / "out"), "--format", "coco")
    assert again.returncode == 2 and "holds something" in again.stderr
    wrong = python(
        "-m", "synthgen", "convert", str(streets), str(tmp_path / "x"), "--format", "coco", "--set", "imges=1"
    )
    assert wrong.returncode == 2 and "imges" in wrong.stderr


@pytest.mark.parametrize("form", ["cityscapes", "hf", "panoptic", "voc", "webdataset", "yolo"])
def test_a_run_gives_back_the_format_of_its_source(streets: Path, tiny_sd: Path, tmp_path: Path, form: str) -> None:
    """Under new names: as many images in the same splits, of the same sizes, with the same labels."""
    convert(streets, tmp_path / "source", form)
    value = config_value(tmp_path / "source", tiny_sd, names="pseudonym", source={"path": str(tmp_path / "source")})
    assert run(value, tmp_path / "run").accepted == 7
    source, release = resolve_source(tmp_path / "source"), resolve_source(tmp_path / "run/release")
    assert release.format == form
    read = {item.id: (item.split, release.read(item)) for item in release.index().items}
    naming = RunDir(tmp_path / "run").names(parsed(value))
    for item in source.index().items:
        split, made = read.pop(naming.image(item, 0))
        assert split == item.split and made.image.shape == source.read(item).image.shape
        assert_same_labels(source.read(item).labels, made.labels)
    assert not read
