"""Pictures and labels as arrays at the training size, and the classes that they speak of."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.label_maps import labels_to_class_ids
from synthgen.seeds import derive_seed
from synthgen.types import ClassInfo, ConfigError, Image, Labels

IGNORE = 255
"""The place of a pixel that has no label."""
BACKGROUND = "(background)"
ABSENT, PRESENT, UNKNOWN = 0, 1, -1


@dataclass(frozen=True)
class Vocabulary:
    """The classes that are learnt, in order.

    Attributes:
        places: class id → place among `names`; ids that mean *ignore* are missing.
        from_folders: each picture is of one class (image classes); else classes of pixels or objects.
        outlined: what no outline covers is `BACKGROUND`, and a picture without objects is all of it.
    """

    names: tuple[str, ...]
    places: Mapping[int, int]
    from_folders: bool = False
    outlined: bool = False


@dataclass(frozen=True, eq=False)
class Pictures:
    """Pictures of one arm, in the order of `ids` (the source's).

    Attributes:
        images: (n, height, width, 3), uint8, RGB.
        masks: (n, height, width), uint8, place of the class at each pixel or `IGNORE`; None without pixel labels.
        present: (n, classes), int8: `PRESENT`, `ABSENT` or `UNKNOWN`.
    """

    ids: tuple[str, ...]
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8] | None
    present: NDArray[np.int8]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) of ids, pixels and labels."""
        found = hashlib.sha256("\n".join(self.ids).encode())
        for array in (self.images, self.masks, self.present):
            found.update(b"-" if array is None else array.tobytes())
        return found.hexdigest()


@dataclass(frozen=True, eq=False)
class Picture:
    """One of them; `mask` is None without pixel labels."""

    image: Image
    mask: NDArray[np.uint8] | None
    present: NDArray[np.int8]


def vocabulary_of_table(classes: Sequence[ClassInfo], merge: Mapping[str, Sequence[str]], outlined: bool) -> Vocabulary:
    """The classes of a table but those that mean *ignore*; `outlined`: what no outline covers is a class as well.

    Raises:
        ConfigError: `merge` names a class that is not there, or one twice.
    """
    used = [info for info in classes if not info.ignore]
    merged = [name for names in merge.values() for name in names]
    if unknown := sorted(set(merged) - {info.name for info in used}):
        raise ConfigError(f"merge: no class is named {unknown}; there are {[info.name for info in used]}")
    if len(set(merged)) != len(merged):
        raise ConfigError("merge: a class may stand once")
    becomes = {name: new for new, names in merge.items() for name in names}
    names = list(dict.fromkeys(becomes.get(info.name, info.name) for info in used))
    places = {info.id: names.index(becomes.get(info.name, info.name)) for info in used}
    if outlined:
        places |= {-1: len(names), **{info.id: len(names) for info in classes if info.ignore}}
        names.append(BACKGROUND)
    if len(names) < 2 or len(names) >= IGNORE:
        raise ConfigError(f"the source has {len(names)} class(es) besides ignored ones; expected 2 to {IGNORE - 1}")
    return Vocabulary(tuple(names), places, outlined=outlined)


def shrink(image: Image, labels: Labels, words: Vocabulary, size: tuple[int, int], least: float) -> Picture:
    """A sample at the training size (width, height); `least` is the share of a mask that makes a class present.

    Raises:
        BadSample: a mask of another size than its picture.
    """
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    present = np.zeros(len(words.names), np.int8)
    if words.from_folders:
        if labels.image_class in words.names:
            present[words.names.index(labels.image_class)] = PRESENT
        return Picture(small, None, present)
    ids = labels_to_class_ids(labels, (image.shape[0], image.shape[1]))
    if ids is None and words.outlined and not labels.instances:
        ids = np.full(image.shape[:2], -1, np.int32)
    if ids is None:
        for instance in labels.instances:
            if instance.class_id in words.places:
                present[words.places[instance.class_id]] = PRESENT
        return Picture(small, None, present)
    places = np.full(ids.shape, IGNORE, np.uint8)
    for class_id, place in words.places.items():
        places[ids == class_id] = place
    counts = np.bincount(places.ravel(), minlength=IGNORE + 1)[: len(words.names)]
    present[counts >= max(1.0, least * places.size)] = PRESENT
    return Picture(small, cv2.resize(places, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8), present)


def view(image: Image, mask: NDArray[np.uint8] | None, sample_id: str, number: int, seed: int) -> Picture:
    """View `number` of a picture: 0 as it is; others cropped, perhaps flipped, brighter or darker.

    What is done follows from the sample's id, so every arm sees the same views of a scene.
    """
    nothing = np.zeros(0, np.int8)
    if number == 0:
        return Picture(image, mask, nothing)
    rng = np.random.default_rng(derive_seed(seed, sample_id, number, 0, "utility-view"))
    height, width = image.shape[:2]
    scale, flip = rng.uniform(0.75, 1.0), rng.random() < 0.5
    across, down = max(1, int(width * scale)), max(1, int(height * scale))
    x, y = int(rng.integers(0, width - across + 1)), int(rng.integers(0, height - down + 1))
    gamma, gains = np.exp(rng.uniform(-0.4, 0.4)), rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3)

    def cut(array: NDArray[np.uint8], how: int) -> NDArray[np.uint8]:
        out = cv2.resize(array[y : y + down, x : x + across], (width, height), interpolation=how)
        return np.ascontiguousarray(out[:, ::-1] if flip else out).astype(np.uint8)

    pixels = cut(image, cv2.INTER_LINEAR).astype(np.float32) / 255
    lit = np.clip(pixels**gamma * gains * 255, 0, 255).astype(np.uint8)
    return Picture(lit, None if mask is None else cut(mask, cv2.INTER_NEAREST), nothing)
