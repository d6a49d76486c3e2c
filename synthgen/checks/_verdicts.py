"""What a judge of labels goes by, what it counts, and how both become a score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from synthgen.checks._vocabulary import Vocabulary, make_vocabulary
from synthgen.palettes import ClassMap
from synthgen.types import ClassInfo, Score


@dataclass(frozen=True)
class Rules:
    """The keys of `LabelsCheck` of the same names; `ignores` is `lost: ignore`, `factor` that of the filter."""

    palette: str
    class_map: str | ClassMap
    model_class_map: str | ClassMap
    least: float
    readable: float
    survives: float
    small: float
    ignores: bool
    passes_unread: bool
    max_ignored: float
    factor: float | None
    iou: float

    def vocabulary(self, classes: Sequence[ClassInfo], model_labels: Mapping[int, str]) -> Vocabulary:
        """As `make_vocabulary`, by the three keys."""
        return make_vocabulary(classes, model_labels, self.palette, self.class_map, self.model_class_map)

    def unread_score(self, message: str, columns: Mapping[str, float | None] | None = None) -> Score:
        """Of an output that can't be judged."""
        return Score("labels", None, True if self.passes_unread else None, message, columns=columns or {})


@dataclass(frozen=True)
class Fate:
    """What became of one object: `survived` is None where the model did not find it on the source."""

    name: str
    small: bool
    survived: bool | None


def count_fates(fates: Iterable[Fate]) -> dict[str, float]:
    """Columns of the ledger: large and small objects apart, and those that can't be judged."""
    names = {
        (False, True): "survived",
        (False, False): "lost",
        (False, None): "unread",
        (True, True): "small-survived",
        (True, False): "small-lost",
        (True, None): "small-unread",
    }
    counted = Counter(names[fate.small, fate.survived] for fate in fates)
    return {f"label-objects:{name}": float(counted[name]) for name in names.values()}


def describe_lost(fates: Iterable[Fate]) -> str:
    """`2 × Car, 1 × Sign did not survive`, of what is not small; empty where nothing was lost."""
    lost = Counter(fate.name for fate in fates if fate.survived is False and not fate.small)
    return ", ".join(f"{count} × {name}" for name, count in sorted(lost.items())) + " did not survive" if lost else ""
