"""Samples for the detectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from synthgen.types import Image, Item, Labels, Sample

SampleOf = Callable[..., Sample]


@pytest.fixture
def sample_of() -> SampleOf:
    def make(image: Image | None = None, labels: Labels | None = None) -> Sample:
        pixels = np.zeros((12, 16, 3), dtype=np.uint8) if image is None else image
        return Sample(Item("a.png", Path("a.png")), pixels, Labels() if labels is None else labels, "")

    return make
