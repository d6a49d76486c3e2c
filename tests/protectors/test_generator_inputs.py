"""A generator that writes down all that it is given: a marker planted in protected regions never gets there.

Two datasets differ in nothing but a random pattern over the pixels of every person. In either mode, at every strength,
with masks from labels or from a segmenter, under every classic method, the generator must be handed the same bytes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synthgen.generators.base import Size
from synthgen.generators.none import NoGenerator
from synthgen.generators.sd import StableDiffusion
from synthgen.prepare import Prepared, Preparer
from synthgen.protectors.base import STRENGTHS
from synthgen.types import ConfigError, Controls, Image, Recipe, Redacted
from tests.datasets_for_tests import (
    PERSON,
    config_value,
    open_image,
    parsed,
    people_value,
    rows,
    run,
    street,
    write_image,
    write_streets,
)

from .test_redactors import METHODS

NAMES = ("images/a.png", "images/tall.png")
MODES = {"scene": config_value, "people": people_value}
STAGES = [{"strength": strength} for strength in STRENGTHS]
FOUND = ["canny", {"kind": "segmentation", "palette": "starter", "prefer": "model", "model": "starter/segmenter"}]
Inputs = dict[tuple[str, int], str]


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset, and the same with a marker over the pixels of every person."""
    root = tmp_path_factory.mktemp("marked")
    plain = write_streets(root / "plain", bad=False, names=NAMES)
    marked = shutil.copytree(plain, root / "marked")
    for seed, name in enumerate(NAMES):
        image = open_image(marked / name)
        _, ids = street(seed, (image.shape[1], image.shape[0]))
        marker = np.random.default_rng(7 + seed).integers(0, 2, image.shape, dtype=np.uint8) * 255
        write_image(marked / name, np.where((ids == PERSON)[..., None], marker, image))
    return plain, marked


def digest(size: Size, controls: Controls, recipe: Recipe) -> str:
    """Of everything that a generator is given of one sample."""
    found = hashlib.sha256(repr((size, controls.size, recipe.prompt, recipe.control)).encode())
    for kind, control in sorted(controls.maps.items()):
        found.update(kind.encode() + control.image.tobytes() + repr(control.names).encode())
        found.update(b"" if control.ids is None else control.ids.tobytes())
    for part in (controls.canvas, controls.hole):
        found.update(b"-" if part is None else part.tobytes())
    return found.hexdigest()


@pytest.fixture
def inputs_of(tiny_sd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Inputs]:
    """Run a config with the writing generator; what it was given, by sample and attempt."""
    seen: Inputs = {}

    def load(self: object, device: str) -> Callable[..., list[Image]]:
        def write_down(size: Size, controls: Sequence[Controls], recipes: Sequence[Recipe]) -> list[Image]:
            assert all(type(one) is Controls for one in controls)
            for control, recipe in zip(controls, recipes, strict=True):
                seen[recipe.sample_id, recipe.attempt] = digest(size, control, recipe)
            return [np.full((size[1], size[0], 3), 90, np.uint8) for _ in controls]

        return write_down

    def start(mode: str, source: Path, **changes: Any) -> Inputs:
        seen.clear()
        never = [{"kind": "quality", "min_std": 127}]
        value = MODES[mode](source, tiny_sd) | {"check": never, "attempts": 1, "stages": STAGES} | changes
        run(value, tmp_path / f"{source.name}-{len(list(tmp_path.iterdir()))}")
        return dict(seen)

    monkeypatch.setattr(StableDiffusion, "load", load)
    return start


@pytest.mark.parametrize("dilate", [0.0, 0.15])
@pytest.mark.parametrize("extract", [None, FOUND], ids=["labelled", "found"])
@pytest.mark.parametrize("mode", MODES)
def test_no_marker_gets_in_at_any_strength(
    twins: tuple[Path, Path], inputs_of: Callable[..., Inputs], mode: str, extract: Any, dilate: float
) -> None:
    changes = {"dilate": dilate} | ({} if extract is None else {"extract": extract})
    plain, marked = (inputs_of(mode, root, **changes) for root in twins)
    assert set(plain) == {(name, attempt) for name in NAMES for attempt in range(len(STRENGTHS))}
    assert plain == marked
    assert all(plain[name, 0] != plain[name, len(STRENGTHS) - 1] for name in NAMES), "the stages were gone through"


@pytest.mark.parametrize("region", ["regions", "all"])
@pytest.mark.parametrize("mode", MODES)
def test_no_classic_method_under_a_generator_lets_one_in(
    twins: tuple[Path, Path], inputs_of: Callable[..., Inputs], mode: str, region: str
) -> None:
    """Nor does the lack of every other protector."""
    needed = ["canvas"] if mode == "people" else []
    moving = ("tiles", "shuffle", "warp")
    stages = [
        {"protect": [{"kind": kind, **keys, "region": region}, *needed]}
        for kind, keys in METHODS.items()
        if region == "regions" or kind not in moving
    ]
    plain, marked = (inputs_of(mode, root, stages=stages) for root in twins)
    assert len(plain) == len(NAMES) * len(stages)
    assert plain == marked


def test_the_marker_would_be_seen(twins: tuple[Path, Path], inputs_of: Callable[..., Inputs]) -> None:
    """The control: where nobody is detected every input differs, so the tests above can fail."""
    plain, marked = (inputs_of("scene", root, detect=[], stages=[]) for root in twins)
    assert plain.keys() == marked.keys() and all(plain[key] != marked[key] for key in plain)


def redaction(source: Path, sd: Path, **changes: Any) -> dict[str, Any]:
    value = config_value(source, sd, generate={"kind": "none"}, extract=[], protect=[{"kind": "blur", "sigma": 2}])
    return value | changes


@pytest.mark.parametrize("kind", METHODS)
def test_a_redaction_uses_source_pixels_and_no_generator(
    twins: tuple[Path, Path], tiny_sd: Path, tmp_path: Path, kind: str
) -> None:
    protect = [{"kind": kind, **METHODS[kind]}]
    config = parsed(redaction(twins[0], tiny_sd, protect=protect))
    preparer = Preparer(config, config.source, "cpu")
    summary = run(redaction(twins[0], tiny_sd, protect=protect), tmp_path / "run")
    assert summary.accepted == len(NAMES)
    for item in config.source.index().items:
        sample = config.source.read(item)
        prepared = preparer.prepare(sample)
        assert prepared.redacted is not None and not prepared.controls.maps and prepared.controls.canvas is None
        released = open_image(tmp_path / "run/release" / item.id)
        np.testing.assert_array_equal(released, prepared.redacted.image)
        np.testing.assert_array_equal(released[~prepared.hole], sample.image[~prepared.hole])
        assert (released[prepared.hole] != sample.image[prepared.hole]).any()
    assert {row.prompt for row in rows(tmp_path / "run").values()} == {""}


def test_nothing_can_hand_a_redacted_picture_to_a_generator(twins: tuple[Path, Path], tiny_sd: Path) -> None:
    config = parsed(redaction(twins[0], tiny_sd))
    prepared = Preparer(config, config.source, "cpu").prepare(config.source.read(config.source.index().items[0]))
    assert prepared.redacted is not None
    assert not issubclass(Redacted, Controls) and not issubclass(Controls, Redacted)
    with pytest.raises(ConfigError, match="none"):
        NoGenerator().load("cpu")(prepared.bucket, [prepared.controls], [])
    painted = parsed(config_value(twins[0], tiny_sd))
    with_maps = Preparer(painted, painted.source, "cpu").prepare(prepared.sample)
    assert with_maps.redacted is None
    with pytest.raises(ValueError, match="no controls"):
        Prepared(prepared.sample, (), prepared.hole, prepared.bucket, with_maps.controls, prepared.redacted)
