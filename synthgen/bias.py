"""`synthgen bias RUN`: for whom did the run change, drop or spoil something?

Attributes are read on the source and on the output of a finished run (bias_read.py), become a table (bias_assemble.py),
and are measured and tested (metrics/bias_suite.py); here the parts are joined, the audit's bounds by group are looked
up, and the result is written: `private/bias.json` in full, `report/bias.json` without small cells.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from synthgen.attributes.base import Attribute
from synthgen.bias_assemble import to_table
from synthgen.bias_read import read_run
from synthgen.bias_spec import BiasSpec
from synthgen.component import parse_component
from synthgen.metrics.bias import BiasMeasurement, BiasReport, overall_verdict
from synthgen.metrics.bias_suite import Intersections, measure_bias, summarize, transition_of
from synthgen.metrics.bias_table import BiasSettings, BiasTable
from synthgen.rundir import RunDir, open_run
from synthgen.shards import write_atomic
from synthgen.types import ConfigError, Finding

AUDITS = ("private/audit.json", "report/audit.json")
"""Where `groups` of an audit is looked for, relative to the run: {attribute: {group: {k, n, bound, verdict}}}."""
READABLE = 0.5
"""Of the subjects known in the source; with fewer known in the output, what is said of the rest is of a selection."""
Say = Callable[[str], None]


class GroupLeak(BaseModel):
    """What an audit found of one group: `k` of `n` recognised by the worst `attack`, the upper bound of the share."""

    model_config = ConfigDict(frozen=True)

    k: int = Field(ge=0)
    n: int = Field(ge=0)
    bound: float | None = Field(default=None, ge=0, le=1)
    verdict: Literal["pass", "fail", "insufficient"]
    attack: str | None = None


def measure_run(path: Path, spec: BiasSpec, say: Say = lambda _: None) -> BiasReport:
    """Measure a finished run.

    Args:
        say: hears what is done, one line at a time.

    Raises:
        SynthgenError: no run there.
        ConfigError: it is not finished, its source is gone, or `spec` names what is not there.
    """
    run = open_run(path)
    config = run.config()
    attributes: tuple[Attribute, ...] = (
        (parse_component("attributes", "ita"),) if spec.attributes == "auto" else spec.attributes
    )
    data = read_run(run, config, [one for one in attributes if one.measured], spec, say)
    table, findings = to_table(data, attributes, spec)
    _require_known(spec.intersections, table)
    leaks = read_leaks(run)
    if not leaks:
        findings.append(Finding("leak-absent", "output", "no bound by group: no audit with groups lies in this run"))
    settings = spec.thresholds.settings(spec.seed)
    if not any(name.partition(":")[0] in settings.label_checks for name in table.scores):
        checks = " or ".join(settings.label_checks)
        findings.append(Finding("label-survival-absent", "output", f"no check {checks} ran: label survival is unknown"))
    say("testing")
    found = measure_bias(table, settings, spec.intersections, leaks)
    findings += thin_findings(table, found, settings)
    return BiasReport(
        overall_verdict(found),
        {"run_id": run.run_id(), **_counts(table)},
        tuple(summarize(table, one) for one in table.attributes),
        tuple(transition_of(table, one) for one in table.attributes if one.measured),
        tuple(found),
        tuple(findings),
        asdict(settings),
    )


def _require_known(intersections: Intersections | None, table: BiasTable) -> None:
    names = [one.name for one in table.attributes]
    for crossed in intersections or ():
        if len(crossed) < 2 or not set(crossed) <= set(names):
            raise ConfigError(f"intersections: {list(crossed)}: expected two or more of {names}")


def read_leaks(run: RunDir) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """The bounds by group of an audit that lies in the run; empty where there are none.

    Raises:
        ConfigError: an audit file with `groups` of another form.
    """
    adapter = TypeAdapter(dict[str, dict[str, GroupLeak]])
    for name in AUDITS:
        path = run.root / name
        if not path.is_file():
            continue
        try:
            groups = json.loads(path.read_text(encoding="utf-8")).get("groups")
            if groups:
                parsed = adapter.validate_python(groups)
                return {key: {group: one.model_dump() for group, one in part.items()} for key, part in parsed.items()}
        except (ValueError, AttributeError, ValidationError) as error:
            form = "{attribute: {group: {k, n, bound, verdict}}}"
            raise ConfigError(f"{path}: groups: expected {form}: {error}") from error
    return {}


def thin_findings(table: BiasTable, found: Sequence[BiasMeasurement], settings: BiasSettings) -> Iterator[Finding]:
    """Groups that are too small to be judged, and attributes that most outputs no longer show."""
    for attribute in table.attributes:
        own = [one for one in found if one.attribute == attribute.name and one.metric == "acceptance"]
        if small := [str(one.group) for one in own if 0 < one.n < settings.min_n]:
            message = f"too few to judge, {settings.min_n} needed: {', '.join(small)}"
            yield Finding("small-groups", attribute.name, message)
        known = table.rows(attribute) & table.accepted & (attribute.source >= 0)
        left = int((known & (attribute.output >= 0)).sum())
        if attribute.measured and left < READABLE * known.sum():
            share = left / known.sum()
            message = f"of the subjects known in the source only {share:.0%} can be read in their output"
            yield Finding("mostly-unreadable", attribute.name, message)


def write_bias(path: Path, report: BiasReport, least: int) -> None:
    """Write both editions; in that of the release cells of fewer than `least` are left out."""
    run = open_run(path)
    for target, record in (
        (run.private / "bias.json", report.record()),
        (run.report / "bias.json", report.release_record(least)),
    ):
        text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False)
        write_atomic(target, f"{text}\n".encode())


def _counts(table: BiasTable) -> dict[str, int]:
    return {
        "samples": len(np.unique(table.sample)),
        "outputs": int(table.first.sum()),
        "accepted": int((table.first & table.accepted).sum()),
        "subjects": len(table),
        "scenes": len(np.unique(table.unit)),
    }
