"""Two sources that differ only inside labelled people: no generator may see, and no output show, the difference."""

from __future__ import annotations

import ast
import inspect
import shutil
import typing
from pathlib import Path

import numpy as np
import pytest

from synthgen.component import component_class, kinds
from synthgen.generators.base import Generator, GeneratorRun
from synthgen.prepare import Preparer
from synthgen.rundir import RunDir
from synthgen.types import Controls, Sample
from tests.datasets_for_tests import (
    PERSON,
    REPOSITORY,
    config_value,
    open_image,
    parsed,
    people_value,
    run,
    street,
    tree,
    write_image,
    write_streets,
)

NAMES = ("images/a.png", "images/b.png", "images/tall.png")
MODES = {"scene": config_value, "people": people_value}
BUCKETS = {"same": (64, 48), "smaller": (40, 32), "larger": (96, 72), "wider": (96, 48), "stretched": (96, 24)}


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dataset, and the same with a random marker over the pixels of every person."""
    root = tmp_path_factory.mktemp("twins")
    plain = write_streets(root / "plain", bad=False, names=NAMES)
    marked = shutil.copytree(plain, root / "marked")
    for seed, name in enumerate(NAMES):
        image = open_image(marked / name)
        _, ids = street(seed, (image.shape[1], image.shape[0]))
        marker = np.random.default_rng(1000 + seed).integers(0, 256, image.shape, dtype=np.uint8)
        write_image(marked / name, np.where((ids == PERSON)[..., None], marker, image))
        assert not np.array_equal(open_image(marked / name), image)
    return plain, marked


def controls_of(config_of, source: Path, sd: Path, bucket: tuple[int, int], **changes: object) -> list[Controls]:  # type: ignore[no-untyped-def]
    value = config_of(source, sd, **changes)
    value["generate"]["sizes"] = [bucket]
    config = parsed(value)
    preparer = Preparer(config, config.source, "cpu")
    return [preparer.prepare(config.source.read(item)).controls for item in config.source.index().items]


@pytest.mark.parametrize("bucket", BUCKETS.values(), ids=BUCKETS)
@pytest.mark.parametrize("dilate", [0.0, 0.15])
@pytest.mark.parametrize("mode", MODES)
def test_controls_do_not_depend_on_the_people(
    twins: tuple[Path, Path], tiny_sd: Path, mode: str, bucket: tuple[int, int], dilate: float
) -> None:
    plain, marked = (controls_of(MODES[mode], root, tiny_sd, bucket, dilate=dilate) for root in twins)
    for one, other in zip(plain, marked, strict=True):
        assert one.maps.keys() == other.maps.keys() == {"canny", "segmentation"}
        for kind in one.maps:
            assert one.maps[kind].image.tobytes() == other.maps[kind].image.tobytes(), kind
        assert (one.canvas is None) == (mode == "scene")
        if one.canvas is not None and other.canvas is not None:
            assert one.canvas.tobytes() == other.canvas.tobytes()
            assert one.hole is not None and other.hole is not None and one.hole.any()
            assert np.array_equal(one.hole, other.hole)


@pytest.mark.parametrize("mode", MODES)
def test_no_protector_needed_for_edges_to_be_blind(twins: tuple[Path, Path], tiny_sd: Path, mode: str) -> None:
    """Removal comes before extraction: without a single edge protector the maps still tell nothing."""
    protect = ["canvas"] if mode == "people" else []
    plain, marked = (controls_of(config_value, root, tiny_sd, (96, 72), mode=mode, protect=protect) for root in twins)
    for one, other in zip(plain, marked, strict=True):
        assert one.maps["canny"].image.any()
        assert one.maps["canny"].image.tobytes() == other.maps["canny"].image.tobytes()


def test_the_marker_would_show(twins: tuple[Path, Path], tiny_sd: Path) -> None:
    """The control: with nobody detected the twins' edge maps differ, so the tests above can fail."""
    plain, marked = (controls_of(config_value, root, tiny_sd, (64, 48), detect=[]) for root in twins)
    for one, other in zip(plain, marked, strict=True):
        assert one.maps["canny"].image.tobytes() != other.maps["canny"].image.tobytes()


@pytest.mark.parametrize("mode", MODES)
def test_outputs_and_stored_maps_do_not_depend_on_the_people(
    twins: tuple[Path, Path], tiny_sd: Path, tmp_path: Path, mode: str
) -> None:
    outs = [tmp_path / name for name in ("plain", "marked")]
    for root, out in zip(twins, outs, strict=True):
        summary = run(MODES[mode](root, tiny_sd), out)
        assert (summary.accepted, summary.quarantined) == (len(NAMES), {})
    assert tree(outs[0] / "release") == tree(outs[1] / "release")
    assert tree(RunDir(outs[0]).store.controls) == tree(RunDir(outs[1]).store.controls)


def test_people_mode_leaves_the_bytes_outside_and_changes_those_inside(
    twins: tuple[Path, Path], tiny_sd: Path, tmp_path: Path
) -> None:
    run(people_value(twins[0], tiny_sd), tmp_path / "run")
    config = parsed(people_value(twins[0], tiny_sd))
    preparer = Preparer(config, config.source, "cpu")
    for item in config.source.index().items:
        prepared = preparer.prepare(config.source.read(item))
        source, output = prepared.sample.image, open_image(tmp_path / "run/release" / item.id)
        assert np.array_equal(output[~prepared.hole], source[~prepared.hole])
        assert (output[prepared.hole] != source[prepared.hole]).any(axis=1).mean() > 0.9


def test_nothing_outside_release_and_report_is_readable_by_others(finished: Path) -> None:
    assert (finished / "private").stat().st_mode & 0o077 == 0
    assert {path.name for path in finished.iterdir()} <= {"private", "release", "report", "run.yaml"}


def mentions(kind: object, wanted: type) -> bool:
    return (
        kind is wanted
        or any(mentions(part, wanted) for part in typing.get_args(kind) or ())
        or (isinstance(kind, list) and any(mentions(part, wanted) for part in kind))
    )


def test_a_generator_is_never_handed_a_sample() -> None:
    assert mentions(GeneratorRun, Controls) and not mentions(GeneratorRun, Sample)
    for kind in kinds("generators"):
        cls = component_class("generators", kind)
        assert issubclass(cls, Generator)
        hints = typing.get_type_hints(cls.load)
        assert hints["return"] == GeneratorRun
        assert list(inspect.signature(cls.load).parameters) == ["self", "device"]


def test_controls_have_no_room_for_a_source() -> None:
    hints = typing.get_type_hints(Controls)
    assert set(hints) == {"maps", "size", "canvas", "hole"}


@pytest.mark.parametrize("path", sorted((REPOSITORY / "synthgen/generators").glob("*.py")), ids=lambda path: path.name)
def test_generators_import_nothing_that_holds_a_source(path: Path) -> None:
    imported: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    forbidden = ("Sample", "SourceMaps", "Item", "SourceIndex", "Region")
    sources = [name for name in imported if name.rpartition(".")[2] in forbidden and name.startswith("synthgen")]
    assert sources == []
    modules = ("synthgen.datasets", "synthgen.prepare", "synthgen.images", "synthgen.detectors", "synthgen.extractors")
    assert [name for name in imported if name.startswith(modules)] == []
