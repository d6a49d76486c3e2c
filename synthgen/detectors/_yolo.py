"""Object detectors as ONNX files of the YOLO family: how a picture goes in and how boxes come out.

The files that exporters write differ in their output alone, and two of the three cannot be told apart by shape, so the
layout is named:

- `yolov8` (also v9, 11): (1, 4 + classes, n), centre x, centre y, width, height, then a score a class;
- `yolov5` (also v7): (1, n, 5 + classes), centre x, centre y, width, height, objectness, then a share a class;
- `end2end` (v10, 26, or exported with NMS): (1, n, 6), x0, y0, x1, y1, score, class.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from synthgen.detectors._views import Floats
from synthgen.pinned import open_session
from synthgen.types import ConfigError, Image

Layout = Literal["yolov8", "yolov5", "end2end"]
PAD = 114
"""The grey beside a picture that is not square, as in training."""
DEFAULT_SIDE = 640
NMS_IOU = 0.6


class YoloFinder:
    """Picture → boxes of the wanted classes. Safe to call from several threads; runs on the CPU."""

    def __init__(self, model: bytes, layout: Layout, class_ids: tuple[int, ...], threshold: float, owner: str) -> None:
        self._session = open_session(model, owner)
        self._layout, self._classes, self._threshold, self._owner = layout, class_ids, threshold, owner
        (entry,) = self._session.get_inputs()[:1]
        self._input = entry.name
        if len(entry.shape) != 4 or entry.shape[1] not in (3, "3"):
            raise ConfigError(f"{owner}: expected an input (1, 3, height, width), the file has {entry.shape}")
        sides = [side if isinstance(side, int) else DEFAULT_SIDE for side in entry.shape[2:]]
        self._rows, self._columns = sides

    def __call__(self, picture: Image) -> Floats:
        """(n, 5): x0, y0, x1, y1, score in pixels of the picture.

        Raises:
            ConfigError: the file's output has not the layout that was named.
        """
        height, width = picture.shape[:2]
        scale = min(self._columns / width, self._rows / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        canvas = np.full((self._rows, self._columns, 3), PAD, np.uint8)
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        canvas[: size[1], : size[0]] = cv2.resize(picture, size, interpolation=interpolation)
        output = self._session.run(None, {self._input: canvas.transpose(2, 0, 1)[None].astype(np.float32) / 255})[0]
        boxes = self._decode(np.asarray(output, np.float32))
        boxes[:, :4] /= scale
        return boxes

    def _decode(self, output: Floats) -> Floats:
        table = output[0].T if self._layout == "yolov8" else output[0]
        fixed = {"yolov8": 4, "yolov5": 5, "end2end": 6}[self._layout]
        needed = fixed if self._layout == "end2end" else fixed + max(self._classes) + 1
        wrong = table.shape[1] != fixed if self._layout == "end2end" else table.shape[1] < needed
        if output.ndim != 3 or wrong:
            raise ConfigError(
                f"{self._owner}: layout {self._layout} with the classes {list(self._classes)} doesn't fit an output of "
                f"shape {output.shape}; change the keys layout or class_ids"
            )
        if self._layout == "end2end":
            wanted = np.isin(table[:, 5], self._classes) & (table[:, 4] >= self._threshold)
            return table[wanted, :5].copy()
        scores = table[:, fixed:][:, self._classes].max(axis=1)
        if self._layout == "yolov5":
            scores = scores * table[:, 4]
        wanted = scores >= self._threshold
        corner = table[wanted, :2] - table[wanted, 2:4] / 2
        boxes = np.concatenate([corner, corner + table[wanted, 2:4], scores[wanted, None]], axis=1)
        flat = np.concatenate([corner, table[wanted, 2:4]], axis=1)
        kept = cv2.dnn.NMSBoxes(flat.tolist(), scores[wanted].tolist(), self._threshold, NMS_IOU)
        return boxes[np.array(kept, dtype=np.int64).ravel()]
