"""One HTML file out of a report: no address, no font, no script from anywhere else, and a policy that says so.

The Content-Security-Policy names the page's own style and script by digest and lets in nothing but inline JPEGs, so a
value that smuggled markup past the templates' escaping would still not run. There are therefore no `style=` attributes
and no event attributes in the templates.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from synthgen.report.charts import draw
from synthgen.report.findings import LedgerRow, Report, show
from synthgen.report.gallery import Card

TEMPLATES = Path(__file__).parent / "templates"
STATES = {"pass": "pass", "fail": "fail", "insufficient": "not proven", "not measured": "not measured"}
HEADLINES = {"pass": "Passed what was tested", "fail": "Failed", "insufficient": "Not proven"}


def render_page(report: Report, cards: Sequence[Card]) -> str:
    """The page of one edition; the same report and cards give the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    style = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    environment.globals |= {"show": show, "draw": draw, "tags": tags, "selection": selection, "anchor": anchor}
    return environment.get_template("report.html.j2").render(
        report=report,
        cards=cards,
        rows={row.name: row for row in report.rows},
        facets=list_facets(report.rows),
        known={tag for row in report.rows for tag in tags(row)},
        factor_names=_names(row.factors for row in report.rows),
        group_names=_names(row.groups for row in report.rows),
        measured_names=_names(row.measured for row in report.rows),
        formulas={formula.key: formula for formula in report.formulas},
        states=STATES,
        headline=HEADLINES[report.verdict],
        style=Markup(style),
        script=Markup(script),
        policy="; ".join(
            (
                "default-src 'none'",
                "img-src data:",
                f"style-src {_digest(style)}",
                f"script-src {_digest(script)}",
                "base-uri 'none'",
                "form-action 'none'",
            )
        ),
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _names(mappings: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(name for mapping in mappings for name in mapping))


def tags(row: LedgerRow) -> list[str]:
    """The facets of a row as the script reads them: `facet=value`."""
    return [f"{facet}={value}" for facet, value in row.facets()]


def selection(rows: Mapping[str, str] | None, known: Collection[str]) -> list[str] | None:
    """The rows behind a line, in the same form; None where none of those listed are."""
    wanted = None if rows is None else [f"{facet}={value}" for facet, value in rows.items()]
    return None if wanted is None or not set(wanted) <= set(known) else wanted


def list_facets(rows: Sequence[LedgerRow]) -> list[tuple[str, list[str]]]:
    """Every facet with its values, in the order in which rows have them; those of one value alone are none."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for facet, value in row.facets():
            found.setdefault(facet, set()).add(value)
    return [(facet, sorted(values)) for facet, values in found.items() if len(values) > 1 or facet == "verdict"]


def anchor(*parts: str) -> str:
    """An id for an element, from any texts: letters and digits stay, the rest becomes the code of the character."""
    text = "-".join(parts)
    return "".join(one if one.isascii() and (one.isalnum() or one in "-_") else f".{ord(one):x}" for one in text)
