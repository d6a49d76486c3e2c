"""Faces by any network in an ONNX file that turns one aligned face into one embedding (ArcFace and its kin).

The file is pinned by its digest. Mind its licence: InsightFace's weights are for research alone. The network runs on
the CPU with one thread, whatever the device of the run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from synthgen.pinned import open_session, read_pinned
from synthgen.recognizers._crop import aligned_face, cropped_box
from synthgen.recognizers._landmarks import load_landmarks
from synthgen.recognizers.base import Embeddings, LoadedRecognizer, Recognizer, Subject, unit_rows
from synthgen.types import Box, ConfigError, Image

OWNER = "recognizer onnx"


class OnnxRecognizer(Recognizer):
    """Embeddings are scaled to unit length: a distance d is a cosine of 1 − d²/2."""

    kind: Literal["onnx"] = "onnx"
    subject: Subject = "face"
    file: Path
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """Digest of `file`."""
    threshold: float = Field(default=1.15, gt=0, le=2)
    """A cosine of 0.34, about what networks of this kind need for 1 in 1,000; set it on pairs of your own."""
    side: int = Field(default=112, ge=16, le=1024)
    """Width and height of the network's input, pixels."""
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    """The input is (pixel − mean) / std, of pixels 0..255 in the order of `channels`."""
    channels: Literal["rgb", "bgr"] = "rgb"
    align: Literal["landmarks", "box"] = "landmarks"
    """`landmarks` lays eyes and nose on ArcFace's points (dlib's five landmarks); `box` takes the box as it is."""
    margin: float = Field(default=0.0, ge=0, le=1)
    """With `box`: by what share of its sides the box grows on every side."""

    def digest(self) -> str:
        """As `Recognizer`; of the pinned file and the preparation."""
        keys = self.model_dump(mode="json", exclude={"file", "threshold", "subject"})
        return hashlib.sha256(f"onnx 1\x1f{json.dumps(keys, sort_keys=True)}".encode()).hexdigest()

    def load(self, device: str) -> LoadedRecognizer:
        """As `Recognizer`; on the CPU whatever `device` is."""
        model = read_pinned(self.file, self.sha256, OWNER, "set the key sha256 if you trust that file")
        session = open_session(model, OWNER)
        return _LoadedOnnx(self, session, load_landmarks(OWNER) if self.align == "landmarks" else None)


class _LoadedOnnx(LoadedRecognizer):
    def __init__(self, spec: OnnxRecognizer, session: Any, find: Callable[[Image, Box], Any] | None) -> None:
        self.threshold = spec.threshold
        self._spec, self._session, self._find = spec, session, find
        self._input = session.get_inputs()[0].name
        self.width = self._run(np.zeros((1, spec.side, spec.side, 3), np.uint8)).shape[1]

    def embed(self, images: Sequence[Image], boxes: Sequence[Box]) -> Embeddings:
        """As `LoadedRecognizer`."""
        faces = [self._face(image, box) for image, box in zip(images, boxes, strict=True)]
        rows = [self._run(np.stack([face])) for face in faces]
        return unit_rows(np.concatenate(rows)) if rows else np.zeros((0, self.width), np.float32)

    def _face(self, image: Image, box: Box) -> Image:
        side = self._spec.side
        if self._find is None:
            return cropped_box(image, box, self._spec.margin, (side, side))
        return aligned_face(image, self._find(image, box), side)

    def _run(self, faces: Any) -> Embeddings:
        """(n, side, side, 3) RGB to (n, width), one face at a time: many files fix the batch to one."""
        ordered = faces[..., ::-1] if self._spec.channels == "bgr" else faces
        mean, std = (np.array(values, np.float32) for values in (self._spec.mean, self._spec.std))
        pixels = (ordered.astype(np.float32) - mean) / std
        try:
            out = self._session.run(None, {self._input: np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))})[0]
        except Exception as error:  # the runtime's errors have no public base
            raise ConfigError(f"{OWNER}: {self._spec.file} does not take {pixels.shape[1:]}: {error}") from None
        rows: Embeddings = np.asarray(out, dtype=np.float32).reshape(len(faces), -1)
        return rows
