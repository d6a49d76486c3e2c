"""Readable text: shop signs, name badges, house numbers, documents, screens.

RapidOCR's detector (PP-OCRv4, Apache-2.0) is the default; any other DB network goes by its file. What is written is not
read here: a line that can be found can be read by someone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from synthgen.detectors._text import DETECTOR_SHA256, DbSettings, line_box, load_finder
from synthgen.detectors.base import Detector, DetectorRun
from synthgen.regions import clip_box
from synthgen.types import Region, Sample

OWNER = "detect, text"


class TextDetector(Detector):
    """A `text` region for each line, origin `detector`, as an upright box. Runs on the CPU."""

    kind: Literal["text"] = "text"
    db: DbSettings = DbSettings()
    file: Path | None = None
    """An ONNX file of another DB network (one input RGB picture, one map of probabilities); then `sha256` is its."""
    sha256: str = DETECTOR_SHA256
    """Digest of the file."""

    @model_validator(mode="after")
    def _pinned(self) -> TextDetector:
        if self.file is not None and "sha256" not in self.model_fields_set:
            raise ValueError("file needs its digest under the key sha256 (sha256sum FILE)")
        return self

    def load(self, device: str) -> DetectorRun:
        """Load the network; it runs on the CPU whatever `device` is.

        Raises:
            ConfigError: rapidocr-onnxruntime is not installed, or the file is missing, another one, or no DB network.
        """
        find = load_finder(self.file, self.sha256, self.db, OWNER)

        def detect(samples: Sequence[Sample]) -> list[list[Region]]:
            results = []
            for sample in samples:
                rows = find(sample.image)
                boxes = [(clip_box(line_box(row), sample.size), float(row[4])) for row in rows]
                results.append([Region("text", box, score, "detector") for box, score in boxes if box is not None])
            return results

        return detect
