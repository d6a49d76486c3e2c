"""Both editions of real runs: their numbers, what each may hold, and runs that are not as they should be."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from synthgen.auditing.report import write_audit
from synthgen.cli import app
from synthgen.names import Names
from synthgen.report.build import ReportOptions, write_report
from synthgen.report.findings import show
from synthgen.report.leaks import LeakError
from synthgen.report.ledger_rows import MIN_STRATUM, choose_rows
from synthgen.rundir import RunDir
from synthgen.types import ConfigError, Row, SynthgenError
from tests.datasets_for_tests import BAD, CLASSES, GOOD, config_value, run, write_streets
from tests.report.records import audit, bias_report

QUICK = ReportOptions(compare=False)
VOID = ("meta", "link", "img", "br", "rect", "circle", "line", "path", "input")


class Figures(HTMLParser):
    """Every number of a page by where it stands in the JSON, every id and every link."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.figures: dict[str, str] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self._figure: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        assert "style" not in known and not any(name.startswith("on") for name in known), "the policy forbids it"
        if "id" in known:
            self.ids.append(known["id"])
        self.links += [known[name] for name in ("href", "src", "action") if name in known]
        self._figure = known.get("data-figure")
        if self._figure is not None:
            assert self._figure not in self.figures
            self.figures[self._figure] = ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag
        self._figure = None

    def handle_data(self, data: str) -> None:
        if self._figure is not None:
            self.figures[self._figure] += data


def figures_of(record: dict[str, Any]) -> dict[str, str]:
    """The numbers of a report.json, as the page should show them."""
    found = {}
    for section in record["sections"]:
        for table in section["tables"]:
            for line in table["lines"]:
                for place, value in enumerate(line["values"]):
                    where = "|".join((section["id"], table["id"], line["id"], str(place)))
                    found[where] = show(value, table["columns"][place]["kind"])
    return found


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    """A run with its names kept, three bad images, and results of the audit and of bias."""
    root = shutil.copytree(finished, tmp_path / "run")
    write_audit(audit(2, attackers=("one",)), root)
    bias = bias_report(run_id=RunDir(root).run_id())
    for part in ("report", "private"):
        record = bias.record() if part == "private" else bias.release_record(30)
        (root / part / "bias.json").write_text(json.dumps(record))
    return root


def both(root: Path) -> list[tuple[str, dict[str, Any]]]:
    return [
        ((root / part / "report.html").read_text("utf-8"), json.loads((root / part / "report.json").read_text("utf-8")))
        for part in ("report", "private")
    ]


def test_the_numbers_of_the_page_are_those_of_the_json(folder: Path) -> None:
    write_report(folder, ReportOptions(features="none"))
    for page, record in both(folder):
        parsed = Figures(page)
        assert parsed.figures == figures_of(record) and len(parsed.figures) > 100
        assert parsed.open == [] and len(set(parsed.ids)) == len(parsed.ids)
        assert {link[1:] for link in parsed.links if link.startswith("#")} <= set(parsed.ids)
        assert all(link.startswith(("#", "data:")) for link in parsed.links), "nothing is asked of anyone"
        assert record["accepted"] == len(GOOD) and sum(record["quarantined"].values()) == len(BAD)
        assert {row["code"] for row in record["rows"]} == {"", *BAD.values()}


def test_every_question_has_its_section_and_the_verdict_is_that_of_the_sections(folder: Path) -> None:
    report = write_report(folder, ReportOptions(features="none"))
    states = {section.id: section.state for section in report.sections}
    assert list(states) == ["privacy", "labels", "utility", "distribution", "bias", "factors", "outputs"]
    assert states["labels"] == states["utility"] == "not measured" and states["bias"] == "pass"
    assert states["privacy"] == states["distribution"] == report.verdict == "insufficient"
    assert "not proven" in (folder / "report/report.html").read_text("utf-8")


def test_the_release_edition_holds_nothing_of_the_source(folder: Path, street_set: Path) -> None:
    write_report(folder, QUICK)
    rows = list(RunDir(folder).store.rows())
    secrets = {row.sample_id for row in rows} | {Path(row.sample_id).name for row in rows} | {str(street_set)}
    secrets |= {str(row.seed) for row in rows if row.attempts} | {row.source_digest for row in rows if row.attempts}
    secrets |= {row.prompt for row in rows if row.attempts} | {RunDir(folder).run_id()}
    for name in ("report.html", "report.json"):
        text = (folder / "report" / name).read_text("utf-8")
        assert [secret for secret in secrets if secret in text] == []
        assert "canny map" not in text and 'alt="source' not in text
    (page, record), (private_page, private) = both(folder)
    assert page.count("<img") == len(GOOD) and private_page.count('alt="source') == len(GOOD)
    assert private_page.count('alt="canny map') == len(GOOD) and private_page.count('alt="output') == len(GOOD)
    assert all(secret in private_page for secret in (*GOOD, *(str(row.seed) for row in rows if row.attempts)))
    assert [row["name"] for row in record["rows"]] == sorted(row["name"] for row in private["rows"])
    by_source = sorted(private["rows"], key=lambda row: str(row["private"]["sample_id"]))
    assert [row["name"] for row in by_source] != [row["name"] for row in record["rows"]], "the order tells nothing"


def test_no_file_of_the_release_edition_says_the_run_id_or_the_seed(folder: Path) -> None:
    config = RunDir(folder).config_file
    config.write_text(re.sub(r"(?m)^seed: 0$", "seed: 918273645", config.read_text("utf-8")), "utf-8")
    write_report(folder, ReportOptions(features="none"))
    run_id, seed = RunDir(folder).run_id(), RunDir(folder).config().seed
    assert seed == 918273645
    for path in [*(folder / "report").rglob("*"), *(folder / "release").rglob("*")]:
        if path.is_file():
            assert run_id.encode() not in path.read_bytes(), path
            assert str(seed).encode() not in path.read_bytes(), path
    assert all(not row["classes"] for row in both(folder)[0][1]["rows"] if row["verdict"] != "accepted")


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("private/bias.json", '{"run": {"run_id": "feedfeedfeed"}}', "of run feedfeedfeed, not of this"),
        ("private/bias.json", '{"run": "x"}', "another form"),
        ("report/bias.json", "{}", "another form"),
        ("report/compare.json", '{"measurements": 1}', "another form"),
        ("report/audit.json", "[]", "expected a JSON object"),
        ("private/run.json", "{}", "record of a run"),
    ],
)
def test_a_result_of_another_run_or_form_is_refused(folder: Path, name: str, text: str, words: str) -> None:
    (folder / name).write_text(text)
    with pytest.raises(ConfigError, match=words):
        write_report(folder, QUICK)


def test_a_damaged_ledger_is_named_and_lost_maps_are_not_shown(folder: Path) -> None:
    store = RunDir(folder).store
    for path in store.controls.iterdir():
        path.unlink()
    write_report(folder, QUICK)
    assert "canny map" not in (folder / "private/report.html").read_text("utf-8")
    damaged = next(iter(store.ledgers.glob("*.parquet")))
    damaged.write_bytes(b"PAR1 rubbish")
    with pytest.raises(SynthgenError, match=f"{damaged.name}: damaged"):
        write_report(folder, QUICK)


@pytest.mark.parametrize("what", ["name", "seed", "digest", "path"])
def test_a_result_that_names_a_source_stops_the_report(folder: Path, street_set: Path, what: str) -> None:
    row = next(row for row in RunDir(folder).store.rows() if row.attempts)
    told = {"name": row.sample_id, "seed": str(row.seed), "digest": row.source_digest, "path": str(street_set)}[what]
    record = bias_report().release_record(30)
    record["findings"][0]["message"] = f"look at {told}, it is odd"
    (folder / "report/bias.json").write_text(json.dumps(record))
    before = (folder / "report/report.json").read_bytes()
    with pytest.raises(LeakError, match=what) as error:
        write_report(folder, QUICK)
    assert told not in str(error.value)
    assert (folder / "report/report.json").read_bytes() == before and not (folder / "report/report.html").exists()


def test_the_same_run_gives_the_same_bytes(folder: Path) -> None:
    options = ReportOptions(features="none")
    write_report(folder, options)
    paths = [folder / part / name for part in ("report", "private") for name in ("report.html", "report.json")]
    before = [path.read_bytes() for path in paths]
    write_report(folder, options)
    assert [path.read_bytes() for path in paths] == before


def test_the_last_comparison_is_shown_again(folder: Path) -> None:
    assert write_report(folder, QUICK).sections[3].state == "not measured"
    compared = write_report(folder, ReportOptions(features="none"))
    again = write_report(folder, QUICK)
    assert again.sections == compared.sections and "earlier comparison" in again.did[-1]


def test_a_run_whose_source_is_gone(folder: Path, street_set: Path, tmp_path: Path) -> None:
    config = folder / "run.yaml"
    config.write_text(config.read_text().replace(str(street_set), str(tmp_path / "gone")))
    report = write_report(folder, ReportOptions(features="none"))
    assert "source is not there" in report.did[-1] and report.sections[3].state == "not measured"
    _, private_page = (page for page, _ in both(folder))
    assert 'alt="source' not in private_page and private_page.count('alt="output') == len(GOOD)


def test_names_that_are_markup_stay_text(tiny_sd: Path, tmp_path: Path) -> None:
    source = write_streets(
        tmp_path / "a <b>&'\" ü", bad=False, names=("images/train/x'><script>alert(1)<.png", GOOD[0])
    )
    hostile = "</script><img src=x onerror=alert(1)>'\""
    class_map = {**dict(zip(CLASSES, ("sky", "building", "road", "car", "person"), strict=True)), hostile: "car"}
    table = source / "classes.csv"
    table.write_text(table.read_text().replace("Car", '"' + hostile.replace('"', '""') + '"'))
    extract = ["canny", {"kind": "segmentation", "palette": "starter", "class_map": class_map}]
    run(config_value(source, tiny_sd, extract=extract, name="n-0"), tmp_path / "run")
    write_report(tmp_path / "run", ReportOptions(features="none"))
    for page, record in both(tmp_path / "run"):
        parsed = Figures(page)
        assert parsed.figures == figures_of(record) and page.count("<script") == 1 and "<img src=x" not in page


def test_nothing_accepted_nothing_to_show(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    check = [{"kind": "quality", "min_std": 127}]
    run(config_value(street_set, tiny_sd, check=check, names="pseudonym", attempts=1), tmp_path / "run")
    report = write_report(tmp_path / "run", ReportOptions(features="none"))
    (page, record), (private_page, _) = both(tmp_path / "run")
    assert report.verdict == "insufficient" and record["accepted"] == 0 and "nothing was released" in report.did[-1]
    assert "nothing to show" in page and "check-quality" in private_page
    assert Figures(page).figures == figures_of(record)


def test_pseudonyms_are_the_names_of_the_release(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    run(
        config_value(street_set, tiny_sd, names="pseudonym", plan={"prompts": "street", "variants": 2}),
        tmp_path / "run",
    )
    report = write_report(tmp_path / "run", replace(QUICK, gallery=3))
    accepted = {row.name for row in report.rows if row.verdict == "accepted"}
    assert accepted == {path.stem for path in (tmp_path / "run/release/images").rglob("*") if path.is_file()}
    assert both(tmp_path / "run")[0][0].count("<img") == 3


def test_of_many_rows_some_of_every_kind_are_listed() -> None:
    template = Row("x", 0, "accepted", "", "", "", "", None, 1, 1, 1, 1, "")
    rows = [replace(template, sample_id=f"i{number}.png") for number in range(900)]
    rows += [replace(template, sample_id=f"b{n}.png", verdict="quarantined", code=f"c{n % 2}") for n in range(60)]
    names = Names("pseudonym", b"k" * 32)
    listed = choose_rows(rows, names, 100)
    codes = [row.code for _, row in listed]
    assert len(choose_rows(rows, names)) == 960 and 100 <= len(listed) <= 100 + 2 * MIN_STRATUM
    assert codes.count("c0") == codes.count("c1") == MIN_STRATUM and codes.count("") == 94
    assert [name for name, _ in listed] == sorted(name for name, _ in listed)
    assert choose_rows([], names) == []


@pytest.mark.parametrize("text", ["{", "[1]", "\x00"])
def test_a_broken_result_is_named(folder: Path, text: str) -> None:
    (folder / "report/audit.json").write_text(text)
    with pytest.raises(ConfigError, match=re.escape(str(folder / "report/audit.json"))):
        write_report(folder, QUICK)


def test_no_run_and_an_unfinished_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="not a run folder"):
        write_report(tmp_path / "nothing", QUICK)
    next((folder / "private/ledger").glob("*.parquet")).unlink()
    with pytest.raises(ConfigError, match="not done"):
        write_report(folder, QUICK)


def test_the_verb_prints_the_release_edition(folder: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(folder), "--no-compare", "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    assert json.loads(done.stdout) == json.loads((folder / "report/report.json").read_text("utf-8"))
    told = CliRunner().invoke(app, ["report", str(folder), "--no-compare"], catch_exceptions=False).stdout
    assert told.startswith("insufficient: Not proven.") and str(folder / "report/report.html") in told
