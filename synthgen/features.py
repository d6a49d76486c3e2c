"""Measure a dataset: every image decoded once, its features cached by content and weights, its descriptors beside them.

The cache is a folder of safetensors shards below the embedder's digest: `digests` (n, 32), the SHA-256 of image files,
and `features` (n, d). Shards are written whole and renamed, never changed; so any number of processes may share a
cache, and one that dies leaves nothing half. A network is loaded only when an image is not in it. Keys are contents,
not names: a renamed image is found, a changed one is not.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.datasets.base import Dataset
from synthgen.embedders.base import Embedder, EmbedderRun
from synthgen.launch import select_items
from synthgen.metrics.descriptors import (
    ImageDescriptors,
    LabelDescriptors,
    describe_image,
    describe_labels,
)
from synthgen.metrics.scenes import scene_names, scene_units
from synthgen.metrics.sets import ImageSet
from synthgen.types import BadSample, ConfigError, Image, Item, Sample

SHARD = 1024
"""Images a shard of the cache."""
Step = Callable[[int, int], None]
"""Hears (images done, images in all)."""


@dataclass(frozen=True)
class MeasuredSet:
    """A set in arrays and how it came to be.

    Attributes:
        skipped: how many items could not be read, by code.
        scenes: number of scenes; `scene_rule`: where their names come from; `cut`: whether they were cut in stretches.
        attributes: the columns of each image; `digests`: the SHA-256 (hex) of each image file.
    """

    images: ImageSet
    skipped: Mapping[str, int]
    scenes: int
    scene_rule: str
    cut: bool
    attributes: tuple[Mapping[str, Any], ...]
    digests: tuple[str, ...]


class FeatureCache:
    """Features by the SHA-256 (hex) of an image file, for one embedder; in memory alone where `folder` is None."""

    def __init__(self, folder: Path | None, embedder_digest: str) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        self._folder = folder / embedder_digest[:32] if folder else None
        self._rows: dict[str, NDArray[np.float32]] = {}
        self._unsaved: list[str] = []
        for path in sorted(self._folder.glob("*.safetensors")) if self._folder else ():
            try:
                shard = load_file(path)
                digests, features = shard["digests"], shard["features"]
            except (SafetensorError, KeyError, OSError) as error:
                raise ConfigError(f"{path}: no shard of a feature cache ({error}); delete this file") from error
            self._rows |= {bytes(key).hex(): row for key, row in zip(digests, features, strict=True)}

    def __contains__(self, digest: str) -> bool:
        return digest in self._rows

    def __getitem__(self, digest: str) -> NDArray[np.float32]:
        return self._rows[digest]

    def add(self, digests: Iterable[str], features: NDArray[np.float32]) -> None:
        """Keep (n, d) features; every `SHARD` of them are written.

        Raises:
            ValueError: a feature that is not finite.
        """
        if not np.isfinite(features).all():
            raise ValueError("an embedder gave a feature that is not finite")
        for digest, row in zip(digests, features.astype(np.float32), strict=True):
            self._rows[digest] = row
            self._unsaved.append(digest)
        if len(self._unsaved) >= SHARD:
            self.save()

    def save(self) -> None:
        """Write what is not written yet."""
        from safetensors.numpy import save

        if self._folder is None or not self._unsaved:
            return
        keys = np.stack([np.frombuffer(bytes.fromhex(digest), dtype=np.uint8) for digest in self._unsaved])
        data = save({"digests": keys, "features": np.stack([self._rows[digest] for digest in self._unsaved])})
        path = self._folder / f"{hashlib.sha256(keys.tobytes()).hexdigest()[:32]}.safetensors"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}")
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except OSError as error:
            raise ConfigError(f"{self._folder}: can't write the feature cache: {error}; set --cache") from error
        self._unsaved = []


@dataclass
class _Rows:
    """What was read, in order of id."""

    ids: list[str] = field(default_factory=list)
    digests: list[str] = field(default_factory=list)
    images: list[ImageDescriptors] = field(default_factory=list)
    labels: list[LabelDescriptors | None] = field(default_factory=list)
    image_classes: list[str | None] = field(default_factory=list)
    attributes: list[Mapping[str, Any]] = field(default_factory=list)

    def add(self, sample: Sample) -> None:
        self.ids.append(sample.item.id)
        self.digests.append(sample.digest)
        self.images.append(describe_image(sample.image))
        self.labels.append(describe_labels(sample.labels, sample.image.shape[:2]))
        self.image_classes.append(sample.labels.image_class)
        self.attributes.append(sample.labels.attributes)


def measure_dataset(
    dataset: Dataset,
    embedder: Embedder | None,
    cache: FeatureCache | None,
    limit: int | None = None,
    seed: int = 0,
    scene_column: str | None = None,
    device: str = "cpu",
    step: Step = lambda done, total: None,
) -> MeasuredSet:
    """Read every image that the dataset's splits and limit leave (or `limit` of them, drawn by `seed`), embed what the
    cache lacks, describe all.

    Args:
        embedder: None for the classical descriptors alone; else `cache` is its cache.

    Raises:
        ConfigError: the dataset, the weights or the cache can't be used, or no image has `scene_column`.
    """
    index, chosen = select_items(dataset)
    items = _sampled(chosen, limit, seed)
    skipped: Counter[str] = Counter()
    rows = _Rows()
    waiting: dict[str, Image] = {}
    loaded: list[EmbedderRun] = []
    for sample in _read(dataset, items, skipped, step):
        rows.add(sample)
        if embedder is not None and cache is not None and sample.digest not in cache:
            waiting[sample.digest] = sample.image
            if len(waiting) == embedder.batch_size:
                _embed(embedder, cache, waiting, loaded, device)
    if embedder is not None and cache is not None:
        _embed(embedder, cache, waiting, loaded, device)
        cache.save()
    names, rule = scene_names(rows.ids, rows.image_classes, rows.attributes, scene_column)
    units, cut = scene_units(names)
    classes = [info.name for info in index.classes if not info.ignore]
    features = None
    if cache is not None and rows.ids:
        features = np.stack([cache[digest] for digest in rows.digests])
    images = _to_arrays(rows, units, features, classes)
    return MeasuredSet(images, dict(skipped), len(set(names)), rule, cut, tuple(rows.attributes), tuple(rows.digests))


def _sampled(items: tuple[Item, ...], limit: int | None, seed: int) -> list[Item]:
    if limit is None or limit >= len(items):
        return list(items)
    chosen = np.random.default_rng(seed).permutation(len(items))[:limit]
    return [items[position] for position in sorted(chosen.tolist())]


def _read(dataset: Dataset, items: list[Item], skipped: Counter[str], step: Step) -> Iterator[Sample]:
    for number, item in enumerate(items, start=1):
        try:
            yield dataset.read(item)
        except BadSample as error:
            skipped[error.code] += 1
        step(number, len(items))


def _embed(
    embedder: Embedder, cache: FeatureCache, waiting: dict[str, Image], loaded: list[EmbedderRun], device: str
) -> None:
    """Embed and forget the images that wait; the network is loaded at the first."""
    if not waiting:
        return
    if not loaded:
        loaded.append(embedder.load(device))
    cache.add(waiting, loaded[0](list(waiting.values())))
    waiting.clear()


def _to_arrays(
    rows: _Rows, units: NDArray[np.int64], features: NDArray[np.float32] | None, classes: list[str]
) -> ImageSet:
    if not rows.ids:
        return ImageSet(units)
    labels = rows.labels
    measured: dict[str, Any] = {}
    if any(one is not None for one in labels):
        blank = next(one for one in labels if one is not None)
        empty = LabelDescriptors(0.0, np.zeros_like(blank.position), np.zeros_like(blank.size), frozenset())
        known = [empty if one is None else one for one in labels]
        names = tuple(sorted({*classes, *(name for one in known for name in one.classes)}))
        measured = {
            "objects": np.array([one.count for one in known], dtype=np.float32),
            "positions": np.stack([one.position for one in known]),
            "sizes": np.stack([one.size for one in known]),
            "classes": np.array([[name in one.classes for name in names] for one in known], dtype=np.float32),
            "class_names": names,
        }
    return ImageSet(
        units,
        features,
        np.stack([one.lab for one in rows.images]),
        np.stack([one.scalars for one in rows.images]),
        **measured,
    )
