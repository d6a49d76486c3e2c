"""Membership inference on the run's weights, from denoising losses that were measured beforehand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synthgen.auditing.spec import MembershipSpec
from synthgen.metrics.privacy.membership import FPR, infer_membership
from synthgen.metrics.privacy.trials import Trial
from synthgen.types import ConfigError

NAME, QUESTION = "membership inference", "was this photograph trained on?"


def attack_membership(spec: MembershipSpec) -> Trial:
    """Judge the losses of members against those of outsiders.

    Raises:
        ConfigError: a file of losses can't be read.
    """
    if spec.members is None or spec.outsiders is None:
        reason = "the weights were tuned on this data; give the losses as membership.members and membership.outsiders"
        return Trial(NAME, "denoising loss", QUESTION, "image", reason=reason)
    try:
        found = infer_membership(_losses(spec.members), _losses(spec.outsiders))
    except ValueError as error:
        return Trial(NAME, "denoising loss", QUESTION, "image", reason=str(error))
    names = tuple(str(number) for number in range(len(found.hits)))
    details = {"false_positive_rate": FPR, "auc": found.auc}
    return Trial(NAME, "denoising loss", QUESTION, "image", names, found.hits, FPR, details=details)


def _losses(path: Path) -> NDArray[np.float64]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return np.array([float(row["loss"]) for row in csv.DictReader(file)], np.float64)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"membership: {path}: expected a CSV file with the column loss ({error})") from error
