"""A new Pascal VOC set out of records: XML, label images, lists, and the class table that they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from synthgen.datasets._class_names import fit_names
from synthgen.datasets._files import usual_split, write_new
from synthgen.datasets._records import Record, Written
from synthgen.datasets._tally import Tally
from synthgen.datasets._voc_masks import STANDARD, VOID, encode_palette, format_labelmap, table_of
from synthgen.datasets._voc_xml import format_voc, refuse_control_characters, rounded_corners
from synthgen.types import Box, ClassIds, ClassInfo, ConfigError, Finding

IMAGES, XML, CLASS_MASKS, OBJECT_MASKS = "JPEGImages", "Annotations", "SegmentationClass", "SegmentationObject"
LABELMAP = "labelmap.txt"
SPLITS = ("train", "val", "test")
"""The lists that are splits; others are of a class, or of several splits."""


def write_voc(records: Iterable[Record], classes: Sequence[ClassInfo], out: Path) -> Written:
    """As `Dataset.write`.

    Raises:
        ConfigError: more than 254 classes, or the name of an image that XML can't hold.
    """
    table, numbers, findings = _voc_table(classes)
    tally, lists, images, objects = Tally(), defaultdict[str, list[str]](list), 0, 0
    for record in records:
        stem = PurePosixPath(record.name).with_suffix("").as_posix()
        refuse_control_characters(stem, "the name of an image")
        write_new(out, f"{IMAGES}/{record.name}", record.data)
        pairs = [(table[numbers[one.class_id]].name, one) for one in record.labels.instances]
        moved = sum(_is_rounded(one.box, record.size) for _, one in pairs)
        tally.add("box-rounded", "box(es) are rounded to whole pixels", record.name, moved)
        segmented = record.labels.mask is not None
        name = PurePosixPath(record.name).name
        write_new(out, f"{XML}/{stem}.xml", format_voc(name, record.size, pairs, segmented))
        split = usual_split(record.split) or "trainval"
        other = f"image(s) of {split}: readers know the lists train, val and test"
        tally.add("split-not-named", other, record.name, split not in (*SPLITS, "trainval"))
        lists[f"Main/{split}"].append(stem)
        if record.labels.mask is not None:
            lists[f"Segmentation/{split}"].append(stem)
            indices = _indices(record.labels.mask, numbers)
            write_new(out, f"{CLASS_MASKS}/{stem}.png", encode_palette(indices, table))
            drawn = _draw_objects(record, indices == VOID, tally)
            write_new(out, f"{OBJECT_MASKS}/{stem}.png", encode_palette(drawn))
        images, objects = images + 1, objects + len(pairs)
    for name, stems in lists.items():
        write_new(out, f"ImageSets/{name}.txt", "".join(f"{stem}\n" for stem in stems).encode())
    if table != STANDARD:
        write_new(out, LABELMAP, format_labelmap(table))
    (out / IMAGES).mkdir(exist_ok=True)
    (out / XML).mkdir(exist_ok=True)
    return Written({"images": images, "labels": objects}, (*findings, *tally.findings()))


def _voc_table(classes: Sequence[ClassInfo]) -> tuple[tuple[ClassInfo, ...], dict[int, int], list[Finding]]:
    """VOC's table for some classes, the index of each old id, and what changed."""
    ordered = [info for info in sorted(classes, key=lambda info: info.id) if not info.ignore]
    labelled, renamed = fit_names(ordered, reserved=("void",), not_first="#")
    standard = {info.name: info.id for info in STANDARD}
    if all(info.name in standard for info in labelled):
        table, numbers = STANDARD, {info.id: standard[info.name] for info in labelled}
    else:
        names = ["background", *(info.name for info in labelled if info.name != "background")]
        if len(names) > VOID:
            raise ConfigError(f"{len(labelled)} classes; VOC has room for {VOID - 1}")
        place = {name: index for index, name in enumerate(names)}
        numbers = {info.id: place[info.name] for info in labelled}
        colours = {numbers[info.id]: info.color for info in labelled if info.color}
        table = tuple(replace(info, color=colours.get(info.id, info.color)) for info in table_of(names))
    findings = list(renamed)
    if any(old != new for old, new in numbers.items()):
        message = "classes are numbered by VOC's table: background is 0, the others follow in order of their ids"
        findings.append(Finding("classes-renumbered", LABELMAP, message))
    return table, {**numbers, **{info.id: VOID for info in classes if info.ignore}}, findings


def _indices(mask: ClassIds, numbers: Mapping[int, int]) -> NDArray[np.uint8]:
    ids, inverse = np.unique(mask, return_inverse=True)
    values = np.array([numbers[class_id] for class_id in ids.tolist()], dtype=np.uint8)
    return values[inverse].reshape(mask.shape)


def _draw_objects(record: Record, void: NDArray[np.uint8], tally: Tally) -> NDArray[np.uint8]:
    """Object numbers, from 1 in the order of the XML, smaller objects on top; void stays void."""
    drawn = np.zeros(void.shape, np.uint8)
    outlined = [(place, one.mask) for place, one in enumerate(record.labels.instances, 1) if one.mask is not None]
    beyond = sum(place >= VOID for place, _ in outlined)
    tally.add("outline-not-held", f"outline(s) beyond the {VOID - 1}th of an image are left out", record.name, beyond)
    for place, mask in sorted(outlined, key=lambda pair: -int(pair[1].sum())):
        if place < VOID:
            drawn[mask] = place
    hidden = sum(place < VOID and bool((mask & (drawn != place)).any()) for place, mask in outlined)
    tally.add("outlines-overlap", "outline(s) lose pixels that another one covers", record.name, hidden)
    drawn[void & (drawn == 0)] = VOID
    return drawn


def _is_rounded(box: Box, size: tuple[int, int]) -> bool:
    x0, y0, x1, y1 = rounded_corners(box, size)
    return (x0 - 1, y0 - 1, x1, y1) != (box.x0, box.y0, box.x1, box.y1)
