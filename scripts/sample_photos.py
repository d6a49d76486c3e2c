"""Copy the photographs that come inside scikit-image and scikit-learn into a folder, for the quickstart.

Nothing is downloaded. An astronaut (a face), a rocket, a motorcycle, a cat, a cup, a temple and a flower: only the
first shows a person, and none is a street or a full-length figure, which are all that the starter has seen.
"""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

PHOTOS = {
    "skimage": ("data", ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}


def package_folder(package: str) -> Path:
    """Where an installed package lies, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is not installed; pip install -c constraints.txt -e '.[quickstart]'")
    return Path(spec.origin).parent


def copy_photos(out: Path) -> list[Path]:
    """Copy them all; returns the copies."""
    out.mkdir(parents=True, exist_ok=True)
    sources = [package_folder(name) / folder / file for name, (folder, files) in PHOTOS.items() for file in files]
    return [Path(shutil.copyfile(source, out / source.name)) for source in sources]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: sample_photos.py FOLDER")
    copies = copy_photos(Path(sys.argv[1]))
    print(f"{sys.argv[1]}: {len(copies)} photographs")
