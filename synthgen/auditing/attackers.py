"""The networks that attack: what they see of a person, and its embedding, computed once.

Embeddings are cached by what was looked at (the digest of the picture and the box) and by the weights, as in
features.py. A network is loaded only when something is not in the cache.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthgen.auditing.spec import AttackerSpec, RegionName
from synthgen.features import FeatureCache
from synthgen.recognizers.base import LoadedRecognizer
from synthgen.types import Box, Image

BATCH = 16
SIDE = 224
"""Pixels a side of the crop that features are computed on."""
Step = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class View:
    """A box in a picture. `digest` names the picture's content; `read` decodes it when it is needed."""

    digest: str
    box: Box
    read: Callable[[], Image]

    @property
    def key(self) -> str:
        """Hex of picture and box."""
        box = self.box
        text = f"{self.digest}\x1f{box.x0:.2f},{box.y0:.2f},{box.x1:.2f},{box.y1:.2f}"
        return hashlib.sha256(text.encode()).hexdigest()


def picture_view(image: Image, box: Box) -> View:
    """A view of a picture in memory."""
    shape = f"{image.shape}".encode()
    return View(hashlib.sha256(shape + np.ascontiguousarray(image).tobytes()).hexdigest(), box, lambda: image)


class Attacker:
    """One network and its cache."""

    def __init__(self, spec: AttackerSpec, folder: Path | None, device: str) -> None:
        """Look up the weights' digest; nothing is loaded.

        Raises:
            ConfigError: the weights are missing or not those pinned.
        """
        self.name = spec.name
        self.region: RegionName = spec.region
        self.pretrained = spec.recognizer is not None
        self.digest = spec.network.digest()
        self._spec, self._device = spec, device
        self._cache = FeatureCache(folder, hashlib.sha256(f"view 1 {self.digest}".encode()).hexdigest())
        self._run: Callable[[Sequence[Image], Sequence[Box]], NDArray[np.float32]] | None = None

    def embed(self, views: Sequence[View], step: Step = lambda done, total: None) -> NDArray[np.float32]:
        """(n, d), row i of `views[i]`."""
        keys = [view.key for view in views]
        todo = list({key: view for key, view in zip(keys, views, strict=True) if key not in self._cache}.items())
        for start in range(0, len(todo), BATCH):
            part = todo[start : start + BATCH]
            features = self._network()([view.read() for _, view in part], [view.box for _, view in part])
            self._cache.add([key for key, _ in part], features)
            step(min(start + BATCH, len(todo)), len(todo))
        self._cache.save()
        return np.stack([self._cache[key] for key in keys]) if keys else np.zeros((0, 1), np.float32)

    def _network(self) -> Callable[[Sequence[Image], Sequence[Box]], NDArray[np.float32]]:
        if self._run is None:
            if self._spec.recognizer is not None:
                loaded: LoadedRecognizer = self._spec.recognizer.load(self._device)
                self._run = loaded.embed
            else:
                assert self._spec.features is not None
                features = self._spec.features.load(self._device)
                self._run = lambda images, boxes: features(
                    [crop(image, box, SIDE) for image, box in zip(images, boxes, strict=True)]
                )
        return self._run


def crop(image: Image, box: Box, side: int) -> Image:
    """The box squashed to `side`×`side` pixels; it is cut where it leaves the frame and has at least one pixel."""
    import cv2

    height, width = image.shape[:2]
    x0, y0 = min(max(int(box.x0), 0), width - 1), min(max(int(box.y0), 0), height - 1)
    x1, y1 = min(max(round(box.x1), x0 + 1), width), min(max(round(box.y1), y0 + 1), height)
    part = image[y0:y1, x0:x1]
    smaller = part.shape[0] > side or part.shape[1] > side
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(part, (side, side), interpolation=method).astype(np.uint8)


def mirrored(view: View) -> View:
    """The view of the same picture turned left to right: a change that no attacker should stumble over."""

    def read() -> Image:
        return np.ascontiguousarray(view.read()[:, ::-1])

    width = view.read().shape[1]
    box = view.box
    return View(f"{view.digest} mirrored", Box(width - box.x1, box.y0, width - box.x0, box.y1), read)
