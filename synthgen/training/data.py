"""A dataset as training sees it: crops of one size, painted in a palette, packed once.

Every crop is drawn from a seed of its own sample, so a pack has the same content in any order of reading.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.images import read_bytes
from synthgen.palettes import Palette, map_classes
from synthgen.regions import clip_box
from synthgen.seeds import derive_seed
from synthgen.training.pack import Pack, PackWriter, map_ahead, open_pack
from synthgen.training.spec import Pair, Source
from synthgen.types import BadSample, Box, ConfigError, Image, Instance, Item, Mask, Region, Sample


@dataclass(frozen=True)
class Window:
    """A part of an image, pixels, and whether it is mirrored."""

    x: int
    y: int
    width: int
    height: int
    mirrored: bool = False


def draw_window(image: Pair, target: Pair, share: float, flip: float, rng: np.random.Generator) -> Window:
    """A window of the target's aspect somewhere in the image.

    Args:
        image, target: (width, height).
        share: the window's height over the image's; less where the image is too narrow for that.
        flip: chance of a mirrored window.
    """
    width, height = image
    tall = max(int(height * share), 1)
    wide = int(tall * target[0] / target[1])
    if wide > width:
        wide, tall = width, min(int(width * target[1] / target[0]), height)
    wide, tall = max(wide, 1), max(tall, 1)
    y, x = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1))
    return Window(x, y, wide, tall, bool(rng.random() < flip))


def cut_image(image: Image, window: Window, size: Pair) -> Image:
    """The window at `size` (width, height), averaged."""
    return _cut(image, window, size, cv2.INTER_AREA)


def cut_ids(ids: NDArray[Any], window: Window, size: Pair) -> NDArray[Any]:
    """The window of a class map (height, width), uint8 or int32, at `size`, by the nearest pixel."""
    return _cut(ids, window, size, cv2.INTER_NEAREST)


def _cut(pixels: NDArray[Any], window: Window, size: Pair, how: int) -> NDArray[Any]:
    part = pixels[window.y : window.y + window.height, window.x : window.x + window.width]
    part = cv2.resize(np.ascontiguousarray(part), size, interpolation=how)
    return np.ascontiguousarray(part[:, ::-1]) if window.mirrored else part


def cut_box(box: Box, window: Window, size: Pair) -> Box | None:
    """A box of the image as a box of the cut, or None where it lies outside."""
    sx, sy = size[0] / window.width, size[1] / window.height
    x0, x1 = (box.x0 - window.x) * sx, (box.x1 - window.x) * sx
    if window.mirrored:
        x0, x1 = size[0] - x1, size[0] - x0
    return clip_box(Box(x0, (box.y0 - window.y) * sy, x1, (box.y1 - window.y) * sy), size)


def cut_mask(mask: Mask, window: Window, size: Pair) -> Mask:
    """The window of a mask at `size`; a pixel that the mask touches stays in it."""
    return _cut(mask.astype(np.float32), window, size, cv2.INTER_AREA) > 0


def cut_sample(sample: Sample, window: Window, size: Pair) -> Sample:
    """Image, mask and instances of the window; instances outside it are left out."""
    labels = sample.labels
    instances = [
        Instance(instance.class_id, box, _maybe(instance.mask, window, size), instance.crowd)
        for instance in labels.instances
        if (box := cut_box(instance.box, window, size)) is not None
    ]
    mask = None if labels.mask is None else cut_ids(labels.mask, window, size)
    cut = replace(labels, mask=mask, instances=tuple(instances))
    return replace(sample, image=cut_image(sample.image, window, size), labels=cut)


def cut_regions(regions: list[Region], window: Window, size: Pair) -> list[Region]:
    """The regions that the window shows, in its coordinates."""
    return [
        replace(region, box=box, mask=_maybe(region.mask, window, size))
        for region in regions
        if (box := cut_box(region.box, window, size)) is not None
    ]


def _maybe(mask: Mask | None, window: Window, size: Pair) -> Mask | None:
    return None if mask is None else cut_mask(mask, window, size)


def read_samples(source: Source) -> Iterator[Sample]:
    """The samples of a source in order; one that can't be used is told on stderr and left out.

    Raises:
        ConfigError: the split has no item.
    """
    for item in source_items(source):
        if (sample := read_sample(source, item)) is not None:
            yield sample


def read_sample(source: Source, item: Item) -> Sample | None:
    """The sample, or None and a line on stderr if it can't be used."""
    try:
        return source.dataset.read(item)
    except BadSample as error:
        print(f"skipped {item.id}: {error}", file=sys.stderr)
        return None


def source_items(source: Source) -> tuple[Item, ...]:
    """The items of the source's split.

    Raises:
        ConfigError: there is none.
    """
    index = source.dataset.index()
    items = tuple(item for item in index.items if source.split in (None, item.split))
    if not items:
        there = sorted({item.split or "(none)" for item in index.items})
        raise ConfigError(
            f"sources.split: {source.dataset.path} has no split {source.split!r}; there: {', '.join(there)}"
        )
    return items


def source_digest(source: Source) -> str:
    """SHA-256 (hex) over the ids, splits, images and labels of the source's items and its class table."""
    total = hashlib.sha256(repr(source.dataset.index().classes).encode())
    files: dict[Path, bytes] = {}
    for item in source_items(source):
        total.update(f"{item.id}\0{item.split}\0".encode())
        for path in (item.image, item.label):
            if path is not None and path not in files:
                try:
                    files[path] = hashlib.sha256(read_bytes(path, source.dataset.path)).digest()
                except BadSample as error:
                    files[path] = str(error.code).encode()
            total.update(files[path] if path is not None else b"-")
    return total.hexdigest()


def windows(source: Source, sample: Sample, seed: int) -> Iterator[Window]:
    """The windows of one sample: the first as large as it goes, the others drawn from the sample's own seed."""
    for crop in range(source.crops):
        rng = np.random.default_rng(derive_seed(seed, sample.item.id, crop, 0, "window"))
        share = 1.0 if crop == 0 else float(rng.uniform(*source.scales))
        yield draw_window(sample.size, source.size, share, source.flip, rng)


def class_lookup(source: Source, palette: Palette) -> NDArray[np.uint8]:
    """Class id of the dataset → palette id; ids that the table lacks are unknown.

    Raises:
        ConfigError: the dataset has no class table, or a class without an entry in the class map.
    """
    classes = source.dataset.index().classes
    if not classes:
        raise ConfigError(
            f"sources.dataset: {source.dataset.path} has no class table; this kind of training needs masks"
        )
    ids = map_classes((info.name for info in classes), source.class_map, palette, "sources.class_map")
    lookup = np.zeros(max(info.id for info in classes) + 1, dtype=np.uint8)
    for info in classes:
        lookup[info.id] = ids[info.name]
    return lookup


def pack_crops(source: Source, cache: Path, seed: int, palette: Palette | None = None, workers: int = 1) -> Pack:
    """Crops as `image` (rows, height, width, 3) and, with a palette, `ids` (rows, height, width), both uint8.

    A note is {id, crop}. `workers` threads read and cut; the pack does not depend on their number.

    Raises:
        ConfigError: nothing usable, or a palette without masks to paint in it.
    """
    lookup = None if palette is None else class_lookup(source, palette)

    def cut(item: Item) -> list[tuple[dict[str, NDArray[Any]], dict[str, Any]]]:
        sample = read_sample(source, item)
        if sample is None:
            return []
        mask = sample.labels.mask
        if lookup is not None and mask is None:
            print(f"skipped {item.id}: it has no mask", file=sys.stderr)
            return []
        if lookup is not None and mask is not None:
            inside = np.clip(mask, 0, len(lookup) - 1)
            mask = np.where(mask == inside, lookup[inside], 0).astype(np.uint8)
        rows = []
        for crop, window in enumerate(windows(source, sample, seed)):
            row = {"image": cut_image(sample.image, window, source.size)}
            if lookup is not None and mask is not None:
                row["ids"] = cut_ids(mask, window, source.size)
            rows.append((row, {"id": item.id, "crop": crop}))
        return rows

    def build(writer: PackWriter) -> None:
        for rows in map_ahead(cut, source_items(source), workers):
            for row, note in rows:
                writer.append(row, note)

    made_from = {
        "dataset": source_digest(source),
        "seed": seed,
        "source": source.model_dump(mode="json", include={"size", "crops", "scales", "flip", "split"}),
        "lookup": None if lookup is None else lookup.tolist(),
        "palette": None if palette is None else palette.names,
    }
    return open_pack(cache, "crops", made_from, build)


def pick_source(packs: list[Pack], sources: tuple[Source, ...], rng: np.random.Generator) -> int:
    """A source by the sources' shares."""
    shares = np.array([source.share for source in sources])
    return int(rng.choice(len(packs), p=shares / shares.sum()))
