"""The page in a browser: it asks nobody for anything, says nothing on the console, filters, pages, and prints."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PillowImage

from synthgen.report.build import ReportOptions, write_report
from tests.datasets_for_tests import config_value, run
from tests.report.chromium import Chromium, find_chromium

PROGRAM = find_chromium()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium on this machine (CHROMIUM=… names one)")
VISIBLE = "[...document.querySelectorAll({!r})].filter((one) => one.checkVisibility())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, street_set: Path, tiny_sd: Path) -> Path:
    """Three outputs of each of seven images, so that the gallery has two pages."""
    root = tmp_path_factory.mktemp("browsed") / "run"
    plan = {"prompts": "street-factors", "variants": 3}
    run(config_value(street_set, tiny_sd, names="pseudonym", plan=plan), root)
    write_report(root, replace(ReportOptions(), features="none"))
    return root


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    assert PROGRAM is not None
    with Chromium(PROGRAM, tmp_path_factory.mktemp("profile")) as chromium:
        chromium.size(1280, 900)
        yield chromium


@pytest.fixture(params=["report", "private"])
def page(request: pytest.FixtureRequest, browser: Chromium, folder: Path) -> Chromium:
    browser.scheme("light")
    browser.open(folder / request.param / "report.html")
    return browser


def visible(page: Chromium, selector: str) -> int:
    return int(page.evaluate(VISIBLE.format(selector) + ".length"))


def choose(page: Chromium, facet: str, value: str) -> None:
    page.evaluate(
        f"(() => {{ const one = document.querySelector('select[data-facet=\"{facet}\"]'); one.value = '{value}';"
        " one.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )


def test_it_asks_nobody_and_says_nothing(page: Chromium) -> None:
    for scheme in ("light", "dark"):
        page.scheme(scheme)
        page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    assert page.complaints() == [] and [url.partition(":")[0] for url in page.requests()] == ["file"]


@pytest.mark.parametrize(
    "attempt",
    [
        "fetch('https://example.org/')",
        "new Promise((done, failed) => { const one = new Image(); one.onload = done; one.onerror = failed;"
        " one.src = 'https://example.org/a.png'; })",
        "new Promise((done, failed) => { const one = document.createElement('script'); one.onload = done;"
        " one.onerror = failed; one.src = 'https://example.org/a.js'; document.body.append(one); })",
    ],
    ids=["fetch", "image", "script"],
)
def test_the_policy_would_stop_it(page: Chromium, attempt: str) -> None:
    assert page.evaluate(f"Promise.resolve({attempt}).then(() => 'out', () => 'stopped')") == "stopped"
    assert any("Content Security Policy" in one for one in page.complaints())
    assert [url for url in page.requests() if url.startswith("http")] == []


def test_an_inline_script_does_not_run(page: Chromium) -> None:
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"data:,\" onerror=\"window.ran = 1\">')")
    page.evaluate(
        "const one = document.createElement('script'); one.textContent = 'window.ran = 1'; document.body.append(one)"
    )
    assert page.evaluate("new Promise((done) => setTimeout(() => done(window.ran), 50))") is None


def test_the_gallery_and_the_ledger_are_filtered_together(page: Chromium) -> None:
    rows = page.evaluate(
        "[...document.querySelectorAll('.ledger tbody tr')].map((one) => JSON.parse(one.dataset.tags))"
    )
    facet = "factor time"
    level = next(tag.partition("=")[2] for tags in rows for tag in tags if tag.startswith(f"{facet}="))
    wanted = sum(f"{facet}={level}" in tags for tags in rows)
    choose(page, facet, level)
    assert 0 < visible(page, ".ledger tbody tr") == wanted < len(rows)
    cards = "[...document.querySelectorAll('.card:not(.out)')].every((one) => one.dataset.tags.includes('{}'))"
    assert page.evaluate(cards.format(f"{facet}={level}")) and f"{wanted} rows" in page.evaluate(
        "document.querySelector('.found').textContent"
    )
    choose(page, "verdict", "quarantined")
    assert visible(page, ".ledger tbody tr") == 0 and "0 rows" in page.evaluate(
        "document.querySelector('.found').textContent"
    )
    page.evaluate("document.querySelector('.filters button[type=reset]').click()")
    assert page.evaluate(
        f"new Promise((done) => setTimeout(() => done({VISIBLE.format('.ledger tbody tr')}.length), 50))"
    ) == len(rows)


def test_a_number_leads_to_its_rows_and_to_its_formula(page: Chromium) -> None:
    page.evaluate("document.querySelector('a[data-select*=\"reason=image-corrupt\"]').click()")
    assert visible(page, ".ledger tbody tr") == 1
    assert page.evaluate("location.hash") == "#rows"
    target = page.evaluate("document.querySelector('#outputs .links a[href^=\"#formula-\"]').getAttribute('href')")
    assert page.evaluate(f"document.querySelector('{target} dd').textContent.length") > 20


def test_a_picture_leads_to_its_row_whatever_is_filtered(page: Chromium) -> None:
    choose(page, "verdict", "quarantined")
    name = page.evaluate("document.querySelector('.card.accepted').dataset.row")
    page.evaluate(f"location.hash = 'row-{name}'")
    assert (
        page.evaluate("new Promise((done) => setTimeout(() => done(document.activeElement.id), 100))") == f"row-{name}"
    )
    assert page.evaluate("document.activeElement.checkVisibility()")


def test_it_works_from_the_keyboard(page: Chromium) -> None:
    page.press("Tab", 9)
    assert page.evaluate("document.activeElement.className") == "skip"
    page.evaluate("document.querySelector('select[data-facet=verdict]').focus()")
    page.press("ArrowDown", 40)
    assert page.evaluate("document.activeElement.value") == "accepted"
    assert visible(page, ".ledger tbody tr") == 21
    first = page.evaluate("document.querySelector('.card:not(.out):not(.later)').dataset.row")
    page.evaluate("document.querySelector('[data-pager=gallery] button:last-child').focus()")
    page.press("Enter", 13)
    page.evaluate("document.activeElement.click()")
    assert page.evaluate("document.querySelector('.card:not(.out):not(.later)').dataset.row") != first
    assert visible(page, ".card") == 21 - 12


def test_everything_has_a_name(page: Chromium) -> None:
    """What a screen reader needs: alternatives for pictures and plots, labels for controls, heads for tables."""
    unnamed = (
        "[...document.querySelectorAll('img:not([alt]), svg:not(:has(title)), select:not(label select),"
        " table:not(:has(caption)), th:not([scope])')].map((one) => one.outerHTML.slice(0, 80))"
    )
    assert page.evaluate(unnamed) == [] and page.evaluate("document.querySelectorAll('h1').length") == 1
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))")
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


CONTRAST = """(() => {
  const channel = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const shares = [0.2126, 0.7152, 0.0722];
  const light = (text) => shares.reduce((sum, share, i) => sum + share * channel(numbers(text)[i]), 0);
  const behind = (one) => { while (one) { const c = getComputedStyle(one).backgroundColor; const n = numbers(c);
    if (n.length < 4 || n[3] === 1) return c; one = one.parentElement; } return 'rgb(255, 255, 255)'; };
  const bad = [];
  for (const one of document.querySelectorAll('main *, header *')) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !one.checkVisibility() || one.closest('svg, .picture, :disabled')) continue;
    const [a, b] = [light(getComputedStyle(one).color), light(behind(one))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${one.className} ${ratio.toFixed(2)} ${one.textContent.slice(0, 40)}`);
  }
  return bad;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_both_schemes(page: Chromium, scheme: str) -> None:
    """WCAG 2.2, 1.4.3: a contrast of 4.5 to 1."""
    page.scheme(scheme)
    assert page.evaluate(CONTRAST) == []
    pixels = np.array(PillowImage.open(io.BytesIO(page.screenshot())).convert("L"))
    assert (np.median(pixels) > 200) == (scheme == "light") and pixels.std() > 10


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_window(page: Chromium, width: int) -> None:
    page.size(width, 900)
    wide = page.evaluate("document.documentElement.scrollWidth")
    page.size(1280, 900)
    assert wide <= width


def test_it_prints(page: Chromium) -> None:
    page.scheme("dark")
    pdf = page.pdf()
    assert pdf.startswith(b"%PDF-") and pdf.rstrip().endswith(b"%%EOF") and pdf.count(b"/Type /Page\n") >= 3


def test_without_script_everything_is_there(page: Chromium, folder: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(folder / "report/report.html")
        page.call("DOM.enable")
        root = page.call("DOM.getDocument", depth=-1)["root"]["nodeId"]
        found = page.call("DOM.querySelectorAll", nodeId=root, selector=".card:not(.out):not(.later)")["nodeIds"]
        assert len(found) == 21
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)
