"""Where text is, by a DB network, and what it says, by a CTC recogniser: the ONNX files of RapidOCR or of their kind.

A DB network (Liao et al. 2020, "Real-time Scene Text Detection with Differentiable Binarization", arXiv 1911.08947)
gives each pixel's probability of lying in the shrunk core of a line of text. Connected cores above a threshold become
lines, which are grown again by `area · unclip / perimeter`.

Only the ONNX files of the package `rapidocr-onnxruntime` (Apache-2.0) are used, found without importing it: its import
asks for a second OpenCV beside the headless one.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from synthgen.detectors._views import Floats, crop_view, merge_boxes, plan_views, to_image
from synthgen.pinned import open_session, packaged_file, read_pinned
from synthgen.types import Box, ConfigError, Image

PACKAGE = "rapidocr_onnxruntime"
INSTALL = "pip install --no-deps rapidocr-onnxruntime"
DETECTOR, READER = "ch_PP-OCRv4_det_infer.onnx", "ch_PP-OCRv4_rec_infer.onnx"
DETECTOR_SHA256 = "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9"
READER_SHA256 = "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b"
"""As in rapidocr-onnxruntime 1.4.4."""
SIDE_MULTIPLE = 32
MIN_CORE = 3
"""Pixels of the network's input: a thinner core is noise."""
READ_HEIGHT, READ_MAX_WIDTH = 48, 640
REMEMBERED = 4


class DbSettings(BaseModel):
    """How a DB network's map becomes lines of text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threshold: float = Field(default=0.3, gt=0, lt=1)
    """Least probability of a pixel of a line's core."""
    line_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Least mean probability over a line's core: its score."""
    unclip: float = Field(default=1.6, ge=0, le=4)
    """How far a core grows to the line it is the core of."""
    min_side: int = Field(default=512, ge=32, le=4096)
    """Images whose longer side (pixels) is less are enlarged to it."""
    tile: int = Field(default=1280, ge=128, le=4096)
    """Longer images are seen whole at this size, and again in tiles of this size."""
    overlap: float = Field(default=0.2, ge=0, le=0.5)
    """Share of a tile's side that its neighbour sees too."""


class TextFinder:
    """Image → lines of text. Safe to call from several threads.

    The lines of the last few images are remembered, since two detectors may look at the same image.
    """

    def __init__(self, model: bytes, settings: DbSettings, owner: str) -> None:
        self._session = open_session(model, owner)
        self._settings = settings
        self._input = self._session.get_inputs()[0].name
        self._last: deque[tuple[Image, Floats]] = deque(maxlen=REMEMBERED)
        shape = self._session.get_outputs()[0].shape
        if len(shape) != 4:
            raise ConfigError(f"{owner}: expected a DB network with one map (1, 1, height, width), got shape {shape}")

    def __call__(self, image: Image) -> Floats:
        """(n, 5): x0, y0, x1, y1, score, upright boxes in pixels of the image."""
        for seen, lines in tuple(self._last):
            if seen is image:
                return lines
        settings = self._settings
        found = [np.zeros((0, 5), np.float32)]
        size = (image.shape[1], image.shape[0])
        for view in plan_views(size, settings.min_side, settings.tile, settings.overlap, 1.0):
            found.append(to_image(self._lines(crop_view(image, view)), view))
        lines = merge_boxes(np.concatenate(found), join=True)
        self._last.append((image, lines))
        return lines

    def _lines(self, picture: Image) -> Floats:
        height, width = picture.shape[:2]
        columns, rows = (max(1, round(side / SIDE_MULTIPLE)) * SIDE_MULTIPLE for side in (width, height))
        probability = self._session.run(None, {self._input: _to_input(picture, columns, rows)})[0][0, 0]
        lines = cores_to_lines(probability, self._settings)
        lines[:, :4] *= np.array([width / columns, height / rows] * 2, np.float32)
        return lines


def cores_to_lines(probability: NDArray[np.float32], settings: DbSettings) -> Floats:
    """The map of a DB network, (height, width) of 0..1, → rows x0, y0, x1, y1, score in pixels of the map."""
    bright = cv2.dilate((probability > settings.threshold).astype(np.uint8), np.ones((2, 2), np.uint8))
    outlines, _ = cv2.findContours(bright, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    rows = []
    for outline in outlines:
        centre, (long, wide), angle = cv2.minAreaRect(outline)
        if min(long, wide) < MIN_CORE:
            continue
        score = _mean_inside(probability, cv2.boxPoints((centre, (long, wide), angle)))
        if score < settings.line_threshold:
            continue
        grown = 2 * (long * wide * settings.unclip / (2 * (long + wide)))
        corners = cv2.boxPoints((centre, (long + grown, wide + grown), angle))
        rows.append([*corners.min(axis=0), *corners.max(axis=0), score])
    return np.array(rows, np.float32).reshape(-1, 5)


def _mean_inside(probability: NDArray[np.float32], corners: NDArray) -> float:
    x0, y0 = np.floor(corners.min(axis=0)).astype(int).clip(0)
    x1, y1 = np.ceil(corners.max(axis=0)).astype(int) + 1
    part = probability[y0:y1, x0:x1]
    inside = np.zeros(part.shape, np.uint8)
    cv2.fillPoly(inside, [np.rint(corners - (x0, y0)).astype(np.int32)], 1)
    return float(cv2.mean(part, inside)[0])


def _to_input(picture: Image, width: int, height: int) -> Floats:
    """RGB 0..255 → (1, 3, height, width), BGR, -1..1, as PaddleOCR trained its networks."""
    resized = cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR)
    return (resized[:, :, ::-1].astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]


class TextReader:
    """Box of an image → what is written there, by a CTC network whose alphabet lies in the file."""

    def __init__(self, model: bytes, owner: str) -> None:
        self._session = open_session(model, owner)
        self._input = self._session.get_inputs()[0].name
        alphabet = self._session.get_modelmeta().custom_metadata_map.get("character")
        if not alphabet:
            raise ConfigError(f"{owner}: the reader's file holds no alphabet (the metadata `character`)")
        self._alphabet = ["", *alphabet.splitlines(), " "]

    def __call__(self, image: Image, box: Box) -> str:
        """The text in a box of an image, left to right; empty where nothing can be read."""
        crop = image[max(int(box.y0), 0) : int(np.ceil(box.y1)), max(int(box.x0), 0) : int(np.ceil(box.x1))]
        if not crop.size:
            return ""
        width = min(max(round(READ_HEIGHT * crop.shape[1] / crop.shape[0]), READ_HEIGHT), READ_MAX_WIDTH)
        best = self._session.run(None, {self._input: _to_input(crop, width, READ_HEIGHT)})[0][0].argmax(axis=1)
        changed = best[np.flatnonzero(np.diff(best, prepend=-1))]
        return "".join(self._alphabet[place] for place in changed if place < len(self._alphabet))


def looks_like_registration(text: str) -> bool:
    """Whether a reading could be a number plate: 4 to 9 letters and digits, of each at least one and two digits, or at
    least five digits; marks and spaces do not count."""
    letters = re.sub(r"[^A-Z0-9]", "", text.upper())
    digits = sum(letter.isdigit() for letter in letters)
    return 4 <= len(letters) <= 9 and digits >= (5 if digits == len(letters) else 2)


@lru_cache(maxsize=4)
def load_finder(file: Path | None, sha256: str, settings: DbSettings, owner: str) -> TextFinder:
    """The network of `file`, or RapidOCR's; loaded once a process for the same file and settings.

    Raises:
        ConfigError: the package is not installed, or the file is missing, not the pinned one, or no DB network.
    """
    return TextFinder(_read(file, sha256, DETECTOR, owner), settings, owner)


@lru_cache(maxsize=1)
def load_reader(owner: str) -> TextReader:
    """RapidOCR's reader. Raises ConfigError as `load_finder`."""
    return TextReader(_read(None, READER_SHA256, READER, owner), owner)


def _read(file: Path | None, sha256: str, name: str, owner: str) -> bytes:
    path = file or packaged_file(PACKAGE, "models", name)
    if path is None:
        raise ConfigError(f"{owner}: its weights come with the package rapidocr-onnxruntime: {INSTALL}")
    advice = "install rapidocr-onnxruntime 1.4.4, or set the key sha256 if you trust that file"
    return read_pinned(path, sha256, owner, advice)


def registration_score(text: str, score: float) -> float:
    """A plate's score from that of its line of text: above 0.5 where it reads like a registration, else below."""
    return (0.5 if looks_like_registration(text) else 0.0) + score / 2


def line_box(row: Any) -> Box:
    """The box of a row x0, y0, x1, y1, score."""
    return Box(*(float(value) for value in row[:4]))
