"""Names of the release: kept, or pseudonyms that need the run's key."""

from __future__ import annotations

import hashlib
import hmac
import re
from pathlib import Path

import pytest

from synthgen.names import Names, load_or_create_key
from synthgen.types import ConfigError, Item

ITEM = Item("images/train/Jane Doe.JPG", Path("x"))
KEY = bytes(range(32))


def test_keep_changes_nothing() -> None:
    names = Names("keep", KEY)
    assert names.keep
    assert names.image(ITEM, 0) == ITEM.id
    assert names.other("labels/train/Jane Doe.png", ITEM, 0) == "labels/train/Jane Doe.png"


def test_pseudonyms_keep_folder_and_suffix_and_pair_image_with_label() -> None:
    names = Names("pseudonym", KEY)
    assert not names.keep
    image, label = names.image(ITEM, 0), names.other("labels/train/Jane Doe.png", ITEM, 0)
    assert re.fullmatch(r"images/train/[0-9a-f]{20}\.jpg", image)
    assert label == f"labels/train/{Path(image).stem}.png"


def test_pseudonyms_differ_between_variants_items_and_keys() -> None:
    names = Names("pseudonym", KEY)
    others = [Item(path, Path("x")) for path in ("images/val/Jane Doe.JPG", "images/train/Jane Doe.png", "b.png")]
    made = [names.image(ITEM, variant) for variant in range(5)] + [names.image(item, 0) for item in others]
    made.append(Names("pseudonym", bytes(32)).image(ITEM, 0))
    assert len({Path(name).stem for name in made}) == len(made)
    assert names.image(ITEM, 3) == Names("pseudonym", KEY).image(ITEM, 3)


def test_the_path_alone_does_not_give_the_name() -> None:
    """An attacker who guesses the path and knows the code has no key."""
    stem = Path(Names("pseudonym", KEY).image(ITEM, 0)).stem
    guesses = [ITEM.id, f"{ITEM.id}\x1f0", "Jane Doe.JPG", "Jane Doe"]
    hashes = [hashlib.new(name, guess.encode()).hexdigest() for name in ("sha256", "sha1", "md5") for guess in guesses]
    keyed = [hmac.new(key, guess.encode(), hashlib.sha256).hexdigest() for key in (b"", b"0") for guess in guesses]
    assert not any(digest.startswith(stem) for digest in hashes + keyed)


def test_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = load_or_create_key(path)
    written = path.read_bytes()
    assert len(key) == 32 and written == key.hex().encode()
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_key(path) == key and path.read_bytes() == written
    assert [entry.name for entry in tmp_path.iterdir()] == ["key"]
    assert load_or_create_key(tmp_path / "other") != key


@pytest.mark.parametrize("content", ["", "not hex at all", "ab" * 16, "ab" * 33, "zz" * 32])
def test_a_wrong_key_file_stops_and_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(ConfigError, match="64 hex digits"):
        load_or_create_key(path)
    assert path.read_text() == content
