"""From a source item to what a generator may see: read, detect, scale, remove, extract, protect, seal.

Everything up to `seal` may hold source pixels; nothing after it does. Extractors never see people at all: the pixels
of the protected regions are removed before extraction, so even the support of an edge filter at a region's border, or
the whole view of a network, holds nothing of the person.

A run whose generator is `none` takes the other way out: `redact` treats the source's own pixels and makes a `Redacted`.
Which way a sample goes is decided by the config, once, and no sample goes both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from synthgen.config import RunConfig
from synthgen.datasets.base import Dataset
from synthgen.detectors.base import DetectorRun, labelled_faces
from synthgen.extractors.base import Extractor, ExtractorRun
from synthgen.generators.base import Size
from synthgen.people import complete_people
from synthgen.protectors.base import ProtectorRun, RedactorRun, coarse_regions
from synthgen.regions import covered_share, dilate_regions, remove_pixels, scale_mask, scale_regions
from synthgen.seeds import derive_seed
from synthgen.stages import Stage
from synthgen.types import (
    BadSample,
    Controls,
    Image,
    Instance,
    Item,
    Mask,
    Redacted,
    Region,
    Row,
    Sample,
    SourceMaps,
    seal,
)

COVERED_FACE = 0.8
"""Share of a labelled face that must lie under what is protected: a detector's box is seldom the annotator's."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A sample ready for one stage. `hole` is the protected mask at the source's size.

    Either `controls` hold what a generator may see, or (generator `none`) they are empty and `redacted` is the output.
    """

    sample: Sample
    regions: tuple[Region, ...]
    hole: Mask
    bucket: Size
    controls: Controls
    redacted: Redacted | None = None
    stage: int = 1
    scale: Mapping[str, float] = field(default_factory=dict)
    """The stage's factors on the scales of the ControlNets, by map kind."""

    def __post_init__(self) -> None:
        if self.redacted is not None and (self.controls.maps or self.controls.canvas is not None):
            raise ValueError("a redacted sample has no controls: no generator may run on it")


@dataclass(frozen=True, eq=False)
class LoadedStage:
    """A stage with its protectors ready to run."""

    stage: Stage
    protectors: tuple[ProtectorRun, ...]
    redactors: tuple[tuple[str, RedactorRun], ...]
    """Each with the purpose of its stream of random numbers."""

    @staticmethod
    def of(stage: Stage, device: str) -> LoadedStage:
        """Load the protectors onto `device`."""
        redactors = tuple(
            (f"redact:{place}:{spec.kind}", spec.load(device)) for place, spec in enumerate(stage.redactors)
        )
        return LoadedStage(stage, tuple(spec.load(device) for spec in stage.protectors), redactors)

    def redact(self, image: Image, mask: Mask, run_seed: int, sample_id: str) -> Image:
        """The image after every redactor, each with a stream of the sample's own."""
        for purpose, run in self.redactors:
            seed = derive_seed(run_seed, sample_id, 0, self.stage.number, purpose)
            image = run(image, mask, np.random.default_rng(seed))
        return image


class Preparer:
    """Loaded detectors, extractors and stages of one run."""

    def __init__(self, config: RunConfig, dataset: Dataset, device: str) -> None:
        self.config = config
        self.dataset = dataset
        self.detectors: list[DetectorRun] = [spec.load(device) for spec in config.detect]
        self.extractors: list[tuple[Extractor, ExtractorRun]] = [(spec, spec.load(device)) for spec in config.extract]
        self.stages = [LoadedStage.of(stage, device) for stage in config.resolved_stages]

    def __call__(self, items: Sequence[Item]) -> list[Prepared | Row]:
        """Prepare a few items; a bad one becomes a quarantined row, the others go on."""
        results: list[Prepared | Row] = []
        for item in items:
            try:
                results.append(self.prepare(self.dataset.read(item)))
            except BadSample as bad:
                results.append(bad_row(item, bad, self.config.plan.variants))
        return results

    def prepare(self, sample: Sample) -> Prepared:
        """Run everything on one decoded sample, for the first stage.

        Raises:
            BadSample: something about it can't be used.
        """
        return self.at_stage(sample, self.detect(sample), 1)[0]

    def next_stage(self, prepared: Prepared) -> Prepared | None:
        """The sample once more, for the stage after; its regions are known. None after the last.

        Raises:
            BadSample: something about it can't be used.
        """
        if prepared.stage == len(self.stages):
            return None
        return self.at_stage(prepared.sample, prepared.regions, prepared.stage + 1)[0]

    def detect(self, sample: Sample) -> tuple[Region, ...]:
        """The regions of all detectors, and what their people lack (people.py).

        Raises:
            BadSample: `no-region` where the background would be released and nobody was found; `face-missed` where the
                labels hold a face that none of the detectors found and no person's region covers.
        """
        found = [region for detect in self.detectors for region in detect([sample])[0]]
        regions = complete_people(found, sample.size).regions
        if not regions and self.config.no_region == "quarantine" and self._keeps_background():
            raise BadSample("no-region", "nobody was found, so the source would leave as it is; see the key no_region")
        if self.detectors:
            self._refuse_missed_faces(sample, regions)
        return regions

    def _refuse_missed_faces(self, sample: Sample, regions: tuple[Region, ...]) -> None:
        faces = labelled_faces(sample.labels)
        hole = dilate_regions(regions, sample.size, self.stages[0].stage.dilate) if faces else None
        missed = [face for face in faces if hole is not None and covered_share(face, hole) < COVERED_FACE]
        if missed:
            box = missed[0].box
            raise BadSample(
                "face-missed",
                f"{sample.item.id}: {len(missed)} labelled face(s) that no detector found, the first at "
                f"({box.x0:g}, {box.y0:g}); add `labels`, or a detector of persons, under detect",
            )

    def _keeps_background(self) -> bool:
        if self.config.generate.paints:
            return self.config.mode == "people"
        return not all(any(spec.region == "all" for spec in loaded.stage.redactors) for loaded in self.stages)

    def at_stage(self, sample: Sample, regions: tuple[Region, ...], number: int) -> tuple[Prepared, SourceMaps]:
        """A sample prepared for stage `number`, and the maps as they were before protection (private).

        Raises:
            BadSample: something about it can't be used.
        """
        loaded = self.stages[number - 1]
        stage = loaded.stage
        shapes = coarse_regions(regions, stage.strength)
        hole = dilate_regions(shapes, sample.size, stage.dilate)
        if not self.config.generate.paints:
            image = loaded.redact(sample.image, hole, self.config.seed, sample.item.id)
            whole = any(spec.region == "all" for spec in stage.redactors)
            redacted = Redacted(image, np.ones_like(hole) if whole else hole)
            empty = Controls({}, sample.size)
            return Prepared(sample, regions, hole, sample.size, empty, redacted, number), SourceMaps({})
        bucket = self.config.generate.bucket(sample.size)
        small = resize_sample(sample, bucket)
        near = tuple(scale_regions(shapes, sample.size, bucket))
        mask = dilate_regions(near, bucket, stage.dilate) | scale_mask(hole, bucket)
        blind = self._without_people(sample, small, hole, mask)
        blind = loaded.redact(blind, mask, self.config.seed, sample.item.id)
        maps = {spec.kind: run([replace(small, image=blind)])[0] for spec, run in self.extractors}
        seen = SourceMaps(maps, blind if self.config.mode == "people" else None)
        protected = seen
        for protect in loaded.protectors:
            protected = protect(protected, near, mask)
        controls = seal(protected, mask, bucket)
        return Prepared(sample, regions, hole, bucket, controls, None, number, stage.scale), seen

    @staticmethod
    def _without_people(sample: Sample, small: Sample, hole: Mask, mask: Mask) -> Image:
        """The bucket-size image with the protected pixels filled from outside them.

        Averaging by area reads only the pixels that lie under an output pixel, all of which `mask` covers, so removal
        may come after it; any other interpolation reads across the border, so removal comes first.
        """
        if all(side <= full for side, full in zip(small.size, sample.size, strict=True)):
            return remove_pixels(small.image, mask)
        return resize_image(remove_pixels(sample.image, hole), small.size)


def bad_row(item: Item, bad: BadSample, variants: int) -> Row:
    """The ledger row of an item that could not be prepared; variant -1 stands for all of its variants."""
    return Row(
        sample_id=item.id,
        variant=-1 if variants > 1 else 0,
        verdict="quarantined",
        code=bad.code,
        message=bad.message,
        source_digest="",
        output_digest="",
        split=item.split,
        width=0,
        height=0,
        attempts=0,
        seed=0,
        prompt="",
    )


def resize_sample(sample: Sample, size: Size) -> Sample:
    """The sample at another size (width, height): area-averaged pixels, nearest labels, scaled boxes."""
    if sample.size == size:
        return sample
    scale_x, scale_y = size[0] / sample.size[0], size[1] / sample.size[1]
    image = resize_image(sample.image, size)
    labels = sample.labels
    mask = labels.mask
    if mask is not None:
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST).astype(np.int32)
    instances = tuple(_scale_instance(instance, scale_x, scale_y, size) for instance in labels.instances)
    return replace(sample, image=image, labels=replace(labels, mask=mask, instances=instances))


def resize_image(image: Image, size: Size) -> Image:
    """Area-averaged where no side grows, else bicubic; `size` is (width, height)."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    grows = image.shape[1] < size[0] or image.shape[0] < size[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA).astype(np.uint8)


def _scale_instance(instance: Instance, scale_x: float, scale_y: float, size: Size) -> Instance:
    box = instance.box
    mask = instance.mask
    if mask is not None:
        mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
    scaled = type(box)(box.x0 * scale_x, box.y0 * scale_y, box.x1 * scale_x, box.y1 * scale_y)
    return replace(instance, box=scaled, mask=mask)


def restore(prepared: Prepared, image: Image, mode: str, feather: int = 5) -> Image:
    """Bring a generated image to the source's size (width, height).

    In mode `scene` every pixel is new. In mode `people` pixels outside the protected mask are the source's, byte for
    byte; inside it the output fades, over `feather` pixels, into a fill made from the outside alone, never into the
    source.
    """
    image = resize_image(image, prepared.sample.size)
    if mode == "scene":
        return np.ascontiguousarray(image)
    base = remove_pixels(prepared.sample.image, prepared.hole)
    depth = cv2.distanceTransform(prepared.hole.astype(np.uint8), cv2.DIST_L2, 5)
    alpha = np.clip(depth / max(feather, 1), 0, 1)[..., None]
    blended = np.rint(base * (1 - alpha) + image * alpha).astype(np.uint8)
    return np.where(prepared.hole[..., None], blended, prepared.sample.image)
