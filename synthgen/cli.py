"""The command line: verbs only. Each reads its arguments, calls one function and prints what it returns."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from synthgen import console
from synthgen.config import RunConfig, load_yaml, parse_config, set_key
from synthgen.redaction import redacted_streams
from synthgen.remote import local_path
from synthgen.shipped import shipped_folder
from synthgen.types import ConfigError, SynthgenError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""No room left: on the disk, under a quota, for one file; or the disk was set read-only, as kernels do on errors."""
app = typer.Typer(
    help="Replace a real image dataset by a synthetic one: new identities, same layout, same labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
ConfigArgument = Annotated[Path | None, typer.Argument(help="A run's YAML; without it the starter's is used.")]
SourceOption = Annotated[str | None, typer.Option(help="The dataset's folder or URL; overrides source.path.")]
OutOption = Annotated[str | None, typer.Option(help="The run's folder or URL; default runs/<name>-<run id>.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, for example plan.variants=2; repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RunArgument = Annotated[Path, typer.Argument(help="A run's folder.")]


def compose(config: Path | None, source: Path | str | None, assignments: list[str] | None) -> RunConfig:
    """The config of a command line: the file (or the starter's), then --source, then each --set."""
    path = config or shipped_folder("configs") / "starter.yaml"
    value = load_yaml(path)
    if source is not None:
        before = value.get("source")
        value["source"] = {**(before if isinstance(before, dict) else {}), "path": str(source)}
    for assignment in assignments or []:
        value = set_key(value, assignment)
    if "source" not in value:
        raise ConfigError(f"{path}: names no source; give --source DIR or the key source.path")
    return parse_config(value, str(path))


@app.command()
def check(
    config: ConfigArgument = None,
    source: SourceOption = None,
    assignments: SetOption = None,
    offline: Annotated[bool, typer.Option(help="Ask no hub and load no model.")] = False,
    pin: Annotated[
        bool, typer.Option(help="Ask the hub for the commits of unpinned models and write them in.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Resolve a config without running it: its run id, plan, weights and cost."""
    from synthgen.inspect import describe, pin_config

    if pin and config is not None:
        console.say(pin_config(config))
    description = describe(config, source, assignments, offline)
    console.say(json.dumps(description, indent=1) if as_json else console.format_check(description))


@app.command()
def triage(
    source: Annotated[Path, typer.Argument(help="The dataset's folder, any format.")],
    out: Annotated[Path | None, typer.Option(help="A folder for the register, its page and a proposed run.")] = None,
    detect: Annotated[list[str] | None, typer.Option(help="A detector, as under detect of a run; repeatable.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many images.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or mps, for detectors that use it.")] = "cpu",
    workers: Annotated[int, typer.Option(min=1, help="Threads that look side by side.")] = 2,
    as_json: JsonOption = False,
) -> None:
    """Tell who is at risk in a dataset before anything is done to it, and propose a run."""
    from synthgen.triage import run as triaging

    options = triaging.TriageOptions(tuple(detect or ()), limit, device, workers)
    record = triaging.triage(source, out, options, console.note)
    console.say(json.dumps(record) if as_json else triaging.format_triage(record, out))


@app.command()
def run(
    config: ConfigArgument = None,
    source: SourceOption = None,
    out: OutOption = None,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the replacement dataset; the same command again goes on where it stopped."""
    from synthgen.launch import launch, resolve
    from synthgen.ranks import join_ranks

    with join_ranks():
        resolved = resolve(compose(config, source, assignments))
        root = out or Path("runs") / f"{resolved.config.name}-{resolved.run_id}"
        root = local_path(root) or root
        with console.Progress(quiet=as_json) as progress:
            summary = launch(resolved, root, progress.start, progress.advance, console.note)
    if summary is not None:
        console.say(json.dumps(console.summary_record(summary)) if as_json else console.format_summary(summary))


@app.command()
def status(
    run_folder: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder or URL.")],
    as_json: JsonOption = False,
) -> None:
    """How far a run is, how fast, what was rejected why, and what each worker does; also while it is being made."""
    from synthgen.status import format_status, run_status

    record = run_status(run_folder)
    console.say(json.dumps(record) if as_json else format_status(record))


@app.command()
def show(
    run_folder: RunArgument,
    release: Annotated[bool, typer.Option("--release", help="Outputs alone: may be shown to anyone.")] = False,
    rows: Annotated[int, typer.Option(min=1, max=64, help="How many samples.")] = 6,
    out: Annotated[Path | None, typer.Option(help="The PNG to write.")] = None,
) -> None:
    """Draw a contact sheet: source, edges, segmentation, protected maps, output, labels."""
    from synthgen.report.contact_sheet import draw_contact_sheet

    console.say(str(draw_contact_sheet(run_folder, release, rows, out)))


@app.command()
def export(
    run_folder: RunArgument,
    out: Annotated[str, typer.Option(help="Where to write the dataset, a folder or URL; must not exist.")],
    form: Annotated[str | None, typer.Option("--format", help="Another format than the source's.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's replacement dataset to another folder, in the source's layout or another format."""
    from synthgen.convert import format_conversion
    from synthgen.inspect import convert_finished, export_run
    from synthgen.remote import written_place

    with written_place(out) as folder:
        if form is not None:
            conversion = convert_finished(run_folder, form, folder)
            console.say(json.dumps(conversion.record()) if as_json else format_conversion(conversion))
            return
        record: dict[str, Any] = export_run(run_folder, folder)
    console.say(json.dumps(record) if as_json else f"{out}: " + ", ".join(f"{n} {what}" for what, n in record.items()))


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="The dataset's folder, any format.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; new or empty.")],
    form: Annotated[str, typer.Option("--format", help="The format to write.")],
    assignments: Annotated[
        list[str] | None, typer.Option("--set", help="A key of source, for example format=coco; repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a dataset in another format, and list what that format can't hold."""
    from synthgen.convert import convert_folder, format_conversion

    conversion = convert_folder(source, form, out, assignments or [])
    console.say(json.dumps(conversion.record()) if as_json else format_conversion(conversion))


@app.command()
def compare(
    real: Annotated[Path, typer.Argument(help="The real dataset's folder, any format.")],
    synthetic: Annotated[Path, typer.Argument(help="The synthetic dataset's folder, any format.")],
    out: Annotated[Path | None, typer.Option(help="A folder for compare.json, compare.txt and the features.")] = None,
    features: Annotated[str, typer.Option(help="lite0, none, or inception|dinov2|clip:WEIGHTS.")] = "lite0",
    by: Annotated[list[str] | None, typer.Option(help="class, or a column; repeatable.")] = None,
    scene: Annotated[str | None, typer.Option(help="The column that names scenes.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of splits and permutations.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many images of each set.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where features are kept; default OUT/features.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell how far a synthetic dataset is from the real one, beside how far the real one is from itself."""
    from synthgen import compare as comparing

    kept = cache or (out / "features" if out is not None else None)
    options = comparing.CompareOptions(features, tuple(by or ("class",)), seed, limit, scene, kept)
    result = comparing.compare(real, synthetic, options, console.note)
    if out is not None:
        comparing.write_comparison(result, out)
    console.say(json.dumps(result.record()) if as_json else comparing.format_comparison(result))


@app.command()
def drift(
    reference: Annotated[Path, typer.Argument(help="A frozen reference, a run's folder, or a dataset.")],
    new: Annotated[Path | None, typer.Argument(help="The new release: a run's folder, or a dataset.")] = None,
    freeze: Annotated[Path | None, typer.Option(help="Write REFERENCE, measured, to this file; takes no NEW.")] = None,
    features: Annotated[str, typer.Option(help="As compare; default the frozen reference's, or lite0.")] = "",
    scene: Annotated[str | None, typer.Option(help="The column that names scenes.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of permutations.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many images of each set.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Where features are kept.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whether a new release drifted: exit status 0 no, 1 an alarm or revalidate, 3 too little data to tell."""
    from synthgen import drift as drifting
    from synthgen.compare import CompareOptions

    options = CompareOptions(features, (), seed, limit, scene, cache)
    if freeze is not None or new is None:
        record = drifting.freeze(reference, new, freeze, options, console.note)
        console.say(json.dumps(record) if as_json else f"{freeze}: {record['images']} images frozen")
        return
    result = drifting.drift(reference, new, options, console.note)
    console.say(json.dumps(result.record()) if as_json else drifting.format_drift(result))
    raise typer.Exit(result.status)


@app.command()
def bias(
    run_folder: RunArgument,
    config: Annotated[Path | None, typer.Option(help="Attributes, targets, thresholds; see configs/bias.yaml.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell whom a run changed, dropped or spoiled, by group: exit status 1 if a gate fails."""
    from synthgen.bias import measure_run, write_bias
    from synthgen.bias_spec import load_bias_spec
    from synthgen.report.bias_tables import format_bias

    spec = load_bias_spec(config)
    report = measure_run(run_folder, spec, console.note)
    write_bias(run_folder, report, spec.thresholds.min_n)
    console.say(json.dumps(report.record(), ensure_ascii=False) if as_json else format_bias(report))
    raise typer.Exit(int(report.verdict == "fail"))


@app.command()
def report(
    run_folder: RunArgument,
    comparing: Annotated[bool, typer.Option("--compare/--no-compare", help="Release against source.")] = True,
    features: Annotated[str, typer.Option(help="As for compare.")] = "lite0",
    by: Annotated[list[str] | None, typer.Option(help="A column to compare and filter by; repeatable.")] = None,
    gallery: Annotated[int, typer.Option(min=0, max=400, help="Outputs shown at most.")] = 48,
    as_json: JsonOption = False,
) -> None:
    """Write the report: one page and one JSON for everyone who gets the release, and a private edition with sources."""
    from synthgen.report.build import ReportOptions, format_report, write_report

    options = ReportOptions(gallery, tuple(by or ()), features, comparing)
    written = write_report(run_folder, options, console.note)
    console.say(json.dumps(written.record(), ensure_ascii=False) if as_json else format_report(written, run_folder))


@app.command()
def audit(
    run_folder: Annotated[Path | None, typer.Argument(help="A run's folder; or give --real and --synthetic.")] = None,
    real: Annotated[Path | None, typer.Option(help="The originals, any format.")] = None,
    synthetic: Annotated[Path | None, typer.Option(help="The outputs, under the originals' names.")] = None,
    identities: Annotated[Path | None, typer.Option(help="CSV: file, identity, and columns to report apart.")] = None,
    config: Annotated[Path | None, typer.Option(help="The audit's YAML; default configs/audit.yaml.")] = None,
    assignments: SetOption = None,
    out: Annotated[Path | None, typer.Option(help="Where private/ and report/ go; default the run's folder.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Boxes and embeddings, for several audits to share.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Make again, a stage stronger, what fails in a run.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell how many people could still be recognised: exit status 0 pass, 1 fail, 3 too little to tell."""
    from synthgen import audit as auditing
    from synthgen.auditing.report import STATUS, audit_record, format_audit, write_audit
    from synthgen.auditing.spec import load_audit_spec

    spec = load_audit_spec(config, assignments or [])
    root = out or run_folder
    cache = cache or (root and root / "private" / "audit-cache")
    if fix and run_folder is None:
        raise ConfigError("--fix makes outputs of a run again: give the run's folder, not --real and --synthetic")
    if fix and run_folder is not None:
        from synthgen.auditing.mitigation import fix_run

        with console.Progress(quiet=as_json) as bar:
            result = fix_run(run_folder, identities, spec, cache, console.note, bar.start, bar.advance)
    else:
        pairs = auditing.read_pairs(run_folder, real, synthetic, identities, spec)
        result = auditing.audit(pairs, spec, cache, console.note)
    if root is not None:
        write_audit(result, root)
    console.say(json.dumps(audit_record(result)) if as_json else format_audit(result))
    raise typer.Exit(STATUS[result.conclusion.verdict])


@app.command()
def benchmark(
    config: Annotated[Path, typer.Argument(help="A benchmark's YAML; see configs/benchmark.yaml.")],
    out: Annotated[Path, typer.Option(help="Where the runs, audits, table and plot go; the same command goes on.")],
    source: SourceOption = None,
    identities: Annotated[Path | None, typer.Option(help="CSV: file, identity, and columns to report apart.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Put one dataset through several methods, and draw how safe and how useful each is."""
    from synthgen.benchmark import format_benchmark, load_benchmark, run_benchmark

    spec = load_benchmark(config, source, identities)
    with console.Progress(quiet=as_json) as bar:
        points = run_benchmark(spec, out, console.note, bar.start, bar.advance)
    record = {"methods": [vars(point) for point in points]}
    console.say(json.dumps(record) if as_json else format_benchmark(points, out))


@app.command()
def utility(
    config: Annotated[Path, typer.Argument(help="Arms, models, margin; see configs/utility.yaml.")],
    out: Annotated[Path, typer.Option(help="Where trainings and tables go; the same command goes on.")],
    source: SourceOption = None,
    assignments: SetOption = None,
    quick: Annotated[bool, typer.Option("--quick", help="The effort under quick: a first look, no verdict.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Tell what training on a release is worth: exit status 0 pass, 1 fail, 3 too little to tell."""
    from synthgen.utility import report as reporting
    from synthgen.utility.run import measure_utility
    from synthgen.utility.spec import load_utility_spec

    spec = load_utility_spec(config, source, assignments or [])
    spec = spec.quickened() if quick else spec
    with console.Progress(quiet=as_json) as bar:
        measured = measure_utility(spec, out, console.note, bar.start, bar.advance)
    if measured is None:
        return
    found, study = measured
    reporting.write_utility(found, study, spec, out, quick)
    record = reporting.utility_record(found, spec, quick)
    console.say(json.dumps(record, ensure_ascii=False) if as_json else reporting.format_utility(found, spec))
    raise typer.Exit(reporting.STATUS[found.verdict])


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A training's YAML; see configs/train.")],
    assignments: SetOption = None,
) -> None:
    """Train the starter from scratch, or adapt a ControlNet (full or LoRA) to a dataset."""
    from synthgen.training.run import train as run_training

    console.say(str(run_training(config, assignments or [])))


def main() -> None:
    """Run the command line; what a user can mend is one message and exit status 2. No secret is printed."""
    # The libraries' advice on optional packages says nothing about the run.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with redacted_streams():
        try:
            app()
        except SynthgenError as error:
            console.complain(str(error))
            raise SystemExit(2) from None
        except OSError as error:
            if error.errno not in FULL:
                raise
            where = error.filename or "the run folder"
            console.complain(f"{error.strerror}: {where}; make room, the same command goes on")
            raise SystemExit(1) from None
