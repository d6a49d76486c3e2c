"""Columns and folders that name people, places or times."""

from __future__ import annotations

from typing import Any

import pytest

from synthgen.datasets._identity import identity_columns, person_folders


@pytest.mark.parametrize(
    ("name", "values", "word"),
    [
        ("name", ["a"], "name"),
        ("person_id", [1], "person"),
        ("gpsLatitude", [1.0], "gps"),
        ("PatientName", ["x"], "patient"),
        ("sha256", ["ab"], "sha256"),
        ("contact", ["jane@example.org"], "e-mail"),
        ("seen", ["2019-05-03"], "dates"),
        ("seen", ["3.5.2019"], "dates"),
        ("ref", ["https://example.org/x"], "web"),
        ("where_", ["52.52001, 13.40495"], "coordinates"),
        ("call", ["+49 30 1234567"], "telephone"),
        ("raw", ["DCIM/100/IMG_1.JPG"], "paths"),
        ("extra", [f"text number {n} x" for n in range(9)], "nearly all different"),
        ("code", [f"A{n}x" for n in range(9)], "nearly all different"),
    ],
)
def test_what_tells_who_where_or_when(name: str, values: list[Any], word: str) -> None:
    found = identity_columns([{name: value} for value in values])
    assert word in found[name]


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("age", [31, 7, None]),
        ("age", ["31", "7", ""]),
        ("gender", ["female", "male"] * 10),
        ("weather", ["rain", "sun", "fog"] * 5),
        ("class_name", ["cat", "dog"]),
        ("label", ["cat", "dog"]),
        ("score", [f"{n}.5" for n in range(20)]),
        ("width", list(range(50))),
        ("indoor", [True, False]),
    ],
)
def test_what_does_not(name: str, values: list[Any]) -> None:
    assert identity_columns([{name: value} for value in values]) == {}


@pytest.mark.parametrize("pattern", ["p{:04}", "Jane_Roe {:d}x", "subject-{:02}", "{:05}"])
def test_folders_of_people(pattern: str) -> None:
    names = [pattern.format(n).replace(" ", "_") for n in range(10, 20)]
    if "Jane" in pattern:
        names = [f"Jane_{letter}oe" for letter in "ABCDEFG"]
    classes = {f"{name}/{n}.jpg": name for name in names for n in range(3)}
    (finding,) = person_folders(classes)
    assert finding.code == "folders-like-people" and str(len(set(classes.values()))) in finding.message


def test_folders_of_classes_are_no_people() -> None:
    names = ["cat", "dog", "golden retriever", "Traffic light", "bus", "tram"]
    assert person_folders({f"{name}/{n}.jpg": name for name in names for n in range(3)}) == []
    digits = {f"{name}/{n}.jpg": str(name) for name in range(10) for n in range(50)}
    assert person_folders(digits) == []
