"""The question that nothing in a run answers yet: it stands in the report so that nobody takes silence for yes."""

from __future__ import annotations

from synthgen.report.findings import Section


def utility_section() -> Section:
    """What a model trained on the release is worth."""
    return Section(
        "utility", "Utility", "What is a model worth that was trained on the released set?", "not measured",
        "No model has been trained on this release and tested on real images.",
    )  # fmt: skip
