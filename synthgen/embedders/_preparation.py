"""Digests of weights with their preprocessing, and image models of `transformers` by weights reference."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.embedders.base import EmbedderRun
from synthgen.types import ConfigError, Image
from synthgen.weights import resolve_weights

BACKEND = "pil"
"""Pillow shrinks with a filter wide enough; the processors' torchvision variants differ from it."""


def digest_of(*parts: str) -> str:
    """Hex over weights digest, kind and version of the preprocessing."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def load_transformer(
    ref: str, class_name: str, architectures: tuple[str, ...], read: Callable[[Any], Any], device: str
) -> EmbedderRun:
    """`transformers.<class_name>` of a folder or pinned hub id with its own image processor, in eval mode and float32.

    Args:
        architectures: ends of the class names that the config may state; another would load with random weights.
        read: from the model's output to a (images, features) tensor.

    Raises:
        ConfigError: a file is missing, or it is a model of another class.
    """
    import torch
    import transformers

    folder = resolve_weights(ref)
    config = _from_folder(transformers.AutoConfig, folder, ref)
    stated = next(iter(config.architectures or ()), "model of no named class")
    if not stated.endswith(architectures):
        raise ConfigError(f"features {ref!r} is a {stated}; expected one of …{', …'.join(architectures)}")
    processor = _from_folder(transformers.AutoImageProcessor, folder, ref, backend=BACKEND)
    model = _from_folder(getattr(transformers, class_name), folder, ref, use_safetensors=True)
    model = model.float().eval().to(device)

    def run(images: Sequence[Image]) -> NDArray[np.float32]:
        inputs = processor(images=list(images), return_tensors="pt").to(device)
        with torch.inference_mode():
            features: NDArray[np.float32] = read(model(**inputs)).float().cpu().numpy()
        return features

    return run


def _from_folder(auto_class: Any, folder: Path, ref: str, **options: Any) -> Any:
    try:
        return auto_class.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:  # the library's errors on a bad folder have no common base
        raise ConfigError(f"features {ref!r}: {auto_class.__name__} can't load it: {error}") from error
