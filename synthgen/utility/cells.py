"""One training and its answers: a cell. A finished cell is one file, so a killed table goes on where it was.

The file's name is the digest of everything that the cell depends on: the pictures and labels it saw and was tested on,
the model and its weights, the effort, the seed, the library. A changed config keeps the cells that it does not change.
What is stored of each test is told in answers.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from synthgen.learners.base import Learner
from synthgen.seeds import derive_seed
from synthgen.shards import write_atomic
from synthgen.types import ConfigError
from synthgen.utility.answers import Answers
from synthgen.utility.spec import REAL, UtilitySpec
from synthgen.utility.study import Study, TrainingSet, set_digest

FORMAT = "utility-cell/2"


@dataclass(frozen=True)
class Cell:
    """What is trained: a set, a model, a seed; and on which arms' test pictures it is tried."""

    chosen: TrainingSet
    model: Learner
    seed: int
    tests: tuple[str, ...]

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the others of its table."""
        return self.chosen.name, self.model.name, self.seed

    @property
    def weights_seed(self) -> int:
        """Of the random weights it starts from: not of the name, which may change."""
        model = self.model.model_dump_json(exclude={"name"})
        return derive_seed(self.seed, model, 0, 0, "utility-weights") % 2**31


def cells_of(study: Study, spec: UtilitySpec) -> list[Cell]:
    """All cells, those of one model one after another, since they share what is prepared.

    Every set is tried on the real test and on that of its own arm; what was trained on real pictures on all of them.
    """
    tests = [name for name, arm in study.arms.items() if arm.test is not None]
    found = []
    for model in spec.models:
        for chosen in study.sets:
            own = [name for name in tests if name in (REAL, _tested_as(chosen.of, study))]
            tried = tuple(tests if chosen.name == REAL else own)
            found += [Cell(chosen, model, seed, tried) for seed in spec.seeds]
    return found


def _tested_as(arm: str, study: Study) -> str | None:
    """The arm whose test pictures are this arm's: itself, or another arm of the same run; None where it has none."""
    run = study.arms[arm].run
    return next((name for name, other in study.arms.items() if other.run == run and other.test is not None), None)


def cell_digest(cell: Cell, study: Study, spec: UtilitySpec, device: str) -> str:
    """Hex that names everything that decides the cell's numbers."""
    parts = {
        "format": FORMAT,
        "model": cell.model.model_dump(mode="json", exclude={"name"}),
        "weights": cell.model.digest(),
        "set": set_digest(cell.chosen, study.arms),
        "tests": {name: test.digest for name in cell.tests if (test := study.arms[name].test) is not None},
        "words": [study.words.names, study.words.from_folders],
        "effort": [cell.seed, spec.steps, spec.batch_size, spec.variants, spec.seed, spec.threads],
        "library": [torch.__version__, version("transformers"), device.partition(":")[0]],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


class CellStore:
    """The finished cells below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def done(self, digest: str) -> bool:
        """Whether the cell is there."""
        return self._path(digest).is_file()

    def save(self, digest: str, answers: Mapping[str, Answers]) -> None:
        """Write the answers by test, whole or not at all."""
        from safetensors.numpy import save

        flat = {
            f"{test}/{name}": np.ascontiguousarray(value)
            for test, one in answers.items()
            for name, value in one.items()
        }
        write_atomic(self._path(digest), save(flat))

    def load(self, digest: str) -> dict[str, Answers]:
        """The answers by test.

        Raises:
            ConfigError: the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        found: dict[str, Answers] = {}
        try:
            for key, value in load_file(self._path(digest)).items():
                test, _, name = key.rpartition("/")
                found.setdefault(test, {})[name] = value
        except (SafetensorError, OSError) as error:
            raise ConfigError(
                f"{self._path(digest)}: no cell of a utility table ({error}); delete this file"
            ) from error
        return found

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.safetensors"
