"""What a report says, as data: the schema of `report.json`, and all that the page is drawn from.

The page computes nothing: each of its numbers is one value of a `Line`, shown by `show`. So page and JSON can't differ.
Two editions are made of one run. `release` may be read by everyone who gets the release: it names outputs by pseudonym
and holds no source id, path, digest, seed, prompt or run id. `private` has all of those, and lies under `private/`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from synthgen.metrics.sets import Verdict

Edition = Literal["release", "private"]
State = Literal["pass", "fail", "insufficient", "not measured", "told"]
"""`told`: there is nothing to hold it to, so it has no verdict."""
Value = float | int | str | None
Kind = Literal["number", "count", "share", "p", "verdict", "text"]
FORMAT = "synthgen-report/1"
NOTHING = "–"


@dataclass(frozen=True)
class Column:
    """A column of a table. `share` is 0..1, shown in percent; `unit` stands beside the name."""

    name: str
    unit: str = ""
    kind: Kind = "number"


@dataclass(frozen=True)
class Line:
    """One row of a table: a value for each column (None: there is none), its verdict and why.

    Attributes:
        id: unique within its table.
        rows: facet → value of the ledger rows behind it (see `LedgerRow.facets`); empty means all; None: none are.
        formula: key of the `Formula` by which it was computed.
    """

    id: str
    label: str
    values: tuple[Value, ...]
    verdict: Verdict | None = None
    reason: str = ""
    rows: Mapping[str, str] | None = None
    formula: str = ""


@dataclass(frozen=True)
class Plot:
    """How a table is drawn; numbers are positions of its columns.

    `intervals`: a dot at `value`, a whisker from `low` to `high` (which `whisker` names), a hollow mark at `reference`;
    with `own_scale` every line has its own axis. `bars`: one bar for each of `bars` and each line.
    """

    kind: Literal["intervals", "bars"]
    axis: str
    value: int = 0
    low: int | None = None
    high: int | None = None
    reference: int | None = None
    bars: tuple[int, ...] = ()
    own_scale: bool = False
    whisker: str = ""


@dataclass(frozen=True)
class Table:
    """Lines under one head. `folded`: long, so the page shows it on demand."""

    id: str
    title: str
    head: str
    columns: tuple[Column, ...]
    lines: tuple[Line, ...]
    text: str = ""
    plot: Plot | None = None
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """One question and its answer. `command` measures what is not measured."""

    id: str
    title: str
    question: str
    state: State
    summary: str
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""


@dataclass(frozen=True)
class Formula:
    """How a number is computed, and who says so."""

    key: str
    title: str
    text: str
    source: str


@dataclass(frozen=True)
class PrivateRow:
    """What only the private edition may show of an output."""

    sample_id: str
    variant: int
    seed: int
    attempts: int
    prompt: str
    message: str
    source_digest: str
    output_digest: str
    scores: Mapping[str, float | None]


@dataclass(frozen=True)
class LedgerRow:
    """One output. `name` is its pseudonym: the stem of its released file where the run's names are pseudonyms."""

    name: str
    verdict: str
    code: str
    split: str
    classes: tuple[str, ...]
    groups: Mapping[str, str]
    factors: Mapping[str, str | float]
    measured: Mapping[str, float | None]
    private: PrivateRow | None = None

    def facets(self) -> list[tuple[str, str]]:
        """What it can be filtered by: (facet, value); an image has several classes."""
        found = [("verdict", self.verdict)]
        found += [("reason", self.code)] if self.code else []
        found += [("split", self.split)] if self.split else []
        found += [("class", name) for name in self.classes]
        found += [(f"group {name}", value) for name, value in self.groups.items()]
        return found + [(f"factor {name}", value) for name, value in self.factors.items() if isinstance(value, str)]


@dataclass(frozen=True)
class Report:
    """One edition of one run's report.

    Attributes:
        run_id: None in the release edition: it hashes the sizes of the source's files.
        reason: the verdict in plain words.
        accepted, quarantined, released, targets: as `synthgen run` counts them; targets are total variations, 0..1.
        made: how the outputs came to be, as (what, how).
        did: what this report measured itself, and what it only read.
        rows: the ledger's rows, or a sample of them where there are more than fit a page; `rows_in_all` of them exist.
    """

    edition: Edition
    run_id: str | None
    name: str
    verdict: Verdict
    reason: str
    accepted: int
    quarantined: Mapping[str, int]
    released: Mapping[str, int]
    targets: Mapping[str, float]
    made: tuple[tuple[str, str], ...]
    did: tuple[str, ...]
    sections: tuple[Section, ...]
    formulas: tuple[Formula, ...]
    rows: tuple[LedgerRow, ...] = ()
    rows_in_all: int = 0
    format: str = field(default=FORMAT)

    def record(self) -> dict[str, Any]:
        """JSON-able values; a number that does not exist is null, never NaN."""
        record: dict[str, Any] = _finite(asdict(self))
        if self.edition == "release":
            del record["run_id"]
            for row in record["rows"]:
                del row["private"]
        return record


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def show(value: Value, kind: Kind = "number") -> str:
    """A value as the page shows it: three significant digits, percent with one decimal, – for none."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOTHING
    if isinstance(value, str):
        return value
    if kind == "count":
        return f"{value:,.0f}".replace(",", "\u202f")
    if kind == "share":
        return f"{100 * value:.1f}\u202f%"
    if kind == "p":
        return f"{value:.2g}" if value >= 0.001 else f"{value:.1g}"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f").replace("-", "\u2212")
    if value and abs(value) < 1e-4:
        return f"{value:.1e}".replace("-", "\u2212")
    return f"{value:.3g}".replace("-", "\u2212")
