"""`synthgen drift REFERENCE NEW`: does a new release still look like the one that was validated, and is it made alike?

Two questions, kept apart. Alarms are of the distributions: the kernel distances of the embeddings and the stability
indices of descriptors and labels (metrics/psi.py), each by permutation of scenes, Holm's level over all of them. An
alarm may be a chance or a passing fault, so it takes two in a row, of two different sets, to ask for revalidation. A
change of model, config or licence asks for it at once, whatever the pixels look like.

REFERENCE is best a frozen file (`--freeze`): it can't move. Beside it grows a history of what was held against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from synthgen.compare import (
    NONE,
    CompareOptions,
    Say,
    feature_record,
    format_number,
    format_table,
    measure_source,
    metric_names,
    parse_features,
    with_like_scenes,
)
from synthgen.datasets.base import Dataset
from synthgen.features import FeatureCache
from synthgen.images import SUFFIXES
from synthgen.metrics.distribution import mmd_measurements
from synthgen.metrics.pair import Pair
from synthgen.metrics.permutation import holm
from synthgen.metrics.psi import LARGE, pass_small, psi_measurements
from synthgen.metrics.sets import Measurement, Verdict
from synthgen.metrics.suite import Settings, judge_measurements, overall_verdict
from synthgen.provenance import Provenance, provenance_changes, run_provenance, software_changes
from synthgen.rundir import RunDir
from synthgen.shards import write_atomic
from synthgen.snapshot import Snapshot, digest_set, read_snapshot, write_snapshot
from synthgen.types import ConfigError, Finding

DEFAULT_FEATURES = "lite0"
MAX_HISTORY_BYTES = 1 << 26
PSI_NAMES = {
    "lab_histogram": "Lab colours (PSI)",
    "luminance": "luminance L* (PSI)",
    "edge_density": "edge density (PSI)",
    "spectral_slope": "spectral slope (PSI)",
    "object_count": "objects an image (PSI)",
    "object_size": "object sizes (PSI)",
    "object_position": "object places (PSI)",
    "class_shares": "label shares (PSI)",
    "lost_classes": "lost classes",
}


@dataclass(frozen=True)
class Drift:
    """What became of a new release.

    Attributes:
        verdict: of the distributions: `fail` is an alarm, `insufficient` too little data to tell.
        revalidate: why a new validation is needed; empty where it is not.
        sets: of `reference` and `new`, what was read; `names`: the title of each metric.
    """

    verdict: Verdict
    revalidate: tuple[str, ...]
    sets: Mapping[str, Mapping[str, Any]]
    features: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...]
    names: Mapping[str, str]
    settings: Settings

    @property
    def status(self) -> int:
        """Exit status: 0 no drift, 1 an alarm or a revalidation, 3 too little data to tell (2 is a wrong call)."""
        if self.revalidate or self.verdict == "fail":
            return 1
        return 0 if self.verdict == "pass" else 3

    @property
    def flags(self) -> list[str]:
        """The metrics that alarm."""
        return [one.metric for one in self.measurements if one.verdict == "fail"]

    def record(self) -> dict[str, Any]:
        """JSON-able values; a number that does not exist is null."""
        return {
            "verdict": self.verdict,
            "alarm": self.verdict == "fail",
            "flags": self.flags,
            "revalidate": list(self.revalidate),
            "sets": self.sets,
            "features": self.features,
            "settings": {"seed": self.settings.seed, "level": self.settings.level, "psi_at_least": LARGE},
            "findings": [asdict(one) for one in self.findings],
            "measurements": [{"title": self.names[one.metric], **asdict(one)} for one in self.measurements],
        }


def drift(reference: Path, new: Path, options: CompareOptions, say: Say = lambda _: None) -> Drift:
    """Hold a new release against a reference; of a frozen one the history goes on.

    Args:
        reference: a frozen file, a run's folder, or a dataset of any format; `new`: one of the latter two.
        options: `features` may be empty: then they are those of the frozen reference, else `DEFAULT_FEATURES`.

    Raises:
        ConfigError: one of them can't be read, or they can't be measured with the same features.
    """
    frozen = reference.is_file()
    if frozen:
        before = read_snapshot(reference)
        options = replace(options, features=_frozen_features(reference, before, options.features))
    else:
        before = measure_release(reference, "reference", options, say)
    after = measure_release(new, "new", options, say)
    if before.features.get("digest") != after.features.get("digest"):
        raise ConfigError(
            f"{reference}: its features are of other weights or another preparation ({before.features.get('digest')}) "
            f"than {options.features} gives here ({after.features.get('digest')}); freeze the reference again"
        )
    found = compare_snapshots(before, after, options)
    if not frozen:
        return found
    return _in_history(found, history_path(reference), before.digest, after.digest)


def freeze(
    path: Path, new: Path | None, out: Path | None, options: CompareOptions, say: Say = lambda _: None
) -> dict[str, Any]:
    """Measure a release and write it as a frozen reference to the file `out`; returns what went into it.

    Raises:
        ConfigError: both `new` and `out` are given, or neither; nothing to freeze; `out` exists.
    """
    if out is None:
        raise ConfigError("drift: give REFERENCE and NEW, or one release and --freeze FILE")
    if new is not None:
        raise ConfigError("--freeze: takes one release; hold NEW against the frozen file in a second call")
    if out.exists():
        raise ConfigError(f"--freeze {out}: exists already; a reference is never overwritten: choose another name")
    snapshot = measure_release(path, "release", options, say)
    if not len(snapshot.measured.images):
        raise ConfigError(f"{path}: holds no image that can be read; there is nothing to freeze")
    write_snapshot(snapshot, out)
    return {"reference": str(out), **_summary(snapshot, snapshot.measured.images.units), "features": snapshot.features}


def measure_release(path: Path, name: str, options: CompareOptions, say: Say = lambda _: None) -> Snapshot:
    """Measure the release of a run (its folder, or `release/` in it), or any dataset.

    Args:
        name: what messages call it.

    Raises:
        ConfigError: no such folder, a run without a release, weights are missing.
    """
    features = options.features or DEFAULT_FEATURES
    embedder = parse_features(features)
    cache = None if embedder is None else FeatureCache(options.cache, embedder.digest())
    source, provenance = _open_release(path)
    measured = measure_source(source, name, embedder, cache, options, say)
    return Snapshot(measured, feature_record(features, embedder), provenance, digest_set(measured))


def compare_snapshots(before: Snapshot, after: Snapshot, options: CompareOptions) -> Drift:
    """Test the distributions and list the changes of what made them; history is not looked at."""
    embedder = parse_features(before.features.get("ref", NONE))
    measured = {"reference": before.measured, "new": after.measured}
    alike = with_like_scenes(measured)
    settings = Settings(seed=options.seed, level=options.level, permutations=options.permutations, by=())
    pair = Pair.of(
        "all",
        alike["reference"].images,
        alike["new"].images,
        settings.permutations,
        settings.seed,
        settings.min_all,
        settings.min_large,
    )
    found = [*mmd_measurements(pair), *psi_measurements(pair)]
    judged = pass_small(judge_measurements(found, lambda ps: holm(ps, settings.level)))
    return Drift(
        overall_verdict(judged),
        tuple(provenance_changes(before.provenance, after.provenance)),
        {name: _summary(part, alike[name].images.units) for name, part in (("reference", before), ("new", after))},
        before.features,
        tuple(judged),
        tuple(_findings(before, after)),
        metric_names(embedder) | PSI_NAMES,
        settings,
    )


def history_path(reference: Path) -> Path:
    """Where the history of a frozen reference lies: beside it, one JSON object a line."""
    return reference.with_name(f"{reference.name}.history.jsonl")


def _frozen_features(path: Path, reference: Snapshot, asked: str) -> str:
    stored = str(reference.features.get("ref", NONE))
    if asked and asked != stored:
        raise ConfigError(f"--features {asked}: {path} was frozen with {stored}; leave --features out, or freeze again")
    return stored


def _open_release(path: Path) -> tuple[Path | Dataset, Provenance | None]:
    """The dataset of a run's release, read as its config reads the source, and what made it; else just the folder."""
    root = path.parent if path.name == "release" and (path.parent / "run.yaml").is_file() else path
    run = RunDir(root)
    if not run.config_file.is_file():
        if path.is_file():
            raise ConfigError(f"{path}: is a file; give the folder of a run or a dataset as NEW")
        if not path.is_dir():
            raise ConfigError(f"{path}: no such file or folder; give a frozen reference, a run's folder or a dataset")
        return path, None
    if not run.release.is_dir():
        raise ConfigError(f"{path}: this run has no release yet; run it to the end first")
    provenance = run_provenance(run)
    if not any(file.suffix.lower() in SUFFIXES for file in run.release.rglob("*")):
        return run.release, provenance
    return run.dataset(run.release), provenance


def _summary(snapshot: Snapshot, units: NDArray[np.int64]) -> dict[str, Any]:
    part = snapshot.measured
    return {
        "images": len(part.images),
        "skipped": dict(part.skipped),
        "scenes": part.scenes,
        "scene_rule": part.scene_rule,
        "units": len(np.unique(units)),
        "digest": snapshot.digest,
        "provenance": snapshot.provenance is not None,
    }


def _findings(before: Snapshot, after: Snapshot) -> Iterator[Finding]:
    if before.provenance is None and after.provenance is None:
        message = (
            "neither set says what made it: a change of model, config or licence can't be seen; give runs' folders"
        )
        yield Finding("provenance-unknown", "both", message)
    for line in software_changes(before.provenance, after.provenance):
        yield Finding("software-changed", "new", line)
    for name, part in (("reference", before.measured), ("new", after.measured)):
        for code, count in part.skipped.items():
            yield Finding(code, name, f"{count} image(s) could not be read and are not compared")
        if part.cut:
            message = "few scenes, cut into stretches, which are alike: p values are too optimistic"
            yield Finding("few-scenes", name, message)
    if before.digest == after.digest:
        yield Finding(
            "same-set", "new", "the very images and labels of the reference: this says nothing of a new release"
        )


def _in_history(found: Drift, path: Path, reference: str, new: str) -> Drift:
    """Append a result to the history, and ask for revalidation where the set before it, another one, alarmed too.

    Results without a verdict neither break nor make a row.
    """
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), mode=0o600):
            lines = _read_history(path)
            others = [line for line in lines if line["reference"] == reference and line["new"] != new]
            told = [line for line in others if line["verdict"] != "insufficient"]
            reasons = found.revalidate
            if found.verdict == "fail" and told and told[-1]["verdict"] == "fail":
                reasons = (*reasons, f"two alarms in a row: the one before was on {told[-1]['time']}")
            found = replace(found, revalidate=reasons)
            entry = {
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
                "reference": reference,
                "new": new,
                "verdict": found.verdict,
                "flags": found.flags,
                "revalidate": list(reasons),
            }
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in [*lines, entry])
            write_atomic(path, text.encode())
    except OSError as error:
        raise ConfigError(f"{path}: the history can't be written: {error}; two alarms would go unseen") from error
    return found


def _read_history(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    try:
        if path.stat().st_size > MAX_HISTORY_BYTES:
            raise ValueError(f"longer than {MAX_HISTORY_BYTES} bytes")
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if not all({"time", "reference", "new", "verdict"} <= line.keys() for line in lines):
            raise ValueError("a line lacks time, reference, new or verdict")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise ConfigError(f"{path}: can't be read as a history of drift: {error}; mend or move it") from error
    return lines


def format_drift(found: Drift) -> str:
    """A plain text table: what to do first, then what was measured."""
    sets = found.sets
    alarm = {"pass": "no alarm", "fail": "ALARM", "insufficient": "insufficient: too little data to tell"}
    counts = f"{sets['reference']['images']} reference, {sets['new']['images']} new images"
    lines = [f"drift    {alarm[found.verdict]}   ({counts})"]
    lines += [f"REVALIDATE  {reason}" for reason in found.revalidate]
    lines += [f"  ! {one.subject}: {one.message} ({one.code})" for one in found.findings]
    header = ("metric", "new-reference", "within reference", "p", "level", "verdict")
    rows = [header, *(_cells(found.names, one) for one in found.measurements)]
    lines += ["", *format_table(rows)]
    lost = [name for one in found.measurements for name in one.details.get("lost", ())]
    return "\n".join([*lines, *([f"  lost: {', '.join(lost)}"] if lost else [])])


def _cells(names: Mapping[str, str], one: Measurement) -> tuple[str, ...]:
    numbers = (format_number(value) for value in (one.value, one.floor, one.p, one.level))
    return names[one.metric], *numbers, f"{one.verdict}: {one.reason}" if one.reason else one.verdict
