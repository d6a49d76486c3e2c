"""How a run's outputs came to be, in a few words that tell no path, seed or name of the source."""

from __future__ import annotations

import re

from synthgen.config import RunConfig
from synthgen.factors import PROMPTS
from synthgen.weights import STARTER

_HUB = re.compile(r"[\w.-]+/[\w.-]+(:[\w./-]+)?@[0-9a-f]{40}")


def how_made(config: RunConfig) -> tuple[tuple[str, str], ...]:
    """(what, how) from the config alone."""
    generate = config.generate
    prompts = config.plan.prompts if (PROMPTS / f"{config.plan.prompts}.yaml").is_file() else "a file of the run's own"
    weights = list(dict.fromkeys(public_reference(ref) for ref in generate.weights()))
    mode = "every pixel is new" if config.mode == "scene" else "people are new, the background is the source's"
    return (
        ("mode", f"{config.mode}: {mode}"),
        ("names", "pseudonyms" if config.names == "pseudonym" else "those of the source"),
        ("generator", f"{generate.kind}, {getattr(generate, 'steps', '–')} steps"),
        ("weights", ", ".join(weights) or "none"),
        ("control maps", _kinds(config.extract)),
        ("people found by", _kinds(config.detect)),
        ("protected by", _kinds(config.protect)),
        ("prompts", prompts),
        ("randomized by", _kinds(config.randomize)),
        ("checked by", f"{_kinds(config.check)}; at most {config.attempts} attempts an output"),
    )


def public_reference(ref: str) -> str:
    """A weights reference as anyone may read it: a pinned hub id, a part of the starter, or "a local folder"."""
    return ref if ref.split("/")[0] == STARTER.name or _HUB.fullmatch(ref) else "a local folder"


def _kinds(components: tuple[object, ...]) -> str:
    return ", ".join(str(getattr(component, "kind", "")) for component in components) or "nothing"
