"""Weights in one file, of a package or in ONNX: pinned by their digest before they are opened; ONNX on one CPU thread.

A graph in an ONNX file is data, not code, but another file is another network: its digest is a key of the spec, and
with it part of the run id. One thread and one picture at a time, so a result depends on neither batch nor worker.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from synthgen.types import ConfigError


def packaged_file(package: str, *parts: str) -> Path | None:
    """A file of an installed package, found without importing it; None where it is not there."""
    spec = importlib.util.find_spec(package)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent.joinpath(*parts)
    return path if path is not None and path.is_file() else None


def read_pinned(path: Path, sha256: str, owner: str, advice: str) -> bytes:
    """The bytes of a file that has the digest `sha256` (hex).

    Args:
        owner: who asks, for the message: `detect, text`.
        advice: what to do about another digest.

    Raises:
        ConfigError: no such file, or another digest.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{owner}: {path} can't be read ({error.strerror}); correct the key file") from None
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256:
        raise ConfigError(
            f"{owner}: {path.name} has the digest {digest}, expected {sha256 or 'one under the key sha256'}; {advice}"
        )
    return data


def open_session(model: bytes, owner: str) -> Any:
    """An `onnxruntime.InferenceSession` on the CPU with one thread.

    Raises:
        ConfigError: onnxruntime is not installed, or the bytes are no model that it can run.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError(f"{owner}: onnxruntime is missing ({error}); pip install onnxruntime") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's errors have no public base
        raise ConfigError(f"{owner}: onnxruntime can't run the file: {error}") from None
