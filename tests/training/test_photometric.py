from __future__ import annotations

import numpy as np
import pytest

from synthgen.training.photometric import VARIANTS, camera_jitter, jitter, relight
from synthgen.types import Image


def photograph() -> tuple[Image, np.ndarray]:
    rng = np.random.default_rng(0)
    image = rng.integers(20, 160, (48, 64, 3)).astype(np.uint8)
    image[:16] = (140, 180, 230)
    sky = np.zeros((48, 64), dtype=bool)
    sky[:16] = True
    return image, sky


def chroma(image: Image) -> float:
    return float((image.max(2).astype(int) - image.min(2)).mean())


@pytest.mark.parametrize("with_sky", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_variants_move_the_light_as_they_are_named(seed: int, with_sky: bool) -> None:
    image, where = photograph()
    sky = where if with_sky else None
    lit = {name: relight(image, name, np.random.default_rng(seed), sky) for name in VARIANTS}
    mean = {name: float(result.mean()) for name, result in lit.items()}
    assert mean["night"] < 0.5 * image.mean()
    assert mean["fog"] > 1.1 * image.mean()
    assert mean["overcast"] < image.mean()
    assert chroma(lit["overcast"]) < chroma(image) and lit["fog"].std() < image.std()
    red_over_blue = lit["sunset"][..., 0].mean() / lit["sunset"][..., 2].mean()
    assert red_over_blue > 1.2 * image[..., 0].mean() / image[..., 2].mean()


def test_day_is_the_photograph_itself() -> None:
    image, sky = photograph()
    assert relight(image, "day", np.random.default_rng(0), sky) is image


@pytest.mark.parametrize("change", [jitter, camera_jitter])
def test_jitter_keeps_type_and_shape_and_follows_its_generator(change) -> None:
    image, _ = photograph()
    results = [change(image, np.random.default_rng(seed)) for seed in (1, 1, 3)]
    assert all(result.dtype == np.uint8 and result.shape == image.shape for result in results)
    assert (results[0] == results[1]).all() and (results[0] != results[2]).any()
