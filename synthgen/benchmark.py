"""`synthgen benchmark`: one dataset through several methods, each audited, on one privacy-utility plot.

A method is a config with changes; it runs into a folder of its own, so a benchmark that was killed goes on. All are
attacked by the same audit, with the same seeds and thresholds; the originals are embedded once. What is plotted is the
worst bound of re-identification against how much of the data's use is left: the agreement of labels, where a run checks
them, and the distance of the distributions, which needs no labels.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from synthgen.launch import Rank, launch, resolve
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


@dataclass(frozen=True)
class Point:
    """A method on the frontier.

    Attributes:
        bound: the worst bound of an attack that counts, with `attack`, `k` and `n`; None where none could be judged.
        labels: mean agreement of labels read again, 0..1; `distance`: kernel distance to the originals, `floor`: of the
            originals to themselves. None where not measured.
    """

    method: str
    verdict: str
    bound: float | None
    attack: str | None
    k: int | None
    n: int | None
    labels: float | None
    distance: float | None
    floor: float | None
    accepted: int
    quarantined: int


def load_benchmark(path: Path, source: Path | None, identities: Path | None) -> BenchmarkSpec:
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
        points.append(measure_method(name, folder, spec, audit_spec, root / "private" / "audit-cache", say))
        write_benchmark(points, root)
    return points


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


def write_benchmark(points: Sequence[Point], root: Path) -> None:
    """`report/benchmark.json` and, where matplotlib is installed, `report/frontier.png`."""
    folder = root / "report"
    folder.mkdir(parents=True, exist_ok=True)
    record = {"methods": [asdict(point) for point in points], "distance": f"{DISTANCE}, kernel distance"}
    write_atomic(folder / "benchmark.json", (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    draw_frontier(points, folder / "frontier.png")


def draw_frontier(points: Sequence[Point], path: Path) -> bool:
    """Bound against use, a panel for each measure of use that there is. False without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return False
    panels = [
        (title, [(point, value) for point in points if (value := getattr(point, key)) is not None])
        for title, key in (
            ("distance to the originals (lower is better)", "distance"),
            ("agreement of labels (higher is better)", "labels"),
        )
    ]
    unmeasured = ("use was not measured", list(zip(points, range(len(points)), strict=True)))
    shown = [panel for panel in panels if panel[1]] or [unmeasured]
    figure = Figure(figsize=(6.4 * len(shown), 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    for place, (title, values) in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), place)
        for point, value in values:
            bound = 1.0 if point.bound is None else point.bound
            colour = {"pass": "#2a7f4f", "fail": "#b3392f"}.get(point.verdict, "#8a8a8a")
            axes.scatter([value], [100 * bound], s=46, c=colour, marker="o" if point.bound is not None else "x")
            axes.annotate(point.method, (value, 100 * bound), xytext=(6, 4), textcoords="offset points", fontsize=9)
        axes.set(xlabel=title, ylabel="worst re-identification bound, %", ylim=(-3, 106))
        axes.margins(x=0.25)
        axes.grid(alpha=0.3)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.png")
    figure.savefig(partial, dpi=130, metadata={"Software": None})
    os.replace(partial, path)
    return True


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
