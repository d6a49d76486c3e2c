"""`synthgen report RUN`: both editions of a run's report, from its ledger and from what the other verbs left in it.

It measures only what is cheap: what became of the outputs, factors, and (unless told not to) the distance of the
release from the source. Everything else is read from the JSON files of the verbs that measure it, and a question that
nobody has asked yet is answered by "not measured" and the command that would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synthgen import compare as comparing
from synthgen.config import RunConfig, dump_config
from synthgen.launch import list_members, select_items
from synthgen.metrics.factors import FactorReport, factor_report
from synthgen.names import Names, load_or_create_key
from synthgen.plan import Plan
from synthgen.report.documents import write_documents
from synthgen.report.findings import Edition, LedgerRow, Report, Section
from synthgen.report.formulas import used_formulas
from synthgen.report.gallery import Card, choose_cards, make_cards
from synthgen.report.leaks import refuse_leaks
from synthgen.report.ledger_rows import choose_rows, labels_by_sample, list_rows
from synthgen.report.made import how_made
from synthgen.report.page import HEADLINES, render_page
from synthgen.report.sections.bias import bias_section
from synthgen.report.sections.distribution import distribution_section
from synthgen.report.sections.factors import factors_section
from synthgen.report.sections.labels import labels_section
from synthgen.report.sections.outcome import outcome_section
from synthgen.report.sections.privacy import privacy_section
from synthgen.report.sections.utility import utility_section
from synthgen.report.verdict import judge_sections
from synthgen.rundir import RunDir, open_run
from synthgen.shards import write_atomic
from synthgen.targets import scene_of
from synthgen.types import ConfigError, Item, Labels, Row

Say = Callable[[str], None]
EDITIONS: tuple[Edition, ...] = ("release", "private")


@dataclass(frozen=True)
class ReportOptions:
    """`gallery` pictures at most; `by` names columns of the dataset to compare and filter by, in both editions.

    `features` is as `synthgen compare` takes it; with `compare` False an earlier comparison is shown if there is one.
    """

    gallery: int = 48
    by: tuple[str, ...] = ()
    features: str = "lite0"
    compare: bool = True


@dataclass(frozen=True, eq=False)
class Facts:
    """A finished run as a report sees it. `items` is empty where the source is no longer there."""

    run: RunDir
    config: RunConfig
    rows: Sequence[Row]
    items: Mapping[str, Item]
    plan: Plan
    listed: Sequence[tuple[str, Row]]
    labels: Mapping[str, Labels]
    before: Mapping[str, Any]
    """What report.json said before: `synthgen run` alone knows what it released."""


def write_report(path: Path, options: ReportOptions, say: Say = lambda _: None) -> Report:
    """Write `report/report.{html,json}` and `private/report.{html,json}` of the run in `path`; returns the first.

    The card and the Croissant file of the release are written again, since they tell what the report found.

    Raises:
        ConfigError: no run there, or it is not finished.
        LeakError: a result that goes into the release edition names a source.
    """
    facts = gather_facts(path)
    did = [f"read the ledger: {len(facts.rows)} rows"]
    comparison = _compare(facts, options, did, say)
    factors = _factors(facts)
    editions: dict[Edition, tuple[Report, str]] = {}
    for edition in EDITIONS:
        say(f"writing the {edition} edition")
        report = _report(facts, edition, comparison, factors, tuple(did), options)
        cards = _cards(facts, report.rows, edition, options.gallery)
        editions[edition] = report, render_page(report, cards)
    for edition, (report, page) in editions.items():
        text = json.dumps(report.record(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        folder = facts.run.report if edition == "release" else facts.run.private
        if edition == "release":
            refuse_leaks(page, facts.rows, facts.config, "report.html")
            refuse_leaks(text, facts.rows, facts.config, "report.json")
        write_atomic(folder / "report.html", page.encode())
        write_atomic(folder / "report.json", text.encode())
    if facts.run.release.is_dir():
        write_documents(facts.run, facts.run.release)
    return editions["release"][0]


def format_report(report: Report, path: Path) -> str:
    """What `synthgen report` prints of the release edition of the run in `path`."""
    run = RunDir(path)
    lines = [f"{report.verdict}: {HEADLINES[report.verdict]}. {report.reason}", ""]
    lines += [f"  {section.title:<13} {section.state:<13} {section.summary}" for section in report.sections]
    lines += [
        "",
        f"report   {run.report / 'report.html'}   may be read by everyone who gets the release",
        f"private  {run.private / 'report.html'}   shows the sources: never leaves",
    ]
    return "\n".join(lines)


def gather_facts(path: Path) -> Facts:
    """Everything that the report reads of the run itself.

    Raises:
        ConfigError: no run there, or it is not finished.
    """
    run = open_run(path)
    if left := run.store.pending():
        raise ConfigError(f"{path}: {len(left)} shard(s) are not done; run the same command again to go on")
    config = run.config()
    rows = list(run.store.rows())
    chosen = select_items(config.source)[1] if config.source.path.is_dir() else ()
    items = {item.id: item for item in chosen}
    listed = choose_rows(rows, Names("pseudonym", load_or_create_key(run.private / "key")))
    labels = labels_by_sample(config, items, [row.sample_id for _, row in listed])
    plan = Plan(config.plan, config.seed, list_members(config, tuple(chosen)))
    return Facts(run, config, rows, items, plan, listed, labels, _read_json(run.report / "report.json") or {})


def _read_json(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file; None where there is no file.

    Raises:
        ConfigError: it is not a JSON object.
    """
    if not path.is_file():
        return None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{path}: can't be read as JSON ({error}); make it anew") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {type(value).__name__}; make it anew")
    return value


def _compare(facts: Facts, options: ReportOptions, did: list[str], say: Say) -> Mapping[str, Any] | None:
    """Compare source and release, or read what was compared before; notes in `did` what was done."""
    stored = facts.run.report / "compare.json"
    missing = "" if facts.items else "the source is not there"
    if not any(row.verdict == "accepted" for row in facts.rows) or not facts.run.release.is_dir():
        missing = "nothing was released"
    if not options.compare or missing:
        record = _read_json(stored)
        did.append(
            f"did not compare ({missing or 'told not to'})" + ("; shows an earlier comparison" if record else "")
        )
        return record
    features = options.features
    try:
        embedder = comparing.parse_features(features)
        if embedder is not None:
            embedder.digest()
    except ConfigError as error:
        if features != ReportOptions.features:
            raise
        features = comparing.NONE
        did.append(f"compared without a network: {error}")
    source = facts.config.source
    released = source.model_copy(update={"path": facts.run.release.absolute(), "splits": None, "limit": None})
    # Not the run's seed, which is private: the options stand in the result.
    chosen = comparing.CompareOptions(features, ("class", *options.by), cache=facts.run.private / "features")
    comparison = comparing.compare(source, released, chosen, say)
    did.append("compared the release with the source, and the source with itself")
    comparing.write_comparison(comparison, facts.run.report)
    return json.loads(json.dumps(comparison.record()))


def _factors(facts: Facts) -> FactorReport:
    classes = {member.sample_id: member.image_class for member in facts.plan.members if member.image_class}
    if not classes and len(facts.listed) == len(facts.rows):
        classes = {name: labels.image_class for name, labels in facts.labels.items() if labels.image_class}
    scenes = {row.sample_id: scene_of(row.sample_id, facts.config.plan.scene) for row in facts.rows}
    groups = {"class": classes} if classes else {}
    if 1 < len(set(scenes.values())) < len(scenes):
        groups["scene"] = scenes
    variants = facts.config.plan.variants
    return factor_report(facts.rows, facts.plan.targets, groups, variants, seed=facts.config.seed)


def _report(
    facts: Facts,
    edition: Edition,
    comparison: Mapping[str, Any] | None,
    factors: FactorReport,
    did: tuple[str, ...],
    options: ReportOptions,
) -> Report:
    sections = _sections(facts, edition, comparison, factors)
    verdict, reason = judge_sections(sections)
    quarantined: dict[str, int] = {}
    for row in facts.rows:
        if row.verdict != "accepted":
            quarantined[row.code] = quarantined.get(row.code, 0) + 1
    made = how_made(facts.config)
    return Report(
        edition=edition,
        run_id=facts.run.run_id() if edition == "private" else None,
        name=facts.config.name,
        verdict=verdict,
        reason=reason,
        accepted=sum(row.verdict == "accepted" for row in facts.rows),
        quarantined=dict(sorted(quarantined.items())),
        released=facts.before.get("released", {}),
        targets={one.target: round(one.released, 6) for one in factors.targets},
        made=made if edition == "release" else (*made, ("config", dump_config(facts.config))),
        did=did,
        sections=sections,
        formulas=used_formulas(sections),
        rows=list_rows(facts.listed, facts.labels, options.by, edition),
        rows_in_all=len(facts.rows),
    )


def _sections(
    facts: Facts, edition: Edition, comparison: Mapping[str, Any] | None, factors: FactorReport
) -> tuple[Section, ...]:
    audit, bias, utility = (_read_result(facts.run, edition, name) for name in ("audit", "bias", "utility"))
    return (
        _told(privacy_section, audit, "synthgen audit RUN"),
        labels_section(facts.rows),
        _told(utility_section, utility, "synthgen utility CONFIG"),
        _told(distribution_section, comparison, "synthgen report RUN"),
        _told(bias_section, bias, "synthgen bias RUN"),
        factors_section(factors, facts.plan.targets, facts.config.plan.tolerance),
        outcome_section(facts.rows),
    )


def _read_result(run: RunDir, edition: Edition, name: str) -> dict[str, Any] | None:
    """What a verb left in the run, in the edition; the private one may be missing.

    Raises:
        ConfigError: it is no JSON object, or says that it is of another run.
    """
    of_release, private = (_read_json(folder / f"{name}.json") for folder in (run.report, run.private))
    told = (private or {}).get("run")
    measured = told.get("run_id") if isinstance(told, dict) else None
    if measured is not None and measured != run.run_id():
        raise ConfigError(f"{run.private / name}.json: is of run {measured}, not of this; run synthgen {name} again")
    return (private or of_release) if edition == "private" else of_release


def _told(
    section: Callable[[Mapping[str, Any] | None, str], Section], record: Mapping[str, Any] | None, command: str
) -> Section:
    """The section of a stored result.

    Raises:
        ConfigError: it is of another form than the command writes.
    """
    try:
        return section(record, command)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        raise ConfigError(f"what {command} left in the run has another form ({error!r}); run it again") from error


def _cards(facts: Facts, rows: Sequence[LedgerRow], edition: Edition, count: int) -> list[Card]:
    private = edition == "private"
    usable = [row for row in rows if private or row.verdict == "accepted"]
    bare = [replace(row, private=None) for row in choose_cards(usable, count)]
    return make_cards(facts.run, facts.config, facts.items, bare, dict(facts.listed), private)
