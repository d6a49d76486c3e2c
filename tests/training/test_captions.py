from __future__ import annotations

import numpy as np
import pytest

from synthgen.palettes import load_palette
from synthgen.training.captions import COLOURS, RULES, name_colour
from synthgen.training.tokenizer import UNKNOWN, word_tokenizer
from synthgen.types import Image

PALETTE = load_palette("starter")
RED, NAVY, BLACK, WHITE, BLUE = (170, 35, 40), (30, 40, 75), (25, 25, 28), (232, 232, 230), (60, 100, 180)
GRAY, DIM = (128, 128, 128), (40, 40, 40)


def scene(*bands: tuple[str, tuple[int, int, int]]) -> tuple[Image, np.ndarray]:
    """Bands of 48 rows, 96 pixels wide: (palette class, colour)."""
    image = np.concatenate([np.full((48, 96, 3), colour, dtype=np.uint8) for _, colour in bands])
    ids = np.concatenate([np.full((48, 96), PALETTE.id_of(name), dtype=np.int32) for name, _ in bands])
    return image, ids


@pytest.mark.parametrize(
    ("rule", "bands", "variant", "caption"),
    [
        ("street", [("sky", BLUE), ("road", GRAY)], "day", "a street scene , day , blue sky , bright light"),
        ("street", [("sky", WHITE), ("road", DIM)], "day", "a street scene , day , white sky , dark light"),
        ("street", [("building", (85, 85, 85))], "day", "a street scene , day , soft light"),
        ("street", [("sky", BLUE), ("road", GRAY)], "night", "a street scene , night"),
        (
            "people",
            [("unknown", WHITE), ("hair", BLACK), ("dress", RED)],
            "day",
            "a photo of a person , black hair , red dress , white background",
        ),
        (
            "people",
            [("upper clothes", RED), ("lower clothes", NAVY), ("skin", RED)],
            "fog",
            "a photo of a person , red top , navy pants , fog",
        ),
    ],
)
def test_captions_say_what_the_pixels_show(rule: str, bands: list, variant: str, caption: str) -> None:
    image, ids = scene(*bands)
    assert RULES[rule](image, ids, PALETTE, variant) == caption


@pytest.mark.parametrize("word", COLOURS)
def test_a_colour_is_named_by_its_own_value(word: str) -> None:
    assert name_colour(np.tile(np.array(COLOURS[word], dtype=np.uint8), (9, 1))) == word


def test_the_tokenizer_knows_every_word_of_the_rules_and_marks_the_others() -> None:
    tokenizer = word_tokenizer(48)
    known = "a street scene , overcast , gray sky , bright light a photo of a person , beige shoes , pink bag , sunset"
    ids = tokenizer(known)["input_ids"]
    assert ids[0] == 1 and ids[-1] == 2 and UNKNOWN not in ids
    assert tokenizer("a zeppelin")["input_ids"][2] == UNKNOWN
