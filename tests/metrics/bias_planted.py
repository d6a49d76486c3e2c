"""Tables of bias with a known truth: what was planted in them, or nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from synthgen.metrics.bias_table import AttributeColumn, BiasTable, Floats

TONES = ("light", "medium", "dark")
GENDERS = ("female", "male")
LABELS = ("bicycle", "dog", "umbrella")


def null_table(seed: int, n: int = 400, per_scene: int = 1, faces: int = 1, variants: int = 1) -> BiasTable:
    """A run that treats everyone alike: readings of source and output err alike, outputs are accepted by chance.

    Tones are read from a number with an error, so that pairs disagree now and then; scenes share their tone in part.
    """
    random = np.random.default_rng(seed)
    sample = np.repeat(np.arange(n), faces * variants)
    subject = np.tile(np.arange(faces), n * variants)
    who = sample * faces + subject
    true_tone = (
        random.normal(0, 1, n * faces)
        + np.repeat(random.normal(0, 0.5, n // per_scene + 1), per_scene)[np.arange(n * faces) // faces]
    )
    source = (true_tone + random.normal(0, 0.3, n * faces))[who]
    output = true_tone[who] + random.normal(0, 0.3, len(who))
    accepted = np.repeat(random.random(n * variants) < 0.85, faces)
    gender = random.integers(0, 2, n)[sample]
    return BiasTable(
        sample=sample,
        unit=sample // per_scene,
        first=subject == 0,
        accepted=accepted,
        attributes=(
            tone_column(source, np.where(accepted, output, np.nan)),
            AttributeColumn("gender", "column", GENDERS, gender, gender),
        ),
        labels=random.random((n, len(LABELS)))[sample] < [0.5, 0.3, 0.2],
        label_names=LABELS,
        scores={
            "quality": random.normal(50, 10, len(who)),
            "labels": np.clip(random.normal(0.9, 0.05, len(who)), 0, 1),
        },
    )


def tone_column(source: Floats, output: Floats) -> AttributeColumn:
    """Groups by the cuts −0.5 and 0.5; NaN is unknown."""
    codes = [
        np.where(np.isnan(values), -1, np.searchsorted([-0.5, 0.5], np.nan_to_num(values))).astype(np.int64)
        for values in (source, output)
    ]
    return AttributeColumn("tone", "ita", TONES, codes[0], codes[1], (source, output), per_image=False, measured=True)


def with_lighter_skin(table: BiasTable, by: float = 0.4) -> BiasTable:
    """Every output reads lighter (tones run from light to dark, so numbers fall)."""
    tone = table.attributes[0]
    assert tone.values is not None
    return replace(table, attributes=(tone_column(tone.values[0], tone.values[1] - by), *table.attributes[1:]))


def with_dropped_group(table: BiasTable, group: int, keep: float, seed: int = 0) -> BiasTable:
    """Images of one gender pass only with probability `keep`."""
    gender = table.attributes[1].source
    passes = np.random.default_rng(seed).random(int(table.sample.max()) + 1)[table.sample] < keep
    accepted = table.accepted & ((gender != group) | passes)
    tone = table.attributes[0]
    assert tone.values is not None
    output = np.where(accepted, tone.values[1], np.nan)
    return replace(table, accepted=accepted, attributes=(tone_column(tone.values[0], output), *table.attributes[1:]))


def with_label_leaning_on_tone(table: BiasTable, label: int, share: float = 0.5, seed: int = 0) -> BiasTable:
    """Outputs that show a label come out as the lightest group, `share` of them."""
    tone = table.attributes[0]
    assert tone.values is not None
    chosen = table.labels[:, label] & (np.random.default_rng(seed).random(len(table)) < share)
    output = np.where(chosen & table.accepted, -1.0, tone.values[1])
    return replace(table, attributes=(tone_column(tone.values[0], output), *table.attributes[1:]))
