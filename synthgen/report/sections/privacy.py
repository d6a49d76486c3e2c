"""Who could be recognised in the release? From the record of `synthgen audit` (see auditing/report.py)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from synthgen.report.findings import Column, Line, Plot, Section, Table

TITLE = "Privacy"
QUESTION = "Who could still be recognised in the released pictures?"
COLUMNS = (
    Column("reached", "k", "count"),
    Column("of", "n", "count"),
    Column("rate", kind="share"),
    Column("by chance", kind="share"),
    Column("at least", "lower bound", "share"),
    Column("at most", "upper bound", "share"),
    Column("beyond chance", "upper bound", "share"),
    Column("on real photos", "control", "share"),
    Column("wrong labels", "control", "share"),
    Column("singled out", kind="count"),
)
KEYS = ("k", "n", "rate", "chance", "lower", "bound", "residual", "positive", "negative", "exposed")
NAMES = 100
"""Names of one attack that the private edition lists at most."""


def privacy_section(record: Mapping[str, Any] | None, command: str) -> Section:
    """`record` is one edition of `audit.json`, None where no attack was made."""
    if record is None:
        return Section(
            "privacy", TITLE, QUESTION, "not measured",
            "No attack was made on this release, so nothing is known about who could be recognised in it.",
            command=command,
        )  # fmt: skip
    parts = [
        ("attacks", "Attacks that decide", [one for one in record["attacks"] if one["gates"]]),
        ("further", "Attacks that are told, not judged", [one for one in record["attacks"] if not one["gates"]]),
    ]
    tables = [_attacks(name, title, part) for name, title, part in parts if part]
    tables += [_groups(attribute, cells) for attribute, cells in record["groups"].items()]
    if "named" in record:
        tables.append(_named(record["named"]))
    summary = record["headline"]["text"]
    return Section("privacy", TITLE, QUESTION, record["verdict"], summary, tuple(tables), tuple(_notes(record)))


def _notes(record: Mapping[str, Any]) -> Iterator[str]:
    yield f"Looked at: {record['photographs']} photographs of {record['identities']} known identities."
    yield from (f"No pass: {reason}" for reason in record["headline"]["reasons"])
    yield from (f"Not run: {name}: {why}" for name, why in record["not_run"].items())
    yield from (f"{one['subject']}: {one['message']}" for one in record["findings"])


def _name(one: Mapping[str, Any]) -> str:
    return f"{one['attack']} by {one['attacker']}" if one["attacker"] else str(one["attack"])


def _attacks(name: str, title: str, attacks: Sequence[Mapping[str, Any]]) -> Table:
    lines = tuple(
        Line(
            id=f"{place}-{one['attack']}",
            label=f"{_name(one)}, {one['unit']}",
            values=tuple(one[key] for key in KEYS),
            verdict=one["verdict"],
            reason=one["reason"] or one["question"],
            rows={"verdict": "accepted"},
            formula="bound",
        )
        for place, one in enumerate(attacks)
    )
    text = (
        "How many each attack reached, the most that it may reach with confidence (corrected for all attacks), and the "
        "controls that show whether the attacker was any good: unprotected photographs, and wrong labels."
    )
    plot = Plot("intervals", "reached, %", value=2, low=4, high=5, reference=3, whisker="one-sided bounds")
    return Table(name, title, "attack", COLUMNS, lines, text, plot)


def _groups(attribute: str, cells: Mapping[str, Mapping[str, Any]]) -> Table:
    columns = (Column("reached", "k", "count"), Column("of", "n", "count"), Column("at most", "upper bound", "share"))
    lines = tuple(
        Line(
            id=value,
            label=value,
            values=(cell["k"], cell["n"], cell["bound"]),
            verdict=cell["verdict"],
            reason=cell["attack"],
            rows={"verdict": "accepted", f"group {attribute}": value},
            formula="bound",
        )
        for value, cell in cells.items()
    )
    text = "The worst attack on each group, corrected for all groups as well. The worst group is what counts."
    return Table(f"group-{attribute}", f"By {attribute}", attribute, columns, lines, text)


def _named(named: Mapping[str, Mapping[str, Sequence[str]]]) -> Table:
    lines = tuple(
        Line(
            id=attack,
            label=attack,
            values=(len(units["found"]), _listed(units["found"]), _listed(units["singled_out"])),
            formula="bound",
        )
        for attack, units in named.items()
    )
    columns = (Column("reached", kind="count"), Column("who", kind="text"), Column("singled out", kind="text"))
    text = "Whom each attack reached. By chance alone some are; those singled out are nearer than chance explains."
    return Table("named", "Who was reached", "attack", columns, lines, text, folded=True)


def _listed(names: Sequence[str]) -> str:
    more = f" … and {len(names) - NAMES} more" if len(names) > NAMES else ""
    return ", ".join(names[:NAMES]) + more
