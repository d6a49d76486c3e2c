"""Sets of feature vectors and descriptors with a known truth."""

from __future__ import annotations

import numpy as np

from synthgen.metrics.sets import ImageSet

MODES, WIDTH = 6, 16
CENTRES = np.random.default_rng(0).normal(size=(MODES, WIDTH)) * 3
NAMES = tuple("abcdef")


def image_set(
    count: int,
    seed: int,
    modes: tuple[int, ...] = tuple(range(MODES)),
    shift: float = 0.0,
    lab_shift: int = 0,
    copies: float = 0.0,
    classes: tuple[int, ...] = tuple(range(MODES)),
    scene_length: int = 1,
) -> ImageSet:
    """Images of `modes`, of `classes` that have nothing to do with them.

    Args:
        shift: added to every feature; `lab_shift`: bins by which the colours move.
        copies: share of the images that nearly repeat another one.
        scene_length: images a scene; those of a scene share half of what varies.
    """
    random = np.random.default_rng(seed)
    units = np.arange(count) // scene_length
    of_scene = random.normal(size=(count, WIDTH))[units] if scene_length > 1 else np.zeros((count, WIDTH))
    mode = random.choice(modes, count)
    features = CENTRES[mode] + random.normal(size=(count, WIDTH)) + of_scene + shift
    repeated = round(copies * count)
    features[:repeated] = features[repeated : 2 * repeated] + random.normal(size=(repeated, WIDTH)) * 1e-3
    order = random.permutation(count) if scene_length == 1 else np.arange(count)
    lab = random.dirichlet(4 * np.hanning(34)[1:-1] + 0.05, (count, 3))
    label = random.choice(classes, count)
    return ImageSet(
        units=units,
        features=features[order].astype(np.float32),
        lab=np.roll(lab, lab_shift, axis=2).astype(np.float32),
        scalars=random.normal(size=(count, 3)).astype(np.float32),
        objects=random.poisson(3, count).astype(np.float32),
        positions=random.poisson(0.1, (count, 64)).astype(np.float32),
        sizes=random.poisson(0.3, (count, 10)).astype(np.float32),
        classes=np.eye(MODES, dtype=np.float32)[label],
        class_names=NAMES,
    )
