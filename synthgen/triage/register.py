"""The risk register: what could happen to whom, how many images it concerns, what would be done about it, what stays.

Its rows are those that a data protection impact assessment asks for (GDPR Art. 35(7)): the risk, its source, its level,
the measure, the residual. The threat model says whom the levels were set against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from synthgen.triage.levels import LEVELS, Level
from synthgen.triage.looking import Looked
from synthgen.triage.totals import Totals

THREATS = (
    ("An acquaintance", "knows somebody who may be in the set, and recognises a face, a figure, a garment, a place."),
    (
        "A stranger with a face recogniser",
        "has photographs of many people with their names (social media, a staff list), and compares them all.",
    ),
    (
        "A stranger with a public register",
        "reads number plates, badges, documents or signs, and looks their owner or the place up.",
    ),
    (
        "Whoever gets the files",
        "reads what lies beside the pixels: GPS, owner, serial number, thumbnail, the name of the file and its folder.",
    ),
    (
        "Somebody who has the source, or some of it",
        "matches outputs to source images by their layout, and so learns which person or place an output stands for.",
    ),
    (
        "An informed attacker",
        "knows which method was used, and trains a network on its outputs to undo it; blur and pixelation fall so.",
    ),
)
"""Assumed in all levels. Not assumed: access to the folder `private/` of a run, or to this register."""


@dataclass(frozen=True)
class Risk:
    """One row. `codes` are the prefixes of the reasons (levels.py) that it gathers."""

    id: str
    title: str
    harm: str
    codes: tuple[str, ...]
    measure: str
    residual: str


RISKS = (
    Risk(
        "faces",
        "Somebody is identified by the face",
        "A face of 40 px is enough for a person or a recogniser; edges and depth maps of it are too.",
        ("face-",),
        "detect: centerface and labels; the whole person is protected; new people are painted (mode scene or people)",
        "Faces that no detector finds and nobody labelled. Run the audit before release.",
    ),
    Risk(
        "people",
        "Somebody is recognised by build, clothes or gait",
        "Hiding the face hardly lowers recognition of the whole person.",
        ("person-",),
        "protect: edges and silhouette over whole people, from `strong` on without their outlines",
        "Pose and place stay by design; those too small to check are protected and counted.",
    ),
    Risk(
        "plates",
        "The owner of a vehicle is looked up",
        "A plate is an identifier that a register resolves.",
        ("plate-",),
        "detect: plates, with a detector of your own where plates matter",
        "Without such a detector small, slanted and unread plates are missed.",
    ),
    Risk(
        "text",
        "Text tells a name, a place or a document's content",
        "Badges, shirts, house numbers, screens and papers identify people and places.",
        ("text-",),
        "detect: text; a scene that is painted anew writes no legible text",
        "Text below about 8 px and other scripts than the detector's.",
    ),
    Risk(
        "metadata",
        "The file itself tells where, when and by whom",
        "GPS is a place, a serial number links all images of one camera, a thumbnail shows what was cropped.",
        ("metadata-",),
        "Outputs are encoded from pixels alone: nothing of it is carried over",
        "None in image files. Label files may hold dates and addresses under names: keep.",
    ),
    Risk(
        "names",
        "The file's name tells who is in the picture",
        "Names, addresses and numbers in paths are labels of identity.",
        ("name-",),
        "names: pseudonym gives every file a name from a keyed hash",
        "Folder names stay, since they are splits and classes: rename those that name people.",
    ),
)


def register_record(totals: Totals, looked: Sequence[Looked]) -> list[dict[str, Any]]:
    """A row a risk: its level (`none` where nothing was found), images concerned, evidence, measure, residual."""
    rows = [_row(risk, totals) for risk in RISKS]
    if totals.columns:
        named = ", ".join(sorted(totals.columns)[:12])
        rows.append(_note("columns", "low", f"Columns beside the images describe them: {named}", "Read them by eye"))
    if totals.images:
        rows.append(
            _note(
                "scene",
                "low",
                "A scene is matched to its source by its layout, which is kept on purpose",
                "None: whoever has the source, or knows the place, can link the two",
            )
        )
    rows += [
        _note("not-looked", "medium", f"{entry.thing}: not looked for by {entry.detector}", entry.note)
        for entry in looked
        if not entry.looked
    ]
    if totals.unread:
        rows.append(_note("unread", "medium", f"{totals.unread} image(s) could not be read", "Mend or remove them"))
    return sorted(rows, key=lambda row: -LEVELS.index(row["level"]))


def _row(risk: Risk, totals: Totals) -> dict[str, Any]:
    found = {code: total for code, total in totals.reasons.items() if code.startswith(risk.codes)}
    level = max((total.level for total in found.values()), key=LEVELS.index, default="none")
    return {
        "id": risk.id,
        "title": risk.title,
        "harm": risk.harm,
        "level": level,
        "evidence": [
            {
                "code": code,
                "level": total.level,
                "images": total.images,
                "things": total.things,
                "largest": total.largest,
            }
            for code, total in sorted(found.items(), key=lambda pair: (-LEVELS.index(pair[1].level), pair[0]))
        ],
        "measure": risk.measure,
        "residual": risk.residual,
    }


def _note(id_: str, level: Level, title: str, residual: str) -> dict[str, Any]:
    return {"id": id_, "title": title, "harm": "", "level": level, "evidence": [], "measure": "", "residual": residual}
