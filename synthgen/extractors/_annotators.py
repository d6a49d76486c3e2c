"""The annotator networks of `controlnet_aux` (HED, line art), loaded from safetensors and run in batches.

Only the network classes are used: the library's detectors take one picture at a time, resize it, and unpickle weights.
Its package `__init__` imports all nineteen detectors and with them torchvision, timm and mediapipe, of which the two
networks here need none. So the package's folder is entered under a name of our own and only the module of the network
is executed; a later `import controlnet_aux` elsewhere in the process is not disturbed.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from synthgen.batches import predict_by_size
from synthgen.extractors.base import Extractor, ExtractorRun
from synthgen.redaction import redact
from synthgen.types import ConfigError, ControlMap, Sample
from synthgen.weights import COMMIT, HUB_FORM, resolve_weights

_ALIAS = "_synthgen_controlnet_aux"
_INSTALL = "install it with: pip install 'synthgen[annotators]'"


class AnnotatorExtractor(Extractor):
    """What HED and line art share: one weights file of one network class of `controlnet_aux`."""

    model: str
    """Weights reference: a local folder (safetensors), or `org/name@<commit>`."""
    file: str
    """The weights' file name in that folder or repository."""
    format: Literal["safetensors", "pth"] = "safetensors"
    """The public annotator weights (`lllyasviel/Annotators`: ControlNetHED.pth, sk_model.pth) exist as .pth alone. So
    this is the one place that reads a pickle: from a pinned hub commit only, and by `torch.load(weights_only=True)`,
    which builds tensors and no objects."""
    batch_size: int = Field(default=1, ge=1)
    """Pictures at once; a partial batch is filled up, so a large one pays only where as many come together."""

    @field_validator("file")
    @classmethod
    def _a_bare_name(cls, file: str) -> str:
        if Path(file).name != file:
            raise ValueError(f"expected a file name without folders, got {file!r}")
        return file

    @model_validator(mode="after")
    def _suffix_is_the_formats(self) -> AnnotatorExtractor:
        if Path(self.file).suffix != f".{self.format}":
            raise ValueError(
                f"file {self.file!r} does not end in .{self.format}; set format: safetensors or pth to match"
            )
        return self

    def weights(self) -> tuple[str, ...]:
        """The one folder or hub id."""
        return (self.model,)

    def load_network(self, module: str, build: Callable[[ModuleType], Any], device: str) -> Any:
        """The network of `controlnet_aux.<module>` with its weights, in eval mode on `device`.

        Raises:
            ConfigError: the package or the file is missing, or the file holds other weights.
        """
        import torch

        network = build(network_module(module))
        path = self._weights_file()
        try:
            if self.format == "pth":
                state = torch.load(path, map_location="cpu", weights_only=True)
            else:
                from safetensors.torch import load_file

                state = load_file(path)
            network.load_state_dict(state)
        except Exception as error:
            raise ConfigError(
                f"extract {self.kind}: {path.name} of {self.model} does not hold the weights of "
                f"{type(network).__name__}; check model, file and format: {error}"
            ) from error
        return network.float().eval().to(device)

    def _weights_file(self) -> Path:
        if self.format == "pth":
            return _download_pth(self.model, self.file)
        folder = resolve_weights(self.model, extra=(self.file,))
        path = folder / self.file
        if not path.is_file():
            there = ", ".join(sorted(entry.name for entry in folder.iterdir()))
            raise ConfigError(f"extract {self.kind}: {self.model} has no {self.file!r} (it has {there}); change file")
        return path

    def run_network(self, predict: Callable[[Any], Any], device: str) -> ExtractorRun:
        """Batches through `predict`: float RGB (N, 3, H, W) in 0..255 → (N, H, W) in 0..1; maps are 0..255."""
        import torch

        def batch(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
            with torch.inference_mode():
                pixels = torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float()
                values = predict(pixels).clamp(0, 1) * 255
            return list(values.to(torch.uint8).cpu().numpy())

        def run(samples: Sequence[Sample]) -> list[ControlMap]:
            maps = predict_by_size([sample.image for sample in samples], self.batch_size, batch)
            return [ControlMap(self.kind, np.repeat(values[:, :, None], 3, axis=2)) for values in maps]

        return run


def network_module(name: str) -> ModuleType:
    """The module `controlnet_aux.<name>` without running the package's own `__init__`.

    Raises:
        ConfigError: `controlnet_aux`, or what the module itself imports, is not installed.
    """
    spec = importlib.util.find_spec("controlnet_aux")
    if spec is None or spec.submodule_search_locations is None:
        raise ConfigError(f"this extractor needs the package controlnet_aux; {_INSTALL}")
    if _ALIAS not in sys.modules:
        package = ModuleType(_ALIAS)
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules[_ALIAS] = package
    try:
        return importlib.import_module(f"{_ALIAS}.{name}")
    except ImportError as error:
        raise ConfigError(f"controlnet_aux can't be used: {error}; {_INSTALL}") from error


def pad_to_multiple(pixels: Any, multiple: int) -> Any:
    """(N, C, H, W) grown to the right and below by repeating the edge, until both sides divide by `multiple`."""
    from torch.nn.functional import pad

    height, width = pixels.shape[-2:]
    return pad(pixels, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def _download_pth(ref: str, file: str) -> Path:
    match = HUB_FORM.fullmatch(ref)
    if match is None or COMMIT.fullmatch(match["revision"] or "") is None:
        raise ConfigError(
            f"model {ref!r}: format: pth reads from a pinned hub repository only, org/name@<40-hex commit>. Save a "
            "local file once as safetensors: save_file(torch.load(path, weights_only=True), 'name.safetensors')"
        )
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(match["repo"], file, subfolder=match["subfolder"], revision=match["revision"]))
    except Exception as error:
        raise ConfigError(redact(f"model {ref!r}: {file!r} can't be downloaded: {error}")) from None
