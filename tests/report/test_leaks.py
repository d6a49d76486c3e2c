"""The last look at a release edition: what it finds, and what it must not take for a find."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape
from pathlib import Path

import pytest

from synthgen.config import RunConfig
from synthgen.report.leaks import LeakError, refuse_leaks
from synthgen.types import Row
from tests.datasets_for_tests import config_value, parsed

ROW = Row(
    'train/a & b/Straße "7" 0001.png', 0, "accepted", "", "", "ab" * 32, "cd" * 32, None, 8, 8, 1, 123456789012, "p"
)


def config(root: str) -> RunConfig:
    return parsed(config_value(Path(root), Path("weights"), source={"format": "masks", "path": root}))


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (ROW.sample_id, "name"),
        ('Straße "7" 0001.png', "name"),
        ("seed 123456789012.", "seed"),
        (f"look at {ROW.sample_id}.", "name"),
        (f"sha256-{'ab' * 32}-", "digest"),
        (f"sha256:{'ab' * 32}", "digest"),
        ("in /data/private set/train", "path"),
    ],
)
def test_it_finds_what_is_written_plain_in_html_and_in_json(found: str, kind: str) -> None:
    for text in (found, f"<p>{escape(found)}</p>", json.dumps({"a": found}, ensure_ascii=False)):
        with pytest.raises(LeakError, match=kind) as error:
            refuse_leaks(text, [ROW], config("/data/private set"), "report.html")
        assert ROW.sample_id not in str(error.value)


def test_it_takes_nothing_for_a_find_that_is_none() -> None:
    harmless = replace(ROW, sample_id="1.png", seed=7, source_digest="", output_digest="")
    picture = "data:image/jpeg;base64,/data/1234"
    text = f"7 of 11.png, 1, png, synthgen/data/x, /datasets, /data-2, metadata {picture}"
    refuse_leaks(text, [harmless, replace(ROW, sample_id="0001.png")], config("/data"), "report.html")
