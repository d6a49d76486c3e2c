"""How each number of a report is computed, and who says so: the appendix that every figure links to."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import yaml

from synthgen.report.findings import Formula, Section

FILE = Path(__file__).with_name("formulas.yaml")
ALWAYS = frozenset({"verdict"})


@cache
def all_formulas() -> tuple[Formula, ...]:
    """Every formula that is told, in the order of the file."""
    entries = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return tuple(Formula(key, **entry) for key, entry in entries.items())


def used_formulas(sections: Iterable[Section]) -> tuple[Formula, ...]:
    """Those that lines of the sections name, and that of the verdict.

    Raises:
        KeyError: a line names a formula that is not told.
    """
    used = {line.formula for section in sections for table in section.tables for line in table.lines if line.formula}
    if unknown := used - {formula.key for formula in all_formulas()}:
        raise KeyError(f"{FILE.name} does not tell {sorted(unknown)}")
    return tuple(formula for formula in all_formulas() if formula.key in used | ALWAYS)
