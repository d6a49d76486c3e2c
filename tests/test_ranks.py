"""Several blocks in one job: in the later ones a rank is heard as in the first, and a dead one is missed."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from synthgen.ranks import LostRank, join_ranks
from tests.processes import ranks

PATIENCE, WORK = 1.0, 3.0
"""Seconds of silence that are borne, and how long rank 1 works on its own."""


def two_blocks(folder: str, end: str) -> None:
    """In the second block rank 1 works for longer than silence is borne, and may end without a word."""
    with join_ranks() as job:
        job.share()
    with join_ranks() as job:
        job.patience = PATIENCE
        try:
            if not job.first:
                time.sleep(WORK)
                if end == "silent":
                    job.leave()
                    time.sleep(60)
            heard = job.share("said by rank 0")
        except LostRank as error:
            heard = str(error)
    Path(folder, str(job.rank.index)).write_text(heard)


@pytest.mark.parametrize("end", ["well", "silent"])
def test_a_rank_is_heard_in_every_block(tmp_path: Path, end: str) -> None:
    command = [str(tmp_path), end]
    with ranks(command, command, work=two_blocks) as both:
        errors = both[0].wait(60)
        if end == "well":
            errors += both[1].wait(60)
    heard = {path.name: path.read_text() for path in tmp_path.iterdir()}
    if end == "well":
        assert heard == {"0": "said by rank 0", "1": "said by rank 0"}, errors
    else:
        assert "rank 1 has not been heard of" in heard["0"], errors
