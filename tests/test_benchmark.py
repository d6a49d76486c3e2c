"""Two classic methods over a crowd: the one that leaks stands above the one that doesn't, in table, file and plot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image as PIL

import synthgen.detectors
from synthgen import benchmark, cli
from synthgen.frontier import Point, draw_frontier
from synthgen.types import ConfigError
from tests.auditing import crowd
from tests.auditing.test_mitigation import MIDDLE

PEOPLE, PHOTOS = 40, 3
CONFIG = """
source: {format: imagefolder}
features: none
methods:
  - {name: blur, config: redact, set: {detect: [in_the_middle], stages: [{protect: [{kind: blur, sigma: 1}]}]}}
  - name: black box
    config: redact
    set:
      detect: [in_the_middle]
      check: [{kind: quality, max_clipped: 1, min_std: 0}]
      stages: [{protect: [{kind: solid, color: [0, 0, 0]}]}]
"""


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kinds").mkdir()
    (tmp_path / "kinds" / "in_the_middle.py").write_text(MIDDLE, encoding="utf-8")
    monkeypatch.setattr(synthgen.detectors, "__path__", [*synthgen.detectors.__path__, str(tmp_path / "kinds")])
    monkeypatch.setattr(benchmark, "load_audit_spec", lambda path, changes: crowd.spec(max_bound=0.25))
    crowd.write_crowd(tmp_path / "source", PEOPLE, PHOTOS, crowd.portrait)
    crowd.write_identities(tmp_path / "people.csv", PEOPLE, PHOTOS)
    (tmp_path / "methods.yaml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def test_the_frontier(source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["benchmark", str(source / "methods.yaml"), "--source", str(source / "source")]
    arguments += ["--identities", str(source / "people.csv"), "--out", str(source / "out")]
    monkeypatch.setattr("sys.argv", ["synthgen", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    table = capsys.readouterr().out
    assert table.index("black box") < table.index("blur")
    record = json.loads((source / "out/report/benchmark.json").read_text(encoding="utf-8"))
    blur, box = record["methods"]
    assert blur["verdict"] == "fail" and blur["bound"] > 0.5 > box["bound"] and box["verdict"] != "fail"
    assert blur["accepted"] == PEOPLE * PHOTOS and blur["labels"] is None
    assert (source / "out/private/runs/blur/report/audit.json").is_file()
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    with PIL.open(source / "out/report/frontier.png") as plot:
        assert plot.size[0] > 400


def test_what_was_measured_is_not_measured_again(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = benchmark.load_benchmark(source / "methods.yaml", source / "source", source / "people.csv")

    def points(spec: benchmark.BenchmarkSpec) -> list[Point]:
        return benchmark.run_benchmark(spec, source / "out", print, lambda total, rank: None, lambda row: None)

    (first,) = points(spec.model_copy(update={"methods": spec.methods[:1]}))
    measured: list[str] = []
    measure = benchmark.measure_method
    monkeypatch.setattr(benchmark, "measure_method", lambda name, *rest: measured.append(name) or measure(name, *rest))
    both = points(spec)
    assert both[0] == first and measured == ["black box"], "the method that was added, alone"
    record = json.loads((source / "out/report/benchmark.json").read_text(encoding="utf-8"))
    assert [one["method"] for one in record["methods"]] == ["blur", "black box"]
    crowd.write_identities(source / "people.csv", PEOPLE - 1, PHOTOS)
    points(spec.model_copy(update={"methods": spec.methods[:1]}))
    assert measured == ["black box", "blur"], "other identities are another measurement"


def test_a_panel_for_each_measure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the plot needs matplotlib")
    sizes = []
    for labels in (None, 0.8):
        points = [
            Point("blur", "fail", 0.74, "a", 166, 251, labels, 0.11, 0.01, 9, 0),
            Point("scene", "pass", 0.04, "a", 3, 251, labels and 0.6, 0.3, 0.01, 8, 1),
            Point("odd", "insufficient", None, None, None, None, labels, 0.2, 0.01, 9, 0),
        ]
        assert draw_frontier(points, 0.05, tmp_path / "frontier.png")
        with PIL.open(tmp_path / "frontier.png") as plot:
            sizes.append(plot.size[0])
    assert sizes[1] > 1.8 * sizes[0]


def test_names_hide_neither_points_nor_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    axes_module = pytest.importorskip("matplotlib.axes", reason="the plot needs matplotlib")
    texts: list = []
    annotate = axes_module.Axes.annotate

    def remember(self, *given, **known):
        texts.append(annotate(self, *given, **known))
        return texts[-1]

    monkeypatch.setattr(axes_module.Axes, "annotate", remember)
    names = ("blur", "pixelate", "mask", "tiles", "people", "scene")
    draw_frontier(
        [Point(name, "fail", 0.9, "a", 9, 10, None, 0.1 + place / 400, 0.0, 9, 0) for place, name in enumerate(names)],
        0.05,
        tmp_path / "frontier.png",
    )
    kept = [text for text in texts if text.figure is not None]
    boxes = [text.get_window_extent() for text in kept]
    assert sorted(text.get_text() for text in kept) == sorted(names)
    assert not any(one.overlaps(other) for place, one in enumerate(boxes) for other in boxes[:place])


def test_points_that_could_not_be_measured(tmp_path: Path) -> None:
    point = Point("x", "insufficient", None, None, None, None, None, None, None, 0, 3)
    benchmark.write_benchmark([point], tmp_path, 0.05)
    assert "0 of 3" in benchmark.format_benchmark([point], tmp_path)
    assert json.loads((tmp_path / "report/benchmark.json").read_text())["methods"][0]["bound"] is None


def test_the_shipped_benchmark_is_whole(source: Path) -> None:
    shipped = benchmark.shipped_folder("configs") / "benchmark.yaml"
    spec = benchmark.load_benchmark(shipped, source / "source", None)
    names = [method.name for method in spec.methods]
    assert names == ["blur", "pixelate", "mask", "tiles", "scene", "people"]
    modes = [benchmark.method_config(spec, method).mode for method in spec.methods]
    assert modes.count("people") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methods: []", "methods"),
        ("methods: [{name: a}]", "names no source"),
        ("methods: [{name: a}, {name: a}]\nsource: {path: x}", "every name may stand once"),
        ("methods: [{name: a, colour: 1}]\nsource: {path: x}", "colour"),
    ],
)
def test_a_wrong_benchmark(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        benchmark.load_benchmark(tmp_path / "b.yaml", None, None)


def test_a_method_that_cannot_run_is_told_by_name(source: Path) -> None:
    (source / "bad.yaml").write_text("methods: [{name: odd, config: nowhere.yaml}]", encoding="utf-8")
    spec = benchmark.load_benchmark(source / "bad.yaml", source / "source", None)
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        benchmark.run_benchmark(spec, source / "out", print, lambda total, rank: None, lambda row: None)
    assert not (source / "out").exists()
