"""What checks learn of the source set: once a run, for all ranks, in the private part of the folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest

from synthgen.checks.base import Check, CheckRun, Learned
from synthgen.datasets.base import resolve_source
from synthgen.learned import LearnedStore
from synthgen.types import ConfigError, Sample, Score


class CountCheck(Check):
    learns: ClassVar[bool] = True
    kind: Literal["count"] = "count"

    def learn(self, sources: Iterable[Sample], device: str) -> Learned:
        return {"sizes": np.array([sample.size for sample in sources])}

    def load(self, device: str, learned: Learned) -> CheckRun:
        return lambda candidate: Score("count", float(len(learned["sizes"])), True)


class PlainCheck(CountCheck):
    learns: ClassVar[bool] = False
    kind: Literal["count"] = "count"


def test_a_check_learns_once_and_unreadable_images_are_left_out(street_set: Path, tmp_path: Path) -> None:
    source = resolve_source({"path": street_set, "format": "masks"})
    items = source.index().items
    store = LearnedStore(tmp_path / "learned", "run-a")
    checks = [PlainCheck(), CountCheck()]
    store.fill(checks, source, items, "cpu")
    assert [path.name for path in (tmp_path / "learned").iterdir()] == ["run-a-1.safetensors"]
    assert len(store.read(1, checks[1])["sizes"]) == 7 and store.read(0, checks[0]) == {}
    store.fill(checks, source, items[-1:], "cpu")
    assert len(store.read(1, checks[1])["sizes"]) == 7
    LearnedStore(tmp_path / "learned", "run-b").fill(checks, source, items[-1:], "cpu")
    assert len(LearnedStore(tmp_path / "learned", "run-b").read(1, checks[1])["sizes"]) == 1
    assert (tmp_path / "learned").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("data", [None, b"", b"damaged"])
def test_a_damaged_or_missing_file_is_told(data: bytes | None, tmp_path: Path) -> None:
    if data is not None:
        (tmp_path / "run-0.safetensors").write_bytes(data)
    with pytest.raises(ConfigError, match="can't be read"):
        LearnedStore(tmp_path, "run").read(0, CountCheck())
