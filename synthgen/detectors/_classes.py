"""What a class name says: a person or a part of one, a face, a number plate, text, a vehicle.

A class table alone tells what a dataset's labels mean, and everyone names classes otherwise. The rules:

- a class whose name holds a word for a person ("Pedestrian", "human--rider--bicyclist") is a person;
- in a table with two or more parts of the body or things worn (by the last word of the name: "upper arms", "t-shirt",
  but not "hair drier"), each of those is part of a person;
- such a table that has nothing of a scene (sky, road, wall …) is that of a people-parsing dataset: there every class
  but the background is worn, carried or the body itself, so what this file has no word for is covered too;
- a class that is a face or a head and nothing else ("face", "human head") is that, unless the table is one of parts;
- a plate is a number plate only if the name says whose ("license plate"): else it is crockery.
"""

from __future__ import annotations

import re

from synthgen.types import ClassInfo, RegionKind


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


PERSON_WORDS = _set_of(
    """person persons people human humans individual individuals pedestrian pedestrians rider riders bicyclist
    bicyclists cyclist cyclists motorcyclist motorcyclists biker bikers skater skaters skier skiers man men woman women
    boy boys girl girls child children kid kids baby babies toddler infant adult adults crowd player players worker
    workers"""
)
PART_WORDS = _set_of(
    """hair skin face head eye eyes ear ears nose mouth lip lips neck torso arm arms hand hands leg legs foot feet
    accessories belt blazer blouse bodysuit boots bra bracelet cape cardigan clogs clothes coat dress earrings flats
    footwear glasses glove gloves hat heels helmet hoodie intimate jacket jeans jumper jumpsuits leggings loafers
    necklace panties pants pumps romper sandals scarf shirt shoe shoes shorts skirt sneakers socks stockings suit
    sunglasses sweater sweatshirt swimwear tie tights top trousers uniform vest watch wedges"""
)
SCENE_WORDS = _set_of(
    """sky building house road street sidewalk pavement tree vegetation terrain grass mountain sea water wall floor
    ceiling car bus truck train bicycle motorcycle fence pole sign table chair sofa bed dog cat horse bird"""
)
BACKGROUND_WORDS = _set_of("background null void none unlabelled unlabeled ignore other bg")


FACE_WORDS, HEAD_WORDS = _set_of("face faces"), _set_of("head heads")
PLATE_WORDS = _set_of("plate plates licenseplate licenceplate numberplate")
WHOSE_PLATE = _set_of("license licence number registration vehicle car lp")
TEXT_WORDS = _set_of("text texts textline")
VEHICLE_WORDS = _set_of(
    """car cars bus buses truck trucks van vans vehicle vehicles motorcycle motorcycles motorbike lorry trailer taxi"""
)


def _words(name: str) -> list[str]:
    """The lower-case words of a class name, split at anything that is no letter and at capitals ("TrafficCone")."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def person_class_ids(classes: tuple[ClassInfo, ...]) -> frozenset[int]:
    """The ids of the classes that are people, their parts or what they wear (the rule of the module's docstring)."""
    named = {info.id: _words(info.name) for info in classes if not info.ignore}
    people = frozenset(id_ for id_, words in named.items() if PERSON_WORDS.intersection(words))
    parts = frozenset(id_ for id_, words in named.items() if words and words[-1] in PART_WORDS)
    if len(parts) < 2:
        return people
    if any(SCENE_WORDS.intersection(words) for words in named.values()):
        return people | parts
    return frozenset(id_ for id_, words in named.items() if not BACKGROUND_WORDS.intersection(words))


def region_class_ids(classes: tuple[ClassInfo, ...]) -> dict[RegionKind, frozenset[int]]:
    """The class ids of each kind of region that a table has; kinds without any are left out.

    A class belongs to one kind at most.
    """
    named = {info.id: frozenset(_words(info.name)) for info in classes if not info.ignore}
    people = person_class_ids(classes)
    whose = PERSON_WORDS | FACE_WORDS | HEAD_WORDS
    found: dict[RegionKind, frozenset[int]] = {
        "face": frozenset(id_ for id_, words in named.items() if words & FACE_WORDS and words <= whose),
        "head": frozenset(id_ for id_, words in named.items() if words & HEAD_WORDS and words <= whose),
        "plate": frozenset(id_ for id_, words in named.items() if is_plate(words)),
        "text": frozenset(id_ for id_, words in named.items() if words & TEXT_WORDS),
    }
    if any(words & (PART_WORDS - FACE_WORDS - HEAD_WORDS) for words in named.values()):
        found["face"] = found["head"] = frozenset()
    ids = {kind: ids for kind, ids in found.items() if ids}
    return {"person": people - frozenset().union(*ids.values()), **ids}


def is_plate(words: frozenset[str]) -> bool:
    """Whether the words of a class name mean a number plate."""
    return bool(words & PLATE_WORDS) and (bool(words & WHOSE_PLATE) or words <= PLATE_WORDS - {"plate", "plates"})


def vehicle_class_ids(classes: tuple[ClassInfo, ...]) -> frozenset[int]:
    """The ids of the classes that are vehicles and not their plates."""
    named = ((info.id, frozenset(_words(info.name))) for info in classes if not info.ignore)
    return frozenset(id_ for id_, words in named if words & VEHICLE_WORDS and not is_plate(words))
