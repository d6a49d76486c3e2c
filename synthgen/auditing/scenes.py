"""Whole images: can an output be led back to its scene, and is it a copy of an original?

A replacement keeps the layout, so scenes are linked by construction: reported, not judged. A copy is never allowed;
where the background is kept on purpose only the people count as copied, not the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthgen.auditing.attackers import Attacker, View, crop
from synthgen.auditing.photos import Photo
from synthgen.auditing.subjects import Step
from synthgen.metrics.privacy.copying import Copies, find_copies, perceptual_hash
from synthgen.metrics.privacy.matching import distances
from synthgen.metrics.privacy.trials import Trial
from synthgen.metrics.scenes import scene_names

HASH_SIDE = 64
SAME_LEVELS = 3.0
"""An output whose 64×64 thumbnail differs from its original's by fewer gray levels on average is that original."""
LINKAGE = "which scene is it? Layout is kept on purpose, so this is expected to succeed."


def attack_scenes(whole: Attacker, photos: Sequence[Photo], background: bool, alpha: float, step: Step) -> list[Trial]:
    """Scene linkage, and copies of whole images and of people."""
    made = [(number, output) for number, photo in enumerate(photos) for output in photo.outputs]
    if len(photos) < 2 or not made:
        reason = "fewer than two originals with outputs"
        return [
            Trial("scene linkage", whole.name, LINKAGE, "image", gates=False, reason=reason),
            Trial("copying, whole image", "features and hash", "is it a copy?", "image", zero=True, reason=reason),
        ]
    real_views = [photo.picture.whole() for photo in photos]
    output_views = [output.whole() for _, output in made]
    real, output = whole.embed(real_views, step), whole.embed(output_views, step)
    owner = np.array([number for number, _ in made], np.int64)
    found = distances(output, real).argmin(axis=1) == owner
    names = tuple(f"{photos[number].item.id}" for number, _ in made)
    linkage = Trial("scene linkage", whole.name, LINKAGE, "image", names, found, 1 / len(photos), gates=False)
    scene = _units(_scenes(photos))
    copies = _copies((real, real_views), (output, output_views), owner, scene, alpha)
    whole_image = _copy_trial("copying, whole image", names, copies, gates=not background)
    return [linkage, whole_image, *_heads(whole, photos, alpha)]


def _heads(whole: Attacker, photos: Sequence[Photo], alpha: float) -> list[Trial]:
    """The same for the head of each person, or the person where there is no head."""
    real: list[View] = []
    made: list[View] = []
    people, names, owner = [], [], []
    for photo in photos:
        for subject in photo.subjects:
            box = subject.boxes.get("head") or subject.boxes.get("face") or subject.boxes.get("person")
            if box is None:
                continue
            for output in photo.outputs:
                made.append(output.view(box))
                names.append(photo.item.id)
                owner.append(len(real))
            real.append(photo.picture.view(box))
            people.append(subject.name)
    title = "copying, people"
    if not made:
        return [_copy_trial(title, (), None, gates=True)]
    features = whole.embed(real), whole.embed(made)
    rows = np.array(owner, np.int64)
    copies = _copies((features[0], real), (features[1], made), rows, _units(people), alpha)
    return [_copy_trial(title, tuple(names), copies, gates=True)]


def _copies(
    real: tuple[NDArray[np.float32], Sequence[View]],
    output: tuple[NDArray[np.float32], Sequence[View]],
    owner: NDArray[np.int64],
    scene: NDArray[np.int64],
    alpha: float,
) -> Copies | None:
    """Copies of any original by features and hash, and of its own by its pixels."""
    thumbnails = [np.stack([crop(view.read(), view.box, HASH_SIDE) for view in views]) for _, views in (real, output)]
    hashes = [np.stack([perceptual_hash(image) for image in images]) for images in thumbnails]
    copies = find_copies((real[0], hashes[0]), (output[0], hashes[1]), scene, alpha)
    if copies is None:
        return None
    gaps = np.abs(thumbnails[1].astype(np.int16) - thumbnails[0][owner]).mean(axis=(1, 2, 3))
    return replace(copies, copied=copies.copied | (gaps < SAME_LEVELS))


def _copy_trial(name: str, names: tuple[str, ...], copies: Copies | None, gates: bool) -> Trial:
    question = "is it a copy of an original, nearer than unrelated originals are to each other?"
    if copies is None:
        reason = "too few unrelated originals to set a threshold on"
        return Trial(name, "features and hash", question, "image", gates=gates, zero=True, reason=reason)
    details = {
        "above_cosine_limit": copies.above_cosine,
        "within_hash_limit": copies.within_hash,
        "cosine_limit": copies.cosine_limit,
        "max_cosine": copies.max_cosine,
        "hash_limit": copies.hash_limit,
        "min_hash_distance": copies.min_hash,
        "unrelated_pairs": copies.unrelated,
    }
    return Trial(
        name, "features and hash", question, "image", names, copies.copied, gates=gates, zero=True, details=details
    )


def _scenes(photos: Sequence[Photo]) -> list[str]:
    """The person where one is named; else the scene, since frames of one video are related."""
    ids = [photo.item.id for photo in photos]
    names, _ = scene_names(ids, [None] * len(ids), [{}] * len(ids))
    named = [[subject.identity for subject in photo.subjects if subject.identity is not None] for photo in photos]
    return [people[0] if people else scene for people, scene in zip(named, names, strict=True)]


def _units(names: Sequence[str]) -> NDArray[np.int64]:
    return np.unique(np.array(names), return_inverse=True)[1].astype(np.int64)
