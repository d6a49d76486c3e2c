"""The audit as a whole: what leaks fails, what doesn't passes, what can't be told is insufficient."""

from __future__ import annotations

import io
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PIL

from synthgen.audit import audit
from synthgen.auditing.pairs import pairs_of_folders
from synthgen.auditing.report import audit_record, format_audit, private_record, write_audit
from synthgen.types import ConfigError, Image
from tests.auditing import crowd
from tests.auditing.crowd import audited, portrait, stranger

PEOPLE, PHOTOS = 110, 3
LAZY = "re-identification, lazy/patterns"


@pytest.fixture(scope="module")
def safe(tmp_path_factory: pytest.TempPathFactory):
    return audited(tmp_path_factory.mktemp("safe crowd"), PEOPLE, PHOTOS, stranger, max_bound=0.09)


def test_nobody_is_found_where_nothing_is_left(safe) -> None:
    result, attacks = safe
    assert result.conclusion.verdict == "pass", format_audit(result)
    lazy = attacks[LAZY]
    assert lazy.positive is not None and lazy.positive > 0.95 and lazy.n == PEOPLE and lazy.k <= 4
    assert lazy.chance == pytest.approx(1 / PEOPLE) and lazy.bound is not None and lazy.bound < 0.09
    assert result.conclusion.bound == max(one.bound for one in result.attacks if one.gates and one.bound)
    assert any(one.verdict == "pass" for name, one in attacks.items() if name.endswith("/gradients"))
    assert attacks["metadata/file scan"].n == PEOPLE * PHOTOS
    assert set(result.groups["band"]) == {"A", "B"}
    assert "membership inference" in result.not_run


def test_the_record_names_nobody_and_the_private_one_does(safe) -> None:
    result, _ = safe
    record = audit_record(result)
    text = json.dumps(record, allow_nan=False)
    assert not re.search(r"p\d{3}|\.png", text)
    named = private_record(result)["named"]
    hits = {one for found in named.values() for one in found["found"]}
    assert all(one.startswith("p") for one in hits)
    for attack in record["attacks"]:
        assert attack["verdict"] in {"pass", "fail", "insufficient"}
    table = format_audit(result)
    assert "verdict  pass" in table and "anonymous" not in table


def blurred(who: int, photo: int) -> Image:
    return cv2.GaussianBlur(portrait(who, photo), (0, 0), 1.5)


def test_blur_fails_and_so_do_full_edges(tmp_path: Path) -> None:
    result, attacks = audited(tmp_path, 60, PHOTOS, blurred, inverter=crowd.with_inverter(20))
    assert result.conclusion.verdict == "fail" and result.conclusion.bound is not None
    assert attacks[LAZY].verdict == "fail" and attacks[LAZY].rate is not None and attacks[LAZY].rate > 0.8
    assert attacks["same source/patterns"].verdict == "fail" and attacks["copying, people/features and hash"].k > 0
    assert attacks["verification at FAR 0.001/patterns"].verdict == "fail"
    full = attacks["control map, canny, nothing removed/patterns"]
    assert full.verdict == "fail" and not full.gates
    without = attacks["control map, canny, heads removed/patterns"]
    assert without.verdict == "insufficient" and without.k <= 5
    assert attacks["reconstruction/patterns"].n == 60


def test_red_team_a_verbatim_source_among_the_outputs(tmp_path: Path) -> None:
    def draw(who: int, photo: int) -> Image:
        return portrait(who, photo) if (who, photo) == (7, 2) else stranger(who, photo)

    result, attacks = audited(tmp_path, PEOPLE, PHOTOS, draw, max_bound=0.09, maps=())
    assert result.conclusion.verdict == "fail"
    assert attacks["copying, whole image/features and hash"].k == 1
    assert attacks["copying, people/features and hash"].k == 1
    trial = next(one for one in result.trials if one.attack == "same source" and one.attacker == "patterns")
    assert trial.exposed == ("p007",)


def test_red_team_one_identity_with_the_face_left_in(tmp_path: Path) -> None:
    def draw(who: int, photo: int) -> Image:
        image = stranger(who, photo)
        if who == 3:
            image[16:48, 20:44] = portrait(who, photo)[16:48, 20:44]
        return image

    result, attacks = audited(tmp_path, PEOPLE, PHOTOS, draw, max_bound=0.09, maps=())
    assert result.conclusion.verdict == "fail"
    assert attacks[LAZY].exposed == 1 and attacks["same source/patterns"].exposed == 1
    named = private_record(result)["named"][f"{'same source'} (patterns)"]
    assert named["singled_out"] == ["p003"]
    assert "p003" not in json.dumps(audit_record(result))


def test_red_team_shuffled_labels_prove_nothing(tmp_path: Path) -> None:
    result, attacks = audited(tmp_path, PEOPLE, PHOTOS, blurred, shuffle=True, maps=())
    lazy = attacks[LAZY]
    assert lazy.positive is not None and lazy.positive < 0.1 and lazy.verdict == "insufficient"
    assert lazy.k <= 6, "labels dealt anew must give chance"
    assert result.conclusion.verdict == "fail", "the way back to the source needs no labels"
    unprotected = [one for name, one in attacks.items() if name.startswith("re-identification")]
    assert all(one.verdict == "insufficient" for one in unprotected)


def test_red_team_a_location_in_one_file(tmp_path: Path) -> None:
    made = crowd.write_crowd(tmp_path / "made", 12, 2, stranger)
    exif = PIL.Exif()
    exif[0x8825] = {1: "N", 2: (1.0, 2.0, 3.0)}
    buffer = io.BytesIO()
    PIL.fromarray(stranger(1, 1)).save(buffer, "PNG", exif=exif)
    (made / "p001" / "p001 photo 1 é.png").write_bytes(buffer.getvalue())
    real = crowd.write_crowd(tmp_path / "real", 12, 2, portrait)
    result = audit(pairs_of_folders(real, made, None, "folders"), crowd.spec(), None)
    found = next(one for one in result.attacks if one.attack == "metadata")
    assert found.verdict == "fail" and found.k == 1 and found.details["found"] == {"exif": 1, "gps": 1}
    assert result.conclusion.verdict == "fail"


@pytest.mark.parametrize(
    ("people", "photos", "why"),
    [(1, 4, "one identity"), (12, 1, "no identity has a second photograph"), (12, 3, "of the")],
)
def test_too_little_is_insufficient_never_pass(tmp_path: Path, people: int, photos: int, why: str) -> None:
    result, attacks = audited(tmp_path, people, photos, stranger)
    assert result.conclusion.verdict == "insufficient"
    assert attacks[LAZY].verdict == "insufficient" and why in attacks[LAZY].reason
    json.dumps(audit_record(result), allow_nan=False)
    format_audit(result)


def test_nobody_in_the_pictures_is_insufficient(tmp_path: Path) -> None:
    def grey(who: int, photo: int) -> Image:
        return np.full((64, 64, 3), 40 + who, np.uint8)

    real = crowd.write_crowd(tmp_path / "real", 6, 2, grey)
    made = crowd.write_crowd(tmp_path / "made", 6, 2, stranger)
    result = audit(pairs_of_folders(real, made, None, "folders"), crowd.spec(), None)
    assert result.conclusion.verdict == "insufficient" and result.conclusion.bound is None
    assert "everything by patterns" in result.not_run
    assert any(finding.code == "nobody-found" for finding in result.findings)


def test_without_identities_the_way_back_is_still_tried(tmp_path: Path) -> None:
    real = crowd.write_crowd(tmp_path / "real", 20, 2, portrait)
    made = crowd.write_crowd(tmp_path / "made", 20, 2, blurred)
    result = audit(pairs_of_folders(real, made, None, None), crowd.spec(), None)
    attacks = {f"{one.attack}/{one.attacker}": one for one in result.attacks}
    assert attacks[LAZY].verdict == "insufficient" and "--identities" in attacks[LAZY].reason
    assert attacks["same source/patterns"].n == 40 and attacks["same source/patterns"].verdict == "fail"


def test_embeddings_are_computed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = audited(tmp_path, 12, 3, stranger)

    def load(self: object, device: str) -> object:
        raise AssertionError("everything is in the cache")

    monkeypatch.setattr(crowd.Patterns, "load", load)
    monkeypatch.setattr(crowd.Gradients, "load", load)
    monkeypatch.setattr(crowd.Middle, "load", load)
    again, _ = audited(tmp_path, 12, 3, stranger)
    assert audit_record(again) == audit_record(first)


def test_outputs_of_another_size_and_missing_ones(tmp_path: Path) -> None:
    real = crowd.write_crowd(tmp_path / "real", 8, 2, portrait)
    made = crowd.write_crowd(tmp_path / "made", 8, 2, lambda who, photo: cv2.resize(blurred(who, photo), (96, 80)))
    shutil.rmtree(made / "p004")
    result = audit(pairs_of_folders(real, made, None, "folders"), crowd.spec(), None)
    attacks = {f"{one.attack}/{one.attacker}": one for one in result.attacks}
    assert attacks["same source/patterns"].n == 7 and attacks["same source/patterns"].k == 7
    assert any(finding.code == "no-output" for finding in result.findings)


def test_what_is_written(tmp_path: Path) -> None:
    result, _ = audited(tmp_path, 6, 2, stranger)
    write_audit(result, tmp_path / "out")
    public = json.loads((tmp_path / "out/report/audit.json").read_text(encoding="utf-8"))
    private = json.loads((tmp_path / "out/private/audit.json").read_text(encoding="utf-8"))
    assert "named" not in public and private["headline"] == public["headline"]
    assert public["groups"]["band"]["A"]["k"] is None, "small groups are not told apart"
    assert public["rules"]["identities_needed"] > 59


def test_a_broken_output_is_an_error(tmp_path: Path) -> None:
    real = crowd.write_crowd(tmp_path / "real", 3, 2, portrait)
    made = crowd.write_crowd(tmp_path / "made", 3, 2, stranger)
    (made / "p001" / "p001 photo 0 é.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(ConfigError, match="p001 photo 0"):
        audit(pairs_of_folders(real, made, None, "folders"), crowd.spec(), None)
