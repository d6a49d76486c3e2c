"""Names of released files: kept, or pseudonyms that nobody can compute without the run's key.

A pseudonym is HMAC-SHA256(key, source path | variant), cut to 80 bits. A plain hash of the path would not do: whoever
guesses the path of a source photograph could compute its hash and link the two.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path, PurePosixPath
from typing import Literal

from synthgen.types import ConfigError, Item

KEY_BYTES = 32
_LAYOUT_ENDING = re.compile(r"_(leftImg8bit|gt(Fine|Coarse)_[A-Za-z]+)$")


class Names:
    """A `NameMap` (see datasets/base.py). Folders stay, since splits and classes live in them; stems change."""

    def __init__(self, mode: Literal["keep", "pseudonym"], key: bytes) -> None:
        self.keep = mode == "keep"
        self._key = key

    def image(self, item: Item, variant: int) -> str:
        """The released path of the image of (item, variant)."""
        return self.other(item.id, item, variant)

    def other(self, path: str, item: Item, variant: int) -> str:
        """The released path of a file that belongs to `item`: same folder and suffix, the item's new stem.

        The endings by which loaders of Cityscapes find its files (`_leftImg8bit`, `_gtFine_labelIds`) stay too.
        """
        if self.keep:
            return path
        message = f"{item.id}\x1f{variant}".encode()
        stem = hmac.new(self._key, message, hashlib.sha256).hexdigest()[:20]
        pure = PurePosixPath(path)
        ending = _LAYOUT_ENDING.search(pure.stem)
        return str(pure.with_name(stem + (ending.group() if ending else "") + pure.suffix.lower()))


def load_or_create_key(path: Path) -> bytes:
    """The run's key: 32 random bytes as hex, made once, mode 0600, never released.

    Raises:
        ConfigError: the file holds something else.
    """
    if not path.exists():
        partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    try:
        key = bytes.fromhex(path.read_text().strip())
    except ValueError as error:
        raise ConfigError(
            f"{path}: expected {KEY_BYTES * 2} hex digits; delete the run folder to start anew"
        ) from error
    if len(key) != KEY_BYTES:
        raise ConfigError(f"{path}: expected {KEY_BYTES * 2} hex digits, got {2 * len(key)}")
    return key
