"""What an audit reads: identities, pairs, its config, a run; and what it says of those that don't fit."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from synthgen import cli
from synthgen.audit import audit, read_pairs
from synthgen.auditing.identities import dataset_identities, group_columns, read_identities
from synthgen.auditing.pairs import pairs_of_folders, pairs_of_run
from synthgen.auditing.report import audit_record
from synthgen.auditing.spec import AttackerSpec, load_audit_spec
from synthgen.auditing.subjects import find_subjects
from synthgen.types import Box, ConfigError, Item, Labels, Region, Sample, SynthgenError
from tests.auditing import crowd

IDS = ["a/1.png", "b/1.png", "b/2 é.png"]


def table(path: Path, *rows: str) -> Path:
    path.write_text("\n".join(rows), encoding="utf-8")
    return path


def test_a_file_is_named_by_the_end_of_its_path(tmp_path: Path) -> None:
    found = read_identities(table(tmp_path / "i.csv", "file,identity,age", "a/1.png,x,1", "2 é.png,y,"), IDS)
    assert found.person == {"a/1.png": "x", "b/2 é.png": "y"} and found.attributes == {"age": {"x": "1"}}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (("file,name", "1.png,x"), "expected the columns file and identity"),
        (("file,identity", "gone.png,x", "lost.png,x"), r"names 2 image\(s\) that the dataset hasn't, first: gone.png"),
        (("file,identity", "1.png,x"), "may be a/1.png or b/1.png"),
        (("file,identity", "a/1.png,x", "a/1.png,y"), "two identities"),
        (("",), "expected the columns"),
    ],
)
def test_a_file_of_identities_that_does_not_fit(tmp_path: Path, rows: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_identities(table(tmp_path / "i.csv", *rows), IDS)


def test_no_file_of_identities(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        read_identities(tmp_path / "none.csv", IDS)


def test_identities_of_a_dataset() -> None:
    rows = {"a.png": {"identity": 7, "age": 3}, "b.png": {"identity": "", "age": 4}, "c/d.png": {}}
    assert dataset_identities(rows, None).person == {"a.png": "7"}
    assert dataset_identities(rows, "folders").person["c/d.png"] == "c"
    assert dataset_identities(rows, "age").person == {"a.png": "3", "b.png": "4"}
    with pytest.raises(ConfigError, match="no image has the column 'who'"):
        dataset_identities(rows, "who")


def test_columns_to_report_apart(tmp_path: Path) -> None:
    lines = [f"{number}.png,p{number},{number % 2},{number},same" for number in range(12)]
    found = read_identities(
        table(tmp_path / "i.csv", "file,identity,even,number,one", *lines), [f"{number}.png" for number in range(12)]
    )
    assert list(group_columns(found, None)) == ["even"]
    assert list(group_columns(found, ("number",))) == ["number"]
    with pytest.raises(ConfigError, match="no column 'height'"):
        group_columns(found, ("height",))


def test_folders_that_cannot_be_paired(tmp_path: Path) -> None:
    real = crowd.write_crowd(tmp_path / "real", 2, 1, crowd.portrait)
    other = tmp_path / "other"
    other.mkdir()
    for synthetic, message in (
        (other, "paired with originals by name"),
        (real, "same folder"),
        (tmp_path / "x", "not a"),
    ):
        with pytest.raises(ConfigError, match=message):
            pairs_of_folders(real, synthetic, None, None)
    with pytest.raises(ConfigError, match="--real"):
        pairs_of_folders(tmp_path / "gone", other, None, None)
    with pytest.raises(ConfigError, match="or both"):
        read_pairs(None, real, None, None, crowd.spec())
    with pytest.raises(SynthgenError, match="not a run folder"):
        read_pairs(tmp_path, None, None, None, crowd.spec())


def test_a_run_is_audited_by_what_it_released(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    pairs = pairs_of_run(run, None, None)
    assert pairs.keeps_names and len(pairs.outputs) == 7
    rows = [f"{name},p{number // 2}" for number, name in enumerate(sorted(pairs.outputs))]
    pairs = pairs_of_run(run, table(tmp_path / "i.csv", "file,identity", *rows), None)
    attackers = (
        AttackerSpec(name="patterns", recognizer=crowd.Patterns(), region="person"),
        AttackerSpec(name="gradients", features=crowd.Gradients(), region="person"),
    )
    result = audit(pairs, crowd.spec(attackers=attackers, detect=()), None)
    attacks = {f"{one.attack}/{one.attacker}": one for one in result.attacks}
    assert result.conclusion.verdict in {"insufficient", "fail"}
    assert attacks["same source/patterns"].n == 4
    assert attacks["control map, canny as the run made it/patterns"].gates
    assert not attacks["control map, canny, people removed/patterns"].gates
    assert attacks["metadata/file scan"].verdict == "pass"
    json.dumps(audit_record(result), allow_nan=False)
    next((run / "release").rglob("*.jpg")).unlink()
    with pytest.raises(ConfigError, match="are not there"):
        pairs_of_run(run, None, None)


def test_the_shipped_config_is_the_default_and_wrong_keys_are_told(tmp_path: Path) -> None:
    spec = load_audit_spec()
    assert spec.max_bound == 0.05 and len({one.name for one in spec.attackers}) == len(spec.attackers) >= 2
    kinds = {(one.recognizer or one.features).digest() for one in spec.attackers if one.recognizer or one.features}
    assert len(kinds) >= 2, "the gate's own recogniser must never be the only one"
    assert load_audit_spec(None, ["max_bound=0.1"]).max_bound == 0.1
    with pytest.raises(ConfigError, match="speed"):
        load_audit_spec(None, ["speed=3"])
    with pytest.raises(ConfigError, match="either recognizer or features"):
        load_audit_spec(None, ["attackers=[{name: x}]"])
    with pytest.raises(ConfigError, match="attackers"):
        load_audit_spec(None, ["attackers=[{name: x, recognizer: {kind: nobody}}]"])


def test_a_recogniser_file_that_is_missing_or_wrong(tmp_path: Path) -> None:
    real = crowd.write_crowd(tmp_path / "real", 3, 2, crowd.portrait)
    made = crowd.write_crowd(tmp_path / "made", 3, 2, crowd.stranger)
    pairs = pairs_of_folders(real, made, None, "folders")
    (tmp_path / "broken.onnx").write_bytes(b"no network")
    for file in ("gone.onnx", "broken.onnx"):
        network = {"kind": "onnx", "file": str(tmp_path / file), "sha256": "0" * 64}
        attackers = (AttackerSpec(name="mine", recognizer=network),)  # type: ignore[arg-type]
        with pytest.raises(ConfigError):
            audit(pairs, crowd.spec(attackers=attackers), None)


def test_the_person_an_identity_names_is_the_prominent_one() -> None:
    sample = Sample(Item("a.png", Path("a.png")), np.zeros((100, 200, 3), np.uint8), Labels(), "")
    small, large = Box(0, 0, 10, 10), Box(90, 30, 130, 80)
    regions = [Region("face", box, 1.0, "detector") for box in (small, large)]
    person = Region("person", Box(80, 20, 140, 100), 1.0, "label")
    alone = Region("person", Box(0, 50, 20, 100), 1.0, "label")
    (named,) = find_subjects(sample, [*regions, person, alone], "x")
    assert named.boxes["face"] == large and named.boxes["person"] == person.box and named.name == "x"
    everyone = find_subjects(sample, [*regions, person, alone], None)
    assert [one.name for one in everyone] == ["a.png#0", "a.png#1", "a.png#2"]
    assert everyone[2].boxes["person"] == alone.box and "face" not in everyone[2].boxes
    assert find_subjects(sample, [], "x") == []


def test_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = crowd.write_crowd(tmp_path / "real", 6, 2, crowd.portrait)
    made = crowd.write_crowd(tmp_path / "made", 6, 2, crowd.stranger)
    identities = crowd.write_identities(tmp_path / "i.csv", 6, 2)
    monkeypatch.setattr("synthgen.auditing.spec.load_audit_spec", lambda config, assignments: crowd.spec())
    out = tmp_path / "out"
    arguments = ["audit", "--real", str(real), "--synthetic", str(made), "--identities", str(identities)]
    for extra in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["synthgen", *arguments, "--out", str(out), *extra])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 3
    printed = capsys.readouterr().out
    assert "verdict  insufficient" in printed
    record = json.loads(printed.splitlines()[-1])
    assert record == json.loads((out / "report/audit.json").read_text(encoding="utf-8"))
    assert list((out / "private/audit-cache").iterdir())


def test_names_and_times_of_originals_in_a_release(tmp_path: Path, finished: Path) -> None:
    from dataclasses import replace

    from synthgen.auditing.files import scan_release

    real = crowd.write_crowd(tmp_path / "real", 2, 2, crowd.portrait)
    made = crowd.write_crowd(tmp_path / "made", 2, 2, crowd.stranger)
    pairs = pairs_of_folders(real, made, None, None)
    assert not scan_release(pairs, ()).hits.any()
    shutil.copystat(real / "p001/p001 photo 1 é.png", made / "p001/p001 photo 1 é.png")
    (made / "labels.csv").write_text("file\np000 photo 0 é.png\n", encoding="utf-8")
    (made / "link.png").symlink_to(real / "p000/p000 photo 0 é.png")
    renamed = scan_release(replace(pairs, keeps_names=False), ())
    assert renamed.details["found"] == {"link": 1, "source-name": 5, "source-time": 1}
    assert set(scan_release(pairs, ("link",)).details["found"]) == {"source-time"}


def test_membership_by_losses(tmp_path: Path) -> None:
    from synthgen.auditing.losses import attack_membership
    from synthgen.auditing.spec import MembershipSpec
    from synthgen.metrics.privacy.trials import Rules, judge

    random = np.random.default_rng(0)

    def losses(name: str, values: np.ndarray) -> Path:
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["loss"])
            writer.writerows([[value] for value in values])
        return tmp_path / name

    outside = losses("out.csv", random.normal(1, 0.1, 2000))
    cases = [(random.normal(1, 0.1, 400), "pass"), (random.normal(0.6, 0.1, 400), "fail")]
    for values, verdict in cases:
        spec = MembershipSpec(tuned=True, members=losses("in.csv", values), outsiders=outside)
        assert judge(attack_membership(spec), Rules()).verdict == verdict
    few = MembershipSpec(tuned=True, members=outside, outsiders=losses("few.csv", random.normal(1, 0.1, 50)))
    for spec in (few, MembershipSpec(tuned=True)):
        assert judge(attack_membership(spec), Rules()).verdict == "insufficient"
    with pytest.raises(ConfigError, match="column loss"):
        attack_membership(MembershipSpec(tuned=True, members=tmp_path / "x.csv", outsiders=outside))
