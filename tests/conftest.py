"""The tiny pipeline and the street dataset are made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import datasets_for_tests as streets


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random SD with a canny and a segmentation ControlNet: `base`, `canny`, `seg`."""
    import torch

    from tests.generators import tiny

    torch.set_num_threads(1)
    return tiny.save_sd(tmp_path_factory.mktemp("tiny-sd"))


@pytest.fixture(scope="session")
def street_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only; seven good images and three bad ones."""
    return streets.write_streets(tmp_path_factory.mktemp("streets") / "source")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, street_set: Path, tiny_sd: Path) -> Path:
    """A finished run of the street dataset with names kept. Read only."""
    out = tmp_path_factory.mktemp("finished") / "run"
    streets.run(streets.config_value(street_set, tiny_sd), out)
    return out


@pytest.fixture(name="streets")
def street_folder(tmp_path: Path) -> Path:
    """Images with masks, in two splits."""
    return streets.write_streets(tmp_path / "streets", bad=False)
