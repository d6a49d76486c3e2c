"""One Pascal VOC annotation: XML with a size and objects, read without entities and written from labels alone.

Boxes are `xmin, ymin, xmax, ymax`, whole pixels counted from 1, the last one inside: x0 = xmin − 1, x1 = xmax (VOC2012
development kit, section 6.1; Detectron2 reads them so). What the XML says about where the picture came from (`folder`,
`path`, `source`, `owner`) is never read and never written; its own name says whose labels it holds, and a `filename`
that leaves the source is taken for an attack.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from xml.etree import ElementTree

import numpy as np
from defusedxml import ElementTree as SafeTree
from defusedxml.common import DefusedXmlException

from synthgen.datasets._coco_shapes import parse_box
from synthgen.datasets._files import safe_relative
from synthgen.datasets._objects import Size
from synthgen.images import turn_points
from synthgen.types import BadSample, Box, ClassInfo, ConfigError, Instance

MAX_XML_BYTES = 1 << 24
MAX_OBJECTS = 10_000
FLAGS = ("truncated", "difficult", "occluded")
ATTRIBUTES = ("pose", *FLAGS)


@dataclass(frozen=True)
class VocObject:
    """One object as the XML has it: pixels counted from 1, not yet checked against the image."""

    name: str
    corners: tuple[str | None, ...]
    attributes: Mapping[str, str | int]
    parts: int


@dataclass(frozen=True)
class VocFile:
    """`size` is (width, height) where the XML gives one; `segmented` is its flag."""

    size: Size | None
    objects: tuple[VocObject, ...]
    segmented: bool


def parse_voc(data: bytes, origin: str) -> VocFile:
    """An annotation file.

    Raises:
        BadSample: `label-invalid`: not XML, another root, entities or a document type; `label-too-large`.
        ConfigError: `filename` leaves the source.
    """
    try:
        root = SafeTree.fromstring(data, forbid_dtd=True)
    except (ElementTree.ParseError, DefusedXmlException, ValueError, RecursionError) as error:
        raise BadSample("label-invalid", f"{origin}: {type(error).__name__}: {error}") from error
    if root.tag != "annotation":
        raise BadSample("label-invalid", f"{origin}: expected an <annotation>, got <{root.tag}>")
    name = root.findtext("filename")
    if name and name.strip():
        safe_relative(name.strip(), f"{origin}, filename")
    found = root.findall("object")
    if len(found) > MAX_OBJECTS:
        raise BadSample("label-too-large", f"{origin}: {len(found)} objects; at most {MAX_OBJECTS}")
    width, height = (_whole(root.findtext(f"size/{key}")) for key in ("width", "height"))
    size = (width, height) if width and height else None
    return VocFile(size, tuple(_object(element) for element in found), root.findtext("segmented", "0").strip() == "1")


def _object(element: ElementTree.Element) -> VocObject:
    attributes: dict[str, str | int] = {}
    for key in ATTRIBUTES:
        text = (element.findtext(key) or "").strip()
        if key in FLAGS and text in ("0", "1"):
            attributes[key] = int(text)
        elif key == "pose" and text:
            attributes[key] = text[:64]
    corners = tuple(element.findtext(f"bndbox/{key}") for key in ("xmin", "ymin", "xmax", "ymax"))
    return VocObject((element.findtext("name") or "").strip(), corners, attributes, len(element.findall("part")))


def _whole(text: str | None) -> int:
    """A whole number, or 0 where there is none."""
    return int(text) if text is not None and text.strip().isascii() and text.strip().isdecimal() else 0


def voc_box(one: VocObject, size: Size, origin: str) -> Box:
    """The box of an object in pixels from 0.

    Raises:
        BadSample: `box-invalid`.
    """
    try:
        x0, y0, x1, y1 = (float(text or "") for text in one.corners)
    except ValueError as error:
        raise BadSample("box-invalid", f"{origin}: bndbox needs xmin, ymin, xmax and ymax: {error}") from error
    return parse_box([x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1], size, origin)


def shown_boxes(parsed: VocFile, orientation: int, stored: Size, origin: str) -> tuple[list[Box], Size]:
    """The boxes for the image as shown, and its size; the XML's size says which pixels they mean."""
    shown = stored[::-1] if orientation >= 5 else stored
    said = parsed.size or stored
    if said not in (stored, shown):
        raise BadSample("image-size-mismatch", f"{origin}: the file is {stored}, its XML says {said}")
    boxes = [voc_box(found, said, f"{origin}, object {place}") for place, found in enumerate(parsed.objects, 1)]
    if said == stored and orientation != 1:
        corners = [turn_points(np.array([[b.x0, b.y0], [b.x1, b.y1]]), orientation, stored) for b in boxes]
        boxes = [Box(*points.min(axis=0).tolist(), *points.max(axis=0).tolist()) for points in corners]
    return boxes, shown


def released_xml(parsed: VocFile, name: str, orientation: int, stored: Size, without: Collection[int] = ()) -> bytes:
    """The XML of an output, without the objects at some places."""
    boxes, shown = shown_boxes(parsed, orientation, stored, name)
    pairs = [
        (found.name, Instance(0, box, attributes=found.attributes))
        for place, (found, box) in enumerate(zip(parsed.objects, boxes, strict=True))
        if place not in without
    ]
    return format_voc(PurePosixPath(name).name, shown, pairs, parsed.segmented)


def xml_objects(
    parsed: VocFile, classes: Sequence[ClassInfo], orientation: int, stored: Size, origin: str
) -> tuple[Instance, ...]:
    """The objects of an XML, for the image as shown.

    Raises:
        BadSample: `class-unknown`, `box-invalid`, `image-size-mismatch`.
    """
    ids = {info.name: info.id for info in classes}
    unknown = sorted({found.name for found in parsed.objects} - set(ids))
    if unknown:
        raise BadSample("class-unknown", f"{origin}: {', '.join(map(repr, unknown[:10]))} not in the class table")
    boxes, _ = shown_boxes(parsed, orientation, stored, origin)
    return tuple(
        Instance(ids[found.name], box, attributes=found.attributes)
        for found, box in zip(parsed.objects, boxes, strict=True)
    )


def format_voc(name: str, size: Size, objects: Sequence[tuple[str, Instance]], segmented: bool) -> bytes:
    """The XML of an image: its file name, its (width, height), and (class name, object) pairs in order."""
    root = ElementTree.Element("annotation")
    _add(root, "filename", name)
    frame = ElementTree.SubElement(root, "size")
    for key, value in (("width", size[0]), ("height", size[1]), ("depth", 3)):
        _add(frame, key, value)
    _add(root, "segmented", int(segmented))
    for class_name, instance in objects:
        element = ElementTree.SubElement(root, "object")
        _add(element, "name", class_name)
        for key in ATTRIBUTES:
            if key in instance.attributes:
                _add(element, key, instance.attributes[key])
        box = ElementTree.SubElement(element, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), rounded_corners(instance.box, size), strict=True):
            _add(box, key, value)
    ElementTree.indent(root, "\t")
    return ElementTree.tostring(root, encoding="utf-8") + b"\n"


def rounded_corners(box: Box, size: Size) -> tuple[int, int, int, int]:
    """VOC's whole numbers for a box in an image of (width, height): at least one pixel wide and high, in the image."""
    (x0, x1), (y0, y1) = _rounded(box.x0, box.x1, size[0]), _rounded(box.y0, box.y1, size[1])
    return x0, y0, x1, y1


def _rounded(low: float, high: float, length: int) -> tuple[int, int]:
    first = min(max(round(low) + 1, 1), length)
    return first, min(max(round(high), first), length)


def _add(parent: ElementTree.Element, key: str, value: object) -> None:
    ElementTree.SubElement(parent, key).text = str(value)


def refuse_control_characters(text: str, origin: str) -> str:
    """`text`, if XML can hold it.

    Raises:
        ConfigError: a character that XML 1.0 has no way to write.
    """
    if any(ord(char) < 32 and char not in "\t\n\r" for char in text):
        raise ConfigError(f"{origin}: {text!r} has a control character, which XML can't hold")
    return text
