"""`audit --fix` on a classic redaction: what blur leaves is masked a stage later, and others are audited."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import synthgen.detectors
from synthgen.auditing import mitigation
from synthgen.auditing.pairs import pairs_of_run
from synthgen.images import encode_image
from synthgen.rundir import RunDir
from tests import datasets_for_tests as streets
from tests.auditing import crowd

MIDDLE = """
from typing import Literal

from synthgen.detectors.base import Detector
from tests.auditing.crowd import Middle


class InTheMiddle(Detector):
    kind: Literal["in_the_middle"] = "in_the_middle"

    def load(self, device):
        return Middle().load(device)
"""
PEOPLE, PHOTOS = 70, 4
ATTACKERS = crowd.spec().attackers


def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stages: list[dict]) -> Path:
    """A finished run over a crowd."""
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "in_the_middle.py").write_text(MIDDLE, encoding="utf-8")
    monkeypatch.setattr(synthgen.detectors, "__path__", [*synthgen.detectors.__path__, str(tmp_path / "kinds")])
    source = tmp_path / "source"
    rows = ["file_name,identity"]
    source.mkdir()
    for who in range(PEOPLE):
        for photo in range(PHOTOS):
            name = f"{who:03d}-{photo}-original.png"
            (source / name).write_bytes(encode_image(crowd.portrait(who, photo), ".png"))
            rows.append(f"{name},p{who:03d}")
    (source / "metadata.csv").write_text("\n".join(rows), encoding="utf-8")
    value = {
        "names": "keep",
        "device": "cpu",
        "source": {"format": "imagefolder", "path": str(source)},
        "detect": ["in_the_middle"],
        "stages": stages,
        "generate": {"kind": "none"},
        "check": [{"kind": "quality", "min_std": 0, "max_clipped": 1}],
        "execution": {"shard_size": 100},
    }
    streets.run(value, tmp_path / "run")
    return tmp_path / "run"


def fixed(run: Path):
    spec = crowd.spec(max_bound=0.2, groups=())
    return mitigation.fix_run(
        run, None, spec, run / "private" / "audit-cache", lambda text: None, lambda total, rank: None, lambda row: None
    )


BLUR = {"name": "blurred", "protect": [{"kind": "blur", "sigma": 1.0}]}
MASK = {"name": "masked", "protect": [{"kind": "solid", "color": [0, 0, 0]}], "dilate": 0.3}


def test_a_method_that_fails_is_replaced_everywhere_and_judged_on_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = made(tmp_path, monkeypatch, [BLUR, MASK])
    before = streets.tree(run / "release")
    result = fixed(run)
    count = PEOPLE * PHOTOS
    assert result.fix == {
        "widespread": True,
        "withdrawn": count,
        "made_again": count,
        "accepted_again": count,
        "removed": result.fix["removed"],
    }
    lazy = next(one for one in result.attacks if one.attack == "re-identification, lazy" and one.attacker == "patterns")
    assert lazy.n == PEOPLE // 2 and lazy.verdict != "fail" and lazy.k <= 4
    store = RunDir(run).store
    accepted = [row for row in store.rows() if row.verdict == "accepted"]
    assert {row.stage for row in accepted} == {2} and {row.variant for row in accepted} == {1}
    assert sum(row.code == mitigation.CODE for row in store.rows()) == count + result.fix["removed"]
    after = streets.tree(run / "release")
    changed = [name for name in after if name.endswith(".png")]
    assert len(changed) == len(accepted) and all(after[name] != before[name] for name in changed)


def test_the_halves_share_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pairs_of_run(made(tmp_path, monkeypatch, [MASK]), None, None)
    one, two = mitigation.halves(pairs, 0)
    assert not one & two and one | two == set(pairs.outputs)
    people = [{pairs.identities.person[name] for name in half} for half in (one, two)]
    assert not people[0] & people[1] and len(people[0]) == len(people[1]) == PEOPLE // 2


def test_what_has_no_stage_left_leaves_the_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = made(tmp_path, monkeypatch, [BLUR])
    result = fixed(run)
    assert result.conclusion.verdict != "pass" and result.fix is not None
    assert result.fix["withdrawn"] == PEOPLE * PHOTOS and result.fix["made_again"] == 0
    assert not list((run / "release").rglob("*.png"))
    assert all(row.verdict == "quarantined" for row in RunDir(run).store.rows())
    assert len(json.loads((run / "private" / "withdrawn.json").read_text())) == PEOPLE * PHOTOS
