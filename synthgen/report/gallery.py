"""The gallery: a few outputs as thumbnails inside the page; in the private edition with source and control maps beside.

Thumbnails are JPEG data URIs of at most `SIDE` pixels, so a page has a bounded size and asks nobody for anything.
Outputs are chosen so that every verdict, reason, class and level is there while there is room.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pyarrow.parquet as pq

from synthgen.config import RunConfig
from synthgen.images import decode_image
from synthgen.report.findings import LedgerRow
from synthgen.rundir import RunDir
from synthgen.shards import Shard
from synthgen.types import BadSample, Image, Item, Row

SIDE = 320
QUALITY = 82


@dataclass(frozen=True)
class Picture:
    """A thumbnail. `title` says what it is (`output`, `source`, the kind of a map); `uri` is a data URI."""

    title: str
    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Card:
    """One output in the gallery, by the name of its ledger row; `missing` says why there is no output to show."""

    name: str
    pictures: tuple[Picture, ...]
    missing: str = ""


def choose_cards(rows: Sequence[LedgerRow], count: int) -> list[LedgerRow]:
    """At most `count` rows: each next one adds most to the facets that are rarest so far. Accepted ones come first."""
    shown: Counter[tuple[str, str]] = Counter()
    facets = {row.name: row.facets() for row in rows}
    left, chosen = list(rows), set[str]()
    while left and len(chosen) < count:
        best = max(left, key=lambda row: sum(1 / (1 + shown[one]) ** 2 for one in facets[row.name]))
        shown.update(facets[best.name])
        chosen.add(best.name)
        left.remove(best)
    return sorted((row for row in rows if row.name in chosen), key=lambda row: row.verdict)


def output_pictures(run: RunDir, wanted: Mapping[tuple[str, int], str]) -> dict[str, Picture]:
    """Thumbnails of accepted outputs by name; `wanted` is (sample id, variant) → name."""
    found = {}
    for shard in _shards_with(run, {sample_id for sample_id, _ in wanted}):
        for image in run.store.stored_images(shard):
            if name := wanted.get((image.sample_id, image.variant)):
                found[name] = thumbnail("output", decode_image(image.data, name))
    return found


def map_pictures(run: RunDir, ids: Collection[str]) -> dict[str, list[Picture]]:
    """Thumbnails of the protected control maps that are still there, by sample id, in order of kind. Private."""
    found: dict[str, list[Picture]] = {}
    for shard in _shards_with(run, set(ids)):
        path = run.store.controls / f"{shard.name}.parquet"
        if not path.is_file():
            continue
        table = pq.read_table(path, filters=[("sample_id", "in", sorted(ids))])
        for record in sorted(table.to_pylist(), key=lambda record: str(record["kind"])):
            picture = thumbnail(f"{record['kind']} map", decode_image(record["image"], record["kind"]))
            found.setdefault(record["sample_id"], []).append(picture)
    return found


def source_pictures(config: RunConfig, items: Mapping[str, Item], ids: Collection[str]) -> dict[str, Picture]:
    """Thumbnails of the sources that can still be read, by sample id. Private."""
    found = {}
    for sample_id in sorted(ids):
        try:
            found[sample_id] = thumbnail("source", config.source.read(items[sample_id]).image)
        except (BadSample, KeyError):
            continue
    return found


def make_cards(
    run: RunDir,
    config: RunConfig,
    items: Mapping[str, Item],
    chosen: Sequence[LedgerRow],
    ledger: Mapping[str, Row],
    private: bool,
) -> list[Card]:
    """The cards of `chosen`; `ledger` is pseudonym → row. Quarantined outputs have a card in the private edition."""
    shown = [row for row in chosen if private or row.verdict == "accepted"]
    keys = {(ledger[row.name].sample_id, ledger[row.name].variant): row.name for row in shown}
    outputs = output_pictures(run, keys)
    ids = {sample_id for sample_id, _ in keys} if private else set()
    sources = source_pictures(config, items, ids)
    maps = map_pictures(run, ids)
    cards = []
    for row in shown:
        sample_id = ledger[row.name].sample_id
        before = [sources[sample_id]] if sample_id in sources else []
        output = [outputs[row.name]] if row.name in outputs else []
        missing = "" if output else f"no output is kept: {row.code}"
        cards.append(Card(row.name, (*before, *maps.get(sample_id, []), *output), missing))
    return cards


def thumbnail(title: str, image: Image) -> Picture:
    """`image` scaled down to at most `SIDE` pixels, as a JPEG without metadata in a data URI."""
    height, width = image.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    encoded, data = cv2.imencode(".jpg", np.ascontiguousarray(small[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert encoded
    return Picture(title, "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode(), *size)


def _shards_with(run: RunDir, ids: set[str]) -> list[Shard]:
    store = run.store
    return [shard for shard in store.shards() if store.done(shard) and ids & set(shard.ids)]
