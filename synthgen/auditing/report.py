"""An audit as JSON and as tables. What everyone may read has numbers alone; names stay in the private edition."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from synthgen.audit import Audit
from synthgen.metrics.privacy.bounds import trials_needed
from synthgen.metrics.privacy.trials import AttackResult, Cell
from synthgen.shards import write_atomic

WIDTH = 148
STATUS = {"pass": 0, "fail": 1, "insufficient": 3}
"""Exit status of each verdict."""
CAPTION = (
    "+ counts for the verdict   pos, neg: success on unprotected photographs, and with wrong labels   "
    "out: singled out, each for themselves"
)
PUBLIC_GROUP = 10
"""Smaller groups are not told apart in what everyone may read."""


def audit_record(audit: Audit, least: int = PUBLIC_GROUP) -> dict[str, Any]:
    """JSON-able values that name nobody: the `report/audit.json` of a run.

    Groups of fewer than `least` people are not told.

    `headline`: verdict, attack, k, n, bound, text, reasons. `attacks`: one record each, see `AttackResult`. `groups`:
    attribute → value → {attack, k, n, bound, verdict}. A number that does not exist is null.
    """
    rules = audit.rules
    return {
        "verdict": audit.conclusion.verdict,
        "headline": asdict(audit.conclusion),
        "attacks": [_plain(asdict(result)) for result in audit.attacks],
        "groups": {
            name: {value: _cell(cell, least) for value, cell in cells.items()} for name, cells in audit.groups.items()
        },
        "not_run": dict(audit.not_run),
        "findings": [asdict(finding) for finding in audit.findings],
        "photographs": audit.photos,
        "identities": audit.people,
        "skipped": dict(audit.skipped),
        "rules": {
            **asdict(rules),
            "alpha_each": rules.level,
            "identities_needed": trials_needed(rules.max_bound, rules.level),
        },
        "attackers": dict(audit.attackers),
        "fix": None if audit.fix is None else dict(audit.fix),
        "method": "identities as units; Clopper-Pearson upper bounds, one-sided, Bonferroni over the attacks",
    }


def private_record(audit: Audit) -> dict[str, Any]:
    """As `audit_record`, with the names of those who were found and singled out, and all groups."""
    named = {}
    for trial in audit.trials:
        hits = [unit for unit, hit in zip(trial.units, trial.hits, strict=False) if hit]
        named[f"{trial.attack} ({trial.attacker})"] = {"found": hits, "singled_out": sorted(trial.exposed)}
    return audit_record(audit, 0) | {"named": named}


def write_audit(audit: Audit, root: Path) -> None:
    """Write `private/audit.json` and `report/audit.json` below `root`.

    Raises:
        OSError: it can't be written.
    """
    for folder, record in (("private", private_record(audit)), ("report", audit_record(audit))):
        (root / folder).mkdir(parents=True, exist_ok=True, mode=0o700 if folder == "private" else 0o777)
        text = json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
        write_atomic(root / folder / "audit.json", text.encode())


def format_audit(audit: Audit) -> str:
    """The headline, a table of all attacks, one of groups, and what the reader must know."""
    end = audit.conclusion
    buffer = StringIO()
    console = Console(file=buffer, width=WIDTH, color_system=None, highlight=False)
    console.print(f"verdict  {end.verdict}   ({audit.people} identities in {audit.photos} photographs)", soft_wrap=True)
    console.print(end.text, soft_wrap=True)
    for reason in end.reasons:
        console.print(f"  - {reason}", markup=False, soft_wrap=True)
    console.print(_attack_table(audit.attacks))
    if audit.groups:
        console.print(_group_table(audit.groups))
    if audit.fix is not None:
        told = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in audit.fix.items())
        console.print(f"fixed: {told}; the verdict is that of people not looked at before", soft_wrap=True)
    for name, why in audit.not_run.items():
        console.print(f"not run: {name}: {why}", markup=False, soft_wrap=True)
    for finding in audit.findings:
        console.print(f"  ! {finding.subject}: {finding.message} ({finding.code})", markup=False, soft_wrap=True)
    lines = [line.rstrip() for line in buffer.getvalue().splitlines()]
    return "\n".join(lines)


def _attack_table(attacks: Sequence[AttackResult]) -> Table:
    table = Table(box=None, pad_edge=False, caption=CAPTION, caption_justify="left")
    for name, justify in (("", "left"), ("attack", "left"), ("by", "left")):
        table.add_column(name, justify=justify, no_wrap=name == "by")  # type: ignore[arg-type]
    for name in ("k", "n", "rate", "chance", "bound", "residual", "pos", "neg", "out"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for one in attacks:
        numbers = [
            _share(value) for value in (one.rate, one.chance, one.bound, one.residual, one.positive, one.negative)
        ]
        mark = "+" if one.gates else ""
        table.add_row(
            mark, one.attack, one.attacker, str(one.k), str(one.n), *numbers, str(one.exposed or ""), _verdict(one)
        )
    return table


def _group_table(groups: Mapping[str, Mapping[str, Cell]]) -> Table:
    table = Table(box=None, pad_edge=False, title="the worst attack on each group", title_justify="left")
    for name in ("group", "attack", "k", "n", "bound", "verdict"):
        table.add_column(name, justify="right" if name in {"k", "n", "bound"} else "left")
    for attribute, cells in groups.items():
        for value, cell in cells.items():
            row = (cell.attack, str(cell.k), str(cell.n), _share(cell.bound), cell.verdict)
            table.add_row(f"{attribute}={value}", *row)
    return table


def _verdict(one: AttackResult) -> str:
    """What the other columns do not show already; in brackets what does not count."""
    text: str = one.verdict
    if one.verdict == "insufficient":
        text += ": weak attacker" if one.weak and one.bound is not None else f": {one.reason}"
    return text if one.gates else f"({text})"


def _cell(cell: Cell, least: int) -> dict[str, Any]:
    record = asdict(cell)
    return record if cell.n >= least else record | {"k": None, "bound": None, "verdict": "insufficient"}


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.item() if hasattr(value, "item") else value
