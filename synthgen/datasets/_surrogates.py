"""Halves of characters (lone surrogates), which JSON can spell and no file in UTF-8 can hold."""

from __future__ import annotations

import re
from typing import Any

_SPELLED = re.compile(r"\\u[dD][89a-fA-F]")
_LONE = re.compile("[\ud800-\udfff]")


def may_have_surrogates(text: str) -> bool:
    """Whether a JSON text spells one, alone or in a pair."""
    return _SPELLED.search(text) is not None


def without_surrogates(value: Any) -> Any:
    """A JSON value with the replacement character for each lone one, in keys too."""
    if isinstance(value, str):
        return _LONE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {without_surrogates(key): without_surrogates(found) for key, found in value.items()}
    return [without_surrogates(found) for found in value] if isinstance(value, list) else value
