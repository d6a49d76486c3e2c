"""The rule by which an image gets its level of risk. It is a table and nothing else, so that anyone can check it.

Sizes go by IEC 62676-4:2014, which says how many pixels a metre of somebody must span: 250 to identify a
stranger beyond doubt, 125 to recognise someone known. A face is about 0.16 m wide, a standing adult about 1.7 m tall;
characters are legible from about 10 px of height, which on a number plate means 15 px of plate.

| what                                                                    | level  |
|-------------------------------------------------------------------------|--------|
| a face 40 px wide or more: a stranger can be identified                 | high   |
| a face of 20 to 39 px: who knows them recognises them                   | medium |
| a smaller face                                                          | low    |
| a person 213 px tall or more (125 px a metre): known by build, clothes  | medium |
| a smaller person                                                        | low    |
| a number plate 15 px high or more, or that was read                     | high   |
| a number plate of 8 to 14 px                                            | medium |
| a smaller plate, or text on a vehicle that could be one                 | low    |
| legible text (10 px high) on a person: a badge, a number on a shirt     | medium |
| twenty legible lines, or three that fill a tenth of the picture         | medium |
| other legible text                                                      | low    |
| an e-mail address or telephone number in the metadata or the file name  | high   |
| GPS with people or plates in the picture                                | high   |
| GPS without; names, serial numbers in the metadata                      | medium |
| an embedded thumbnail with people or plates in the picture              | medium |
| what looks like a person's name in the file name                        | medium |
| a thumbnail without; comments, XMP, IPTC, dates, devices; ids in names  | low    |

The level of an image is the highest of its reasons, `none` without any; that of a set is the highest of its images. A
level below high that was found without one of the detectors is a lower bound and says so.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from synthgen.metadata import MEANING, MetadataKind
from synthgen.people import People, distinct, is_small, overlap
from synthgen.regions import Size
from synthgen.triage.file_names import NameClue
from synthgen.types import Box, Region, RegionKind

Level = Literal["none", "low", "medium", "high"]
LEVELS: tuple[Level, ...] = ("none", "low", "medium", "high")
IDENTIFIABLE_FACE, RECOGNISABLE_FACE = 40, 20
RECOGNISABLE_PERSON = 213
LEGIBLE_PLATE, PARTLY_LEGIBLE_PLATE = 15, 8
LEGIBLE_TEXT = 10
DOCUMENT_LINES, FILLING_LINES, DOCUMENT_SHARE = 20, 3, 0.1
WORN_SHARE = 0.2
"""Of the person's height: a line of text that is higher hangs behind them."""
READ_PLATE = 0.5
"""Score above which the default detector has read a registration (detectors/plates.py)."""


@dataclass(frozen=True)
class Reason:
    """Why an image has at least this level: a stable code, how many things, the largest (pixels), a sentence."""

    code: str
    level: Level
    count: int
    largest: int
    text: str


@dataclass(frozen=True, eq=False)
class Contents:
    """What was found in one image of (width, height). Sizes are whole pixels, the largest first.

    `guessed_plates` tells that plates were found by their text alone.
    """

    size: Size
    people: People
    faces: tuple[int, ...]
    heights: tuple[int, ...]
    plates: tuple[Region, ...]
    text: tuple[Region, ...]
    guessed_plates: bool


def contents_of(people: People, size: Size, guessed_plates: bool) -> Contents:
    """The regions of an image, each thing once."""

    def of_kind(kind: RegionKind) -> list[Region]:
        return distinct([region for region in people.regions if region.kind == kind])

    plates = of_kind("plate")
    read = [plate for plate in plates if not guessed_plates or plate.origin == "label" or plate.score > READ_PLATE]
    text = [line for line in of_kind("text") if not any(overlap(line.box, plate.box) > 0.5 for plate in read)]
    outlined = [person for person in of_kind("person") if not is_small(person, size)]
    return Contents(
        size=size,
        people=people,
        faces=tuple(sorted((round(face.box.width) for face in of_kind("face")), reverse=True)),
        heights=tuple(sorted((round(person.box.height) for person in outlined), reverse=True)),
        plates=tuple(plates),
        text=tuple(text),
        guessed_plates=guessed_plates,
    )


def assess(contents: Contents, metadata: Collection[MetadataKind], names: Collection[NameClue]) -> tuple[Reason, ...]:
    """All reasons that an image gives, the gravest first."""
    reasons = [*_faces(contents), *_people(contents), *_plates(contents), *_text(contents)]
    shown = bool(contents.people.people or contents.plates)
    reasons += [*_metadata(metadata, shown), *_names(names)]
    return tuple(sorted(reasons, key=lambda reason: -LEVELS.index(reason.level)))


def level_of(reasons: Sequence[Reason]) -> Level:
    """The highest level among the reasons; `none` without any."""
    return max((reason.level for reason in reasons), key=LEVELS.index, default="none")


def _faces(contents: Contents) -> list[Reason]:
    faces = contents.faces
    near = [width for width in faces if width >= IDENTIFIABLE_FACE]
    middle = [width for width in faces if RECOGNISABLE_FACE <= width < IDENTIFIABLE_FACE]
    far = [width for width in faces if width < RECOGNISABLE_FACE]
    return [
        *_sized("face-identifiable", "high", near, "face(s) a stranger can be identified by"),
        *_sized("face-recognisable", "medium", middle, "face(s) that who knows them recognises"),
        *_sized("face-small", "low", far, "small face(s)"),
    ]


def _people(contents: Contents) -> list[Reason]:
    tall = [height for height in contents.heights if height >= RECOGNISABLE_PERSON]
    rest = [height for height in contents.heights if height < RECOGNISABLE_PERSON]
    reasons = [
        *_sized("person-recognisable", "medium", tall, "person(s) known by build, clothes or gait", "tall"),
        *_sized("person-far", "low", rest, "person(s) too far to be recognised by their figure", "tall"),
    ]
    if contents.people.small:
        reasons.append(
            Reason("person-small", "low", contents.people.small, 0, f"{contents.people.small} too small to check")
        )
    return reasons


def _plates(contents: Contents) -> list[Reason]:
    sure = [plate for plate in contents.plates if not contents.guessed_plates or plate.origin == "label"]
    guessed = [plate for plate in contents.plates if plate not in sure]
    read = [plate for plate in guessed if plate.score > READ_PLATE]
    heights = [round(plate.box.height) for plate in sure]
    large = [height for height in heights if height >= LEGIBLE_PLATE] + [round(plate.box.height) for plate in read]
    middle = [height for height in heights if PARTLY_LEGIBLE_PLATE <= height < LEGIBLE_PLATE]
    far = [height for height in heights if height < PARTLY_LEGIBLE_PLATE]
    unread = [round(plate.box.height) for plate in guessed if plate not in read]
    return [
        *_sized("plate-legible", "high", large, "legible number plate(s)", "high"),
        *_sized("plate-partly-legible", "medium", middle, "partly legible number plate(s)", "high"),
        *_sized("plate-small", "low", far, "number plate(s) too small to read", "high"),
        *_sized("plate-possible", "low", unread, "line(s) of text with the shape of a number plate", "high"),
    ]


def _text(contents: Contents) -> list[Reason]:
    legible = [line for line in contents.text if line.box.height >= LEGIBLE_TEXT]
    bodies = [region.box for region in contents.people.regions if region.kind == "person"]
    on_people = [line for line in legible if any(_worn(line.box, body) for body in bodies)]
    area = sum(line.box.width * line.box.height for line in legible) / (contents.size[0] * contents.size[1])
    heights = [round(line.box.height) for line in legible]
    if len(legible) >= DOCUMENT_LINES or (len(legible) >= FILLING_LINES and area >= DOCUMENT_SHARE):
        return _sized("text-document", "medium", heights, "line(s) of text: a document, screen or page", "high")
    worn = [round(line.box.height) for line in on_people]
    rest = [round(line.box.height) for line in legible if line not in on_people]
    return [
        *_sized("text-on-person", "medium", worn, "line(s) of text on a person", "high"),
        *_sized("text-legible", "low", rest, "line(s) of legible text", "high"),
    ]


def _worn(line: Box, body: Box) -> bool:
    return overlap(line, body) > 0.8 and line.height < WORN_SHARE * body.height


_METADATA_LEVELS: dict[MetadataKind, tuple[Level, Level]] = {
    "contact": ("high", "high"),
    "gps": ("medium", "high"),
    "person": ("medium", "medium"),
    "device-id": ("medium", "medium"),
    "thumbnail": ("low", "medium"),
}
"""Without and with people or plates in the picture; what is not here is low."""
_NAME_LEVELS: dict[NameClue, Level] = {"e-mail": "high", "telephone": "high", "person": "medium"}


def _metadata(metadata: Collection[MetadataKind], shown: bool) -> list[Reason]:
    return [
        Reason(
            f"metadata-{kind}", _METADATA_LEVELS.get(kind, ("low", "low"))[shown], 1, 0, f"metadata: {MEANING[kind]}"
        )
        for kind in sorted(metadata)
    ]


def _names(names: Collection[NameClue]) -> list[Reason]:
    return [
        Reason(f"name-{clue}", _NAME_LEVELS.get(clue, "low"), 1, 0, f"the file's path holds what looks like: {clue}")
        for clue in sorted(names)
    ]


def _sized(code: str, level: Level, sizes: Sequence[int], what: str, how: str = "wide") -> list[Reason]:
    if not sizes:
        return []
    return [Reason(code, level, len(sizes), max(sizes), f"{len(sizes)} {what} (largest {max(sizes)} px {how})")]
