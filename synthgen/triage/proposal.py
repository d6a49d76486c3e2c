"""The mildest staged run that a set's level asks for, as a config to start from.

| level  | plan                                                                                                    |
|--------|---------------------------------------------------------------------------------------------------------|
| none   | classic, in two stages (pixelation, then a solid mask): metadata and names go, hardly a pixel changes   |
| low    | the same over wider regions: who cannot be recognised need not be painted anew                          |
| medium | scenes painted anew in three stages, from `standard` to `strict`                                        |
| high   | scenes painted anew from `strong` on; and the identity gate on every output                             |

A classic method leaves the picture outside its regions as it was, and with it whomever no detector found. So a set in
which something was not looked for gets the plan of the next higher level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from synthgen.config import load_yaml, parse_config
from synthgen.datasets.base import Dataset
from synthgen.detectors.base import Detector
from synthgen.shipped import shipped_folder
from synthgen.triage.levels import LEVELS, Level
from synthgen.types import ClassInfo, ConfigError

GATE = {"kind": "identity", "recognizer": "dlib"}


def propose_config(
    source: Dataset, classes: tuple[ClassInfo, ...], detectors: Sequence[Detector], level: Level, unsure: bool
) -> str:
    """The YAML of a run; `synthgen check` passes it.

    Args:
        classes: the source's class table.
        detectors: those that triage looked with.
        unsure: whether something was not looked for.
    """
    planned = LEVELS[min(LEVELS.index(level) + unsure, len(LEVELS) - 1)]
    base = load_yaml(shipped_folder("configs") / "starter.yaml")
    value: dict[str, Any] = {
        "name": f"triage-{planned}",
        "seed": 0,
        "source": source.model_dump(mode="json", exclude_defaults=True) | {"format": source.format},
        "names": "pseudonym",
        "detect": [_short(spec) for spec in detectors],
    }
    if planned in ("none", "low"):
        value |= _classic(0.15 if planned == "none" else 0.3)
    else:
        painted = ("mode", "device", "threads", "extract", "protect", "plan", "generate", "check")
        value |= {key: base[key] for key in painted if key in base} | _stages(planned)
    config = parse_config(value, "the proposed config")
    for place, spec in enumerate(config.extract):
        try:
            spec.check_classes(classes)
        except ConfigError:  # no class map has these names: let the model say what is where
            value["extract"][place] = {**_mapping(value["extract"][place]), "prefer": "model"}
    parse_config(value, "the proposed config")
    return _comment(level, planned, unsure) + yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


def _classic(dilate: float) -> dict[str, Any]:
    return {
        "mode": "scene",
        "no_region": "release",
        "dilate": dilate,
        "generate": "none",
        "protect": [{"kind": "pixelate", "block": 16}],
        "stages": [
            {"name": "pixelate"},
            {"name": "solid", "protect": ["solid"], "dilate": round(dilate * 1.5, 3)},
        ],
        "check": ["quality"],
        "attempts": 1,
    }


def _stages(planned: Level) -> dict[str, Any]:
    stages: list[dict[str, Any]] = [
        {"name": "standard", "strength": "standard"},
        {"name": "strong", "strength": "strong", "dilate": 0.3},
        {"name": "strict", "strength": "strict", "dilate": 0.5},
    ]
    if planned == "medium":
        return {"stages": stages, "check": ["quality"], "attempts": 2}
    return {"stages": stages[1:], "check": ["quality", GATE], "attempts": 2}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, dict) else {"kind": value}


def _short(spec: Detector) -> Any:
    value = spec.model_dump(mode="json", exclude_defaults=True) | {"kind": spec.kind}
    return spec.kind if value == {"kind": spec.kind} else value


def _comment(level: Level, planned: Level, unsure: bool) -> str:
    raised = (
        " (something was not looked for, so the plan is that of the next level)" if unsure and planned != level else ""
    )
    return (
        f"# Proposed by synthgen triage: the set's level is {level}, the plan is that for {planned}{raised}.\n"
        f"# Look at it, then: synthgen check FILE, synthgen run FILE --out OUT, and the audit before any release.\n"
    )
