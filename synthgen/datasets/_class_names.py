"""Names of classes that every table can hold: one line, no blank at its ends, each name once.

Sources are laxer than tables. A CSV drops the blank at the end of `car `, a line break ends a row, and Roboflow's COCO
has a category for the project that may bear the name of a class. Readers then refuse the whole set, or take one class
for another; so names are mended once, before any format writes them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from synthgen.types import ClassInfo, Finding

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]+")
"""Line breaks, control characters, and what XML 1.0 can't hold."""


def clean_name(name: str) -> str:
    """A name as one line of UTF-8 without blanks at its ends; it may be empty."""
    return _UNSEEN.sub(" ", name.encode("utf-8", "replace").decode()).strip()


def fit_names(
    classes: Sequence[ClassInfo], reserved: Collection[str] = (), not_first: str = ""
) -> tuple[tuple[ClassInfo, ...], tuple[Finding, ...]]:
    """The classes under clean names, each once, none of them `reserved`; and a finding for each that is renamed.

    Of equal names the last keeps its own, since Roboflow's project comes first; the others get `-2`, `-3`, ….
    Classes that carry a label choose before those that carry none.

    Args:
        classes: in any order, which stays.
        reserved: names that the format gives to something else.
        not_first: characters that no name may start with.
    """
    wanted = [clean_name(info.name).lstrip(not_first + " ") or f"class {info.id}" for info in classes]
    taken, given = set(reserved), list(wanted)
    places = sorted(
        range(len(classes)), key=lambda place: (classes[place].ignore, wanted[place] != classes[place].name, -place)
    )
    for place in places:
        number = 1
        while given[place] in taken:
            number += 1
            given[place] = f"{wanted[place]}-{number}"
        taken.add(given[place])
    findings = []
    for info, name, plain in zip(classes, given, wanted, strict=True):
        if name != info.name:
            why = "no table holds it as it is, or not this format's"
            if name != plain:
                why = "the format gives that name to something else" if plain in reserved else "another class has it"
            findings.append(Finding("class-renamed", repr(info.name), f"class {info.id} becomes {name!r}: {why}"))
    return tuple(replace(info, name=name) for info, name in zip(classes, given, strict=True)), tuple(findings)
