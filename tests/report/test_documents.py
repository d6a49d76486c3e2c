"""The card and the Croissant file of a release: valid, true, the same each time, and silent about the source."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import DatasetCard
from PIL import Image as PillowImage

from synthgen.compare import parse_features
from synthgen.config import CardSpec
from synthgen.datasets.base import resolve_source
from synthgen.report.card import render_card, size_category
from synthgen.report.croissant import render_croissant
from synthgen.report.documents import free_name, write_documents
from synthgen.report.leaks import refuse_leaks
from synthgen.report.release_facts import Answer, ReleaseFacts, Share, gather_release_facts
from synthgen.report.statements import MARK, digital_source, marking
from synthgen.rundir import RunDir
from synthgen.types import ConfigError, Item
from tests.datasets_for_tests import CLASSES, DOCUMENTS, GOOD, config_value, people_value, run, tree, write_streets

CARD = {
    "license": "cc-by-4.0",
    "pretty_name": "Tiny streets: “ä” | <b>",
    "description": "Streets for tests.",
    "creator": "Ann Example",
    "url": "https://example.org/streets",
    "published": "2026-01-02",
    "citation": "@misc{streets}",
}


@pytest.fixture(scope="module")
def facts(finished: Path) -> ReleaseFacts:
    return gather_release_facts(RunDir(finished), finished / "release")


@pytest.fixture(scope="module")
def pseudonyms(tmp_path_factory: pytest.TempPathFactory, tiny_sd: Path) -> Path:
    """A run of a source with telling names, under pseudonyms, with everything that a card can say."""
    source = write_streets(tmp_path_factory.mktemp("Secret Client GmbH") / "source of Jane Doe", bad=True)
    value = config_value(source, tiny_sd, names="pseudonym", seed=918273645546, card=CARD)
    value["plan"] = {
        "prompts": "street-factors",
        "max_rounds": 0,
        "targets": [{"factors": ["time"], "shares": {"day": 0.7, "night": 0.3}}],
    }
    out = tmp_path_factory.mktemp("run") / "out"
    run(value, out)
    return out


def documents(release: Path) -> tuple[DatasetCard, dict[str, Any]]:
    card = DatasetCard((release / "README.md").read_text(encoding="utf-8"), ignore_metadata_errors=False)
    return card, json.loads((release / "croissant.json").read_text(encoding="utf-8"))


def test_the_hub_reads_the_front_matter(pseudonyms: Path) -> None:
    card, _ = documents(pseudonyms / "release")
    data = card.data.to_dict()
    assert data["license"] == "cc-by-4.0" and data["annotations_creators"] == ["machine-generated"]
    assert data["source_datasets"] == ["extended"] and data["size_categories"] == ["n<1K"]
    assert data["task_categories"] == ["image-segmentation"] and data["pretty_name"] == CARD["pretty_name"]
    assert {"synthetic", "trainedAlgorithmicMedia"} <= set(data["tags"])


def test_the_text_tells_what_was_asked_released_rejected_and_measured(pseudonyms: Path) -> None:
    text = (pseudonyms / "release/README.md").read_text(encoding="utf-8")
    assert "| images | 7 |" in text and "| splits | train 4, val 3 |" in text
    assert "| day | 70.0% |" in text and "Total variation" in text and "| luminance |" in text
    assert "| image-corrupt | 1 |" in text and "7 outputs were accepted, 3 rejected" in text
    assert f"classes ({len(CLASSES)})" in text and "under cc-by-4.0" in text
    for heading in ("Artificial content", "How it was made", "People", "Biases", "Limits", "Uses", "Data protection"):
        assert f"\n## {heading}" in text
    assert "Art. 50" in text and "Art. 35(7)" in text and "(d) measures" in text
    assert "nothing is proven of them" in text and "anonymous" not in text


def test_models_are_told_by_digest_and_licence(facts: ReleaseFacts) -> None:
    text = render_card(facts, "croissant.json")
    assert len(facts.provenance.models) == 3
    for model in facts.provenance.models:
        assert model.digest[:16] in text
    starter = replace(facts.provenance.models[0], name="starter/unet", licence="apache-2.0")
    named = replace(facts, provenance=replace(facts.provenance, models=(starter,)))
    assert "| `starter/unet` |" in render_card(named, "x") and "| apache-2.0 |" in render_card(named, "x")


def test_nothing_private_is_in_them(pseudonyms: Path, tiny_sd: Path) -> None:
    config = RunDir(pseudonyms).config()
    rows = list(RunDir(pseudonyms).store.rows())
    private = [str(tiny_sd), "Secret", "Client", "Jane", "Doe", "918273645546", os.sep + "source", "private/key"]
    private += [Path(name).stem for name in GOOD if len(Path(name).stem) > 2] + [
        row.prompt for row in rows if row.prompt
    ]
    private += [RunDir(pseudonyms).run_id()]
    private += [row.source_digest for row in rows if row.source_digest]
    for name in DOCUMENTS:
        text = (pseudonyms / "release" / name).read_text(encoding="utf-8")
        refuse_leaks(text, rows, config, name)
        assert [word for word in private if word in text] == []
        for released in tree(pseudonyms / "release").keys() - DOCUMENTS - {"classes.csv"}:
            assert Path(released).stem not in text, "not even a released name"


def test_the_same_run_gives_the_same_bytes_and_a_rerun_touches_nothing(
    finished: Path, street_set: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    run(config_value(street_set, tiny_sd, execution={"shard_size": 1}), tmp_path / "again")
    one, two = (tree(root / "release") for root in (finished, tmp_path / "again"))
    assert {name: one[name] == two[name] for name in DOCUMENTS} == dict.fromkeys(DOCUMENTS, True)
    stamps = [(tmp_path / "again/release" / name).stat().st_mtime_ns for name in sorted(DOCUMENTS)]
    write_documents(RunDir(tmp_path / "again"), tmp_path / "again/release")
    assert [(tmp_path / "again/release" / name).stat().st_mtime_ns for name in sorted(DOCUMENTS)] == stamps


def test_the_card_is_no_part_of_the_run_id_and_may_change(
    finished: Path, street_set: Path, tiny_sd: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(finished, tmp_path / "run")
    before = tree(out / "release")
    run(config_value(street_set, tiny_sd, card=CARD), out)
    after = tree(out / "release")
    assert RunDir(out).run_id() == RunDir(finished).run_id() and RunDir(out).config().card.license == "cc-by-4.0"
    assert {name for name in after if after[name] != before[name]} == DOCUMENTS
    assert b"cc-by-4.0" not in before["README.md"] and b"license: unknown" in before["README.md"]


def test_an_export_has_them_too(finished: Path, tmp_path: Path) -> None:
    from synthgen.inspect import export_run

    export_run(finished, tmp_path / "exported")
    assert tree(tmp_path / "exported") == tree(finished / "release")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exported"]


def test_what_a_report_found_comes_into_the_card(finished: Path, tmp_path: Path) -> None:
    out = shutil.copytree(finished, tmp_path / "run")
    sections = [{"title": "Privacy", "state": "fail", "summary": "3 of 40 people | were recognised."}]
    (out / "report/report.json").write_text(json.dumps({"sections": sections}))
    write_documents(RunDir(out), out / "release")
    text = (out / "release/README.md").read_text(encoding="utf-8")
    assert "| Privacy | fail | 3 of 40 people \\| were recognised. |" in text and "not been reported" not in text
    (out / "report/report.json").write_text("{broken")
    write_documents(RunDir(out), out / "release")
    assert "not been reported" in (out / "release/README.md").read_text(encoding="utf-8")


def test_files_of_the_dataset_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "Readme.md").write_text("theirs")
    assert free_name(tmp_path, ("README.md", "other.md")) == "other.md"
    (tmp_path / "other.md").write_text(f"ours, {MARK}")
    assert free_name(tmp_path, ("README.md", "other.md")) == "other.md"
    (tmp_path / "other.md").write_text("theirs too")
    with pytest.raises(ConfigError, match=r"README\.md and other\.md"):
        free_name(tmp_path, ("README.md", "other.md"))


def test_a_release_is_still_read_as_its_format(finished: Path, pseudonyms: Path) -> None:
    for root in (finished, pseudonyms):
        source = resolve_source(root / "release")
        assert source.format == "masks" and len(source.index().items) == 7
    assert parse_features("none") is None


def test_an_empty_release_has_a_true_card(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    run(config_value(street_set, tiny_sd, check=[{"kind": "quality", "min_std": 127}]), tmp_path / "run")
    card, croissant = documents(tmp_path / "run/release")
    assert "| images | 0 |" in card.text and "0 outputs were accepted, 10 rejected" in card.text
    assert [one["@id"] for one in croissant["distribution"]] == ["classes.csv"]


@pytest.mark.parametrize(
    ("count", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (999_999, "100K<n<1M"), (10**9, "1B<n<10B")],
)
def test_size_categories(count: int, name: str) -> None:
    assert size_category(count) == name


def test_the_marking_follows_what_was_done(facts: ReleaseFacts) -> None:
    people = replace(facts, config=facts.config.model_copy(update={"mode": "people"}))
    assert (digital_source(facts), digital_source(people)) == (
        "trainedAlgorithmicMedia",
        "compositeWithTrainedAlgorithmicMedia",
    )
    assert "manipulated" in marking(people) and "the background is real" in render_card(people, "x")
    assert "No pixel of the source" in render_card(facts, "x") and "No pixel" not in render_card(people, "x")


def test_people_mode_for_real(street_set: Path, tiny_sd: Path, tmp_path: Path) -> None:
    value = people_value(street_set, tiny_sd)
    value["source"]["limit"] = 2
    run(value, tmp_path / "run")
    card, croissant = documents(tmp_path / "run/release")
    assert "partly-synthetic" in card.data.tags
    assert croissant["digitalSourceType"].endswith("/CompositeWithTrainedAlgorithmicMediaDigitalSource")


def test_a_licence_by_address(facts: ReleaseFacts) -> None:
    card = CardSpec(license="https://example.org/terms")
    text = render_card(replace(facts, config=facts.config.model_copy(update={"card": card})), "x")
    data = yaml.safe_load(text.split("---\n")[1])
    assert (data["license"], data["license_link"]) == ("other", "https://example.org/terms")


def test_text_of_others_cannot_break_the_tables(facts: ReleaseFacts) -> None:
    odd = replace(facts, classes=("a|b", "<script>", "two\nlines"), targets={"t": (Share("x|y", 0.5, 0.5),)})
    text = render_card(replace(odd, answers=(Answer("a", "pass", "b\n\n## c"),)), "x")
    assert "a\\|b, &lt;script>, two lines" in text and "x\\|y" in text and "\n## c" not in text


mlcroissant = pytest.importorskip("mlcroissant", reason="the package mlcroissant is not installed")


def load(release: Path) -> Any:
    from absl import logging

    logging.set_verbosity(logging.ERROR)
    return mlcroissant.Dataset(release / "croissant.json")


def test_mlcroissant_finds_it_valid_and_nothing_missing(pseudonyms: Path) -> None:
    issues = load(pseudonyms / "release").metadata.ctx.issues
    assert (list(issues.errors), list(issues.warnings)) == ([], [])


def test_mlcroissant_finds_it_valid_where_the_owner_said_nothing(finished: Path) -> None:
    metadata = load(finished / "release").metadata
    assert list(metadata.ctx.issues.errors) == []
    assert all("recommended" in warning for warning in metadata.ctx.issues.warnings)


def test_mlcroissant_reads_the_rai_fields(finished: Path) -> None:
    metadata = load(finished / "release").metadata
    assert metadata.conforms_to == ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]
    assert metadata.data_collection.startswith("Derived from real images")
    for field in (
        *("data_biases", "data_limitations", "data_use_cases", "personal_sensitive_information"),
        *("data_annotation_protocol", "data_preprocessing_protocol", "machine_annotation_tools", "data_social_impact"),
    ):
        assert getattr(metadata, field), field


def test_mlcroissant_reads_records(finished: Path) -> None:
    dataset = load(finished / "release")
    records = {record["image_records/stem"].decode(): record for record in dataset.records("image_records")}
    assert set(records) == {str(Path(name).relative_to("images").with_suffix("")) for name in GOOD}
    for name in GOOD:
        record = records[str(Path(name).relative_to("images").with_suffix(""))]
        released = np.array(PillowImage.open(finished / "release" / name).convert("RGB"))
        np.testing.assert_array_equal(np.array(record["image_records/image"]), released)
        assert record["image_records/split"].decode() == name.split("/")[1]
    labels = [record["label_records/stem"].decode() for record in dataset.records("label_records")]
    assert sorted(labels) == sorted(records)
    assert [record["classes/name"] for record in dataset.records("classes")] == list(CLASSES)


Layout = Callable[[Path], list[Item]]


def class_folders(root: Path) -> list[Item]:
    names = ["cat/a b.jpg", "cat/ü.png", "dog [1]/c.JPG", "dog [1]/d (2).jpg"]
    (root / "metadata.csv").write_text("file_name,age\n")
    return [Item(name, root / name) for name in names]


def text_labels(root: Path) -> list[Item]:
    items = []
    for number in range(3):
        label = root / f"labels/train/{number}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.1 0.1\n")
        items.append(Item(f"{number}", root / f"images/train/{number}.jpg", label, "train"))
    (root / "data.yaml").write_text("names: [car]\n")
    return items


def side_by_side(root: Path) -> list[Item]:
    items = []
    for number in range(3):
        PillowImage.fromarray(np.zeros((4, 4), np.uint8)).save(root / f"{number}_mask.png")
        items.append(Item(f"{number}", root / f"{number}.png", root / f"{number}_mask.png"))
    return items


def packed(root: Path) -> list[Item]:
    (root / "train-00000.parquet").write_bytes(b"PAR1")
    return [Item(f"train-00000.parquet/{number}", root / f"train-00000.parquet/{number}") for number in range(3)]


@pytest.mark.parametrize(
    ("layout", "sets", "records"),
    [
        (class_folders, {"image-files": 4, "metadata.csv": None}, {"image_records": 4}),
        (
            text_labels,
            {"image-files": 3, "label-files": 3, "data.yaml": None},
            {"image_records": 3, "label_records": 3},
        ),
        (side_by_side, {"image-files": 3, "label-files": 3}, {}),
        (packed, {"train-00000.parquet": None}, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_layouts_of_other_formats(
    facts: ReleaseFacts, tmp_path: Path, layout: Layout, sets: dict[str, int | None], records: dict[str, int]
) -> None:
    """Names with spaces, brackets and other scripts; labels as text; labels that no glob tells from images; packs."""
    items = layout(tmp_path)
    for number, item in enumerate(items):
        if ".parquet" not in str(item.image):
            item.image.parent.mkdir(parents=True, exist_ok=True)
            PillowImage.fromarray(np.full((4, 6, 3), number, np.uint8)).save(item.image)
    text = render_croissant(replace(facts, items=tuple(items), classes=()), tmp_path, ())
    (tmp_path / "croissant.json").write_text(text, encoding="utf-8")
    dataset, value = load(tmp_path), json.loads(text)
    assert {one["@id"] for one in value["distribution"]} == set(sets)
    assert {one["@id"]: len(list(dataset.records(one["@id"]))) for one in value.get("recordSet", ())} == records


def test_many_further_files_are_described_by_their_suffix(facts: ReleaseFacts, tmp_path: Path) -> None:
    for number in range(150):
        (tmp_path / f"{number}.dat").write_text("x")
    value = json.loads(render_croissant(replace(facts, items=(), classes=()), tmp_path, ()))
    (one,) = value["distribution"]
    assert (one["@type"], one["includes"]) == ("cr:FileSet", ["*.dat"])
