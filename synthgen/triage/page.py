"""The register as one HTML file: no picture, no address, no script, and a policy that says so."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from synthgen.triage import levels

FOLDER = Path(__file__).parent


def render_page(record: dict[str, Any]) -> str:
    """The page of a register (run.py); the same register gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style = (FOLDER / "page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        record=record,
        rule=rule_rows(),
        style=Markup(style),
        policy=f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
    )


def rule_rows() -> list[tuple[str, str]]:
    """The table of the rule, (what, level), as levels.py documents it."""
    lines = [line.strip("| ").split("|") for line in (levels.__doc__ or "").splitlines() if line.startswith("|")]
    return [(what.strip(), level.strip()) for what, level in lines[2:]]
