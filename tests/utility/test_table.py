"""The whole table on a small set: what is as good is not called worse, damage is found, work is kept."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from synthgen import cli
from synthgen.report.build import ReportOptions, write_report
from synthgen.utility.cells import CellStore, cell_digest, cells_of
from synthgen.utility.report import format_utility, write_utility
from synthgen.utility.result import Assembler, Outcome, Utility, architecture, arm_verdict
from synthgen.utility.run import measure_utility
from synthgen.utility.spec import UtilitySpec
from synthgen.utility.study import Study
from tests.utility import shapes


@dataclass(frozen=True)
class Made:
    source: Path
    run: Path
    broken: Path
    out: Path
    spec: UtilitySpec
    found: Utility
    study: Study


def measure(spec: UtilitySpec, out: Path, said: list[str] | None = None) -> tuple[Utility, Study]:
    heard: list[str] = [] if said is None else said
    measured = measure_utility(spec, out, heard.append, lambda total, rank: None, lambda row: None)
    assert measured is not None
    return measured


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("utility")
    source = shapes.write_shapes(root / "source")
    run = shapes.write_run(source, root / "run")
    broken = shapes.damaged(run, root / "broken")
    arms = {"near": {"run": str(run)}, "damaged": {"run": str(broken)}}
    spec = shapes.spec(source, arms=arms, mixtures=[{"of": "damaged", "shares": [0.5]}])
    found, study = measure(spec, root / "out")
    write_utility(found, study, spec, root / "out", quick=False)
    return Made(source, run, broken, root / "out", spec, found, study)


def outcome(found: Utility, arm: str, model: str = "unet") -> Outcome:
    return next(one for one in found.outcomes if (one.arm, one.model) == (arm, model))


def test_what_is_nearly_real_is_as_good_and_damage_is_worse(made: Made) -> None:
    real, near, damaged = (outcome(made.found, arm) for arm in ("real", "near", "damaged"))
    assert real.score.value is not None and real.score.value > 0.4
    assert real.difference.value == 0 and real.ratio.value == 1
    assert near.verdict != "fail" and near.difference.high is not None and near.difference.high > -made.spec.margin
    assert damaged.verdict == "fail"
    assert damaged.difference.high is not None and damaged.difference.high < -made.spec.margin
    assert {one.arm: one.verdict for one in made.found.arms}["damaged"] == "fail"
    assert made.found.verdict == "fail" and "damaged" in made.found.reason


def test_the_swapped_classes_are_those_that_suffer(made: Made) -> None:
    lost = {one.name: one.difference.value or 0.0 for one in outcome(made.found, "damaged").classes}
    assert max(lost["box"], lost["disc"]) < -0.15 and lost["ground"] > max(lost["box"], lost["disc"])


def test_a_mixture_lies_between_and_none_of_the_damage_is_best(made: Made) -> None:
    curve = next(one for one in made.found.mixtures if one.model == "unet")
    scores = [one.value or 0.0 for one in curve.scores]
    assert curve.shares == (0.0, 0.5, 1.0) and curve.best == 0.0 and curve.support > 0.9
    assert scores[0] > scores[1] > scores[2]


def test_every_set_has_the_same_scenes_and_steps(made: Made) -> None:
    assert made.found.trained_on == shapes.TRAIN and made.found.tested_on == shapes.TEST
    assert {len(one.arms) for one in made.study.sets} == {shapes.TRAIN}
    assert {arm.train.ids for arm in made.study.arms.values()} == {made.study.arms["real"].train.ids}
    mixed = next(one for one in made.study.sets if one.share == 0.5)
    assert mixed.arms.count("damaged") == shapes.TRAIN // 2


def test_originals_and_outputs_are_both_scored(made: Made) -> None:
    tried = {(one.arm, one.tested) for one in made.found.cross}
    assert {("real", "near"), ("real", "damaged"), ("near", "near"), ("damaged 50 %", "damaged")} <= tried
    assert all(one.pictures == shapes.TEST for one in made.found.cross)


def test_it_goes_on_where_it_was(made: Made) -> None:
    cells = sorted((made.out / "private/cells").iterdir())
    before = {path.name: path.read_bytes() for path in cells}
    assert len(cells) == 4 * 2 * 3
    cells[3].unlink()
    said: list[str] = []
    again, _ = measure(made.spec, made.out, said)
    assert sum(" of 1: " in line for line in said) == 1
    assert again == made.found
    assert {path.name: path.read_bytes() for path in (made.out / "private/cells").iterdir()} == before


def test_another_margin_trains_nothing_anew(made: Made) -> None:
    said: list[str] = []
    found, _ = measure(made.spec.model_copy(update={"margin": 0.9}), made.out, said)
    assert not any(" in " in line and "·" in line for line in said)
    near = outcome(found, "near")
    assert near.verdict == "insufficient" and "too little to lose" in near.reason


def test_json_and_text(made: Made) -> None:
    record = json.loads((made.out / "report/utility.json").read_text(encoding="utf-8"))
    assert record["verdict"] == "fail" and record["made"]["command"] == "synthgen utility CONFIG"
    assert record["rules"]["margin"] == made.spec.margin and len(record["rules"]["spec"]) == 64
    text = format_utility(made.found, made.spec)
    assert "damaged: fail" in text and "Mixtures" in text and "tested on 24 real pictures" in text
    assert (made.out / "report/utility.txt").read_text(encoding="utf-8") == text + "\n"


def test_the_report_of_the_run_shows_it(made: Made) -> None:
    report = write_report(made.broken, ReportOptions(gallery=0, compare=False), lambda line: None)
    section = next(one for one in report.sections if one.id == "utility")
    assert section.state == "fail" and report.verdict == "fail"
    scores = section.tables[0]
    value = next(line.values[0] for line in scores.lines if line.label == "unet · damaged")
    assert value == outcome(made.found, "damaged").score.value
    released = (made.broken / "report/utility.json").read_text(encoding="utf-8")
    assert str(made.source) not in released and '"spec"' not in released and "train/" not in released


def test_a_result_of_another_run_is_refused(made: Made, tmp_path: Path) -> None:
    path = made.run / "private/utility.json"
    kept = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(kept) | {"run": {"run_id": "other"}}), encoding="utf-8")
    with pytest.raises(Exception, match="run synthgen utility again"):
        write_report(made.run, ReportOptions(gallery=0, compare=False), lambda line: None)
    path.write_text(kept, encoding="utf-8")


def test_quick_on_the_command_line(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A baseline that is made on the fly, one seed, no verdict."""
    value: dict[str, Any] = shapes.spec_value(made.source, quick={"steps": 5, "seeds": [7], "shares": [0.5]})
    blur = {"protect": [{"kind": "blur", "region": "all", "sigma": 2}], "detect": [], "stages": [], "check": []}
    value["arms"] = {"blur": {"config": "redact", "set": blur}}
    value["mixtures"] = [{"of": "blur"}]
    del value["source"]
    config = tmp_path / "utility.yaml"
    config.write_text(json.dumps(value), encoding="utf-8")
    arguments = ["utility", str(config), "--source", str(made.source), "--out", str(tmp_path / "out"), "--quick"]
    monkeypatch.setattr("sys.argv", ["synthgen", *arguments, "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 3
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "insufficient" and "1 seed(s); 3 are needed" in record["reason"]
    assert {one["arm"] for one in record["outcomes"]} == {"real", "blur", "blur 50 %"}
    assert record["made"]["command"] == "synthgen utility CONFIG --quick" and record["rules"]["steps"] == 5
    assert (tmp_path / "out/private/runs/blur/report/utility.json").is_file()


def test_what_the_labels_of_a_release_are_worth_beside_the_sources(made: Made) -> None:
    """Two arms of one run: the damaged labels of its release, and those of the source, over the same outputs."""
    arms = {"damaged": {"run": str(made.broken)}, "kept": {"run": str(made.broken), "labels": "source"}}
    found, _ = measure(shapes.spec(made.source, arms=arms), made.out)
    effects = {one.model: one.difference for one in found.filters}
    assert effects.keys() == {one.model for one in found.outcomes}
    scores = {one.arm: one.score.value or 0.0 for one in found.outcomes if one.model == "unet"}
    assert effects["unet"].value == pytest.approx(scores["damaged"] - scores["kept"])
    assert scores["damaged"] < scores["kept"] - made.spec.margin
    assert "damaged − kept" in format_utility(found, made.spec)
    assert made.found.filters == ()


def test_two_drives_cut_into_stretches_may_fail_and_never_pass(made: Made) -> None:
    cells = CellStore(made.out / "private/cells")
    digests = {cell.key: cell_digest(cell, made.study, made.spec, "cpu") for cell in cells_of(made.study, made.spec)}

    def judged(arm: str, scenes: int, margin: float) -> tuple[str, str]:
        spec, study = made.spec.model_copy(update={"margin": margin}), replace(made.study, scenes=scenes)
        one = outcome(Assembler(study, spec, lambda cell: cells.load(digests[cell.key])).utility(), arm)
        return one.verdict, one.reason

    assert judged("near", shapes.TEST, 0.25) == ("pass", "worse by less than 0.25")
    assert judged("near", 2, 0.25) == ("insufficient", "2 scenes in the test; 20 are needed to pass")
    assert judged("damaged", 2, 0.05) == ("fail", "worse by more than 0.05")


def test_one_architecture_does_not_pass(made: Made) -> None:
    passed = [replace(one, verdict="pass") for one in made.found.outcomes if one.arm == "near"]
    different = {"unet": "a", "classes": "b"}
    assert arm_verdict("near", passed, different).verdict == "pass"
    same = arm_verdict("near", passed, dict.fromkeys(different, "a"))
    assert same.verdict == "insufficient" and same.reason == "1 architecture; 2 are needed"
    model = made.spec.models[0]
    again = model.model_copy(update={"name": "other", "task": "classes", "learning_rate": 0.5})
    assert architecture(model) == architecture(again) != architecture(made.spec.models[1])


def test_a_first_look_leaves_the_whole_table_where_it_is(made: Made, tmp_path: Path) -> None:
    before = (made.run / "report/utility.json").read_bytes()
    write_utility(made.found, made.study, made.spec, tmp_path, quick=True)
    assert (made.run / "report/utility.json").read_bytes() == before
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"utility-quick.json", "utility-quick.txt"}
