"""How CenterFace is fed and read: freeing the fixed shape of its ONNX file, the input of a view, decoding.

The network (Xu et al. 2020, "CenterFace: Joint Face Detection and Alignment Using Face as Point", arXiv 1911.03599)
takes RGB 0..255, sides a multiple of 32, and returns at a quarter of the size: a heat map of face centres, the log
size of each face in units of 4 px, and the offset of its centre within the cell.
"""

from __future__ import annotations

import math

import numpy as np

from synthgen.detectors._views import Floats, View, crop_view
from synthgen.types import Image

STRIDE = 4
SIDE_MULTIPLE = 32
INPUT = "input.1"
OUTPUTS = {"heat": "537", "scale": "538", "offset": "539"}
SHAPES = {
    INPUT: (10, 3, 32, 32),
    "537": (10, 1, 8, 8),
    "538": (10, 2, 8, 8),
    "539": (10, 2, 8, 8),
    "540": (10, 10, 8, 8),
}
"""The shapes that the file fixes its input and outputs to, though the network takes any."""


def free_shapes(model: bytes) -> bytes:
    """The ONNX file with batch, height and width of its input and outputs left open.

    A dimension is the protobuf message `0a 02 | 08 n` (field 1, `dim_value` = n). Replacing its two bytes by `1a 00`
    (field 3, an empty `denotation`) keeps every length and makes the dimension unknown, so the `onnx` package is not
    needed.

    Raises:
        ValueError: the file does not declare these shapes exactly once each.
    """
    for name, shape in SHAPES.items():
        declared = bytes([0x0A, len(name), *name.encode(), 0x12, 0x16, 0x0A, 0x14, 0x08, 0x01, 0x12, 0x10])
        fixed = declared + b"".join(bytes([0x0A, 0x02, 0x08, size]) for size in shape)
        freed = declared + b"".join(
            bytes([0x0A, 0x02, 0x08, size] if axis == 1 else [0x0A, 0x02, 0x1A, 0x00])
            for axis, size in enumerate(shape)
        )
        if model.count(fixed) != 1:
            raise ValueError(f"the tensor {name} is not declared with the shape {shape}")
        model = model.replace(fixed, freed)
    return model


def render_view(image: Image, view: View) -> Floats:
    """The view as the network's input, (1, 3, height, width), 0..255, black to the right and below up to a multiple
    of 32."""
    crop = crop_view(image, view)
    height, width = crop.shape[:2]
    rows, columns = (math.ceil(side / SIDE_MULTIPLE) * SIDE_MULTIPLE for side in (height, width))
    padded = np.zeros((1, 3, rows, columns), np.float32)
    padded[0, :, :height, :width] = crop.transpose(2, 0, 1)
    return padded


def decode_faces(heat: Floats, scale: Floats, offset: Floats, threshold: float) -> Floats:
    """Every cell of the heat map above `threshold` as a row x0, y0, x1, y1, score, in pixels of the network's input."""
    rows, columns = np.nonzero(heat[0, 0] > threshold)
    height, width = np.exp(scale[0][:, rows, columns]) * STRIDE
    y = (rows + offset[0, 0, rows, columns] + 0.5) * STRIDE
    x = (columns + offset[0, 1, rows, columns] + 0.5) * STRIDE
    faces = [x - width / 2, y - height / 2, x + width / 2, y + height / 2, heat[0, 0, rows, columns]]
    return np.stack(faces, axis=1).astype(np.float32)
