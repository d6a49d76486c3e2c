"""On two ranks the first finishes the release of an arm's run; the other waits for it before it reads."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from synthgen import launch
from synthgen.utility.run import measure_utility
from synthgen.utility.spec import UtilitySpec
from tests.processes import ranks
from tests.utility import shapes


def measure_slowly(spec: str, out: str) -> None:
    """The table, by a job whose first rank takes its time to finish a run."""
    finish = launch.finish

    def slowly(*arguments: Any) -> Any:
        time.sleep(2)
        return finish(*arguments)

    launch.finish = slowly
    asked = UtilitySpec.model_validate_json(spec)
    measured = measure_utility(asked, Path(out), lambda line: None, lambda total, rank: None, lambda row: None)
    if measured is not None:
        Path(out, "scores.json").write_text(json.dumps([one.score.value for one in measured[0].outcomes]))


def test_a_slow_release_is_waited_for(tmp_path: Path) -> None:
    source = shapes.write_shapes(tmp_path / "source")
    blur = {"protect": [{"kind": "blur", "region": "all", "sigma": 2}], "detect": [], "stages": [], "check": []}
    value = shapes.spec_value(source, arms={"blur": {"config": "redact", "set": blur}}, steps=2, seeds=[0])
    command = [json.dumps(value), str(tmp_path / "out")]
    with ranks(command, command, work=measure_slowly) as both:
        errors = [rank.wait(120) for rank in both]
    assert [rank.returncode for rank in both] == [0, 0], errors
    assert len(json.loads((tmp_path / "out/scores.json").read_text())) == 4
