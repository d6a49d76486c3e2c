"""The documents that go out with a release: its card and its Croissant file.

They are written before a new release appears, so it never lies there without them, and again when a report knows more.
The same run gives the same bytes. A file that the dataset itself has under their name stays: then they take another.
"""

from __future__ import annotations

import os
from pathlib import Path

from synthgen.report.card import render_card
from synthgen.report.croissant import render_croissant
from synthgen.report.release_facts import gather_release_facts
from synthgen.report.statements import MARK
from synthgen.rundir import RunDir
from synthgen.shards import sync_file, sync_folder
from synthgen.types import ConfigError

CARD_NAMES = ("README.md", "synthgen-card.md")
CROISSANT_NAMES = ("croissant.json", "synthgen-croissant.json")


def write_documents(run: RunDir, release: Path) -> tuple[Path, Path]:
    """Write the card and the Croissant file into `release`, a folder in the layout of the run's release.

    What is there already and says the same is not touched. Returns their paths.

    Raises:
        ConfigError: the run's records can't be read, or other files have all names.
    """
    card, croissant = free_name(release, CARD_NAMES), free_name(release, CROISSANT_NAMES)
    # Absolute, as the paths of the dataset's items are.
    folder = Path(os.path.abspath(release))
    facts = gather_release_facts(run, folder)
    texts = {
        release / card: render_card(facts, croissant),
        release / croissant: render_croissant(facts, folder, (card, croissant)),
    }
    for path, text in texts.items():
        data = text.encode("utf-8")
        if not path.is_file() or path.read_bytes() != data:
            # Not in the release: that never holds half a file, not even under another name.
            partial = folder.parent / f".{path.name}.{os.getpid()}.tmp"
            partial.write_bytes(data)
            sync_file(partial)
            os.replace(partial, path)
            sync_folder(release)
    return release / card, release / croissant


def free_name(release: Path, names: tuple[str, ...]) -> str:
    """The first of `names` that no file has which is not ours, in whatever case.

    Raises:
        ConfigError: there is none.
    """
    there = {path.name.lower(): path for path in release.iterdir()}
    for name in names:
        path = there.get(name.lower())
        if path is None or (path.is_file() and MARK.encode() in path.read_bytes()):
            return name
    raise ConfigError(f"{release}: other files are called {' and '.join(names)}; rename one of them in the source")
