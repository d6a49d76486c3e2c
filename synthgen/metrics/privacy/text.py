"""Can what was written in the original still be read in the output? Strings are compared, and never told.

Readings are reduced to letters and digits, since plates are. The character error rate is the Levenshtein distance to
the original's reading over its length (Levenshtein 1966): 0 is read in full, 1 and more is nothing left.
"""

from __future__ import annotations

import unicodedata

MIN_LETTERS = 3
"""Shorter readings identify nobody and are guessed easily."""


def normal_text(text: str) -> str:
    """Letters and digits alone, in upper case, in Unicode's compatibility form."""
    folded = unicodedata.normalize("NFKC", text).upper()
    return "".join(letter for letter in folded if letter.isalnum())


def edit_distance(first: str, second: str) -> int:
    """The fewest insertions, deletions and substitutions that turn one into the other."""
    row = list(range(len(second) + 1))
    for above, letter in enumerate(first, start=1):
        left, row[0] = row[0], above
        for column, other in enumerate(second, start=1):
            left, row[column] = row[column], min(row[column] + 1, row[column - 1] + 1, left + (letter != other))
    return row[-1]


def error_rate(original: str, reading: str) -> float:
    """The character error rate of a reading; both are normalised first.

    Raises:
        ValueError: nothing is written in the original.
    """
    truth = normal_text(original)
    if not truth:
        raise ValueError("an original without text has no error rate")
    return edit_distance(truth, normal_text(reading)) / len(truth)
