"""What an auditor must catch, beside test_audit.py: edges left in, a group filtered out, files that carry a place."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image as PIL

from synthgen import cli
from synthgen.audit import audit
from synthgen.auditing.pairs import Pairs, pairs_of_folders
from synthgen.auditing.report import audit_record, format_audit
from synthgen.images import encode_image
from synthgen.rundir import RunDir
from synthgen.shards import ShardWriter
from synthgen.types import Image
from tests.auditing import crowd
from tests.auditing.crowd import portrait, stranger

PEOPLE, PHOTOS = 40, 2


def edges(image: Image) -> Image:
    return np.repeat(cv2.Canny(image, 40, 90)[..., None], 3, axis=2)


def pairs(root: Path, people: int, photos: int, draw: crowd.Anonymiser) -> Pairs:
    real = crowd.write_crowd(root / "real", people, photos, portrait)
    made = crowd.write_crowd(root / "made", people, photos, draw)
    identities = crowd.write_identities(root / "people.csv", people, photos)
    return pairs_of_folders(real, made, identities, None)


def edge_map(who: int, photo: int, leaves_face: bool) -> Image:
    """Every other map is empty at the head: what is left in one stands out, but not by its distance alone."""
    drawn = edges(portrait(who, photo))
    drawn[8:54, 14:50] = 0
    if leaves_face:
        drawn[16:48, 20:44] = edges(cv2.resize(crowd.person(who), (24, 32), interpolation=cv2.INTER_NEAREST))
    return drawn


def with_maps(root: Path, leaving: frozenset[int]) -> Pairs:
    """Outputs in which nothing is left, and a run's edge maps, in which the people `leaving` kept their faces."""
    found = pairs(root, PEOPLE, PHOTOS, stranger)
    run = RunDir(root / "run")
    run.make_folders()
    (shard,) = run.store.plan(sorted(found.outputs), 1000)
    writer = ShardWriter(run.store, shard)
    for name in sorted(found.outputs):
        who, photo = int(name[1:4]), int(name.rpartition("photo ")[2][0])
        drawn = edge_map(who, photo, who in leaving)
        writer.add_control(name, "canny", 1, encode_image(drawn, ".png"))
    writer.commit()
    return replace(found, run=run)


@pytest.mark.parametrize("leaving", [frozenset(), frozenset({3})])
def test_one_identity_whose_edges_were_left_in(tmp_path: Path, leaving: frozenset[int]) -> None:
    result = audit(with_maps(tmp_path, leaving), crowd.spec(max_bound=0.15), None)
    name = "control map, canny as the run made it"
    trial = next(one for one in result.trials if one.attack == name and one.attacker == "patterns")
    judged = next(one for one in result.attacks if one.attack == name and one.attacker == "patterns")
    assert judged.gates and trial.exposed == tuple(f"p{who:03d}" for who in leaving)
    assert (judged.verdict == "fail") == (result.conclusion.verdict == "fail") == bool(leaving), format_audit(result)


def test_a_filter_that_drops_one_group(tmp_path: Path) -> None:
    found = pairs(tmp_path, 80, 2, stranger)
    kept = {name: made for name, made in found.outputs.items() if int(name[1:4]) % 2}
    whole, dropped = (
        audit(replace(found, outputs=outputs), crowd.spec(max_bound=0.15), tmp_path / "cache")
        for outputs in (found.outputs, kept)
    )
    assert whole.conclusion.verdict == "pass" and not whole.findings
    assert dropped.conclusion.verdict == "insufficient"
    assert "group band=A: nobody of it was attacked" in dropped.conclusion.reasons
    (finding,) = [one for one in dropped.findings if one.code == "group-dropped"]
    assert finding.subject == "group band=A" and finding.message.startswith("0 of 80 photographs have an output")
    assert "p000" not in str(audit_record(dropped))


def test_one_output_a_person_leaves_no_anonymised_gallery_and_does_not_block(tmp_path: Path) -> None:
    found = pairs(tmp_path, 80, 2, stranger)
    one_each = {name: made for name, made in found.outputs.items() if "photo 0" in name}
    result = audit(replace(found, outputs=one_each), crowd.spec(max_bound=0.25), tmp_path / "cache")
    assert result.conclusion.verdict == "pass", format_audit(result)
    for attacker in ("patterns", "gradients"):
        why = result.not_run[f"re-identification, anonymised gallery by {attacker}"]
        assert why.startswith("does not apply")
    assert not any("anonymised" in one.attack and one.gates for one in result.attacks)
    lazy = next(one for one in result.attacks if one.attack == "re-identification, lazy")
    assert lazy.n == 80, "all others are attacked as before"


def test_a_location_in_the_output_folder_beside_the_images(tmp_path: Path) -> None:
    found = pairs(tmp_path, 12, 2, stranger)
    place = PIL.Exif()
    place.get_ifd(0x8825)[1] = "N"
    place.get_ifd(0x8825)[2] = (48.0, 51.0, 30.0)
    buffer = io.BytesIO()
    PIL.fromarray(stranger(99, 0)).save(buffer, "JPEG", exif=place)
    (tmp_path / "made" / "left over.jpg").write_bytes(buffer.getvalue())
    result = audit(found, crowd.spec(), None)
    scan = next(one for one in result.attacks if one.attack == "metadata")
    assert scan.verdict == "fail" and scan.details["found"]["gps"] == 1 and result.conclusion.verdict == "fail"


def test_fix_needs_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--fix", "--real", str(tmp_path), "--synthetic", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["synthgen", "audit", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and "give the run's folder" in capsys.readouterr().err
