"""Every fault of the table is what the specification says it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.lab import Fault, Lab, NotYet
from tests.faults.table import FAULTS


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory, tiny_sd: Path) -> Lab:
    return Lab(tmp_path_factory.mktemp("faults"), tiny_sd)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.number:02d}")
def test_fault(fault: Fault, lab: Lab) -> None:
    try:
        got = fault.provoke(lab)
    except NotYet as reason:
        pytest.skip(str(reason))
    assert got.partition(" · ")[0] == fault.expected, got


def test_there_are_forty() -> None:
    assert [fault.number for fault in FAULTS] == list(range(1, 41))
