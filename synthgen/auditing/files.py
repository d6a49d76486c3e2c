"""Attacks on the released files themselves: metadata, times, and names of originals in what lies beside the images."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from synthgen.auditing.pairs import Pairs
from synthgen.images import SUFFIXES
from synthgen.metrics.privacy.metadata import image_metadata
from synthgen.metrics.privacy.trials import Trial

MIN_STEM = 5
"""Shorter names of originals turn up in any text by accident."""
TEXTS = frozenset({".json", ".jsonl", ".csv", ".txt", ".xml", ".yaml", ".yml", ".md"})
_FIELDS, _WORDS = re.compile(r"[\"'/\\,;<>\r\n\t]+"), re.compile(r"[\"'/\\,;:=<>()\[\]{}\s]+")
QUESTION = "does a released file hold more than pixels and labels?"


def scan_release(pairs: Pairs, allow: Sequence[str]) -> Trial:
    """Every file of the release, whether or not an original belongs to it."""
    files = sorted(path for path in pairs.release.rglob("*") if path.is_file() and not path.is_symlink())
    links = [path for path in pairs.release.rglob("*") if path.is_symlink()]
    source_of = {made.path: pairs.dataset.path / one for one, outputs in pairs.outputs.items() for made in outputs}
    stems = set() if pairs.keeps_names else {PurePosixPath(item.id).stem for item in pairs.items}
    counts: Counter[str] = Counter()
    names, hits = [], []
    for path in [*files, *links]:
        found = ["link"] if path in links else _scan(path, source_of.get(path), stems)
        found = [one for one in found if one not in allow]
        counts.update(found)
        names.append(path.relative_to(pairs.release).as_posix())
        hits.append(bool(found))
    return Trial(
        "metadata",
        "file scan",
        QUESTION,
        "file",
        tuple(names),
        np.array(hits, np.bool_),
        zero=True,
        reason="" if names else "the release is empty",
        details={"found": dict(sorted(counts.items())), "allowed": list(allow)},
    )


def _names_in(text: str) -> set[str]:
    """What may be the stem of a file's name in a text, with and without spaces in it."""
    parts = {part.strip() for pattern in (_FIELDS, _WORDS) for part in pattern.split(text)}
    return parts | {part.rpartition(".")[0] for part in parts}


def _scan(path: Path, source: Path | None, stems: set[str]) -> list[str]:
    found = []
    if path.suffix.lower() in SUFFIXES:
        found += image_metadata(path.read_bytes())
    elif path.suffix.lower() in TEXTS and stems:
        names = _names_in(path.read_text(encoding="utf-8", errors="replace")) & stems
        found += ["source-name"] if any(len(name) >= MIN_STEM for name in names) else []
    if stems and len(path.stem) >= MIN_STEM and path.stem in stems:
        found.append("source-name")
    if source is not None and source.is_file() and source.stat().st_mtime_ns == path.stat().st_mtime_ns:
        found.append("source-time")
    return found
