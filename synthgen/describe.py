"""What is in a scene and how many, in words, from its labels alone: "two cars, a person, trees, road".

The rules are few, so that what a prompt says can be foretold:
- objects with boxes are counted; without boxes, the connected pieces of a countable class in the mask are, at a size of
  at most 256 pixels, pieces under 24 pixels left out. What has no number of its own (sky, road, trees) is only named,
  where it covers 1 % or more. A crowd, and more than five, is "many".
- countable things come first, then the rest, each in order of area; at most six.
- a class goes by its own name in lower case (the first of its synonyms), or by the word in `WORDS`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from functools import lru_cache

import cv2
import numpy as np

from synthgen.types import ClassIds, Labels

MAX_SIDE = 256
MIN_PIECE = 24
"""Pixels at `MAX_SIDE`."""
MIN_STUFF = 0.01
MAX_PHRASES = 6
NUMBERS = ("no", "a", "two", "three", "four", "five")
UNNAMED = frozenset({"unlabelled", "unlabeled", "unknown", "void", "null", "background", "other", "misc", "ignore"})
WORDS = {
    "pedestrian": "person",
    "bicyclist": "cyclist",
    "rider": "cyclist",
    "pavement": "sidewalk",
    "signsymbol": "sign",
    "signboard": "sign",
    "column pole": "pole",
    "vegetation": "tree",
    "vegetationmisc": "tree",
}
STUFF = frozenset(
    {"sky", "road", "street", "sidewalk", "building", "wall", "fence", "floor", "ceiling", "hair", "skin"}
    | {"tree", "grass", "plant", "terrain", "earth", "field", "sand", "snow", "mountain", "water", "sea", "river"}
)
"""Classes that are named, not counted."""
MANY_OF = frozenset({"tree", "building", "plant"})
"""Of these there is never just one."""
IRREGULAR = {"person": "people", "child": "children", "man": "men", "woman": "women", "skis": "skis"}


def describe_objects(labels: Labels) -> str:
    """The phrase for these labels; empty where they hold no objects and no mask."""
    return inventory_to_text(tuple(count_objects(labels)))


def count_objects(labels: Labels) -> list[tuple[str, int]]:
    """(word, number) in order; 0 stands for what is not counted, 99 for a crowd."""
    names = {info.id: class_word(info.name) for info in labels.classes if not info.ignore}
    number: dict[str, int] = defaultdict(int)
    area: dict[str, float] = defaultdict(float)
    for instance in labels.instances:
        word = names.get(instance.class_id, "")
        number[word] += 99 if instance.crowd else 1
        area[word] += instance.box.width * instance.box.height
    if labels.mask is not None:
        for word, pieces, share in _count_pieces(labels.mask, names):
            if not labels.instances or word in STUFF:
                number[word] += pieces
                area[word] += share
    found = [(word, 0 if word in STUFF else min(count, 99)) for word, count in number.items() if word]
    return sorted(found, key=lambda one: (one[1] == 0, -area[one[0]], one[0]))[:MAX_PHRASES]


def _count_pieces(mask: ClassIds, names: dict[int, str]) -> list[tuple[str, int, float]]:
    """(word, pieces, share of the image) of every class in a mask (height, width); pieces is 1 for stuff."""
    scale = min(1.0, MAX_SIDE / max(mask.shape))
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    small = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    found = []
    for class_id in np.unique(small).tolist():
        word = names.get(class_id, "")
        inside = small == class_id
        share = float(inside.mean())
        if word in STUFF:
            pieces = int(share >= MIN_STUFF)
        else:
            _, _, stats, _ = cv2.connectedComponentsWithStats(inside.astype(np.uint8), connectivity=8)
            pieces = int((stats[1:, cv2.CC_STAT_AREA] >= MIN_PIECE).sum())
        if word and pieces:
            found.append((word, pieces, share))
    return found


@lru_cache(maxsize=4096)
def class_word(name: str) -> str:
    """The word for a class, in the singular; empty for classes that name nothing."""
    first = name.replace(";", ",").split(",")[0]
    plain = " ".join(first.lower().replace("_", " ").replace("-", " ").split())
    return "" if plain in UNNAMED else WORDS.get(plain, plain)


@lru_cache(maxsize=65536)
def inventory_to_text(inventory: tuple[tuple[str, int], ...]) -> str:
    """[("car", 2), ("tree", 0)] → "two cars, trees". Scenes with the same inventory share one text."""
    return ", ".join(_phrase(word, number) for word, number in inventory)


def _phrase(word: str, number: int) -> str:
    if number == 0:
        return plural(word) if word in MANY_OF else word
    if number == 1:
        return f"an {word}" if word[0] in "aeiou" else f"a {word}"
    return f"{NUMBERS[number] if number < len(NUMBERS) else 'many'} {plural(word)}"


def plural(word: str) -> str:
    """The regular English plural of the last word, and the few others that classes need."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if re.search(r"(s|x|ch|sh)$", word):
        return f"{word}es"
    if re.search(r"[^aeiou]y$", word):
        return f"{word[:-1]}ies"
    return f"{word}s"
