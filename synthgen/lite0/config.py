"""What the pyramid's folder says of itself (pyramid.py), readable without torch: `synthgen check` has to stay fast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig

from synthgen.lite0 import file_digest, weights_file
from synthgen.types import ConfigError

MODEL_TYPE = "lite0_pyramid"


class Lite0PyramidConfig(PretrainedConfig):
    """`width`: channels of the pyramid; `backbone_sha256`: of the package's weights file."""

    model_type = MODEL_TYPE
    width: int = 64
    backbone_sha256: str = ""


def check_backbone(config: Any) -> Path:
    """The package's weights file, if it is the one that the pyramid was trained on.

    Raises:
        ConfigError: the package is not installed, or its file is another.
    """
    file = weights_file("this segmenter", "name another model")
    if file_digest(file) != config.backbone_sha256:
        raise ConfigError(
            f"the pyramid was trained on a backbone with sha256 {config.backbone_sha256 or '(none)'}, the installed "
            f"package has {file_digest(file)}: install the version that constraints.txt names, or name another model"
        )
    return file


AutoConfig.register(MODEL_TYPE, Lite0PyramidConfig, exist_ok=True)
