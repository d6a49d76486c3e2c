from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from synthgen.training.kinds import parse_train_spec
from synthgen.training.run import load_train_spec
from synthgen.training.spec import identity
from synthgen.types import ConfigError
from tests.training.conftest import autoencoder_config, starter_config

CONFIGS = Path(__file__).parents[2] / "configs" / "train"


def changed(config: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    *keys, last = path.split(".")
    node: Any = config
    for key in keys:
        node = node[int(key)] if isinstance(node, list) else node[key]
    node[last] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("kind", "painter", "kind: expected one of autoencoder, segmenter, starter, controlnet"),
        ("chanels", [8], "chanels: unknown key"),
        ("optimisation.max_step", 3, "optimisation.max_step: unknown key"),
        ("model", "AutoencoderTiny", "channels: an AutoencoderTiny has one width"),
        ("crop", 18, "crop: 18 must divide by 8"),
        ("sources.0.size", [64, 50], "size: both sides must be positive multiples of 8"),
        ("sources.0.scales", [0.9, 0.2], "scales: expected 0 < low <= high <= 1"),
        ("sources.0.captions", {"rule": "street", "column": "text"}, "exactly one of rule, column and prompts"),
        ("sources.0.dataset", "/nowhere", "is not a folder"),
        ("sources", [], "sources"),
    ],
)
def test_a_wrong_key_is_named(street: Path, tmp_path: Path, path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_train_spec(changed(autoencoder_config(street, tmp_path, 1), path, value), "x.yaml")


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("phases.0.until", 1.0, "phases: `until` must rise and end at 1.0"),
        ("sources.0.captions", None, "every source of a starter needs captions"),
        ("unet.attention", [True], "attention: 1 levels, channels has 2"),
    ],
)
def test_a_wrong_starter_is_refused(street: Path, tmp_path: Path, path: str, value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_train_spec(changed(starter_config(street, street, tmp_path, tmp_path, 1), path, value), "x.yaml")


def test_identity_leaves_out_what_changes_no_weight(street: Path, tmp_path: Path) -> None:
    config = autoencoder_config(street, tmp_path, 5)
    before = identity(parse_train_spec(config, "x"))
    config["execution"]["max_minutes"] = 3
    config["out"] = str(tmp_path / "elsewhere")
    assert identity(parse_train_spec(config, "x")) == before
    config["optimisation"]["learning_rate"] = 0.25
    assert identity(parse_train_spec(config, "x")) != before


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_ready_configs_are_valid(path: Path, street: Path) -> None:
    """With the sources' folders replaced by one that is there."""
    import yaml

    sources = len(yaml.safe_load(path.read_text())["sources"])
    overrides = [f"sources.{index}.dataset={{path: '{street}', format: masks}}" for index in range(sources)]
    assert load_train_spec(path, overrides).kind in {"autoencoder", "segmenter", "starter", "controlnet"}
