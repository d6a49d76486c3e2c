"""Columns and folders of a source that name people, places or times, and so stay behind or are told of.

Pixels are new and names are pseudonyms; one column `name`, `gps` or `caption` beside them would undo both. A column is
recognised by a word of its name, by what its values look like, or because its texts are nearly all different, which
only free text and identifiers are. The rule errs towards keeping a column back: what is wanted can be named.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from synthgen.datasets._files import is_number
from synthgen.types import Finding


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


WORDS = _set_of(
    """name firstname lastname surname fullname nickname username user person people identity identities subject patient
    owner author photographer artist copyright customer employee student id ids uid uuid guid ssn passport email mail
    phone telephone mobile fax address street zip postcode gps geo location place latitude longitude lat lon lng
    coordinates url uri link href path file filename source origin camera serial device plate registration vin birth
    birthday born dob date datetime time timestamp taken created note notes comment comments description caption text
    title remark remarks hash sha1 sha256 md5 signature"""
)
"""A column is kept back if its name holds one of these words, unless it speaks of a class (`class_name`)."""
CLASS_WORDS = _set_of("class label category species")
VALUES = {
    "e-mail addresses": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]{2,}"),
    "web addresses": re.compile(r"(?i)\b(https?://|www\.)\S+"),
    "dates or times": re.compile(r"\b(19|20)\d\d[-/.:]\d\d?[-/.:]\d\d?\b|\b\d\d?[-/.]\d\d?[-/.](19|20)\d\d\b"),
    "telephone numbers": re.compile(r"\+\d[\d ()/-]{7,}\d"),
    "coordinates": re.compile(r"-?\d{1,3}\.\d{4,}\s*[,;]\s*-?\d{1,3}\.\d{4,}"),
    "paths of files": re.compile(r"(?i)([/\\].*[/\\])|(\.(jpe?g|png|tiff?|webp|bmp|json|xml|txt)$)"),
}
MANY_TEXTS, DISTINCT = 8, 0.5
"""Texts of a column that are more than these, and of which this share is unlike all others, are free text or ids."""
MANY_FOLDERS, FEW_IMAGES = 5, 20
NUMBERED = re.compile(r"(?i)(p|id|person|people|subject|patient|user|identity|n)?[ _-]?\d{2,}")
TWO_NAMES = re.compile(r"[A-Z][\w'’-]+([_ ][A-Z][\w.'’-]*)+")


def identity_columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The columns that may tell who, where or when, each with the reason (the end of a sentence)."""
    values: dict[str, list[str]] = {}
    for row in rows:
        for name, value in row.items():
            texts = values.setdefault(name, [])
            if isinstance(value, str) and value.strip() and not is_number(value):
                texts.append(value.strip())
    reasons = {name: _reason(name, texts) for name, texts in values.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _reason(name: str, texts: list[str]) -> str:
    words = re.findall(r"[a-z]+\d*", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    named = [word for word in words if word in WORDS or word.rstrip("0123456789") in WORDS]
    if named and not CLASS_WORDS.intersection(words):
        return f"is called {named[0]!r}"
    for what, pattern in VALUES.items():
        if any(pattern.search(text) for text in texts):
            return f"holds {what}"
    if len(texts) >= MANY_TEXTS and len(set(texts)) > DISTINCT * len(texts):
        return "holds texts that are nearly all different"
    return ""


def person_folders(class_of: Mapping[str, str]) -> list[Finding]:
    """One finding where class folders look like one for each person: they would be released by their names.

    They do if most are called like a person (`Jane_Roe`, `p0012`, `subject-07`) and hold few images each.
    """
    counts = Counter(class_of.values())
    if len(counts) < MANY_FOLDERS or median(counts.values()) > FEW_IMAGES:
        return []
    alike = [name for name in counts if NUMBERED.fullmatch(name) or TWO_NAMES.fullmatch(name)]
    if len(alike) <= len(counts) / 2:
        return []
    message = (
        f"{len(counts)} class folders with few images each look like one for each person; folders keep their names in "
        "a release, so it would say whose pictures they replace. Give each split's images in one folder"
    )
    return [Finding("folders-like-people", sorted(alike)[0], message)]


def columns_held_back(
    rows: Iterable[Mapping[str, Any]], wanted: tuple[str, ...] | None
) -> tuple[frozenset[str], list[Finding]]:
    """The plain columns that stay behind, and a finding for each; `wanted` names those that are released instead."""
    if wanted is None:
        reasons = identity_columns(rows)
    else:
        there = dict.fromkeys(name for row in rows for name in row if name not in wanted)
        reasons = dict.fromkeys(there, "is not among source.columns")
    findings = [
        Finding("column-not-released", name, f"{reason}; name it in source.columns to release it")
        for name, reason in sorted(reasons.items())
    ]
    return frozenset(reasons), findings
