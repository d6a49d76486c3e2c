"""`synthgen bias` on finished runs: planted truths found from files to exit status, honest where it can't tell."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

import synthgen.detectors
from synthgen.bias import measure_run, read_leaks, write_bias
from synthgen.bias_spec import BiasSpec, load_bias_spec
from synthgen.cli import app
from synthgen.metrics.bias import BiasMeasurement, BiasReport
from synthgen.report.bias_tables import WIDTH, format_bias
from synthgen.rundir import RunDir
from synthgen.types import ConfigError, Image, Sample, SynthgenError
from tests.bias_runs import SKIN, again, save_classifier, write_members, write_people, write_run

CONFIGS = Path(__file__).parents[1] / "configs"
SKIN_SPEC = {"attributes": [{"kind": "ita", "classes": ["skin"]}], "thresholds": {"draws": 499}}
GENDER_SPEC = {
    "attributes": [{"kind": "column", "column": "gender"}, {"kind": "column", "column": "age", "bins": [40]}],
    "thresholds": {"draws": 499},
}


def spec_of(value: dict[str, object]) -> BiasSpec:
    return BiasSpec.model_validate(value)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "source", 160)


@pytest.fixture(scope="session")
def members(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_members(tmp_path_factory.mktemp("members") / "source", 160)


@pytest.fixture(scope="session")
def fair(tmp_path_factory: pytest.TempPathFactory, people: Path) -> Path:
    """A run without bias. Read only."""
    return write_run(people, tmp_path_factory.mktemp("fair") / "run", again(0))


def lighter(sample: Sample) -> Image:
    """As `again`, but skin is painted lighter."""
    image = again(1)(sample)
    assert image is not None and sample.labels.mask is not None
    skin = sample.labels.mask == SKIN
    image[skin] = (image[skin] * 0.7 + 255 * 0.3).astype(np.uint8)
    return image


def failed(report: BiasReport, metric: str) -> list[BiasMeasurement]:
    return [one for one in report.measurements if one.metric == metric and one.verdict == "fail"]


def codes(report: BiasReport) -> set[str]:
    return {one.code for one in report.findings}


def test_a_fair_run_passes(fair: Path) -> None:
    report = measure_run(fair, spec_of(SKIN_SPEC))
    assert report.verdict == "pass" and not [one for one in report.flags if one.gate]
    (tone,) = report.attributes
    assert sum(tone.source.values()) == sum(tone.released.values()) == 160 and tone.source["unknown"] == 0
    (transition,) = report.transitions
    assert np.sum(transition.counts) == 160
    assert {one.label for one in report.measurements if one.metric == "association"} <= {"dog", "car", "skin"}


def test_a_generator_that_lightens_skin_is_found(people: Path, tmp_path: Path) -> None:
    report = measure_run(write_run(people, tmp_path / "run", lighter), spec_of(SKIN_SPEC))
    assert report.verdict == "fail"
    (shift,) = failed(report, "shift")
    assert shift.difference is not None and shift.difference > 5 and shift.details["spread_ratio"] < 1
    assert failed(report, "transition") and not failed(report, "acceptance")
    assert {np.sign(one.difference or 0) for one in failed(report, "change") if one.group == "very light"} == {1.0}


def test_a_filter_that_drops_one_group_is_found(members: Path, tmp_path: Path) -> None:
    def make(sample: Sample) -> Image | None:
        hidden = sample.labels.attributes["gender"] == "female" and int(sample.item.id[2:5]) % 10
        return None if hidden else again(2)(sample)

    report = measure_run(write_run(members, tmp_path / "run", make), spec_of(GENDER_SPEC))
    (one,) = failed(report, "acceptance")
    assert (report.verdict, one.group) == ("fail", "female") and one.ratio is not None and one.ratio < 0.3
    gender = next(one for one in report.attributes if one.name == "gender")
    assert gender.source["unknown"] == 8 and gender.groups == ("female", "male")


def test_a_label_that_comes_to_lean_on_skin_is_found(people: Path, tmp_path: Path) -> None:
    def make(sample: Sample) -> Image | None:
        mask = sample.labels.mask
        return lighter(sample) if mask is not None and (mask == 2).any() else again(3)(sample)

    found = failed(measure_run(write_run(people, tmp_path / "run", make), spec_of(SKIN_SPEC)), "association")
    assert {(one.label, np.sign(one.difference or 0)) for one in found if one.group == "very light"} >= {("dog", 1.0)}


def test_without_parameters_columns_are_found_and_faces_are_looked_for(members: Path, tmp_path: Path) -> None:
    report = measure_run(write_run(members, tmp_path / "run", again(4)), BiasSpec())
    assert [one.name for one in report.attributes] == ["skin tone", "age", "gender"]
    assert codes(report) >= {"no-face-detector", "column-skipped", "leak-absent", "label-survival-absent"}
    assert report.verdict == "insufficient"
    assert next(one for one in report.attributes if one.name == "age").groups[0].startswith("<")


def test_every_face_of_an_image_is_a_subject(
    people: Path, fair: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "two.py").write_text(TWO_FACES, encoding="utf-8")
    monkeypatch.setattr(synthgen.detectors, "__path__", [*synthgen.detectors.__path__, str(tmp_path)])
    spec = spec_of({"attributes": ["ita"], "detect": ["two"], "thresholds": {"draws": 199}})
    report = measure_run(fair, spec)
    assert report.run["subjects"] == 320 and report.run["outputs"] == 160
    tone = report.attributes[0]
    assert tone.subject == "face" and sum(tone.source.values()) == 320
    assert tone.source["unknown"] >= 160, "the second face lies on the ground, most of which is no skin"


TWO_FACES = '''
"""A face where the person is, and one in the corner."""
from typing import Literal
from synthgen.detectors.base import Detector
from synthgen.types import Box, Region


class Two(Detector):
    kind: Literal["two"] = "two"

    def load(self, device):
        boxes = (Box(12, 12, 36, 36), Box(0, 0, 11, 11))
        return lambda samples: [[Region("face", box, 0.9, "detector") for box in boxes] for _ in samples]
'''


def test_a_classifier_is_checked_on_a_column_that_knows(members: Path, tmp_path: Path) -> None:
    run = write_run(members, tmp_path / "run", again(5))
    model = save_classifier(tmp_path / "model", ("f", "m"))
    reader = {"kind": "classifier", "name": "seen", "model": str(model), "on": "image", "min_probability": 0}
    names = {"names": {"f": "female", "m": "male"}, "truth": "gender"}
    report = measure_run(run, spec_of({"attributes": [{**reader, **names}], "thresholds": {"draws": 199}}))
    accuracy = [one for one in report.measurements if one.metric == "reader_accuracy"]
    assert {one.group: one.n for one in accuracy} == {"female": 80, "male": 72}
    assert [one for one in report.measurements if one.metric == "corrected_share"]
    known = {"female": {"female": 90, "male": 10}, "male": {"female": 20, "male": 80}}
    given = spec_of({"attributes": [{**reader, "names": names["names"], "confusion": known}]})
    corrected = [one for one in measure_run(run, given).measurements if one.metric == "corrected_share"]
    assert sum(one.value or 0 for one in corrected) == pytest.approx(1)
    with pytest.raises(ConfigError, match="none of the groups"):
        measure_run(run, spec_of({"attributes": [{**reader, "truth": "gender"}]}))


def test_both_editions_are_written_and_the_text_is_narrow(fair: Path, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(fair, tmp_path / "run"))
    report = measure_run(run.root, spec_of(SKIN_SPEC))
    write_bias(run.root, report, 30)
    private, release = (json.loads((folder / "bias.json").read_text()) for folder in (run.private, run.report))
    assert (private["edition"], release["edition"]) == ("private", "release")
    assert private["verdict"] == release["verdict"] == "pass"
    assert "n00" not in json.dumps(release) and str(tmp_path) not in json.dumps(release)
    text = format_bias(report)
    assert text.startswith("verdict  pass") and max(map(len, text.splitlines())) <= WIDTH
    assert "skin tone: source ↓ output →" in text


def test_the_exit_status_tells(
    fair: Path, people: Path, members: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "skin.yaml"
    config.write_text(yaml.safe_dump(SKIN_SPEC))
    runs = {
        "pass": (shutil.copytree(fair, tmp_path / "fair"), 0),
        "fail": (write_run(people, tmp_path / "light", lighter), 1),
    }
    for verdict, (run, status) in runs.items():
        done = CliRunner().invoke(app, ["bias", str(run), "--config", str(config), "--json"])
        assert done.exit_code == status, done.output
        assert json.loads(done.stdout)["verdict"] == verdict
    few = write_run(write_members(tmp_path / "few", 3), tmp_path / "few-run", again(0))
    done = CliRunner().invoke(app, ["bias", str(few)])
    assert done.exit_code == 0 and done.stdout.startswith("verdict  insufficient")


def test_every_output_rejected_and_one_image_are_insufficient(members: Path, tmp_path: Path) -> None:
    for name, source, make in (
        ("none", members, lambda sample: None),
        ("one", write_members(tmp_path / "one", 1), again(0)),
    ):
        report = measure_run(write_run(source, tmp_path / f"{name}-run", make), spec_of(GENDER_SPEC))
        assert report.verdict == "insufficient"
        json.dumps([report.record(), report.release_record(30)], allow_nan=False)
        assert format_bias(report)


def test_a_source_that_changed_or_broke_is_unknown_and_told(tmp_path: Path) -> None:
    source = write_people(tmp_path / "source", 40)
    run = write_run(source, tmp_path / "run", again(0))
    first, second = source / "images/train/n000x.png", source / "images/train/n001x.png"
    first.write_bytes((source / "images/train/n002x.png").read_bytes())
    second.write_bytes(b"\x89PNG\r\n\x1a\n")
    report = measure_run(run, spec_of(SKIN_SPEC))
    assert codes(report) >= {"source-changed", "image-corrupt"}
    assert report.attributes[0].source["unknown"] == 2


def test_outputs_that_show_no_skin_are_told(people: Path, tmp_path: Path) -> None:
    def blue(sample: Sample) -> Image:
        image = sample.image.copy()
        image[..., 2], image[..., 0] = 220, 40
        return image

    report = measure_run(write_run(people, tmp_path / "run", blue), spec_of(SKIN_SPEC))
    assert report.verdict == "insufficient" and "mostly-unreadable" in codes(report)
    assert report.attributes[0].released["unknown"] == 160


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"attributes": [{"kind": "column", "column": "hair"}]}, "no image has the column 'hair'; there are: age"),
        ({"attributes": [{"kind": "column", "column": "gender", "target": {"femal": 1}}]}, "no group ['femal']"),
    ],
)
def test_parameters_that_do_not_fit_the_run(
    members: Path, tmp_path: Path, value: dict[str, object], message: str
) -> None:
    run = write_run(members, tmp_path / "run", again(0))
    with pytest.raises(ConfigError) as error:
        measure_run(run, spec_of(value))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("attributes: [{kind: aura}]", "attributes"),
        ("attributes: [ita, ita]", "every name may stand once"),
        ("attributes: [ita]\nintersections: [[skin tone, hair]]", "expected two or more of"),
        ("threshold: {}", "unknown key"),
        ("thresholds: {ratio: 2}", "thresholds.ratio"),
        ("- 1", "expected a mapping"),
    ],
)
def test_wrong_parameters_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bias.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_bias_spec(tmp_path / "bias.yaml")
    assert message in str(error.value) and "bias.yaml" in str(error.value)


def test_the_shipped_parameters_are_the_defaults() -> None:
    assert load_bias_spec(CONFIGS / "bias.yaml") == BiasSpec()


def test_bounds_by_group_come_from_the_audit(fair: Path, tmp_path: Path) -> None:
    run = RunDir(shutil.copytree(fair, tmp_path / "run"))
    groups = {"skin tone": {"dark": {"k": 5, "n": 60, "bound": 0.17, "verdict": "fail", "attack": "dlib"}}}
    audit = run.private / "audit.json"
    for content in ({}, {"groups": {}}, {"groups": None}):
        audit.write_text(json.dumps(content))
        assert read_leaks(run) == {}
    audit.write_text(json.dumps({"verdict": "fail", "groups": groups}))
    report = measure_run(run.root, spec_of(SKIN_SPEC))
    assert report.verdict == "fail" and [one.group for one in failed(report, "leak")] == ["dark"]
    assert "leak-absent" not in codes(report)
    for wrong in ("[]", "{", json.dumps({"groups": {"skin tone": {"dark": {"k": -1}}}})):
        audit.write_text(wrong)
        with pytest.raises(ConfigError, match=r"audit\.json"):
            read_leaks(run)


def test_what_is_no_finished_run_is_refused(fair: Path, tmp_path: Path) -> None:
    with pytest.raises(SynthgenError, match="not a run folder"):
        measure_run(tmp_path, BiasSpec())
    run = RunDir(shutil.copytree(fair, tmp_path / "run"))
    next(run.store.ledgers.glob("*.parquet")).unlink()
    with pytest.raises(ConfigError, match="run it to the end first"):
        measure_run(run.root, BiasSpec())


def test_hardly_a_fair_run_fails(people: Path, tmp_path: Path) -> None:
    runs = [write_run(people, tmp_path / f"run{seed}", again(seed)) for seed in range(10, 16)]
    assert [measure_run(run, spec_of(SKIN_SPEC)).verdict for run in runs].count("fail") <= 1
