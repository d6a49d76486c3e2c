"""What a config asks for that can't be true of its source or its weights: refused before work starts."""

from __future__ import annotations

from collections.abc import Mapping

from synthgen.config import RunConfig
from synthgen.plan import Plan
from synthgen.types import ConfigError


def refuse_moved_labels(config: RunConfig, plan: Plan) -> None:
    """Labels are released as the source has them, so nothing may be moved that they speak of.

    Raises:
        ConfigError: a randomizer, or a redactor of whole pictures, that moves positions, and a source whose labels may
            hold some.
    """
    moving = {spec.kind for spec in [*config.randomize, *plan.file.randomizers()] if spec.moves_labels}
    redactors = [spec for stage in config.resolved_stages for spec in stage.redactors]
    moving |= {spec.kind for spec in redactors if spec.moves_pixels and spec.region == "all"}
    if moving and not config.source.labels_stand_still():
        raise ConfigError(
            f"randomize or protect: {', '.join(sorted(moving))} moves what the labels of this source (format "
            f"{config.source.format}) point at, and labels are released as they are; remove it, or use it on class "
            "folders without metadata"
        )


def refuse_fixed_labels(config: RunConfig) -> None:
    """A check that takes labels away needs a source whose label files have room for that.

    Raises:
        ConfigError: it has none.
    """
    taking = [check.kind for check in config.check if check.unlabels]
    if taking and not config.source.unlabels():
        raise ConfigError(
            f"check: {', '.join(taking)} sets the label of single pixels to ignore, which the released labels of this "
            f"source (format {config.source.format}) have no room for; remove its filter, or use label images with an "
            "ignore class and no boxes beside them that nobody outlined"
        )


def refuse_own_judge(config: RunConfig, digests: Mapping[str, str]) -> None:
    """What painted the maps can't say whether the outputs follow them.

    Raises:
        ConfigError: an independent check with the weights of an extractor, under whatever reference.
    """
    own = {digests[f"weights {ref}"]: spec.kind for spec in config.extract for ref in spec.weights()}
    for check in config.check:
        for ref in check.weights() if check.independent else ():
            if (kind := own.get(digests[f"weights {ref}"])) is not None:
                raise ConfigError(
                    f"check, {check.kind}: {ref} has the same weights as the extractor {kind}; a model that judges "
                    "the labels must be another than the one that read the source: name another model"
                )
