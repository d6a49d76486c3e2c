"""The split of each file of a set that lies in shards: `train-00000-of-00002.parquet`, `train-000000.tar`.

What stands before the number is the split, whatever it is called (`fold1`, `train_small`). A name without a number, or
one that only says what is in it (`data-00000-of-00001`), leaves it to the usual names of splits, its folder's too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from synthgen.datasets._files import SPLITS

_COUNTED = re.compile(r"(.+)-\d{5,6}-of-\d{5,6}(-[0-9a-f]+)?")
_NUMBERED = re.compile(r"(.+)-\d{5,6}")
_USUAL = re.compile(rf"({'|'.join(sorted(SPLITS, key=len, reverse=True))})(?=[-_.\d]|$)", re.IGNORECASE)
_CONTENT = frozenset({"all", "chunk", "data", "dataset", "file", "images", "part", "samples", "shard", "shards"})


def shard_splits(files: Sequence[str]) -> Mapping[str, str | None]:
    """The split of each of the files of one set, given by their paths; None where nothing tells.

    One unusual word before the number of every tar is taken for the name of the set.
    """
    words = {file: _word(file) for file in files}
    one_word = len(set(words.values())) == 1
    return {file: _split(file, word, one_word) for file, word in words.items()}


def _word(file: str) -> str | None:
    """What stands before the number."""
    stem = PurePosixPath(file).stem
    found = _COUNTED.fullmatch(stem) or _NUMBERED.fullmatch(stem)
    return found.group(1) if found else None


def _split(file: str, word: str | None, one_word: bool) -> str | None:
    *folders, stem = PurePosixPath(file).with_suffix("").parts
    above = next((split for folder in reversed(folders) if (split := _usual(folder))), None)
    if word is None or word.lower() in _CONTENT:
        return _usual(stem) or above
    if _usual(word):
        return word.lower() if word.lower() in SPLITS else word
    return above or (word if _COUNTED.fullmatch(stem) or not one_word else None)


def _usual(text: str) -> str | None:
    """The usual name of a split that a name begins with."""
    found = _USUAL.match(text)
    return found.group().lower() if found else None
