"""What travels from one format to another: images with labels, what a format has room for, what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from synthgen.types import Finding, Labels

Held = Literal[
    "class ids", "colours", "mask", "boxes", "outlines", "crowds", "keypoints", "object attributes", "image class",
    "attributes", "splits",
]  # fmt: skip
"""A part of the labels that a format may have a place for."""


@dataclass(frozen=True, eq=False)
class Record:
    """One image with its labels on its way into a set of another format.

    `name` is its path without the folder of its split, with forward slashes and its suffix; it is unique, also without
    its suffix and where case is ignored. `data` are the bytes of an image file that needs no turning, `size` is (width,
    height) in pixels.
    """

    name: str
    split: str | None
    data: bytes
    size: tuple[int, int]
    labels: Labels


@dataclass(frozen=True)
class Written:
    """What `write` came to: `counts` (`images`, `labels`, …) and what the format could not hold as it was."""

    counts: Mapping[str, int]
    findings: tuple[Finding, ...] = ()
