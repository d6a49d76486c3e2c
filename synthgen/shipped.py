"""Files that come with synthgen: ready configs and prompt files.

In a checkout they lie beside the package, where people read and copy them; a wheel carries them inside it.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def shipped_folder(name: str) -> Path:
    """`configs` or `prompts`, wherever this installation has it."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name
