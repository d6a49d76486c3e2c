"""Text and plates: what RapidOCR reads in the original, is it still to be read in the output at that place?

No reading is kept, printed or written: only how many there were and how many came back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from synthgen.auditing.attackers import Step
from synthgen.auditing.photos import Photo
from synthgen.metrics.privacy.text import MIN_LETTERS, error_rate, normal_text
from synthgen.metrics.privacy.trials import Trial
from synthgen.types import Box, Image

INSTALL = "pip install --no-deps rapidocr-onnxruntime pyclipper shapely six"
QUESTION = "is text of the original still to be read in the output?"
MIN_SCORE = 0.6
"""Readings that the recogniser itself doubts are no reference."""
GROW = 0.5
"""The output is read in the box, grown by this share of its height on every side."""
Reader = Callable[[Image], list[tuple[Box, str, float]]]


def load_reader() -> Reader | None:
    """RapidOCR; None where it is not installed."""
    try:
        from rapidocr_onnxruntime import RapidOCR
    except ImportError:
        return None
    engine = RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1)

    def read(image: Image) -> list[tuple[Box, str, float]]:
        found: Sequence[Any] = engine(np.ascontiguousarray(image[:, :, ::-1]))[0] or ()
        readings = []
        for corners, text, score in found:
            points = np.asarray(corners, np.float64)
            (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
            if x1 > x0 and y1 > y0:
                readings.append((Box(x0, y0, x1, y1), str(text), float(score)))
        return readings

    return read


def attack_text(
    read: Reader, photos: Sequence[Photo], background: bool, limit: int, seed: int, step: Step
) -> Trial | None:
    """Read originals, and outputs where there was text; None where no original has any.

    Args:
        background: whether text outside of protected regions is kept on purpose; it is then left out.
        limit: originals to read at most, drawn by `seed`; those with a plate or text region first.
    """
    names, hits, errors = [], [], []
    chosen = _chosen(photos, limit, seed)
    for number, photo in enumerate(chosen, start=1):
        for box, truth in _references(read, photo, background):
            for output in photo.outputs:
                readings = [text for _, text, _ in read(_cut(output.read(), box))]
                readings.append("".join(readings))
                rates = [error_rate(truth, reading) for reading in readings]
                names.append(photo.item.id)
                hits.append(normal_text(truth) in {normal_text(reading) for reading in readings})
                errors.append(min(rates))
        step(number, len(chosen))
    if not names:
        return None
    details = {"images_read": len(chosen), "character_error_rate": float(np.mean(np.minimum(errors, 1)))}
    return Trial(
        "text", "rapidocr", QUESTION, "text", tuple(names), np.array(hits, np.bool_), zero=True, details=details
    )


def _chosen(photos: Sequence[Photo], limit: int, seed: int) -> list[Photo]:
    made = [photo for photo in photos if photo.outputs]
    order = np.random.default_rng(seed).permutation(len(made)).tolist()
    marked = [any(region.kind in {"plate", "text"} for region in photo.regions) for photo in made]
    return [made[place] for place in sorted(order, key=lambda place: not marked[place])[:limit]]


def _references(read: Reader, photo: Photo, background: bool) -> list[tuple[Box, str]]:
    found = []
    for box, text, score in read(photo.picture.read()):
        inside = any(_overlap(box, region.box) for region in photo.regions)
        if score >= MIN_SCORE and len(normal_text(text)) >= MIN_LETTERS and (inside or not background):
            found.append((box, text))
    return found


def _overlap(one: Box, other: Box) -> bool:
    return one.x0 < other.x1 and other.x0 < one.x1 and one.y0 < other.y1 and other.y0 < one.y1


def _cut(image: Image, box: Box) -> Image:
    height, width = image.shape[:2]
    margin = GROW * box.height
    x0, y0 = max(int(box.x0 - margin), 0), max(int(box.y0 - margin), 0)
    return image[y0 : min(int(box.y1 + margin) + 1, height), x0 : min(int(box.x1 + margin) + 1, width)]
