"""The answer as JSON, as text, and in the runs that it speaks of.

What lies in a run's `report/` may be read by everyone who gets the release: it names arms, models, classes and numbers,
no path, no picture and no source.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from synthgen.rundir import RunDir
from synthgen.shards import write_atomic
from synthgen.utility.bootstrap import Interval
from synthgen.utility.result import Outcome, Utility
from synthgen.utility.spec import REAL, UtilitySpec
from synthgen.utility.study import Study

STATUS = {"pass": 0, "fail": 1, "insufficient": 3}
"""Exit status of each verdict."""
WIDTH = 150


def utility_record(found: Utility, spec: UtilitySpec, quick: bool) -> dict[str, Any]:
    """JSON-able values that name no path; a number that does not exist is null.

    `rules`: what was fixed beforehand, with the digest of the whole spec. Else the fields of `Utility`.
    """
    rules = spec.model_dump(
        mode="json",
        include={"margin", "confidence", "bootstraps", "min_scenes", "steps", "batch_size", "variants", "size"},
    )
    models = {one.name: {"task": one.task, "kind": one.kind, "architecture": one.title} for one in spec.models}
    return {
        **_plain(asdict(found)),
        "rules": {**rules, "seeds": list(spec.seeds), "spec": spec.digest()},
        "models": models,
        "made": {
            "command": f"synthgen utility CONFIG{' --quick' if quick else ''}",
            **{name: version(name) for name in ("torch", "transformers", "opencv-python-headless")},
        },
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_utility(found: Utility, study: Study, spec: UtilitySpec, root: Path, quick: bool) -> None:
    """`report/utility.json` and `.txt` below `root`; the same JSON in every run that is an arm, for its report.

    With `quick` they are called `utility-quick`, and a run that has a whole table keeps it.
    """
    record = utility_record(found, spec, quick)
    text = format_utility(found, spec)
    stem = "utility-quick" if quick else "utility"
    _write_json(record, root / "report" / f"{stem}.json")
    write_atomic(root / "report" / f"{stem}.txt", (text + "\n").encode())
    written = set()
    for name, arm in study.arms.items():
        if arm.run is not None and arm.run.root not in written and not (quick and has_whole_table(arm.run)):
            written.add(arm.run.root)
            own = record | {"arm": name}
            # The digest of the spec would confirm a guessed source, whose path it hashes.
            rules = {key: value for key, value in record["rules"].items() if key != "spec"}
            _write_json(own | {"rules": rules}, arm.run.report / "utility.json")
            _write_json(own | {"run": {"run_id": arm.run.run_id()}}, arm.run.private / "utility.json")


def has_whole_table(run: RunDir) -> bool:
    """Whether a run keeps a table that is not of `--quick`."""
    path = run.private / "utility.json"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return "--quick" not in json.loads(path.read_bytes())["made"]["command"]
    return False


def _write_json(record: dict[str, Any], path: Path) -> None:
    write_atomic(path, (json.dumps(record, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())


def format_utility(found: Utility, spec: UtilitySpec) -> str:
    """Tables: arms by model, classes, mixtures, ignored labels, cross tests; then the verdict."""
    drawn = StringIO()
    console = Console(file=drawn, width=WIDTH, no_color=True)
    for table in (_arms(found), *_classes(found), _mixtures(found), _filters(found), _cross(found)):
        if table.row_count:
            console.print(table)
    cut = f", cut into {found.units} stretches, so intervals are too narrow" if found.cut else ""
    lines = [
        f"trained on {found.trained_on} pictures in {spec.steps} steps of {spec.batch_size}, {len(spec.seeds)} "
        f"seed(s); tested on {found.tested_on} real pictures of {found.scenes} scenes (by {found.scene_rule}){cut}",
        *([f"{found.known} of these are of scenes that are trained on as well"] if found.known else []),
        *(f"{name}: has no output of {count} training pictures" for name, count in found.lacking.items() if count),
        *(f"not read: {count} × {code}" for code, count in found.unread.items()),
        *(f"{one.arm}: {one.verdict}: {one.reason}" for one in found.arms),
        f"verdict {found.verdict} (margin {spec.margin:g}; decided by {', '.join(found.decides)})",
    ]
    return drawn.getvalue() + "\n".join(lines)


def shown(one: Interval, signed: bool = False) -> str:
    """`0.482 [0.461, 0.503]`; – where there is none."""
    if one.value is None:
        return "–"
    form = "+.3f" if signed else ".3f"
    bounds = "" if one.low is None or one.high is None else f" [{one.low:{form}}, {one.high:{form}}]"
    return f"{one.value:{form}}{bounds}"


def _table(title: str, head: Sequence[str]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for place, name in enumerate(head):
        table.add_column(name, overflow="fold", justify="left" if place < 2 else "right")
    return table


def _arms(found: Utility) -> Table:
    head = ("model", "trained on", "metric", "score on real", "− real", "÷ real", "ECE", "verdict")
    table = _table("Trained on it, tested on real", head)
    for one in found.outcomes:
        bare = one.arm == REAL
        cells = ("–", "–") if bare else (shown(one.difference, True), shown(one.ratio))
        error = "–" if one.calibration_error.value is None else f"{one.calibration_error.value:.3f}"
        table.add_row(one.model, one.arm, one.metric, shown(one.score), *cells, error, "–" if bare else one.verdict)
    return table


def _classes(found: Utility) -> list[Table]:
    tables = []
    for model in dict.fromkeys(one.model for one in found.outcomes):
        own = [one for one in found.outcomes if one.model == model and one.share in (0.0, 1.0)]
        names = [one.name for one in own[0].classes if one.score.value is not None]
        table = _table(
            f"By class: {model}, {own[0].metric.removeprefix('mean ')}", ("class", *(one.arm for one in own))
        )
        for name in names:
            table.add_row(name, *(_of_class(one, name) for one in own))
        tables.append(table)
    return tables


def _of_class(outcome: Outcome, name: str) -> str:
    one = next(item for item in outcome.classes if item.name == name)
    if outcome.arm == REAL or one.score.value is None:
        return shown(Interval(one.score.value, None, None))
    return f"{one.score.value:.3f} ({shown(one.difference, True)})"


def _mixtures(found: Utility) -> Table:
    table = _table(
        "Mixtures: score on real by the share that is not", ("model", "of", "scores", "best", "in replicates")
    )
    for one in found.mixtures:
        pairs = zip(one.shares, one.scores, strict=True)
        scores = "  ".join(f"{share:.0%} {'–' if got.value is None else f'{got.value:.3f}'}" for share, got in pairs)
        table.add_row(one.model, one.of, scores, f"{one.best:.0%}", f"{one.support:.0%}")
    return table


def _filters(found: Utility) -> Table:
    table = _table("Labels set to ignore, against the same outputs with all labels", ("model", "arms", "metric", "−"))
    for one in found.filters:
        table.add_row(one.model, f"{one.arm} − {one.kept}", one.metric, shown(one.difference, True))
    return table


def _cross(found: Utility) -> Table:
    head = ("model", "trained on", "tested on", "score there", "− on real, same scenes", "accuracy − on real")
    table = _table("Tested on outputs: how far their cues are trusted", head)
    for one in found.cross:
        gaps = (shown(one.gap, True), shown(one.accuracy_gap, True))
        table.add_row(one.model, one.arm, one.tested, shown(one.score), *gaps)
    return table
