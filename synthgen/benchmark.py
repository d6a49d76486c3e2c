"""`synthgen benchmark`: one dataset through several methods, each audited, on one privacy-utility plot.

A method is a config with changes; it runs into a folder of its own, so a benchmark that was killed goes on. All are
attacked by the same audit, with the same seeds and thresholds; the originals are embedded once. A method that was
measured is not measured again while its run, the audit and the identities are the same, so methods can be added later.
What is plotted (frontier.py) is the worst bound of re-identification against how much of the data's use is left: the
agreement of labels, where a run checks them, and the distance of the distributions, which needs no labels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from synthgen.audit import Audit, Say, audit
from synthgen.auditing.pairs import pairs_of_run
from synthgen.auditing.report import write_audit
from synthgen.auditing.spec import AuditSpec, load_audit_spec
from synthgen.compare import CompareOptions, compare
from synthgen.config import RunConfig, load_yaml, parse_config, set_key
from synthgen.frontier import Point, draw_frontier
from synthgen.launch import Rank, Resolved, launch, resolve
from synthgen.rundir import RunDir
from synthgen.shards import write_atomic
from synthgen.shipped import shipped_folder
from synthgen.types import ConfigError, Row

LABELS = "labels"
"""The ledger's column of the check that reads labels again."""
DISTANCE = "kid"


class MethodSpec(BaseModel):
    """One way to anonymise: a config, and what is different in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,47}$")
    config: str = "starter"
    """A ready config by its name, or a YAML file."""
    set: Mapping[str, Any] = Field(default_factory=dict)
    """Keys, dotted or not, and their values, as for `synthgen run --set`."""


class BenchmarkSpec(BaseModel):
    """The same images through every method."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: Mapping[str, Any] = Field(default_factory=dict)
    """As `source` of a run; `path` may come from the command line."""
    identities: Path | None = None
    methods: tuple[MethodSpec, ...] = Field(min_length=1)
    audit: Mapping[str, Any] = Field(default_factory=dict)
    """Keys of the audit that differ from configs/audit.yaml."""
    features: str = "lite0"
    """Features of the distance, as for `synthgen compare`."""

    @model_validator(mode="after")
    def _distinct(self) -> BenchmarkSpec:
        names = [method.name for method in self.methods]
        if len(set(names)) != len(names):
            raise ValueError(f"methods: every name may stand once, got {names}")
        return self


def load_benchmark(path: Path, source: Path | str | None, identities: Path | None) -> BenchmarkSpec:
    """The spec of a file, with the source and identities of the command line.

    Raises:
        ConfigError: unreadable, a wrong key, or no source.
    """
    value = load_yaml(path)
    if source is not None:
        value["source"] = {**(value.get("source") or {}), "path": str(source)}
    if identities is not None:
        value["identities"] = str(identities)
    try:
        spec = BenchmarkSpec.model_validate(value)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in one['loc']) or '(top)'}: {one['msg']}" for one in error.errors()]
        raise ConfigError("\n  ".join([f"{path}: {error.error_count()} problem(s)", *lines])) from error
    if not spec.source.get("path"):
        raise ConfigError(f"{path}: names no source; give --source DIR or the key source.path")
    return spec


def method_config(spec: BenchmarkSpec, method: MethodSpec) -> RunConfig:
    """The run of one method. Names are kept, so that outputs of all methods are files of one name.

    Raises:
        ConfigError: no such config, or a wrong key; the message names the method.
    """
    named = shipped_folder("configs") / f"{method.config}.yaml"
    path = named if named.is_file() else Path(method.config)
    value = load_yaml(path) | {"names": "keep"}
    value["source"] = {**(value.get("source") or {}), **spec.source}
    for key, wanted in method.set.items():
        value = set_key(value, f"{key}={json.dumps(wanted)}")
    return parse_config(value, f"method {method.name} ({path.name})")


def run_benchmark(
    spec: BenchmarkSpec,
    root: Path,
    say: Say,
    on_start: Callable[[int, Rank], None],
    on_row: Callable[[Row], None],
) -> list[Point]:
    """Run, audit and compare every method below `root`; results are written after each.

    Raises:
        SynthgenError: a method that can't run, before anything is begun.
    """
    configs = {method.name: method_config(spec, method) for method in spec.methods}
    resolved = {name: resolve(config) for name, config in configs.items()}
    audit_spec = load_audit_spec(None, [f"{key}={json.dumps(value)}" for key, value in spec.audit.items()])
    points = []
    for name, one in resolved.items():
        say(f"method {name}")
        folder = root / "private" / "runs" / name
        launch(one, folder, on_start, on_row)
        kept, key = root / "private" / "points" / f"{name}.json", _digest(one, spec, audit_spec)
        point = _known_point(kept, key)
        if point is None:
            point = measure_method(name, folder, spec, audit_spec, root / "private" / "audit-cache", say)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, json.dumps({"digest": key, "point": asdict(point)}, indent=1).encode())
        points.append(point)
        write_benchmark(points, root, audit_spec.max_bound)
    return points


def _digest(run: Resolved, spec: BenchmarkSpec, audit_spec: AuditSpec) -> str:
    """Hex of all that a point depends on: the run, the attacks, who is who, and the features of the distance."""
    people = b"" if spec.identities is None else spec.identities.read_bytes()
    weights = [attacker.network.digest() for attacker in audit_spec.attackers]
    parts = (run.run_id, audit_spec.model_dump_json(), *weights, hashlib.sha256(people).hexdigest(), spec.features)
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()


def _known_point(path: Path, digest: str) -> Point | None:
    """The point of an earlier benchmark of the same; None where there is none, or of something else."""
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    return Point(**record["point"]) if record["digest"] == digest else None


def measure_method(name: str, folder: Path, spec: BenchmarkSpec, audit_spec: AuditSpec, cache: Path, say: Say) -> Point:
    """The point of one finished run."""
    pairs = pairs_of_run(folder, spec.identities, audit_spec.identity)
    found = audit(pairs, audit_spec, cache, say)
    write_audit(found, folder)
    rows = list(RunDir(folder).store.rows())
    accepted = [row for row in rows if row.verdict == "accepted"]
    read = [value for row in accepted if (value := row.scores.get(LABELS)) is not None]
    distance, floor = None, None
    if accepted:
        options = CompareOptions(features=spec.features, by=(), cache=cache, permutations=99)
        measured = compare(pairs.dataset, folder / "release", options, say)
        whole = [one for one in measured.measurements if one.metric == DISTANCE and one.subset == "all"]
        distance, floor = (whole[0].value, whole[0].floor) if whole else (None, None)
    bound, attack, k, n = worst_bound(found)
    return Point(
        name,
        found.conclusion.verdict,
        bound,
        attack,
        k,
        n,
        float(np.mean(read)) if read else None,
        distance,
        floor,
        len(accepted),
        len(rows) - len(accepted),
    )


def worst_bound(found: Audit) -> tuple[float | None, str | None, int | None, int | None]:
    """The largest bound on people among the attacks that count and whose attacker proved able, or succeeded."""
    able = [
        one
        for one in found.attacks
        if one.gates and one.unit == "identity" and one.bound is not None and (not one.weak or one.verdict == "fail")
    ]
    if not able:
        return None, None, None, None
    worst = max(able, key=lambda one: one.bound or 0.0)
    return worst.bound, f"{worst.attack} ({worst.attacker})", worst.k, worst.n


def write_benchmark(points: Sequence[Point], root: Path, limit: float) -> None:
    """`report/benchmark.json` and, where matplotlib is installed, `report/frontier.png`."""
    folder = root / "report"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"methods": [asdict(point) for point in points], "distance": f"{DISTANCE}, kernel distance"}
    write_atomic(folder / "benchmark.json", (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    draw_frontier(points, limit, folder / "frontier.png")


def format_benchmark(points: Sequence[Point], root: Path) -> str:
    """A table, the safest method first."""
    header = ("method", "verdict", "worst bound", "k of n", "attack", "labels", "distance", "real-real", "released")
    rows: list[tuple[str, ...]] = [header]
    for point in sorted(points, key=lambda one: 2.0 if one.bound is None else one.bound):
        counts = "–" if point.k is None else f"{point.k} of {point.n}"
        bound = "–" if point.bound is None else f"{point.bound:.1%}"
        numbers = ["–" if value is None else f"{value:.3g}" for value in (point.labels, point.distance, point.floor)]
        released = f"{point.accepted} of {point.accepted + point.quarantined}"
        rows.append((point.method, point.verdict, bound, counts, point.attack or "–", *numbers, released))
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, f"plot     {root / 'report' / 'frontier.png'}"])
