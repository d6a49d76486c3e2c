"""The verdict over all sections, in plain words. Without a privacy audit nothing is proven, whatever else is fine."""

from __future__ import annotations

from collections.abc import Sequence

from synthgen.metrics.sets import Verdict
from synthgen.report.findings import Section


def judge_sections(sections: Sequence[Section]) -> tuple[Verdict, str]:
    """(verdict, why): fail if a section failed; pass if privacy passed and none failed; else insufficient."""
    failed = [section for section in sections if section.state == "fail"]
    privacy = next(section for section in sections if section.id == "privacy")
    if failed:
        told = " ".join(f"{section.title}: {section.summary}" for section in failed)
        unknown = (
            "" if privacy.state in ("pass", "fail") else " Nor is privacy proven: who could be recognised is unknown."
        )
        return "fail", told + unknown
    if privacy.state == "not measured":
        return (
            "insufficient",
            "The privacy audit has not run, so nothing is known about who could be recognised in this release.",
        )
    if privacy.state != "pass":
        return "insufficient", f"The privacy audit could not tell. {privacy.summary}"
    open_questions = [
        section.title.lower() for section in sections if section.state in ("insufficient", "not measured")
    ]
    left = f" Not measured, or too little to tell: {', '.join(open_questions)}." if open_questions else ""
    return "pass", f"{privacy.summary} Nothing else that was measured failed.{left}"
