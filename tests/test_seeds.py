"""Seeds: known answers, and no two draws that share a stream."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthgen.seeds import derive_seed

TEXT = st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"]), max_size=20)
DRAWS = st.tuples(st.integers(0, 9), TEXT, st.integers(0, 99), st.integers(0, 99), TEXT)


@pytest.mark.parametrize(
    ("draw", "expected"),
    [
        ((0, "images/a.png", 0, 0), 1921112158353913543),
        ((0, "images/a.png", 0, 1), 7176002677268768022),
        ((7, "Straße/ü.png", 3, 0, "factor:time"), 1033825396029693920),
    ],
)
def test_known_answers(draw: tuple[int, str, int, int], expected: int) -> None:
    """A change here changes every output ever made."""
    assert derive_seed(*draw) == expected


@given(DRAWS, DRAWS)
def test_two_draws_share_a_seed_only_if_they_are_one(one: tuple, other: tuple) -> None:
    assert (derive_seed(*one) == derive_seed(*other)) == (one == other)
    assert 0 <= derive_seed(*one) < 2**63


def test_numbers_do_not_run_into_each_other() -> None:
    assert len({derive_seed(0, "a", 1, 11), derive_seed(0, "a", 11, 1), derive_seed(0, "a1", 1, 1)}) == 3


def test_top_bits_are_even() -> None:
    """Over 4,000 samples each of the 16 top values comes 250 times, give or take 5 standard deviations."""
    counts = [0] * 16
    for number in range(4000):
        counts[derive_seed(0, f"image-{number}", 0, 0) >> 59] += 1
    assert all(abs(count - 250) < 5 * 15.3 for count in counts), counts
