from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PIL

from synthgen.palettes import load_palette
from synthgen.training.data import Window, cut_box, cut_mask, draw_window, pack_crops
from synthgen.training.spec import Source
from synthgen.training.starter_data import protected_ids, protected_mask
from synthgen.types import Box, ConfigError

PALETTE = load_palette("starter")


@pytest.mark.parametrize(
    ("image", "target", "share", "size"),
    [
        ((480, 360), (256, 192), 1.0, (480, 360)),
        ((480, 360), (256, 192), 0.5, (240, 180)),
        ((550, 825), (256, 384), 1.0, (550, 825)),
        ((100, 300), (256, 192), 1.0, (100, 75)),
        ((3, 2), (256, 384), 0.1, (1, 1)),
    ],
)
def test_a_window_has_the_targets_aspect_and_lies_inside(image, target, share, size) -> None:
    for seed in range(20):
        window = draw_window(image, target, share, 0.5, np.random.default_rng(seed))
        assert (window.width, window.height) == size
        assert 0 <= window.x <= image[0] - size[0] and 0 <= window.y <= image[1] - size[1]


@pytest.mark.parametrize(
    ("mirrored", "box", "expected"),
    [
        (False, Box(10, 10, 20, 20), Box(0, 0, 20, 20)),
        (True, Box(10, 10, 20, 20), Box(20, 0, 40, 20)),
        (False, Box(0, 0, 15, 15), Box(0, 0, 10, 10)),
        (False, Box(0, 0, 9, 9), None),
    ],
)
def test_boxes_follow_their_window(mirrored: bool, box: Box, expected: Box | None) -> None:
    assert cut_box(box, Window(10, 10, 20, 20, mirrored), (40, 40)) == expected


def test_a_mask_that_shrinks_keeps_every_pixel_that_it_touches() -> None:
    mask = np.zeros((32, 32), dtype=bool)
    mask[13, 7] = True
    assert cut_mask(mask, Window(0, 0, 32, 32), (4, 4)).sum() == 1
    assert cut_mask(mask, Window(0, 0, 32, 32, True), (4, 4))[1, 3]


def test_protected_classes_bring_their_parts_and_grow() -> None:
    ids = protected_ids(("person", "bicycle"), PALETTE)
    names = {PALETTE.names[index] for index in ids}
    assert {"person", "bicycle", "hair", "skin", "footwear"} <= names and "bag" not in names
    image = np.zeros((21, 21), dtype=np.uint8)
    image[10, 10] = PALETTE.id_of("hair")
    assert protected_mask(image, ids, 3)[10, [6, 7, 13, 14]].tolist() == [False, True, True, False]
    with pytest.raises(ConfigError, match="unicorn"):
        protected_ids(("unicorn",), PALETTE)


def test_packs_are_painted_named_by_content_and_leave_out_bad_files(
    street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil

    data = tmp_path / "data"
    shutil.copytree(street, data)
    source = Source.model_validate({"dataset": str(data), "size": [64, 48], "crops": 3})
    first = pack_crops(source, tmp_path / "cache", 0, PALETTE)
    assert first["image"].shape == (12, 48, 64, 3) and first["ids"].shape == (12, 48, 64)
    assert {PALETTE.names[index] for index in np.unique(first["ids"])} == {"sky", "building", "person", "road"}
    assert pack_crops(source, tmp_path / "cache", 0, PALETTE).digest == first.digest
    assert pack_crops(source, tmp_path / "cache", 1, PALETTE).digest != first.digest
    (data / "images" / "2.png").write_bytes(b"no image")
    third = pack_crops(source, tmp_path / "cache", 0, PALETTE)
    assert third.digest != first.digest and len(third) == 9
    assert "skipped images/2.png: image-" in capsys.readouterr().err
    PIL.new("RGB", (96, 72)).save(data / "images" / "2.png")
    with pytest.raises(ConfigError, match="no split 'train'"):
        pack_crops(source.model_copy(update={"split": "train"}), tmp_path / "cache", 0)
