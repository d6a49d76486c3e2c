"""Compare what two datasets say, image by image, whatever their formats; and convert within a test."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from synthgen.convert import Conversion, convert_folder
from synthgen.datasets.base import Dataset, resolve_source
from synthgen.types import Instance, Labels, Sample


def convert(source: Path, out: Path, form: str, *assignments: str) -> Conversion:
    return convert_folder(source, form, out, assignments)


def codes_of(conversion: Conversion) -> set[str]:
    return {finding.code for finding in (*conversion.left_out, *conversion.findings)}


def samples(source: Path | Dataset) -> dict[tuple[str | None, str], Sample]:
    """Every sample by split and stem."""
    dataset = source if isinstance(source, Dataset) else resolve_source(source)
    stems = {item: PurePosixPath(item.id).stem.removesuffix("_leftImg8bit") for item in dataset.index().items}
    return {(item.split, stem): dataset.read(item) for item, stem in stems.items()}


def names(labels: Labels) -> dict[int, str]:
    return {info.id: "" if info.ignore else info.name for info in labels.classes}


def named_mask(labels: Labels) -> np.ndarray | None:
    """The mask as class names; what carries no label is empty."""
    if labels.mask is None:
        return None
    table = names(labels)
    return np.vectorize(table.__getitem__, otypes=[object])(labels.mask)


def assert_same_object(one: Instance, other: Instance, slack: float) -> None:
    corners = [(box.x0, box.y0, box.x1, box.y1) for box in (one.box, other.box)]
    assert np.allclose(*corners, atol=slack), corners
    assert one.crowd == other.crowd and dict(one.attributes) == dict(other.attributes)
    assert (one.mask is None) == (other.mask is None)
    if one.mask is not None and other.mask is not None:
        assert (one.mask == other.mask).all()
    assert (one.keypoints is None) == (other.keypoints is None)
    if one.keypoints is not None and other.keypoints is not None:
        assert np.allclose(one.keypoints, other.keypoints, atol=max(slack, 1e-6))


def assert_same_labels(one: Labels, other: Labels, slack: float = 0.0) -> None:
    """Equal by class names, not ids; boxes and keypoints within `slack` pixels."""
    assert one.image_class == other.image_class and dict(one.attributes) == dict(other.attributes)
    masks = named_mask(one), named_mask(other)
    assert (masks[0] is None) == (masks[1] is None)
    assert masks[0] is None or (masks[0] == masks[1]).all()
    assert len(one.instances) == len(other.instances)
    for a, b in zip(one.instances, other.instances, strict=True):
        assert one.class_name(a.class_id) == other.class_name(b.class_id)
        assert_same_object(a, b, slack)


def assert_same_sets(one: Path | Dataset, other: Path | Dataset, slack: float = 0.0) -> None:
    """The same images under the same splits, pixel by pixel, with the same labels."""
    first, second = samples(one), samples(other)
    assert set(first) == set(second)
    for key, sample in first.items():
        assert (sample.image == second[key].image).all()
        assert_same_labels(sample.labels, second[key].labels, slack)
