"""Croissant metadata of a release: `croissant.json`, version 1.1 with the fields of responsible AI (RAI 1.0).

Croissant (mlcommons.org/croissant) describes a dataset's files and how records are read from them, on top of
schema.org. The release is described as it lies there, in whatever format: its images, the label file that each image
has where each has one, and all other files by digest. `mlcroissant` reads it, and records of the images with it.
"""

from __future__ import annotations

import glob
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from synthgen.report import statements
from synthgen.report.release_facts import ReleaseFacts

CONFORMS = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
MAX_OBJECTS = 100
"""More files than this, besides images and labels, are described by their suffixes."""
_SAME = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty"),
    *("fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
    *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
    *("source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _SAME},
}
ENCODINGS = {
    **dict.fromkeys((".jpg", ".jpeg"), "image/jpeg"),
    **dict.fromkeys((".tif", ".tiff"), "image/tiff"),
    **dict.fromkeys((".yaml", ".yml"), "application/yaml"),
    ".png": "image/png",
    ".bmp": "image/bmp",
    ".webp": "image/webp",
    ".txt": "text/plain",
    ".csv": "text/csv",
    ".xml": "application/xml",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".parquet": "application/x-parquet",
    ".tar": "application/x-tar",
}
OTHER = "application/octet-stream"
SOURCE_TYPES = {
    "trainedAlgorithmicMedia": "TrainedAlgorithmicMediaDigitalSource",
    "compositeWithTrainedAlgorithmicMedia": "CompositeWithTrainedAlgorithmicMediaDigitalSource",
    "algorithmicallyEnhanced": "AlgorithmicallyEnhancedDigitalSource",
}
"""IPTC's terms as schema.org spells them."""


@dataclass(frozen=True)
class _Files:
    """Files of one use: `paths` below the release; `folder` is the nearest one that holds all of them."""

    id: str
    what: str
    paths: tuple[str, ...]
    all_paths: tuple[str, ...]

    @property
    def folder(self) -> str:
        parents = [PurePosixPath(path).parent.parts for path in self.paths]
        shared = []
        for parts in zip(*parents, strict=False):
            if len(set(parts)) > 1:
                break
            shared.append(parts[0])
        return "".join(f"{part}/" for part in shared)

    @property
    def patterns(self) -> list[str]:
        """Globs that match these files: by folder, depth and suffix."""
        below = {(path[len(self.folder) :].count("/") > 0, PurePosixPath(path).suffix) for path in self.paths}
        folder = glob.escape(self.folder)
        return sorted(f"{folder}{'**/' if deeper else ''}*{glob.escape(suffix)}" for deeper, suffix in below)

    @property
    def alone(self) -> bool:
        """Whether the patterns match these files and no other of the release."""
        suffixes = {PurePosixPath(path).suffix for path in self.paths}
        others = set(self.all_paths) - set(self.paths)
        return not any(path.startswith(self.folder) and PurePosixPath(path).suffix in suffixes for path in others)

    @property
    def stems(self) -> list[str]:
        """What is left of each path without folder and suffix."""
        return [str(PurePosixPath(path[len(self.folder) :]).with_suffix("")) for path in self.paths]


def render_croissant(facts: ReleaseFacts, release: Path, apart: Iterable[str]) -> str:
    """The text of the file.

    Args:
        release: the folder to describe.
        apart: files in it that describe it, which are left out.
    """
    every = tuple(_files_below(release, set(apart)))
    there = set(every)
    names = [_below(item.image, release) for item in facts.items]
    images = _Files("image-files", "The images.", tuple(name for name in names if name in there), every)
    labels = _label_files(facts, release, every)
    described = {*images.paths, *(labels.paths if labels else ())}
    rest = [path for path in every if path not in described]
    sets = [files for files in (images, labels) if files is not None and files.paths]
    distribution = [*map(_file_set, sets), *_others(rest, release)]
    records = _record_sets(facts, images, labels)
    value = {"@context": CONTEXT, "@type": "sc:Dataset", **_description(facts), "distribution": distribution}
    if records:
        value["recordSet"] = records
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _description(facts: ReleaseFacts) -> dict[str, Any]:
    """What schema.org and the RAI vocabulary say of a dataset; keys without a value are left out."""
    card = facts.config.card
    described = {
        "name": facts.title,
        "description": statements.summary(facts),
        "conformsTo": list(CONFORMS),
        "license": card.license,
        "url": card.url,
        "creator": {"@type": "sc:Organization", "name": card.creator} if card.creator else None,
        "datePublished": card.published.isoformat() if card.published else None,
        "citeAs": card.citation,
        "version": "1.0.0",
        "keywords": ["synthetic data", "synthgen", *facts.tasks],
        "digitalSourceType": f"https://schema.org/{SOURCE_TYPES[statements.digital_source(facts)]}",
        "rai:dataCollection": statements.collection(facts),
        "rai:dataCollectionType": [
            "Software Collection" if facts.config.generate.paints else "Secondary Data Analysis"
        ],
        "rai:dataPreprocessingProtocol": [f"{what}: {how}" for what, how in facts.made],
        "rai:dataAnnotationProtocol": [statements.annotation(facts)],
        "rai:machineAnnotationTools": ["synthgen (carries the source's labels over)"] if facts.tasks else None,
        "rai:dataBiases": [statements.biases(facts)],
        "rai:dataLimitations": statements.limitations(facts),
        "rai:dataUseCases": statements.uses(facts),
        "rai:dataSocialImpact": statements.marking(facts),
        "rai:personalSensitiveInformation": [statements.personal_information(facts)],
    }
    return {key: value for key, value in described.items() if value is not None}


def _label_files(facts: ReleaseFacts, release: Path, every: Sequence[str]) -> _Files | None:
    """The label files, where every image has one of its own."""
    paths = [_below(item.label, release) for item in facts.items if item.label is not None]
    if not paths or len(set(paths)) < len(facts.items) or not set(paths) <= set(every):
        return None
    return _Files("label-files", "A label file for each image.", tuple(paths), tuple(every))


def _file_set(files: _Files) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": files.id,
        "name": files.id,
        "description": files.what,
        "encodingFormat": sorted({_encoding(path) for path in files.paths}),
        "includes": files.patterns,
    }


def _others(paths: Sequence[str], release: Path) -> list[dict[str, Any]]:
    """Every other file by its digest; of very many, their suffixes."""
    if len(paths) > MAX_OBJECTS:
        by_suffix: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            by_suffix[PurePosixPath(path).suffix].append(path)
        return [
            _file_set(_Files(f"files{suffix}", "Further files.", tuple(of_suffix), tuple(paths)))
            for suffix, of_suffix in sorted(by_suffix.items())
        ]
    objects = []
    for path in paths:
        with (release / path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        objects.append(
            {
                "@type": "cr:FileObject",
                "@id": path,
                "name": PurePosixPath(path).name,
                "contentUrl": path,
                "contentSize": f"{(release / path).stat().st_size} B",
                "encodingFormat": _encoding(path),
                "sha256": digest,
            }
        )
    return objects


def _record_sets(facts: ReleaseFacts, images: _Files, labels: _Files | None) -> list[dict[str, Any]]:
    """One record an image and one a label file, joined by their common path; the classes, as data.

    None where a glob can't tell the files apart: then a reader would take others for images.
    """
    found = []
    if images.paths and images.alone:
        fields = [_content(images, "image_records", "image")]
        if facts.splits and sum(facts.splits.values()) == len(facts.items):
            fields.append(_split(images, facts.splits))
        joined = labels is not None and labels.alone and sorted(labels.stems) == sorted(images.stems)
        keyed = labels is not None and joined and len(set(images.stems)) == len(images.stems)
        if keyed and labels is not None:
            fields.insert(0, _stem(images, "image_records", {}))
            reference = {"references": {"field": {"@id": "image_records/stem"}}}
            records = [_stem(labels, "label_records", reference), _content(labels, "label_records", "label")]
            found.append(_record_set("label_records", "The label file of each image.", records))
        record = _record_set("image_records", "One image.", fields)
        found.insert(0, record | ({"key": {"@id": "image_records/stem"}} if keyed else {}))
    if facts.classes:
        name = {"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"}
        table = _record_set("classes", "The classes that labels may name.", [name])
        found.append(table | {"data": [{"classes/name": one} for one in facts.classes]})
    return found


def _record_set(name: str, description: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "description": description, "field": fields}


def _content(files: _Files, record: str, name: str) -> dict[str, Any]:
    """The decoded image, or the text of the file."""
    image = all(_encoding(path).startswith("image/") for path in files.paths)
    kind = "sc:ImageObject" if image else "sc:Text"
    return _field(f"{record}/{name}", name, kind, files, {"extract": {"fileProperty": "content"}})


def _stem(files: _Files, record: str, further: Mapping[str, Any]) -> dict[str, Any]:
    pattern = rf"^{re.escape(files.folder)}(.+)\.[^./]+$"
    source = {"extract": {"fileProperty": "fullpath"}, "transform": {"regex": pattern}}
    return _field(f"{record}/stem", "stem", "sc:Text", files, source) | dict(further)


def _split(files: _Files, splits: Mapping[str, int]) -> dict[str, Any]:
    """The folder that is named as a split."""
    pattern = rf"^(?:.*/)?({'|'.join(map(re.escape, splits))})/.*$"
    source = {"extract": {"fileProperty": "fullpath"}, "transform": {"regex": pattern}}
    return _field("image_records/split", "split", "sc:Text", files, source)


def _field(name: str, title: str, kind: str, files: _Files, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": name,
        "name": title,
        "dataType": kind,
        "source": {"fileSet": {"@id": files.id}, **source},
    }


def _encoding(path: str) -> str:
    return ENCODINGS.get(PurePosixPath(path).suffix.lower(), OTHER)


def _below(path: Path | None, release: Path) -> str:
    return "" if path is None or not path.is_relative_to(release) else path.relative_to(release).as_posix()


def _files_below(release: Path, apart: set[str]) -> Iterable[str]:
    paths = (path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file())
    return sorted(path for path in paths if path not in apart)
