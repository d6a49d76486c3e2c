"""What made a run's release: models by digest and licence, and the config, with nothing that is private.

Kept out: the seed, where the source lies and which of its images were taken, and the folders of local weights (their
names and digests stay). So it may stand in a dataset card, and a frozen reference may be carried about.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from synthgen.config import config_identity
from synthgen.rundir import RunDir, differences
from synthgen.types import ConfigError
from synthgen.weights import describe_weights

WEIGHTS = "weights "
"""Before a reference in the digests of run.json."""


@dataclass(frozen=True)
class Model:
    """One set of weights. `name` is a hub id with its commit, a part of the starter, or the last name of a folder.

    `digest` is what the run was made with: the commit, else SHA-256 over the files. `licence` is that of its model
    card; None where it states none, or where the weights are not here any more.
    """

    name: str
    digest: str
    licence: str | None


@dataclass(frozen=True)
class Provenance:
    """How a release came to be.

    Attributes:
        config: what decides the pixels: `config_identity` without the seed and the choice of images.
        prompts: digest of the prompt files.
        licence: of the release (the key `card.license`).
        software: the kind of device and the versions of the libraries.
    """

    models: tuple[Model, ...]
    config: Mapping[str, Any]
    prompts: str
    licence: str | None
    software: Mapping[str, str]

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Provenance:
        """The inverse of `dataclasses.asdict`."""
        models = tuple(Model(**model) for model in record["models"])
        return cls(models, record["config"], record["prompts"], record["licence"], record["software"])


def run_provenance(run: RunDir) -> Provenance:
    """What made the release of a run, as it was noted when the run began.

    Raises:
        ConfigError: `run.yaml` or `private/run.json` can't be read.
    """
    path = run.private / "run.json"
    try:
        digests: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["digests"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: can't be read as the record of a run: {error}") from error
    refs = {key.removeprefix(WEIGHTS): digest for key, digest in digests.items() if key.startswith(WEIGHTS)}
    models: dict[str, Model] = {}
    for ref, digest in sorted(refs.items(), key=lambda item: (public_name(item[0]), item[1])):
        name, number = public_name(ref), 2
        while name in models:
            name, number = f"{public_name(ref)} ({number})", number + 1
        models[name] = Model(name, digest, _licence(ref))
    config = run.config()
    identity = config_identity(config)
    del identity["seed"]
    for chosen in ("splits", "limit"):
        identity["source"].pop(chosen)
    others = {key: value for key, value in digests.items() if not key.startswith(WEIGHTS)}
    prompts = others.pop("prompts", "")
    others.pop("source", None)
    return Provenance(
        tuple(models.values()), _without_folders(identity, refs.keys()), prompts, config.card.license, others
    )


def public_name(ref: str) -> str:
    """A weights reference without the folder in which local weights lie."""
    path = ref.partition("#sha256:")[0]
    local = PurePath(path).is_absolute() or path.startswith((".", "~")) or ("@" not in path and Path(path).is_dir())
    return PurePath(path).name if local and not path.startswith("starter") else ref


def provenance_changes(before: Provenance | None, after: Provenance | None) -> list[str]:
    """Changes of model, config or licence, one a line; each of them asks for a new validation.

    Where one side does not say what made it, that is a change too: nobody can tell that it is the same.
    """
    if before is None and after is None:
        return []
    if before is None or after is None:
        which = "the reference" if before is None else "the new set"
        return [f"{which} does not say what made it; give the folder of its run, not of its release alone"]
    one, two = ({model.name: model for model in side.models} for side in (before, after))
    changes = [f"model {name}: no longer used" for name in sorted(one.keys() - two.keys())]
    changes += [f"model {name}: was not used" for name in sorted(two.keys() - one.keys())]
    for name in sorted(one.keys() & two.keys()):
        if one[name].digest != two[name].digest:
            changes.append(f"model {name}: digest {one[name].digest[:16]} → {two[name].digest[:16]}")
        if one[name].licence != two[name].licence:
            licences = (model.licence or "not stated" for model in (one[name], two[name]))
            changes.append(f"licence of {name}: {' → '.join(licences)}")
    if before.prompts != after.prompts:
        changes.append("config: other prompt files or factors")
    if before.licence != after.licence:
        changes.append(f"licence of the release: {before.licence or 'not stated'} → {after.licence or 'not stated'}")
    return changes + [f"config {line}" for line in differences(before.config, after.config, "")]


def software_changes(before: Provenance | None, after: Provenance | None) -> list[str]:
    """Other versions of libraries or another kind of device: worth knowing, no reason to validate anew by itself."""
    if before is None or after is None:
        return []
    return differences(dict(before.software), dict(after.software), "")


def _licence(ref: str) -> str | None:
    try:
        return describe_weights(ref).licence
    except ConfigError:
        return None


def _without_folders(value: Any, refs: Any) -> Any:
    """The config with each weights reference by its public name, and of every other absolute path its last name."""
    if isinstance(value, Mapping):
        return {key: _without_folders(one, refs) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_folders(one, refs) for one in value]
    if isinstance(value, str):
        return public_name(value) if value in refs or PurePath(value).is_absolute() else value
    return value
