"""Originals and outputs as an audit sees them: read once, kept as digests, boxes and ways to read them again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.auditing.attackers import Attacker, View
from synthgen.auditing.pairs import Output, Pairs
from synthgen.auditing.spec import RegionName
from synthgen.auditing.subjects import RegionFinder, Step, Subject, find_subjects
from synthgen.images import decode_image, read_bytes, sha256
from synthgen.regions import Size
from synthgen.types import BadSample, Box, ConfigError, Image, Item, Region

CLOSE = 8
"""Gray levels by which a kept pixel may differ after it was encoded again."""
KEPT_SHARE = 0.5
"""An anonymiser that leaves this share of the pixels outside of people as they were keeps the background."""


@dataclass(frozen=True, eq=False)
class Picture:
    """An image by its digest and how to read it, (height, width, 3) uint8 at its original's size."""

    digest: str
    size: Size
    read: Callable[[], Image]

    def view(self, box: Box) -> View:
        """One box of it."""
        return View(self.digest, box, self.read)

    def whole(self) -> View:
        """All of it."""
        return self.view(Box(0, 0, *self.size))


@dataclass(frozen=True, eq=False)
class Photo:
    """An original, who is in it, and what was made of it; `files` are the released files of `outputs`."""

    item: Item
    picture: Picture
    regions: tuple[Region, ...]
    subjects: tuple[Subject, ...]
    outputs: tuple[Picture, ...]
    files: tuple[Output, ...]


@dataclass(frozen=True, eq=False)
class Rows:
    """The embeddings of one attacker: a row a person of a photograph, a row a person of an output.

    `source` is the row in `real` that each row of `output` was made of; `photo` the number of its photo.
    """

    subjects: tuple[Subject, ...]
    photo: NDArray[np.int64]
    real: NDArray[np.float32]
    output: NDArray[np.float32]
    source: NDArray[np.int64]
    views: tuple[View, ...]


def read_photos(pairs: Pairs, finder: RegionFinder, step: Step) -> tuple[list[Photo], dict[str, int]]:
    """Every original that has an output or an identity; and how many could not be read, by code."""
    skipped: Counter[str] = Counter()
    photos = []
    wanted = [item for item in pairs.items if item.id in pairs.outputs or item.id in pairs.identities.person]
    for number, item in enumerate(wanted, start=1):
        try:
            sample = pairs.dataset.read(item)
            made = pairs.outputs.get(item.id, ())
            outputs = tuple(_output(output.path, pairs.release, sample.size) for output in made)
        except BadSample as bad:
            skipped[bad.code] += 1
            continue
        finally:
            step(number, len(wanted))
        picture = Picture(sample.digest, sample.size, _reader(pairs, item))
        regions = tuple(finder(sample))
        subjects = tuple(find_subjects(sample, regions, pairs.identities.person.get(item.id)))
        photos.append(Photo(item, picture, regions, subjects, outputs, made))
    finder.save()
    return photos, dict(skipped)


def _reader(pairs: Pairs, item: Item) -> Callable[[], Image]:
    return lambda: pairs.dataset.read(item).image


def _output(path: Path, root: Path, size: Size) -> Picture:
    """A released file; one of another size than its original is scaled to it, so that boxes fit."""

    def read() -> Image:
        image = decode_image(read_bytes(path, root), path.name)
        return image if (image.shape[1], image.shape[0]) == size else cv2.resize(image, size).astype(np.uint8)

    data = read_bytes(path, root)
    try:
        decode_image(data, path.name)
    except BadSample as bad:
        raise ConfigError(f"{path}: a released image can't be read ({bad}); run or export it again") from bad
    return Picture(sha256(data), size, read)


def embed_people(attacker: Attacker, photos: Sequence[Photo], step: Step) -> Rows:
    """Embed the attacker's region of every person, in originals and outputs."""
    subjects: list[Subject] = []
    views: list[View] = []
    made: list[View] = []
    numbers, source = [], []
    for number, photo in enumerate(photos):
        for subject in photo.subjects:
            box = subject.boxes.get(attacker.region)
            if box is None:
                continue
            for output in photo.outputs:
                made.append(output.view(box))
                source.append(len(subjects))
            subjects.append(subject)
            numbers.append(number)
            views.append(photo.picture.view(box))
    embedded = attacker.embed([*views, *made], step)
    return Rows(
        tuple(subjects),
        np.array(numbers, np.int64),
        embedded[: len(views)],
        embedded[len(views) :],
        np.array(source, np.int64),
        tuple(views),
    )


def without_identity_box(photos: Sequence[Photo], region: RegionName) -> int:
    """How many photographs with a named person have no box of this kind: their people can't be attacked."""
    return sum(
        any(subject.identity is not None and region not in subject.boxes for subject in photo.subjects)
        for photo in photos
    )


def keeps_background(photos: Sequence[Photo], limit: int = 50) -> bool:
    """Whether the outputs still hold the originals' pixels outside of people."""
    shares = []
    for photo in [photo for photo in photos if photo.outputs][:limit]:
        before, after = photo.picture.read().astype(np.int16), photo.outputs[0].read().astype(np.int16)
        outside = np.ones(before.shape[:2], np.bool_)
        for region in photo.regions:
            x0, y0, x1, y1 = (max(int(side), 0) for side in vars(region.box).values())
            outside[y0:y1, x0:x1] = False
        if outside.any():
            shares.append(float((np.abs(before - after).max(axis=2) <= CLOSE)[outside].mean()))
    return bool(shares) and float(np.median(shares)) >= KEPT_SHARE


def attributes_of(photos: Sequence[Photo], columns: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """The columns of those identities that are in the photographs."""
    there = {subject.identity for photo in photos for subject in photo.subjects if subject.identity is not None}
    return {
        name: {who: value for who, value in column.items() if who in there}
        for name, column in columns.items()
        if any(who in there for who in column)
    }
