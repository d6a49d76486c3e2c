"""What can be measured on one image and its labels without any model: the classical descriptors.

All images are scaled to a long side of `SIDE` pixels first, so that sets of other resolutions compare.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthgen.types import Image, Labels

SIDE = 256
LAB_BINS = 32
LAB_RANGES = ((0.0, 100.0), (-90.0, 90.0), (-90.0, 90.0))
"""L*, a*, b* of sRGB; values outside fall into the last bin."""
GRID = 8
SIZE_EDGES = np.linspace(-5.0, 0.0, 11)
"""log10 of an object's share of the image: 10 bins from 1/100000 to the whole."""
SCALARS = ("luminance", "edge_density", "spectral_slope")
"""Mean L* (0..100); share of Canny pixels (thresholds 100, 200); slope of log power against log frequency."""


@dataclass(frozen=True, eq=False)
class ImageDescriptors:
    """`lab` is (3, LAB_BINS), each row summing to 1; `scalars` follows `SCALARS`."""

    lab: NDArray[np.float32]
    scalars: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LabelDescriptors:
    """What the labels show: number of objects, where (GRID·GRID counts of centres), how large (counts), which classes.

    An object is an instance; where labels are a mask alone, each class present is one, at its centre of mass.
    """

    count: float
    position: NDArray[np.float32]
    size: NDArray[np.float32]
    classes: frozenset[str]


def describe_image(image: Image) -> ImageDescriptors:
    """Lab histograms and scalars of a (height, width, 3) RGB image."""
    height, width = image.shape[:2]
    scale = SIDE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)
    lab: NDArray[Any] = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    histograms = np.stack([_histogram(lab[..., channel], LAB_RANGES[channel]) for channel in range(3)])
    gray = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    edges = float((cv2.Canny(gray, 100, 200) > 0).mean())
    return ImageDescriptors(
        histograms.astype(np.float32), np.array([lab[..., 0].mean(), edges, spectral_slope(gray)], dtype=np.float32)
    )


def spectral_slope(gray: NDArray[np.uint8]) -> float:
    """Slope of log power against log radial frequency (photographs: about −2, Field 1987); 0 for a flat image.

    The largest centred square under a Hann window; frequencies from 4 cycles to half of Nyquist, in rings.
    """
    side = min(gray.shape) // 2 * 2
    if side < 16:
        return 0.0
    top, left = (gray.shape[0] - side) // 2, (gray.shape[1] - side) // 2
    square = gray[top : top + side, left : left + side].astype(np.float32)
    window = np.hanning(side).astype(np.float32)
    power = np.abs(np.fft.rfft2((square - square.mean()) * np.outer(window, window))) ** 2
    rows = np.fft.fftfreq(side, 1 / side)[:, None]
    columns = np.arange(power.shape[1])[None, :]
    radius = np.rint(np.hypot(rows, columns)).astype(int)
    rings = np.bincount(radius.ravel(), power.ravel()) / np.maximum(np.bincount(radius.ravel()), 1)
    used = np.arange(min(4, side // 8), max(side // 4, side // 8 + 2))
    if rings[used].max() < 1e-6:
        return 0.0
    return float(np.polyfit(np.log(used), np.log(rings[used] + 1e-6), 1)[0])


def describe_labels(labels: Labels, shape: tuple[int, int]) -> LabelDescriptors | None:
    """Objects and classes of labels on an image of `shape` (height, width); None where there are none to speak of."""
    height, width = shape
    names = {info.id: info.name for info in labels.classes if not info.ignore}
    found: list[tuple[int, float, float, float]] = []
    if labels.instances:
        for instance in labels.instances:
            box = instance.box
            area = float(instance.mask.sum()) if instance.mask is not None else box.width * box.height
            x, y = (box.x0 + box.x1) / 2 / width, (box.y0 + box.y1) / 2 / height
            found.append((instance.class_id, x, y, area / (width * height)))
    elif labels.mask is not None:
        found = _mask_objects(labels.mask)
    elif labels.image_class is not None:
        return LabelDescriptors(0.0, np.zeros(GRID * GRID, np.float32), _no_sizes(), frozenset([labels.image_class]))
    elif not labels.classes:
        return None
    found = [one for one in found if one[0] in names]
    position, size = np.zeros(GRID * GRID, dtype=np.float32), _no_sizes()
    for _, x, y, share in found:
        column, row = (int(np.clip(value * GRID, 0, GRID - 1)) for value in (x, y))
        position[row * GRID + column] += 1
        bin_number = np.searchsorted(SIZE_EDGES, np.log10(max(share, 1e-5)), "right") - 1
        size[int(np.clip(bin_number, 0, len(size) - 1))] += 1
    own = {labels.image_class} if labels.image_class else set()
    return LabelDescriptors(float(len(found)), position, size, frozenset({names[one[0]] for one in found} | own))


def _mask_objects(mask: NDArray[np.int32]) -> list[tuple[int, float, float, float]]:
    """(class id, x, y, share of the image) of each class of a label mask, in fractions of the image."""
    height, width = mask.shape
    values, inverse, counts = np.unique(mask, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(mask.shape)
    xs = np.bincount(inverse.ravel(), np.broadcast_to(np.arange(width) + 0.5, mask.shape).ravel())
    ys = np.bincount(inverse.ravel(), np.broadcast_to((np.arange(height) + 0.5)[:, None], mask.shape).ravel())
    return [
        (int(value), x / count / width, y / count / height, count / mask.size)
        for value, count, x, y in zip(values, counts.tolist(), xs.tolist(), ys.tolist(), strict=True)
    ]


def _no_sizes() -> NDArray[np.float32]:
    return np.zeros(len(SIZE_EDGES) - 1, dtype=np.float32)


def _histogram(values: NDArray[Any], bounds: tuple[float, float]) -> NDArray[np.float64]:
    low, high = bounds
    index = ((values - low) / (high - low) * LAB_BINS).astype(np.int64).clip(0, LAB_BINS - 1)
    return np.bincount(index.ravel(), minlength=LAB_BINS) / index.size
