"""The two commands of scripts/bench run end to end in their smallest form. No time is asserted, only what is exact."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.datasets_for_tests import REPOSITORY

BENCH = REPOSITORY / "scripts" / "bench"
pytest.importorskip("skimage", reason="scikit-image, whose photographs are regenerated, is not installed")


@pytest.fixture(autouse=True)
def _import_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts import each other by name, as they do when one of them is the program."""
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    for name in {path.stem for path in BENCH.glob("*.py")} & sys.modules.keys():
        del sys.modules[name]


def script(name: str) -> ModuleType:
    return importlib.import_module(name)


def lines(printed: str) -> dict[str, str]:
    """`bar N: verdict` → verdict by N."""
    found = [line.removeprefix("bar ").split(": ") for line in printed.splitlines() if line.startswith("bar ")]
    return dict(found)


def test_the_cpu_command_measures_and_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Speed may be missed at this size; forwards, rows, pixels and metrics may not."""
    file = tmp_path / "RESULTS.md"
    script("cpu").main(["--quick", "--bars", "1,2,3,9", "--write"], file)
    printed = capsys.readouterr().out
    verdicts = lines(printed)
    assert set(verdicts) == set("1239") and "not run" not in verdicts.values()
    assert verdicts["3"] == "met" and printed.count("pixels bit-equal") >= 3 and "DIFFER" not in printed
    written = file.read_text()
    assert "## `scripts/bench/cpu.py`" in written and "--quick, which is no measurement" in written
    rows = [row.split(" | ") for row in written.splitlines() if row.startswith("| ")]
    assert [row[0] for row in rows[2:]] == [f"| {number}" for number in range(1, 10)]
    assert rows[2 + 4][1] == "not run" and rows[2 + 4][3] == "not asked for"


def test_control_off_and_guidance_off_are_counted(tmp_path: Path) -> None:
    options = script("workload").Options(tmp_path, rounds=1, quick=True)
    figures = script("shortcuts").bar_4(options).figures
    assert "0.50 of the library's forwards, pixels bit-equal" in figures and "0.75 of the UNet's rows" in figures


def test_a_kill_loses_and_doubles_nothing(tmp_path: Path) -> None:
    options = script("workload").Options(tmp_path, rounds=1, quick=True)
    figures = script("restarts").bar_6(options).figures
    assert "every image is there once, in the same bytes" in figures


@pytest.mark.parametrize(("model", "bars"), [("sd15", "1,2,3,4,5"), ("sdxl", "2,4")])
def test_the_gpu_command_runs_dry(
    model: str, bars: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the CPU and without dynamo, which takes a minute: everything else is what a GPU runs."""
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    file = tmp_path / "RESULTS.md"
    script("gpu").main(["--dry-run", "--models", model, "--bars", bars, "--write"], file)
    verdicts = lines(capsys.readouterr().out)
    assert verdicts.pop("4") == "not run"
    assert set(verdicts) == set(bars.split(",")) - {"4"} and "not run" not in verdicts.values()
    assert "--dry-run, which is no measurement" in file.read_text()


def test_sections_of_the_results_are_replaced_one_by_one(tmp_path: Path) -> None:
    record, file = script("record"), tmp_path / "RESULTS.md"
    result = record.judged("1", "a | b", "first", "≥ 1", True)
    record.write_section("scripts/bench/cpu.py", "a CPU", [result], file)
    record.write_section("scripts/bench/gpu.py", "a GPU", [record.not_run("1", "≥ 1", "no GPU")], file)
    record.write_section("scripts/bench/cpu.py", "a CPU", [record.judged("1", "a", "second", "≥ 1", False)], file)
    text = file.read_text()
    assert text.count("## ") == 2 and "first" not in text
    assert text.index("cpu.py") < text.index("gpu.py")
    assert "| 1 | missed | ≥ 1 | second | a |" in text and "| 1 | not run | ≥ 1 | no GPU |  |" in text


def test_ratios_are_paired_and_take_turns() -> None:
    record, order = script("record"), []

    def way(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    rounds = record.take_turns(3, lambda: way("a", 3.0), lambda: way("b", 2.0))
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert record.ratios(rounds).values == (1.5, 1.5, 1.5)
