"""The reconstruction attack: an inverter is trained on the outputs of some people, and others are looked for in what it
makes of theirs; see metrics/privacy/inverter.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from synthgen.auditing.attackers import Attacker, View, crop, picture_view
from synthgen.auditing.people import crowd_of, too_few
from synthgen.auditing.photos import Photo, embed_people
from synthgen.auditing.spec import InverterSpec
from synthgen.auditing.subjects import Step
from synthgen.metrics.privacy.reidentification import FOLDS, People, search
from synthgen.metrics.privacy.trials import Control, Trial
from synthgen.types import Box

NAME = "reconstruction"
QUESTION = "who is it, after a network trained on other people has undone the anonymisation?"
SCALE = 3
"""A recogniser sees the reconstruction enlarged by this."""


def attack_by_inversion(
    attacker: Attacker, photos: Sequence[Photo], spec: InverterSpec, seed: int, step: Step
) -> Trial:
    """Reconstruct the people of each fold by a network trained on the other, and search for them."""
    kept = [_with_box(photo, attacker) for photo in photos]
    kept = [photo for photo in kept if photo.subjects]
    rows = embed_people(attacker, kept, step)
    crowd = crowd_of(rows, seed)
    people = crowd.people
    reason = too_few(crowd)
    if not reason and len(people.source) < 2 * spec.min_pairs:
        reason = f"{len(people.source)} outputs; training takes {spec.min_pairs} pairs besides as many to attack"
    if reason:
        return Trial(NAME, attacker.name, QUESTION, "identity", reason=reason)
    outputs, originals, boxes = _crops(kept, attacker)
    made, nearest = _invert(outputs, originals[people.source], people, spec, seed, step)
    found = search(_with(people, attacker, made, boxes), "lazy", "real", attacker.pretrained)
    control = search(_with(people, attacker, originals[people.source], boxes), "lazy", "real", attacker.pretrained)
    neighbour = search(_with(people, attacker, nearest, boxes), "lazy", "real", attacker.pretrained)
    mean = np.broadcast_to(originals.mean(axis=0).round().astype(np.uint8), made.shape)
    average = search(_with(people, attacker, np.ascontiguousarray(mean), boxes), "lazy", "real", attacker.pretrained)
    return Trial(
        NAME,
        attacker.name,
        QUESTION,
        "identity",
        crowd.named(found.identities),
        found.hits,
        found.chance,
        Control(int(control.hits.sum()), len(control.hits)),
        Control(int(average.hits.sum()), len(average.hits)),
        exposed=crowd.named(found.exposed),
        details={
            **found.details(),
            "nearest_neighbour_rank_1": float(neighbour.hits.mean()),
            "mean_face_rank_1": float(average.hits.mean()),
        },
    )


def _with_box(photo: Photo, attacker: Attacker) -> Photo:
    """The photo with those named people alone whose head and face are known."""
    wanted = {attacker.region, "head"}
    subjects = (one for one in photo.subjects if one.identity is not None and wanted <= set(one.boxes))
    return replace(photo, subjects=tuple(subjects))


def _crops(
    photos: Sequence[Photo], attacker: Attacker
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[tuple[int, Box]]]:
    """Heads of outputs (m) and originals (n), SIDE×SIDE, and where in each output's head the attacker's box lies.

    The order is that of `embed_people`: by photo, person and output.
    """
    from synthgen.metrics.privacy.inverter import SIDE

    outputs, originals, boxes = [], [], []
    for photo in photos:
        image = photo.picture.read()
        made = [output.read() for output in photo.outputs]
        for subject in photo.subjects:
            head, inner = subject.boxes["head"], subject.boxes[attacker.region]
            originals.append(crop(image, head, SIDE))
            for output in made:
                outputs.append(crop(output, head, SIDE))
                boxes.append((len(originals) - 1, _inside(inner, head, SIDE * SCALE)))
    return np.stack(outputs), np.stack(originals), boxes


def _inside(inner: Box, outer: Box, side: int) -> Box:
    x, y = side / outer.width, side / outer.height
    left, top = (inner.x0 - outer.x0) * x, (inner.y0 - outer.y0) * y
    return Box(left, top, left + inner.width * x, top + inner.height * y)


def _invert(
    outputs: NDArray[np.uint8], originals: NDArray[np.uint8], people: People, spec: InverterSpec, seed: int, step: Step
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The reconstruction of every output, and the original of its nearest output among those trained on."""
    from synthgen.metrics.privacy.inverter import nearest_originals, train_inverter

    fold = people.fold[people.output_identity]
    made, nearest = np.empty_like(outputs), np.empty_like(outputs)
    for attacked in range(FOLDS):
        known, unknown = fold != attacked, fold == attacked
        invert = train_inverter(outputs[known], originals[known], spec.steps, spec.batch_size, seed + attacked)
        made[unknown] = invert(outputs[unknown])
        nearest[unknown] = nearest_originals(outputs[unknown], outputs[known], originals[known])
        step(attacked + 1, FOLDS)
    return made, nearest


def _with(people: People, attacker: Attacker, crops: NDArray[np.uint8], boxes: Sequence[tuple[int, Box]]) -> People:
    """The people with `crops` (m, SIDE, SIDE, 3) for outputs; only those outside the gallery are looked at."""
    attacked = np.flatnonzero(~people.gallery[people.source])
    views: list[View] = []
    for row in attacked.tolist():
        side = crops.shape[1] * SCALE
        image = crop(crops[row], Box(0, 0, crops.shape[1], crops.shape[1]), side)
        views.append(picture_view(image, boxes[row][1]))
    return replace(people, output=attacker.embed(views), source=people.source[attacked])
