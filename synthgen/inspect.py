"""Looking at configs and runs without running anything: what `check` and `export` print."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from synthgen.cli import compose
from synthgen.config import RunConfig, dump_config
from synthgen.convert import Conversion, convert_run
from synthgen.factors import Range
from synthgen.launch import resolve, select_items
from synthgen.plan import Plan
from synthgen.report.documents import write_documents
from synthgen.rundir import RunDir, open_run
from synthgen.types import ConfigError, Finding
from synthgen.weights import describe_weights, pin_reference, resolve_weights, verify_reference

SHOWN = 3
"""Findings of one code that `check` names."""
NO_SOURCE = "source={format: imagefolder, path: no-source-named}"


def describe(
    config: Path | None, source: Path | str | None, assignments: list[str] | None, offline: bool
) -> dict[str, Any]:
    """Everything that `synthgen check` tells about a config.

    With `offline` no hub is asked, no weights are opened, and a source that is not there is only told.

    Raises:
        ConfigError: the config can't run.
    """
    named = True
    try:
        resolved_config = compose(config, source, assignments)
    except ConfigError as error:
        if not offline or "names no source" not in str(error):
            raise
        named = False
        resolved_config = compose(config, source, [NO_SOURCE, *(assignments or [])])
    weights = [_weights_record(ref, offline) for ref in weight_references(resolved_config)]
    there = named and resolved_config.source.path.is_dir()
    if not there and not offline:
        raise ConfigError(f"source.path: no folder {resolved_config.source.path}")
    usable = there and not any(record["problem"] for record in weights)
    resolved = resolve(resolved_config) if usable else None
    count = None if resolved is None else resolved.outputs
    return {
        "config": dump_config(resolved_config),
        "run_id": None if resolved is None else resolved.run_id,
        "source": _source_record(resolved_config, named, there, resolved),
        "weights": weights,
        "stages": [stage.describe() for stage in resolved_config.resolved_stages],
        "plan": _plan_lines(Plan(resolved_config.plan, resolved_config.seed), count)
        if resolved_config.generate.paints
        else ["no prompts: the generator is none"],
        "cost": _cost(resolved_config, count),
    }


def weight_references(config: RunConfig) -> list[str]:
    """Every hub id or folder that the run loads, once, in order."""
    components = [*config.detect, *config.extract, config.generate, *config.check]
    return list(dict.fromkeys(ref for spec in components for ref in spec.weights()))


def _weights_record(ref: str, offline: bool) -> dict[str, Any]:
    try:
        verify_reference(ref)
    except ConfigError as error:
        return {"ref": ref, "state": f"unusable: {error}", "digest": None, "licence": None, "problem": True}
    if offline and "@" in ref:
        return {"ref": ref, "state": "pinned", "digest": ref.partition("@")[2], "licence": None, "problem": False}
    resolve_weights(ref)
    info = describe_weights(ref)
    return {
        "ref": ref,
        "state": f"sha256 {info.digest[:16]}",
        "digest": info.digest,
        "licence": info.licence,
        "problem": False,
    }


def _source_record(config: RunConfig, named: bool, there: bool, resolved: Any) -> dict[str, Any]:
    if not named:
        return {"text": "(none named; give --source DIR)", "findings": []}
    if not there:
        return {"text": f"{config.source.path} (not there)", "findings": []}
    if resolved is None:
        return {"text": f"{config.source.path} (format {config.source.format})", "findings": []}
    text = f"{config.source.path} (format {config.source.format}): {len(resolved.items)} images"
    return {"text": text, "findings": _finding_lines(resolved.index.findings)}


def _finding_lines(findings: Sequence[Finding]) -> list[str]:
    """One line a code: how often, and the first few with what they say."""
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append(finding)
    lines = []
    for code, found in sorted(by_code.items()):
        shown = "; ".join(f"{finding.subject}: {finding.message}" for finding in found[:SHOWN])
        more = f"; and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        lines.append(f"{len(found)} × {code} ({shown}{more})")
    return lines


def _plan_lines(plan: Plan, count: int | None) -> list[str]:
    lines = [f"prompts {plan.spec.prompts}: {plan.file.template}"]
    for name, factor in plan.file.factors.items():
        fixed = f" (fixed at {plan.spec.fix[name]})" if name in plan.spec.fix else ""
        if isinstance(factor, Range):
            lines.append(f"factor {name}: {factor.low:g} to {factor.high:g}{fixed}")
            continue
        total = sum(level.share for level in factor.values())
        shares = ", ".join(f"{level} {spec.share / total:.0%}" for level, spec in factor.items())
        lines.append(f"factor {name}: {shares}{fixed}")
    for target in plan.targets:
        shares = ", ".join(f"{'/'.join(levels)} {share:.1%}" for levels, share in target.shares.items() if share)
        lines.append(f"target {target.name}: {shares} (released within {plan.spec.tolerance:g} total variation)")
    variants = f"variants {plan.spec.variants}"
    if plan.spec.hardness is not None:
        variants += f" to {plan.spec.hardness.cap}, more of hard masks"
    lines.append(variants + ("" if count is None else f" → {count} outputs"))
    return lines


def _cost(config: RunConfig, count: int | None) -> str:
    tries = f"{config.attempts} attempts an output"
    tries += f" in each of {len(config.stages)} stages" if config.stages else ""
    if not config.generate.paints:
        return "nothing is painted: detection, the classic methods and the checks alone"
    steps = getattr(config.generate, "steps", 0)
    batch = config.generate.batch_size
    if count is None:
        return f"{steps} denoising steps an output, in batches of {batch}"
    batches = -(-count // batch)
    return f"{count} outputs × {steps} steps = {batches} batches or more; at most {tries}"


def pin_config(path: Path) -> str:
    """Write the hub's present commits into a config wherever a model is not pinned; comments stay.

    Raises:
        ConfigError: the hub can't be asked.
    """
    config = compose(path, None, [NO_SOURCE])
    text = path.read_text(encoding="utf-8")
    pinned = 0
    for ref in weight_references(config):
        try:
            verify_reference(ref)
        except ConfigError:
            text = text.replace(ref, pin_reference(ref))
            pinned += 1
    path.write_text(text, encoding="utf-8")
    return f"{path}: {pinned} reference(s) pinned"


def export_run(path: Path, out: Path) -> dict[str, int]:
    """Write the replacement dataset of a run to a new folder `out`.

    Raises:
        SynthgenError: no run there, shards missing, or `out` exists.
    """
    run = _finished(path)
    if out.exists():
        raise ConfigError(f"{out}: exists already; choose a folder that does not")
    config = run.config()
    items = {item.id: item for item in select_items(config.source)[1]}
    out.parent.mkdir(parents=True, exist_ok=True)
    return run.export(config.source, items, out, run.names(config), partial(write_documents, run))


def convert_finished(path: Path, name: str, out: Path) -> Conversion:
    """As `export_run`, in format `name`.

    Raises:
        SynthgenError: as `export_run`, an unknown format, or one that can't hold the classes.
    """
    return convert_run(_finished(path), name, out)


def _finished(path: Path) -> RunDir:
    run = open_run(path)
    left = run.store.pending()
    if left:
        raise ConfigError(f"{path}: {len(left)} shard(s) are not done; run it to the end first")
    return run
