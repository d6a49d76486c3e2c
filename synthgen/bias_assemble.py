"""From what was read of a run to the table that the metrics take: columns chosen, groups numbered, scenes named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthgen.attributes.base import IMAGE_CLASS, Attribute, Reading, Subject
from synthgen.bias_read import SOURCE, Gathered
from synthgen.bias_spec import BiasSpec
from synthgen.component import parse_component
from synthgen.metrics.bias_table import UNKNOWN, AttributeColumn, BiasTable, Codes, Floats, group_names, to_codes
from synthgen.metrics.factors import MEASURED
from synthgen.metrics.scenes import SCENE_COLUMNS, scene_names, scene_units
from synthgen.types import ConfigError, Finding, Image

MOST_GROUPS = 12
"""A column of words with more values is no attribute unless the parameters name it."""
NO_PIXELS: Image = np.zeros((0, 0, 3), dtype=np.uint8)
Places = Sequence[tuple[int, int]]
"""(ledger row, subject in its image) of each row of the table."""


def to_table(data: Gathered, attributes: Sequence[Attribute], spec: BiasSpec) -> tuple[BiasTable, list[Finding]]:
    """The table of a run, and what the reader of its report must know.

    Args:
        attributes: the parameters' own, or with `auto` those that are measured.

    Raises:
        ConfigError: a column that no image has, a target or confusion matrix with other groups.
    """
    findings = list(_findings(data, attributes))
    columns = [_fitted(data, one) for one in attributes if not one.measured]
    if spec.attributes == "auto":
        columns = _automatic(data, spec, findings)
    units = _units(data, spec.scene, findings)
    places = [
        (number, subject)
        for number, row in enumerate(data.rows)
        for subject in range(max(1, data.source_of(row).faces))
    ]
    sample = np.array([data.place[data.rows[number].sample_id] for number, _ in places], dtype=np.int64)
    shown = tuple(sorted({name for one in data.sources for name in one.shown}))
    labels = np.array([[name in data.sources[i].shown for name in shown] for i in sample], dtype=np.bool_)
    measured = [_measured_column(data, one, places) for one in attributes if one.measured]
    table = BiasTable(
        sample=sample,
        unit=units[sample],
        first=np.array([subject == 0 for _, subject in places], dtype=np.bool_),
        accepted=np.array([data.rows[number].verdict == "accepted" for number, _ in places], dtype=np.bool_),
        attributes=(*measured, *(_source_column(data, one, places) for one in columns)),
        labels=labels.reshape(len(places), len(shown)),
        label_names=shown,
        scores=_scores(data, places),
    )
    return table, findings


def _units(data: Gathered, column: str | None, findings: list[Finding]) -> NDArray[np.int64]:
    names, _ = scene_names(
        [one.id for one in data.sources],
        [one.labels.image_class for one in data.sources],
        [one.labels.attributes for one in data.sources],
        column,
    )
    units, cut = scene_units(names)
    if cut:
        message = f"{len(set(names))} scene(s), cut into {len(set(units.tolist()))} stretches, which are alike"
        findings.append(Finding("few-scenes", "source", f"{message}: p values and intervals are too optimistic"))
    return units


def _measured_column(data: Gathered, attribute: Attribute, places: Places) -> AttributeColumn:
    nothing = Reading()
    sources, outputs = [], []
    for number, subject in places:
        row = data.rows[number]
        image, who = data.place[row.sample_id], 0 if attribute.per_image else subject
        sources.append(data.readings.get((attribute.name, image, who, SOURCE), nothing))
        outputs.append(data.readings.get((attribute.name, image, who, row.variant), nothing))
    groups = group_names([one.group for one in (*sources, *outputs)])
    groups = tuple(name for name in attribute.groups if name != UNKNOWN) or groups
    numbers = any(one.value is not None for one in sources)
    return AttributeColumn(
        name=attribute.name,
        kind=attribute.kind,
        groups=groups,
        source=to_codes([one.group for one in sources], groups),
        output=to_codes([one.group for one in outputs], groups),
        values=(_numbers(sources), _numbers(outputs)) if numbers else None,
        per_image=attribute.per_image,
        measured=True,
        target=_checked_target(attribute, groups),
        confusion=_confusion(attribute, groups),
        truth=_truth(data, attribute, places, groups),
    )


def _source_column(data: Gathered, attribute: Attribute, places: Places) -> AttributeColumn:
    read = attribute.load("cpu")([Subject(NO_PIXELS, one.labels) for one in data.sources])
    of_row = [read[data.place[data.rows[number].sample_id]].group for number, _ in places]
    groups = attribute.groups or group_names(of_row)
    codes = to_codes(of_row, groups)
    target = _checked_target(attribute, groups)
    return AttributeColumn(attribute.name, attribute.kind, groups, codes, codes, target=target)


def _truth(data: Gathered, attribute: Attribute, places: Places, groups: tuple[str, ...]) -> Codes | None:
    """What the column says, where there is but one face that it can speak of."""
    column = attribute.known_truth
    if column is None:
        return None
    _require(data, column, f"attributes, {attribute.name}: truth")
    values = []
    for number, _ in places:
        source = data.source_of(data.rows[number])
        alone = attribute.per_image or source.faces == 1
        value = source.labels.attributes.get(column) if alone else None
        values.append(None if value in (None, "") else str(value))
    known = {value for value in values if value is not None}
    if known and not known & set(groups):
        raise ConfigError(
            f"attributes, {attribute.name}: truth: the column {column} has {sorted(known)[:5]}, none of the groups "
            f"{list(groups)}; map the model's classes to its values under names"
        )
    return to_codes(values, groups)


def _automatic(data: Gathered, spec: BiasSpec, findings: list[Finding]) -> list[Attribute]:
    """Every column that can be groups: not the scene's, two values or more, and not too many words."""
    names = {name for one in data.sources for name in one.labels.attributes} - {*SCENE_COLUMNS, spec.scene}
    if any(one.labels.image_class for one in data.sources):
        names.add(IMAGE_CLASS)
    found = []
    for name in sorted(names):
        column = _fitted(data, parse_component("attributes", {"kind": "column", "column": name}))
        values = {str(value) for value in _values(data, name) if value not in (None, "")}
        if len(values) > MOST_GROUPS and not column.groups:
            message = f"{len(values)} values: no attribute unless the parameters name it"
            findings.append(Finding("column-skipped", name, message))
        elif len(values) > 1:
            found.append(column)
    return found


def _fitted(data: Gathered, attribute: Attribute) -> Attribute:
    column = attribute.column_read
    if column is None:
        return attribute
    _require(data, column, f"attributes, {attribute.name}")
    return attribute.fitted(_values(data, column))


def _values(data: Gathered, column: str) -> list[Any]:
    if column == IMAGE_CLASS:
        return [one.labels.image_class for one in data.sources]
    return [one.labels.attributes.get(column) for one in data.sources]


def _require(data: Gathered, column: str, key: str) -> None:
    there = {name for one in data.sources for name in one.labels.attributes}
    if column != IMAGE_CLASS and column not in there:
        listed = ", ".join(sorted(there)) or "none"
        raise ConfigError(f"{key}: no image has the column {column!r}; there are: {listed}; or {IMAGE_CLASS}")


def _checked_target(attribute: Attribute, groups: tuple[str, ...]) -> Mapping[str, float] | None:
    if attribute.target is not None and (unknown := sorted(set(attribute.target) - set(groups))):
        raise ConfigError(f"attributes, {attribute.name}: target: no group {unknown}; there are {list(groups)}")
    return attribute.target


def _confusion(attribute: Attribute, groups: tuple[str, ...]) -> Floats | None:
    known = attribute.known_confusion
    if not known or attribute.known_truth is not None:
        return None
    if set(known) != set(groups) or not {name for row in known.values() for name in row} <= set(groups):
        raise ConfigError(f"attributes, {attribute.name}: confusion: expected a row for each of {list(groups)}")
    return np.array([[float(known[truth].get(read, 0)) for read in groups] for truth in groups])


def _scores(data: Gathered, places: Places) -> dict[str, Floats]:
    """By check, one value a row of the table; and `attempts`, how often an output was tried."""
    names = sorted({name for row in data.rows for name in row.scores if not name.startswith(MEASURED)})
    found = {
        name: np.array([_nan(data.rows[number].scores.get(name)) for number, _ in places], dtype=np.float64)
        for name in names
    }
    attempts = np.array([data.rows[number].attempts for number, _ in places], dtype=np.float64)
    return {**found, "attempts": np.where(attempts > 0, attempts, np.nan)}


def _numbers(readings: Sequence[Reading]) -> Floats:
    return np.array([_nan(one.value) for one in readings], dtype=np.float64)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _findings(data: Gathered, attributes: Sequence[Attribute]) -> Iterator[Finding]:
    for code, count in sorted(data.faults.items()):
        yield Finding(code, "source", f"{count} source image(s) could not be read: what is measured of them is unknown")
    if any(not one.per_image for one in attributes):
        if not data.has_detector:
            message = "nothing looks for faces, so no attribute of a face is known; name a detector under detect"
            yield Finding("no-face-detector", "source", message)
        elif not any(one.faces for one in data.sources):
            yield Finding("no-faces", "source", "no face was found in any source image")
    if data.moved and any(one.needs_place for one in attributes):
        message = "a randomizer moves things, so what is at a place of the source is not there in the output"
        yield Finding("positions-moved", "output", message)
