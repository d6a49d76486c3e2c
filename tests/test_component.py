"""The folder is the registry: kinds are files, and what a config says becomes a spec."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from synthgen.checks.quality import QualityCheck
from synthgen.component import component_class, kinds, parse_component
from synthgen.types import ConfigError

FAMILIES = ("detectors", "extractors", "protectors", "generators", "randomizers", "checks", "datasets")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_kind_is_a_file_that_defines_one_component_of_that_tag(family: str) -> None:
    there = kinds(family)
    assert there == sorted(there) and there
    assert not [kind for kind in there if kind == "base" or kind.startswith("_")]
    for kind in there:
        cls = component_class(family, kind)
        tag = "format" if family == "datasets" else "kind"
        assert cls.model_fields[tag].default == kind


@pytest.mark.parametrize("kind", ["bogus", "base", "_load", "", "quality.x", "../quality"])
def test_unknown_kind_lists_those_there_are(kind: str) -> None:
    with pytest.raises(ConfigError, match="quality"):
        component_class("checks", kind)


@pytest.mark.parametrize(
    "value", ["quality", {"kind": "quality"}, {"kind": "quality", "min_std": 4.0}, QualityCheck(min_std=4.0)]
)
def test_one_spec_in_four_spellings(value: object) -> None:
    spec = parse_component("checks", value)
    assert spec == QualityCheck() and hash(spec) == hash(QualityCheck())


@pytest.mark.parametrize("value", [None, 3, [], {}, {"kind": 3}, {"kind": "bogus"}, {"min_std": 1}, "bogus"])
def test_what_is_no_component(value: object) -> None:
    with pytest.raises(ValueError, match="quality"):
        parse_component("checks", value)


def test_specs_are_frozen_and_closed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        QualityCheck().min_std = 1
    with pytest.raises(ValidationError, match="bogus"):
        parse_component("checks", {"kind": "quality", "bogus": 1})
