"""What a file's path gives away: addresses, numbers, dates, and what looks like somebody's name.

A name is guessed from its form alone, two capitalised words side by side ("Ada_Lovelace_0001.jpg"), so places and
products are taken for people as well; a list of names would miss most of the world's. Paths are released as they are
only under `names: keep`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Literal

NameClue = Literal["e-mail", "telephone", "person", "number", "date"]
_EMAIL = re.compile(r"[\w.+-]+(?:@|_at_)[\w-]+\.[A-Za-z]{2,}")
_TELEPHONE = re.compile(r"\+\d[\d ()-]{7,}\d")
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d([-_.]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?!\d)")
_NUMBER = re.compile(r"(?<!\d)\d{9,}(?!\d)")
_NAME_WORD = re.compile(r"[^\W\d_a-z][^\W\d_A-Z]{1,}(?:['’-][^\W\d_]+)?|(?:Mc|Mac|O'|De|Di|La|Le|Van)[A-Z][a-z]+")
_ORDINARY_WORDS = """
    image images img photo photos picture pic screenshot screen shot scan copy final new old test train val valid
    validation label labels mask masks data dataset raw camera cam front back rear left right top bottom side view
    night day morning evening road street city car bus truck sequence seq frame video clip page document file
    folder edited resized crop cropped large small original export untitled whatsapp signal dsc dcim pano panorama
    portrait selfie january february march april may june july august september october november december monday
    tuesday wednesday thursday friday saturday sunday north south east west san new los saint lake mount river
    park
"""
_ORDINARY = frozenset(_ORDINARY_WORDS.split())


def name_clues(path: str) -> frozenset[NameClue]:
    """The clues in an image's path below the source root."""
    pure = PurePosixPath(path)
    text = str(pure.with_suffix(""))
    clues: set[NameClue] = set()
    if _EMAIL.search(str(pure)):
        clues.add("e-mail")
    if _TELEPHONE.search(text):
        clues.add("telephone")
    if _DATE.search(text):
        clues.add("date")
    if _NUMBER.search(_TELEPHONE.sub("", _DATE.sub("", text))):
        clues.add("number")
    if any(_holds_name(part) for part in (*pure.parent.parts, pure.stem)):
        clues.add("person")
    return frozenset(clues)


def _holds_name(part: str) -> bool:
    words = [word for word in re.split(r"[\s_.,]+|(?<!\w)-|-(?!\w)", part) if word]
    named = [bool(_NAME_WORD.fullmatch(word)) and word.casefold() not in _ORDINARY for word in words]
    return any(first and second for first, second in pairwise(named))
