"""From a source item to what a generator may see: read, detect, scale, extract, protect, seal.

Everything up to `seal` may hold source pixels; nothing after it does. Extractors that need only shapes around people
never see people at all: the pixels of the protected regions are removed before extraction, so even the support of an
edge filter at a region's border holds nothing of the person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from synthgen.config import RunConfig
from synthgen.datasets.base import Dataset
from synthgen.detectors.base import DetectorRun
from synthgen.extractors.base import Extractor, ExtractorRun
from synthgen.generators.base import Size
from synthgen.protectors.base import ProtectorRun
from synthgen.regions import dilate_regions, remove_pixels, scale_mask, scale_regions
from synthgen.types import (
    BadSample,
    Controls,
    Image,
    Instance,
    Item,
    Mask,
    Region,
    Row,
    Sample,
    SourceMaps,
    seal,
)


@dataclass(frozen=True, eq=False)
class Prepared:
    """A sample ready for generation. `hole` is the protected mask at the source's size."""

    sample: Sample
    regions: tuple[Region, ...]
    hole: Mask
    bucket: Size
    controls: Controls


class Preparer:
    """Loaded detectors, extractors and protectors of one run."""

    def __init__(self, config: RunConfig, dataset: Dataset, device: str) -> None:
        self.config = config
        self.dataset = dataset
        self.detectors: list[DetectorRun] = [spec.load(device) for spec in config.detect]
        self.extractors: list[tuple[Extractor, ExtractorRun]] = [(spec, spec.load(device)) for spec in config.extract]
        self.protectors: list[ProtectorRun] = [spec.load(device) for spec in config.protect]

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
        """Run everything on one decoded sample.

        Raises:
            BadSample: something about it can't be used.
        """
        return self.stages(sample)[0]

    def stages(self, sample: Sample) -> tuple[Prepared, SourceMaps]:
        """`prepare`, and beside it the maps as they were before protection (private; for contact sheets)."""
        regions = tuple(region for detect in self.detectors for region in detect([sample])[0])
        if self.config.mode == "people" and self.config.no_region == "quarantine" and not regions:
            raise BadSample("no-region", "nobody was found, so the source would leave as it is; see the key no_region")
        bucket = self.config.generate.bucket(sample.size)
        small = resize_sample(sample, bucket)
        near = tuple(scale_regions(regions, sample.size, bucket))
        hole = dilate_regions(regions, sample.size, self.config.dilate)
        mask = dilate_regions(near, bucket, self.config.dilate)
        mask |= scale_mask(hole, bucket)
        blind = replace(small, image=self._without_people(sample, small, hole, mask))
        maps = {spec.kind: run([small if spec.reads_regions else blind])[0] for spec, run in self.extractors}
        canvas = blind.image if self.config.mode == "people" else None
        seen = SourceMaps(maps, canvas)
        protected = seen
        for protect in self.protectors:
            protected = protect(protected, near, mask)
        controls = seal(protected, mask, bucket)
        return Prepared(sample, regions, hole, bucket, controls), seen

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
