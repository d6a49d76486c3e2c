"""Several blocks in one job: in the later ones a rank is heard as in the first, and a dead one is missed."""

from __future__ import annotations

import time
from pathlib import Path

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


def test_a_rank_that_works_long_is_waited_for_in_every_block(tmp_path: Path) -> None:
    command = [str(tmp_path), "well"]
    with ranks(command, command, work=two_blocks) as both:
        errors = [rank.wait(60) for rank in both]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys("01", "said by rank 0"), errors


def test_a_silent_rank_is_missed_in_every_block(tmp_path: Path) -> None:
    command = [str(tmp_path), "silent"]
    with ranks(command, command, work=two_blocks) as both:
        errors = both[0].wait(60)
    assert "rank 1 has not been heard of" in (tmp_path / "0").read_text(), errors
