"""What the control maps tell of the people: the maps themselves are attacked, as if they had been released.

An edge map of a face names its owner (arXiv 2504.05849), so what a generator is shown is the place where identity gets
in. The maps of the run are attacked as they are stored; beside them, for comparison, edge maps of the originals as they
would be without protection, and with heads or whole people taken out, and the segmentation map alone, without
protection. The attacker compares like with like: maps of known photographs with maps of the others, by a head trained
on maps of other people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import cv2
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from synthgen.auditing.attackers import Attacker, View
from synthgen.auditing.pairs import Pairs
from synthgen.auditing.people import ALONE, crowd_of, has_second_outputs, run_search, too_few
from synthgen.auditing.photos import Photo, Picture, Rows
from synthgen.auditing.spec import AuditSpec
from synthgen.auditing.subjects import Step
from synthgen.datasets.base import Dataset
from synthgen.extractors.base import Extractor, ExtractorRun
from synthgen.images import decode_image, encode_image
from synthgen.metrics.privacy.trials import Trial
from synthgen.regions import dilate_regions, remove_pixels
from synthgen.types import BadSample, Box, Image, Mask, Region
from synthgen.weights import digest_weights

QUESTION = "who is it, by the control map alone? Known photographs are turned into maps likewise."
NO_EDGES = frozenset({"segmentation", "depth"})
PHOTOS = 4
"""Photographs an identity at most, half of them known: three or four kinds of map are to be embedded."""
BODY_WIDTH = 3.0
"""Where no person is labelled, one is taken to be so many heads wide, from the head to the lower edge."""
MaskOf = Callable[[Photo], Mask]


@dataclass(frozen=True)
class UnprotectedMap:
    """A map as it would be without protection, but for what `mask_of` removes. `digest` names extractor and weights."""

    name: str
    digest: str
    extract: Callable[[], ExtractorRun]
    mask_of: MaskOf


def attack_maps(
    attackers: Sequence[Attacker], photos: Sequence[Photo], pairs: Pairs, spec: AuditSpec, step: Step
) -> list[Trial]:
    """The maps of the run, which gate, and the ablation, which does not."""
    chosen = _few(photos)
    if not chosen:
        reason = "nobody is named in an original with an output"
        return [Trial("control map", one.name, QUESTION, "identity", gates=False, reason=reason) for one in attackers]
    trials = []
    stored = _stored_maps(pairs, chosen)
    for kind, pictures in stored.items():
        name = f"control map, {kind} as the run made it"
        trials += [_attack(name, attacker, chosen, pictures, spec, True) for attacker in attackers]
    ablation = _ablation(pairs, spec)
    for number, unprotected in enumerate(ablation, start=1):
        name = f"control map, {unprotected.name}"
        pictures = {photo.item.id: _undrawn(pairs.dataset, photo, unprotected) for photo in chosen}
        trials += [_attack(name, one, chosen, pictures, spec, False) for one in attackers]
        step(number, len(ablation))
    return trials


def _few(photos: Sequence[Photo]) -> list[Photo]:
    """The first photographs of each identity that have an output."""
    counts: dict[str, int] = {}
    chosen = []
    for photo in photos:
        named = [subject for subject in photo.subjects if subject.identity is not None]
        if not named or not photo.outputs:
            continue
        who = str(named[0].identity)
        counts[who] = counts.get(who, 0) + 1
        if counts[who] <= PHOTOS:
            chosen.append(replace(photo, subjects=tuple(named)))
    return chosen


def _ablation(pairs: Pairs, spec: AuditSpec) -> list[UnprotectedMap]:
    extractors: Sequence[Extractor] = pairs.config.extract if pairs.config is not None else spec.maps
    edges = next((extractor for extractor in extractors if extractor.kind not in NO_EDGES), None)
    classes = next((extractor for extractor in extractors if extractor.kind == "segmentation"), None)
    share = spec.dilate

    def nothing(photo: Photo) -> Mask:
        return np.zeros(photo.picture.size[::-1], np.bool_)

    def heads(photo: Photo) -> Mask:
        regions = [region for region in photo.regions if region.kind in {"face", "head"}]
        return dilate_regions(regions, photo.picture.size, share)

    def people(photo: Photo) -> Mask:
        return heads(photo) | dilate_regions(_bodies(photo), photo.picture.size, share)

    found = []
    if edges is not None:
        masks = (("nothing", nothing), ("heads", heads), ("people", people))
        load = cache(lambda: edges.load("cpu"))
        digest = _digest(edges)
        found += [UnprotectedMap(f"{edges.kind}, {what} removed", digest, load, mask_of) for what, mask_of in masks]
    if classes is not None:
        load = cache(lambda: classes.load("cpu"))
        found.append(UnprotectedMap("segmentation alone, nothing removed", _digest(classes), load, nothing))
    return found


def _digest(extractor: Extractor) -> str:
    weights = [digest_weights(ref) for ref in extractor.weights()]
    return hashlib.sha256("\x1f".join(["map 1", extractor.model_dump_json(), *weights]).encode()).hexdigest()


def _bodies(photo: Photo) -> list[Region]:
    persons = [region for region in photo.regions if region.kind == "person"]
    if persons:
        return persons
    height = photo.picture.size[1]
    bodies = []
    for region in photo.regions:
        if region.kind == "head":
            middle, half = (region.box.x0 + region.box.x1) / 2, BODY_WIDTH * region.box.width / 2
            box = Box(middle - half, region.box.y0, middle + half, max(height, region.box.y1))
            bodies.append(replace(region, kind="person", box=box))
    return bodies


def _undrawn(dataset: Dataset, photo: Photo, map_: UnprotectedMap) -> Picture:
    """The map of a photograph, drawn when it is first looked at: what is in the cache is never drawn.

    Its digest names what decides it: the image file, the extractor with its weights, and what is removed.
    """
    mask = map_.mask_of(photo)
    key = f"{photo.picture.digest}\x1f{map_.digest}\x1f{hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()}"

    @cache
    def packed() -> bytes:
        try:
            sample = dataset.read(photo.item)
            drawn = map_.extract()([replace(sample, image=remove_pixels(sample.image, mask))])[0].image
        except BadSample:  # no labels, and no model to look: such a map shows nothing
            drawn = np.zeros((*mask.shape, 3), np.uint8)
        return encode_image(drawn, ".png")

    digest = hashlib.sha256(key.encode()).hexdigest()
    return Picture(digest, photo.picture.size, lambda: decode_image(packed(), "map"))


def _picture(image: Image) -> Picture:
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
    packed = encode_image(image, ".png")
    return Picture(digest, (image.shape[1], image.shape[0]), lambda: decode_image(packed, "map"))


def _stored_maps(pairs: Pairs, photos: Sequence[Photo]) -> dict[str, dict[str, Picture]]:
    """kind → image id → the protected map that the run's generator saw, in the stage that was released."""
    if pairs.run is None:
        return {}
    wanted = {photo.item.id: photo.picture.size for photo in photos}
    stages = {row.sample_id: row.stage for row in pairs.run.store.rows() if row.verdict == "accepted"}
    found: dict[str, dict[str, Picture]] = {}
    for shard in pairs.run.store.shards():
        path = pairs.run.store.controls / f"{shard.name}.parquet"
        for row in pq.read_table(path).to_pylist() if path.is_file() and wanted else ():
            if row["sample_id"] in wanted and row["stage"] == stages.get(row["sample_id"], row["stage"]):
                image = decode_image(row["image"], f"{path}: {row['sample_id']}")
                scaled = cv2.resize(image, wanted[row["sample_id"]], interpolation=cv2.INTER_LINEAR)
                found.setdefault(row["kind"], {})[row["sample_id"]] = _picture(scaled.astype(np.uint8))
    return found


def _attack(
    name: str,
    attacker: Attacker,
    photos: Sequence[Photo],
    pictures: dict[str, Picture],
    spec: AuditSpec,
    gates: bool,
) -> Trial:
    rows = _map_rows(attacker, [photo for photo in photos if photo.item.id in pictures], pictures)
    crowd = crowd_of(rows, spec.seed)
    if not too_few(crowd) and not has_second_outputs(crowd):
        return Trial(name, attacker.name, QUESTION, "identity", gates=False, reason=ALONE)
    return replace(run_search(name, attacker, crowd, "informed", "anonymised", spec, QUESTION), gates=gates)


def _map_rows(attacker: Attacker, photos: Sequence[Photo], pictures: dict[str, Picture]) -> Rows:
    subjects, views = [], []
    maps: list[View] = []
    for photo in photos:
        for subject in photo.subjects:
            box = subject.boxes.get(attacker.region)
            if box is not None:
                subjects.append(subject)
                views.append(photo.picture.view(box))
                maps.append(pictures[photo.item.id].view(box))
    embedded = attacker.embed([*views, *maps])
    real: NDArray[np.float32] = embedded[: len(views)]
    source = np.arange(len(subjects), dtype=np.int64)
    return Rows(tuple(subjects), source, real, embedded[len(views) :], source, tuple(views))
