"""Models and picture processors of `transformers` by weights reference: safetensors, no network, no remote code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from synthgen.types import ConfigError

BACKEND = "pil"
"""The processors' torchvision variants resize otherwise, so a run's pixels would depend on what is installed."""

PYRAMID = "lite0_pyramid"
"""The model type of our own class (lite0/config.py, lite0/pyramid.py), which transformers has to be told of."""


def from_folder(auto_class: Any, folder: Path, ref: str, **options: Any) -> Any:
    """`auto_class.from_pretrained` of a resolved folder.

    Raises:
        ConfigError: the folder lacks a file, holds a pickle in place of safetensors, or a model of another class.
    """
    try:
        return auto_class.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except Exception as error:  # the library's errors on a bad folder have no common base
        raise ConfigError(f"model {ref!r}: {auto_class.__name__} can't load it: {error}") from error


def architecture_of(folder: Path, ref: str, kinds: tuple[str, ...]) -> tuple[Any, str]:
    """The config of a model and the name of its class, which must end in one of `kinds`.

    A model of another class would load as well, with a head of random weights.

    Raises:
        ConfigError: no config, or a model of another class.
    """
    from transformers import AutoConfig

    if _model_type(folder) == PYRAMID:
        import synthgen.lite0.config  # noqa: F401  (transformers knows the class from then on)
    config = from_folder(AutoConfig, folder, ref)
    architecture = next(iter(config.architectures or ()), "model of no named class")
    if not architecture.endswith(kinds):
        raise ConfigError(f"model {ref!r} is a {architecture}; expected one of …{', …'.join(kinds)}: change model")
    return config, architecture


def _model_type(folder: Path) -> str:
    """What config.json says, read without transformers; empty where there is none to read."""
    try:
        value = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return str(value.get("model_type", "")) if isinstance(value, dict) else ""


def processor_and_model(auto_class: Any, folder: Path, ref: str, device: str, **options: Any) -> tuple[Any, Any]:
    """A picture processor and a model in eval mode and float32 on `device`. Raises ConfigError as `from_folder`."""
    from transformers import AutoImageProcessor
    from transformers.utils import logging

    logging.disable_progress_bar()  # these models load in a moment
    processor = from_folder(AutoImageProcessor, folder, ref, backend=BACKEND, **options)
    model = from_folder(auto_class, folder, ref, use_safetensors=True)
    return processor, model.float().eval().to(device)
