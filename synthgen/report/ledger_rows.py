"""Ledger rows as a report lists them: under pseudonyms, in an order that tells nothing, and never too many.

The release edition must not say more of a source than the released files do. So a row's name is a keyed pseudonym even
where the run keeps its names, rows stand in order of pseudonym (the ledger's order is that of the source's names), and
what belongs to the source alone is left out: of an output that was not released, its classes and groups as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from synthgen.config import RunConfig
from synthgen.metrics.factors import MEASURED
from synthgen.names import Names
from synthgen.quotas import largest_remainder
from synthgen.report.findings import Edition, LedgerRow, PrivateRow
from synthgen.types import BadSample, Item, Labels, Row

MAX_ROWS = 1000
"""Rows that a page lists at most."""
MIN_STRATUM = 20
"""Of each verdict and reason at least so many are listed, if there are."""


def pseudonym(names: Names, row: Row) -> str:
    """20 hex digits: the stem of the output's released file where the run's names are pseudonyms."""
    return PurePosixPath(names.image(Item(row.sample_id, Path(row.sample_id)), row.variant)).stem


def choose_rows(rows: Sequence[Row], names: Names, limit: int = MAX_ROWS) -> list[tuple[str, Row]]:
    """(pseudonym, row) in order of pseudonym; of more than `limit`, some of every verdict and reason in proportion.

    A pseudonym is random to everyone without the key, so the first of a stratum are a random sample of it.
    """
    named = sorted(((pseudonym(names, row), row) for row in rows), key=lambda one: one[0])
    if len(named) <= limit:
        return named
    strata: dict[tuple[str, str], list[tuple[str, Row]]] = defaultdict(list)
    for name, row in named:
        strata[row.verdict, row.code].append((name, row))
    shares = largest_remainder(np.array([len(part) for _, part in sorted(strata.items())]), limit)
    chosen = [
        one
        for (_, part), share in zip(sorted(strata.items()), shares, strict=True)
        for one in part[: max(int(share), MIN_STRATUM)]
    ]
    return sorted(chosen, key=lambda one: one[0])


def labels_by_sample(config: RunConfig, items: Mapping[str, Item], ids: Sequence[str]) -> dict[str, Labels]:
    """The labels of some samples; those that can't be read are left out."""
    found = {}
    for sample_id in dict.fromkeys(ids):
        try:
            found[sample_id] = config.source.labels_of(items[sample_id])
        except (BadSample, KeyError):
            continue
    return found


def class_names(labels: Labels) -> tuple[str, ...]:
    """The classes that an image shows, sorted; classes that are ignored are none."""
    names = {labels.image_class} if labels.image_class else set()
    ids = {instance.class_id for instance in labels.instances}
    if labels.mask is not None:
        ids |= set(np.unique(labels.mask).tolist())
    return tuple(sorted(names | {info.name for info in labels.classes if info.id in ids and not info.ignore}))


def list_rows(
    chosen: Sequence[tuple[str, Row]], labels: Mapping[str, Labels], by: Sequence[str], edition: Edition
) -> tuple[LedgerRow, ...]:
    """The rows of one edition; `by` names columns of the dataset to filter by."""
    return tuple(_ledger_row(name, row, labels.get(row.sample_id, Labels()), by, edition) for name, row in chosen)


def _ledger_row(name: str, row: Row, labels: Labels, by: Sequence[str], edition: Edition) -> LedgerRow:
    shown = edition == "private" or row.verdict == "accepted"
    private = PrivateRow(
        row.sample_id,
        row.variant,
        row.seed,
        row.attempts,
        row.prompt,
        row.message,
        row.source_digest,
        row.output_digest,
        {check: value for check, value in row.scores.items() if not check.startswith(MEASURED)},
    )
    return LedgerRow(
        name=name,
        verdict=row.verdict,
        code=row.code,
        split=row.split or "",
        classes=class_names(labels) if shown else (),
        groups={key: str(labels.attributes[key]) for key in by if key in labels.attributes} if shown else {},
        factors=dict(row.factors),
        measured={
            check.removeprefix(MEASURED): value for check, value in row.scores.items() if check.startswith(MEASURED)
        },
        private=private if edition == "private" else None,
    )
