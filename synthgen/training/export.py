"""The result of a training as it leaves: whole, and without the paths of the machine that made it.

Libraries write where a model was loaded from into what they save (diffusers' and transformers' `_name_or_path`, peft's
`base_model_name_or_path` and model card). That is nobody's business and differs between two equal trainings.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from synthgen.training.checkpoint import replace_folder

ORIGINS = ("_name_or_path", "base_model_name_or_path")


def write_weights(folder: Path, export: Callable[[Path], None]) -> None:
    """Let `export` fill a folder, take the origins out, and put it in its place as a whole."""

    def write(target: Path) -> None:
        export(target)
        forget_origins(target)

    replace_folder(folder, write)


def forget_origins(folder: Path) -> None:
    """Remove the origins from every JSON file below `folder`, and the model cards that libraries write."""
    for path in sorted(folder.rglob("*.json")):
        value = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(value, dict) and any(value.get(name) for name in ORIGINS):
            kept = {name: entry for name, entry in value.items() if name not in ORIGINS}
            path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
    for card in folder.rglob("README.md"):
        card.unlink()
