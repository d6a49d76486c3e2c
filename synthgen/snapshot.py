"""A release as it was measured once: features, descriptors, labels and what made it, in one file that never changes.

The file is safetensors: the arrays of an `ImageSet`, and as metadata one JSON record with a SHA-256 over record and
arrays, which is checked when it is read. It holds no image, no name of one and no seed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.features import MeasuredSet
from synthgen.metrics.sets import ImageSet
from synthgen.provenance import Provenance
from synthgen.shards import write_atomic
from synthgen.types import ConfigError

FORMAT = "synthgen-snapshot/1"
KEY = "synthgen"
"""Of the metadata: a JSON object of `record`, itself JSON, and its `sha256`."""
ARRAYS = ("units", "features", "lab", "scalars", "objects", "positions", "sizes", "classes")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A measured release.

    Attributes:
        measured: without attributes and groups; digests of images only where it was just measured.
        features: kind, reference, title and digest of the embedder; kind `none` without one.
        provenance: what made it; None for a dataset that does not say.
        digest: names the content, images and labels, whatever the files are called (`digest_set`).
    """

    measured: MeasuredSet
    features: Mapping[str, Any]
    provenance: Provenance | None
    digest: str


def digest_set(measured: MeasuredSet) -> str:
    """SHA-256 (hex) over each image's own digest and what its labels show, whatever their names and order."""
    images = measured.images
    labels = [array for array in (images.objects, images.positions, images.sizes, images.classes) if array is not None]
    rows = sorted(
        digest + "".join(hashlib.sha256(np.ascontiguousarray(array[row]).tobytes()).hexdigest() for array in labels)
        for row, digest in enumerate(measured.digests)
    )
    return hashlib.sha256("\n".join([*images.class_names, *rows]).encode()).hexdigest()


def write_snapshot(snapshot: Snapshot, path: Path) -> None:
    """Write the file, whole or not at all; the same release gives the same bytes.

    Raises:
        ConfigError: it can't be written.
    """
    from safetensors.numpy import save

    measured, images = snapshot.measured, snapshot.measured.images
    arrays = {name: np.ascontiguousarray(array) for name in ARRAYS if (array := getattr(images, name)) is not None}
    provenance = None if snapshot.provenance is None else asdict(snapshot.provenance)
    record = {
        "format": FORMAT,
        "set": snapshot.digest,
        "features": dict(snapshot.features),
        "provenance": provenance,
        "classes": list(images.class_names),
        "skipped": dict(measured.skipped),
        "scenes": measured.scenes,
        "scene_rule": measured.scene_rule,
        "cut": measured.cut,
    }
    text = json.dumps(record, sort_keys=True, ensure_ascii=False)
    # One key: safetensors writes several in any order.
    data = save(arrays, {KEY: json.dumps({"record": text, "sha256": _digest(text, arrays)}, ensure_ascii=False)})
    try:
        write_atomic(path, data)
    except OSError as error:
        raise ConfigError(f"--freeze {path}: can't be written: {error}") from error


def read_snapshot(path: Path) -> Snapshot:
    """Read a file that `write_snapshot` wrote.

    Raises:
        ConfigError: it is none, or was changed or damaged since.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        signed = json.loads(metadata[KEY])
        text, digest = signed["record"], signed["sha256"]
        record = json.loads(text)
        if record["format"] != FORMAT:
            raise ConfigError(f"{path}: format {record['format']!r}, expected {FORMAT!r}; freeze the release again")
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: no frozen reference ({error}); make one with synthgen drift --freeze") from error
    if digest != _digest(text, arrays):
        raise ConfigError(f"{path}: its digest does not fit its content: it was changed or damaged; freeze again")
    images = replace(ImageSet(**arrays), class_names=tuple(record["classes"]))
    measured = MeasuredSet(
        images, record["skipped"], record["scenes"], record["scene_rule"], record["cut"], ({},) * len(images), ()
    )
    provenance = None if record["provenance"] is None else Provenance.of_record(record["provenance"])
    return Snapshot(measured, record["features"], provenance, record["set"])


def _digest(text: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
