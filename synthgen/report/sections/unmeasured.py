"""The questions that nothing in a run answers yet: they stand in the report so that nobody takes silence for yes."""

from __future__ import annotations

from synthgen.report.findings import Section


def labels_section() -> Section:
    """Whether each output shows what its label says."""
    return Section(
        "labels", "Labels", "Does each picture still show what its label says?", "not measured",
        "Labels are carried over from the source. No independent model has read the outputs and compared.",
    )  # fmt: skip


def utility_section() -> Section:
    """What a model trained on the release is worth."""
    return Section(
        "utility", "Utility", "What is a model worth that was trained on the released set?", "not measured",
        "No model has been trained on this release and tested on real images.",
    )  # fmt: skip
