"""The cache of features, and a dataset in arrays."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as PillowImage

from synthgen.datasets.base import resolve_source
from synthgen.embedders.base import Embedder, EmbedderRun
from synthgen.features import SHARD, FeatureCache, MeasuredSet, measure_dataset
from synthgen.types import ConfigError, Image

DIGESTS = [f"{number:064x}" for number in range(SHARD + 3)]


class MeanColour(Embedder):
    """A network of no weights: the mean colour. Counts what it is given."""

    title: ClassVar[str] = "mean colour"
    seen: ClassVar[list[int]] = []
    loads: ClassVar[list[str]] = []
    kind: Literal["mean"] = "mean"
    batch_size: int = 4

    def weights(self) -> tuple[str, ...]:
        return ()

    def digest(self) -> str:
        return "ab" * 32

    def load(self, device: str) -> EmbedderRun:
        MeanColour.loads.append(device)

        def run(images: Sequence[Image]) -> NDArray[np.float32]:
            MeanColour.seen.append(len(images))
            return np.stack([image.mean((0, 1)) for image in images]).astype(np.float32)

        return run


@pytest.fixture(autouse=True)
def fresh() -> None:
    MeanColour.seen.clear()
    MeanColour.loads.clear()


def write_images(folder: Path, count: int, seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        picture = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        PillowImage.fromarray(picture).save(folder / f"a{number:03d}.png")
    return folder


def measure(folder: Path, cache: Path | None) -> MeasuredSet:
    embedder = MeanColour()
    return measure_dataset(resolve_source(folder), embedder, FeatureCache(cache, embedder.digest()))


def test_features_are_of_their_images(tmp_path: Path) -> None:
    measured = measure(write_images(tmp_path / "set", 10), None)
    assert measured.images.features is not None
    for number, row in enumerate(measured.images.features):
        picture = np.asarray(PillowImage.open(tmp_path / f"set/a{number:03d}.png"))
        np.testing.assert_allclose(row, picture.mean((0, 1)), rtol=1e-5)
    assert MeanColour.seen == [4, 4, 2] and MeanColour.loads == ["cpu"]


def test_a_second_time_nothing_is_loaded_and_a_renamed_image_is_known(tmp_path: Path) -> None:
    folder, cache = write_images(tmp_path / "set", 6), tmp_path / "cache"
    first = measure(folder, cache)
    (folder / "a000.png").rename(folder / "z.png")
    MeanColour.seen.clear()
    MeanColour.loads.clear()
    second = measure(folder, cache)
    assert MeanColour.loads == []
    assert first.images.features is not None and second.images.features is not None
    np.testing.assert_array_equal(second.images.features, np.roll(first.images.features, -1, axis=0))


def test_a_changed_image_is_embedded_anew_and_an_equal_one_once(tmp_path: Path) -> None:
    folder, cache = write_images(tmp_path / "set", 6), tmp_path / "cache"
    measure(folder, cache)
    MeanColour.seen.clear()
    PillowImage.new("RGB", (30, 20), (9, 9, 9)).save(folder / "a001.png")
    shutil.copy(folder / "a001.png", folder / "copy.png")
    measured = measure(folder, cache)
    assert MeanColour.seen == [1]
    assert measured.images.features is not None
    assert measured.images.features[[1, 6]].tolist() == [[9.0] * 3] * 2
    assert [path.suffix for path in sorted((cache / ("ab" * 16)).iterdir())] == [".safetensors"] * 2


def test_shards_are_written_as_they_fill(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "cd" * 32)
    rows = np.arange(len(DIGESTS) * 2, dtype=np.float32).reshape(-1, 2)
    cache.add(DIGESTS[:-3], rows[:-3])
    cache.add(DIGESTS[-3:], rows[-3:])
    assert len(FeatureCache(tmp_path, "cd" * 32)._rows) == SHARD
    cache.save()
    again = FeatureCache(tmp_path, "cd" * 32)
    assert [again[digest].tolist() for digest in DIGESTS] == rows.tolist()
    assert DIGESTS[0] not in FeatureCache(tmp_path, "ef" * 32)


def test_a_broken_shard_and_a_feature_that_is_no_number_are_errors(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, "cd" * 32)
    with pytest.raises(ValueError, match="not finite"):
        cache.add(DIGESTS[:1], np.array([[np.nan]], dtype=np.float32))
    (tmp_path / ("cd" * 16)).mkdir()
    (tmp_path / ("cd" * 16) / "x.safetensors").write_bytes(b"no")
    with pytest.raises(ConfigError, match=r"x\.safetensors: no shard of a feature cache"):
        FeatureCache(tmp_path, "cd" * 32)


def test_bad_images_are_counted_and_labels_become_arrays(street_set: Path) -> None:
    measured = measure_dataset(resolve_source(street_set), None, None)
    assert measured.skipped == {"image-corrupt": 1, "image-empty": 1, "mask-size-mismatch": 1}
    images = measured.images
    assert (len(images), images.features) == (7, None)
    assert images.class_names == ("Building", "Car", "Pedestrian", "Road", "Sky")
    assert images.classes is not None and images.classes.all()
    assert images.objects is not None and images.objects.tolist() == [5.0] * 7


def test_a_limit_is_a_draw_by_the_seed(tmp_path: Path) -> None:
    dataset = resolve_source(write_images(tmp_path / "set", 12))
    draws = [measure_dataset(dataset, None, None, limit=5, seed=seed).digests for seed in (0, 0, 1)]
    assert [len(draw) for draw in draws] == [5, 5, 5]
    assert draws[0] == draws[1] != draws[2]
