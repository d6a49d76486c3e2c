"""dlib's files in the package `face-recognition-models`, and five points of a face in a box: what alignment needs.

The points are the corners of both eyes and the base of the nose. The fit always gives points, also where there is no
face: then they lie about where those of a mean face would be.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.pinned import packaged_file, read_pinned
from synthgen.types import Box, ConfigError, Image

Points = NDArray[np.float64]
INSTALL = "pip install 'synthgen[faces]'"
LANDMARKS = "shape_predictor_5_face_landmarks.dat"
LANDMARKS_SHA256 = "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888"


def import_dlib(owner: str) -> Any:
    """The module `dlib`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import dlib
    except ImportError as error:
        raise ConfigError(f"{owner}: the package dlib is missing ({error}); {INSTALL}") from error
    return dlib


def dlib_file(name: str, sha256: str, owner: str) -> Path:
    """A file of `face-recognition-models` 0.3.0, found without importing it (its import asks for `pkg_resources`).

    Raises:
        ConfigError: it is not installed, or the file has another digest.
    """
    path = packaged_file("face_recognition_models", "models", name)
    if path is None:
        raise ConfigError(f"{owner}: its weights come with the package face-recognition-models; {INSTALL}")
    read_pinned(path, sha256, owner, "install face-recognition-models 0.3.0, or pin the file that you trust")
    return path


def dlib_rectangle(dlib: Any, box: Box) -> Any:
    """The box as dlib has it: whole pixels, both ends inside."""
    return dlib.rectangle(round(box.x0), round(box.y0), round(box.x1) - 1, round(box.y1) - 1)


def load_landmarks(owner: str) -> Callable[[Image, Box], Points]:
    """From an image and the box of a face to (3, 2): x and y of the eye on the left, the eye on the right (as one looks
    at the picture, of an upright face) and the base of the nose. Safe to call from several threads.

    Raises:
        ConfigError: as `dlib_file`.
    """
    dlib = import_dlib(owner)
    predict = dlib.shape_predictor(str(dlib_file(LANDMARKS, LANDMARKS_SHA256, owner)))

    def find(image: Image, box: Box) -> Points:
        shape = predict(np.ascontiguousarray(image), dlib_rectangle(dlib, box))
        points = np.array([(part.x, part.y) for part in shape.parts()], dtype=np.float64)
        return np.stack([points[2:4].mean(axis=0), points[0:2].mean(axis=0), points[4]])

    return find
