"""The forty faults of EVALUATION.md, section 7, in order, and their table."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from tests.faults import images, labels, models, paths, runs
from tests.faults.lab import Fault, Lab, NotYet

FAULTS: tuple[Fault, ...] = (*images.FAULTS, *paths.FAULTS, *labels.FAULTS, *models.FAULTS, *runs.FAULTS)


def table(lab: Lab) -> Iterator[tuple[Fault, str, bool]]:
    """Each fault with what was got, and whether that is what was expected."""
    for fault in FAULTS:
        try:
            got = fault.provoke(lab)
        except NotYet as reason:
            got = f"skipped · {reason}"
        except Exception as error:
            last = traceback.extract_tb(error.__traceback__)[-1]
            got = f"{type(error).__name__} · {last.name}:{last.lineno}: {error}"
        yield fault, got, got.partition(" · ")[0] == fault.expected
