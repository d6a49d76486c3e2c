"""Is deliberate damage of labels caught? Real images with true labels, then with spoilt ones, before the check labels.

An image stands for its own output, so a true label agrees wholly (1.00) and nothing is lost; darker and blurred, it
should still agree. Then what the output shows is damaged and the label stays: the picture moved by 20 pixels against
its label (right, down), the pixels of two classes painted with each other's texture, every second large object painted
over with what surrounds it. `rejected` is by the keys of the config's check, which a small generator needs loose;
`below` is how many images fall under --least, as one would set it where outputs are as good as photographs.

    python scripts/bench/label_damage.py configs/camvid-checked.yaml --source ../shared/data/camvid --images 40
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from synthgen.checks._agreement import list_things
from synthgen.checks.base import Candidate, CheckRun
from synthgen.checks.labels import LabelsCheck
from synthgen.cli import compose
from synthgen.launch import select_items
from synthgen.types import ClassIds, Generated, Image, Recipe, Sample, Score

Damage = Callable[[Sample], Image | None]
"""A sample → its damaged picture; None where the damage does not apply."""


def shifted(dx: int, dy: int) -> Damage:
    """The picture moved by so many pixels, its border continued."""

    def damage(sample: Sample) -> Image:
        height, width = sample.image.shape[:2]
        move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        return cv2.warpAffine(sample.image, move, (width, height), borderMode=cv2.BORDER_REPLICATE)

    return damage


def swapped(one: int, other: int, donors: list[Sample]) -> Damage:
    """Where the label says one class, texture of the other, from whichever picture has most of it."""

    def damage(sample: Sample) -> Image | None:
        mask = mask_of(sample)
        if not (mask == one).any() or not (mask == other).any():
            return None
        image = sample.image.copy()
        for here, texture in ((one, other), (other, one)):
            donor = max(donors, key=lambda candidate: int((mask_of(candidate) == texture).sum()))
            image[mask == here] = fill_with(donor, texture, sample)[mask == here]
        return image

    return damage


def fill_with(donor: Sample, class_id: int, sample: Sample) -> Image:
    """A picture full of a class: the largest box inside the donor's patch, tiled in mirror images."""
    inside = (mask_of(donor) == class_id).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_C, 3)
    y, x = (int(value) for value in np.unravel_index(int(distance.argmax()), distance.shape))
    radius = max(int(distance[y, x]) - 1, 1)
    tile = donor.image[max(y - radius, 0) : y + radius, max(x - radius, 0) : x + radius]
    height, width = sample.image.shape[:2]
    mirrored = np.concatenate([tile, tile[:, ::-1]], axis=1)
    mirrored = np.concatenate([mirrored, mirrored[::-1]], axis=0)
    repeats = (-(-height // mirrored.shape[0]), -(-width // mirrored.shape[1]), 1)
    return np.tile(mirrored, repeats)[:height, :width]


def erased(classes: set[int], small: float) -> Damage:
    """Every second large object of some classes, painted over with what surrounds it."""

    def damage(sample: Sample) -> Image | None:
        numbers = np.where(np.isin(mask_of(sample), sorted(classes)), mask_of(sample) + 1, 0).astype(np.int32)
        things = list_things(numbers, sample.labels, {one: one + 1 for one in classes}, small)
        large = sorted((thing for thing in things if not thing.small), key=lambda thing: -int(thing.mask.sum()))
        if not large:
            return None
        hole = np.zeros(numbers.shape, np.uint8)
        for thing in large[::2]:
            hole[thing.where][thing.mask] = 1
        return cv2.inpaint(sample.image, cv2.dilate(hole, np.ones((5, 5), np.uint8)), 5, cv2.INPAINT_TELEA)

    return damage


def mask_of(sample: Sample) -> ClassIds:
    if sample.labels.mask is None:
        raise SystemExit(f"{sample.item.id}: no mask; this measurement needs masks")
    return sample.labels.mask


def judge(run: CheckRun, samples: list[Sample], damage: Damage) -> list[Score]:
    scores = []
    for sample in samples:
        image = damage(sample)
        if image is not None:
            recipe = Recipe(sample.item.id, 0, 0, 0, "")
            scores.append(run(Candidate(sample, (), None, Generated(image, recipe), True)))
    return scores


def darker(sample: Sample) -> Image:
    """The picture at half its light and out of focus: no label is touched."""
    return cv2.GaussianBlur((sample.image * 0.5).astype(np.uint8), (0, 0), 1.5)


def report(name: str, scores: list[Score], least: float) -> dict[str, float]:
    """Counts, the mean agreement over the images that could be judged, and the share of objects lost."""
    values = [score.value for score in scores if score.value is not None]
    columns = [score.to_columns() for score in scores]
    lost = sum(column.get("label-objects:lost") or 0 for column in columns)
    kept = sum(column.get("label-objects:survived") or 0 for column in columns)
    row = {
        "images": len(scores),
        "rejected": sum(score.passed is not True for score in scores),
        "below": sum(value < least for value in values),
        "agreement": float(np.mean(values)) if values else float("nan"),
        "lost": lost / max(lost + kept, 1),
    }
    counts = f"{row['images']:>7}{row['rejected']:>10}{row['below']:>7}"
    print(f"{name:<32}{counts}{row['agreement']:>11.2f}{row['lost']:>14.2f}", flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--swap", nargs=2, default=["Road", "Building"])
    parser.add_argument("--objects", nargs="+", default=["Car", "Pedestrian", "Bicyclist"])
    parser.add_argument("--least", type=float, default=0.9)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    config = compose(arguments.config, arguments.source, [f"source.splits=[{arguments.split}]"])
    check = next(spec for spec in config.check if isinstance(spec, LabelsCheck)).model_copy(update={"filter": None})
    index, items = select_items(config.source)
    chosen = [items[place * len(items) // arguments.images] for place in range(min(arguments.images, len(items)))]
    samples = [config.source.read(item) for item in chosen]
    ids = {info.name: info.id for info in index.classes}
    one, other = (ids[name] for name in arguments.swap)
    damages: dict[str, Damage] = {
        "nothing": lambda sample: sample.image,
        "darker and blurred": darker,
        "moved right by 20 px": shifted(20, 0),
        "moved down by 20 px": shifted(0, 20),
        f"{arguments.swap[0]} and {arguments.swap[1]} swapped": swapped(one, other, samples),
        "half the objects erased": erased({ids[name] for name in arguments.objects}, check.small),
    }
    print(f"{'damage':<32}{'images':>7}{'rejected':>10}{'below':>7}{'agreement':>11}{'objects lost':>14}")
    run = check.load("cpu", {})
    table = {name: report(name, judge(run, samples, damage), arguments.least) for name, damage in damages.items()}
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
