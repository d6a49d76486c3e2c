"""Reading a finished run for bias: every subject in the source and at the same place in each of its outputs.

The outputs are those of the private shards, so rejected ones count as rejected and names need not be undone. Faces are
found in the source and read at the same place in the output, whose layout is the source's: an output is read there
whether or not a detector would find a face in it, since "no face found" is no group of people.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from synthgen.attributes.base import Attribute, AttributeRun, Reading, Subject
from synthgen.bias_spec import BiasSpec
from synthgen.config import RunConfig
from synthgen.detectors.base import DetectorRun
from synthgen.images import decode_image
from synthgen.launch import Rank, pick_device, select_items
from synthgen.metrics.descriptors import describe_labels
from synthgen.plan import Plan
from synthgen.rundir import RunDir
from synthgen.shards import Shard
from synthgen.types import BadSample, ConfigError, Item, Labels, Region, Row, Sample

CHUNK = 64
"""Subjects read at once."""
SOURCE = -1
Key = tuple[str, int, int, int]
"""(attribute, source image, subject in it, variant); the variant `SOURCE` is the source itself."""


@dataclass(eq=False)
class SourceImage:
    """What is kept of a source image: no pixels. `shown` are the classes that its labels show."""

    id: str
    labels: Labels
    shown: frozenset[str]
    faces: int = 0


@dataclass(eq=False)
class Gathered:
    """Everything read of a run.

    Attributes:
        place: source id → its number in `sources`.
        rows: the ledger.
        faults: how many source images could not be read, by code.
        labelled: whether any image has labels of classes at all.
        moved: whether outputs have things at other places than their sources.
        has_detector: whether anything looked for faces.
    """

    sources: list[SourceImage] = field(default_factory=list)
    place: dict[str, int] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    readings: dict[Key, Reading] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    labelled: bool = False
    moved: bool = False
    has_detector: bool = False

    def source_of(self, row: Row) -> SourceImage:
        """The source image of a ledger row."""
        return self.sources[self.place[row.sample_id]]


def read_run(
    run: RunDir, config: RunConfig, attributes: Sequence[Attribute], spec: BiasSpec, say: Callable[[str], None]
) -> Gathered:
    """Read every source image and every accepted output of a finished run.

    Args:
        attributes: those that are measured.

    Raises:
        ConfigError: shards are missing, the source is gone, a model is missing.
    """
    if left := run.store.pending():
        raise ConfigError(f"{run.root}: {len(left)} shard(s) are not done; run it to the end first")
    items = {item.id: item for item in select_items(config.source)[1]}
    reader = _Reader(config, attributes, spec, items)
    shards = run.store.shards()
    for number, shard in enumerate(shards, start=1):
        reader.read_shard(run, shard)
        say(f"read {number} of {len(shards)} shards")
    return reader.data


class _Reader:
    """Loaded detectors and attributes, and what they have read so far."""

    def __init__(
        self, config: RunConfig, attributes: Sequence[Attribute], spec: BiasSpec, items: Mapping[str, Item]
    ) -> None:
        self.dataset, self.items, self.attributes = config.source, items, attributes
        device = pick_device(config.device, Rank())
        self.runs: list[AttributeRun] = [one.load(device) for one in attributes]
        detect = config.detect if spec.detect is None else spec.detect
        faces = any(not one.per_image for one in attributes)
        self.detectors: list[DetectorRun] = [one.load(device) for one in detect] if faces else []
        randomizers = [*config.randomize, *Plan(config.plan, config.seed).file.randomizers()]
        self.data = Gathered(moved=any(one.moves_labels for one in randomizers), has_detector=bool(self.detectors))
        self._waiting: list[list[tuple[Key, Subject]]] = [[] for _ in attributes]

    def read_shard(self, run: RunDir, shard: Shard) -> None:
        """Read the sources of a shard and the outputs that were made of them."""
        rows: dict[str, list[Row]] = defaultdict(list)
        for row in run.store.rows_of(shard):
            rows[row.sample_id].append(row)
        outputs: dict[str, dict[int, bytes]] = defaultdict(dict)
        for stored in run.store.stored_images(shard):
            outputs[stored.sample_id][stored.variant] = stored.data
        for sample_id, own in rows.items():
            if sample_id not in self.items:
                raise ConfigError(f"{self.dataset.path}: has lost {sample_id}, of which this run holds an output")
            self.data.rows += own
            self._read(self.items[sample_id], own, outputs[sample_id])
        self._flush(1)

    def _read(self, item: Item, rows: Sequence[Row], outputs: Mapping[int, bytes]) -> None:
        try:
            sample = self.dataset.read(item)
        except BadSample as bad:
            self._bad_source(item, bad)
            return
        number = self._source(sample)
        if any(row.source_digest and row.source_digest != sample.digest for row in rows):
            self.data.faults["source-changed"] += 1
            return
        faces = self._faces(sample)
        self.data.sources[number].faces = len(faces)
        pictures = [(SOURCE, sample.image)]
        pictures += [(variant, decode_image(data, item.id)) for variant, data in outputs.items()]
        for attribute, waiting in zip(self.attributes, self._waiting, strict=True):
            where: Sequence[Region | None] = [None] if attribute.per_image else (faces or [None])
            for variant, picture in pictures:
                if variant != SOURCE and self.data.moved and attribute.needs_place:
                    continue
                for subject, face in enumerate(where):
                    key = attribute.name, number, subject, variant
                    waiting.append((key, Subject(picture, sample.labels, face)))
        self._flush(CHUNK)

    def _bad_source(self, item: Item, bad: BadSample) -> None:
        self.data.faults[bad.code] += 1
        try:
            labels = self.dataset.labels_of(item)
        except BadSample:
            labels = Labels()
        self._number(SourceImage(item.id, _without_pixels(labels), frozenset()))

    def _source(self, sample: Sample) -> int:
        shown = describe_labels(sample.labels, sample.image.shape[:2])
        self.data.labelled |= shown is not None
        classes = shown.classes if shown else frozenset()
        return self._number(SourceImage(sample.item.id, _without_pixels(sample.labels), classes))

    def _number(self, source: SourceImage) -> int:
        """Its number; new unless an earlier round has read it."""
        if source.id not in self.data.place:
            self.data.place[source.id] = len(self.data.sources)
            self.data.sources.append(source)
        return self.data.place[source.id]

    def _faces(self, sample: Sample) -> list[Region]:
        return [region for detect in self.detectors for region in detect([sample])[0] if region.kind == "face"]

    def _flush(self, least: int) -> None:
        """Let each attribute with at least `least` subjects waiting read them."""
        for run, waiting in zip(self.runs, self._waiting, strict=True):
            if len(waiting) >= least:
                found = run([subject for _, subject in waiting])
                self.data.readings |= {key: one for (key, _), one in zip(waiting, found, strict=True)}
                waiting.clear()


def _without_pixels(labels: Labels) -> Labels:
    return Labels(image_class=labels.image_class, attributes=dict(labels.attributes))
