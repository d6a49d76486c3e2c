"""The contact sheet: what is in it, where it lies, and that the one for release holds no source."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from synthgen.report.contact_sheet import CELL_HEIGHT, GAP, HEADER, draw_contact_sheet, overlay_labels
from synthgen.rundir import RunDir
from synthgen.types import Box, ClassInfo, ConfigError, Image, Instance, Labels
from tests.datasets_for_tests import GOOD, config_value, open_image, people_value, run


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return shutil.copytree(finished, tmp_path / "run")


def scaled(image: Image) -> Image:
    from synthgen.report.contact_sheet import _cell

    return _cell(image)


def holds(sheet: Image, part: Image) -> bool:
    """Whether `part` lies in the sheet, pixel for pixel, at the left of some line."""
    height, width = part.shape[:2]
    tops = range(sheet.shape[0] - height + 1)
    return any(
        np.array_equal(sheet[top : top + height, left : left + width], part)
        for top in tops
        for left in (0, *np.flatnonzero((sheet[top : top + 9] == 255).all(axis=(0, 2))) + 1)
        if left + width <= sheet.shape[1] and np.array_equal(sheet[top, left], part[0, 0])
    )


def test_private_sheet_shows_source_and_output_of_each_row(folder: Path, street_set: Path) -> None:
    path = draw_contact_sheet(folder, release=False, rows=2, out=None)
    assert path.is_relative_to(folder / "private")
    sheet = open_image(path)
    assert sheet.shape[0] == 2 * (CELL_HEIGHT + 2 * HEADER + GAP)
    for name in (GOOD[0], GOOD[-1]):
        assert holds(sheet, scaled(open_image(street_set / name))), "the source is the first cell"
        assert holds(sheet, scaled(open_image(folder / "release" / name)))


def test_release_sheet_shows_outputs_alone_and_needs_no_source(folder: Path, street_set: Path, tmp_path: Path) -> None:
    config = folder / "run.yaml"
    config.write_text(config.read_text().replace(str(street_set), str(tmp_path / "gone")))
    path = draw_contact_sheet(folder, release=True, rows=4, out=None)
    assert path.is_relative_to(folder / "report")
    sheet = open_image(path)
    outputs = [holds(sheet, scaled(open_image(folder / "release" / name))) for name in GOOD]
    assert sum(outputs) == 4
    assert not any(holds(sheet, scaled(open_image(street_set / name))) for name in GOOD)


@pytest.mark.parametrize("rows", [1, 7, 64])
def test_rows_are_spread_and_no_more_than_there_are(folder: Path, tmp_path: Path, rows: int) -> None:
    out = tmp_path / "sheets" / "sheet.png"
    assert draw_contact_sheet(folder, release=False, rows=rows, out=out) == out
    assert open_image(out).shape[0] == min(rows, len(GOOD)) * (CELL_HEIGHT + 2 * HEADER + GAP)


def test_people_mode_draws_too(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    run(people_value(street_set, tiny_sd), tmp_path / "run")
    assert draw_contact_sheet(tmp_path / "run", release=False, rows=2, out=None).is_file()


def test_nothing_to_show(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    run(config_value(street_set, tiny_sd, check=[{"kind": "quality", "min_std": 127}]), tmp_path / "run")
    for release in (False, True):
        with pytest.raises(ConfigError, match="no accepted output"):
            draw_contact_sheet(tmp_path / "run", release, 3, None)
    assert RunDir(tmp_path / "run").release.is_dir()


def test_overlay_paints_the_table_s_colours_and_draws_boxes() -> None:
    image = np.full((20, 30, 3), 100, np.uint8)
    ids = np.zeros((20, 30), np.int32)
    ids[:, 10:20], ids[:, 20:] = 7, 9
    classes = (ClassInfo(0, "a", (255, 0, 0)), ClassInfo(7, "b", (0, 0, 255)), ClassInfo(9, "void", (9, 9, 9), True))
    labels = Labels(classes, ids, (Instance(0, Box(2, 2, 8, 8)),))
    shown = overlay_labels(image, labels)
    assert np.array_equal(shown[19, [0, 12, 25]], [[170, 55, 55], [55, 55, 170], [55, 55, 55]])
    assert np.array_equal(shown[2, 2:9], np.tile((255, 210, 0), (7, 1)))
    assert (image == 100).all(), "the input stays"
    assert np.array_equal(overlay_labels(image, Labels()), image)
