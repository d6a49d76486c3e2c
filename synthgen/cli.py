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
from synthgen.shipped import shipped_folder
from synthgen.types import ConfigError, SynthgenError

app = typer.Typer(
    help="Replace a real image dataset by a synthetic one: new identities, same layout, same labels.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
ConfigArgument = Annotated[Path | None, typer.Argument(help="A run's YAML; without it the starter's is used.")]
SourceOption = Annotated[Path | None, typer.Option(help="The dataset's folder; overrides source.path.")]
OutOption = Annotated[Path | None, typer.Option(help="The run's folder; default runs/<name>-<run id>.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="key=value, for example plan.variants=2; repeatable.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
RunArgument = Annotated[Path, typer.Argument(help="A run's folder.")]


def compose(config: Path | None, source: Path | None, assignments: list[str] | None) -> RunConfig:
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
def run(
    config: ConfigArgument = None,
    source: SourceOption = None,
    out: OutOption = None,
    assignments: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the replacement dataset; the same command again goes on where it stopped."""
    from synthgen.launch import launch, resolve

    resolved = resolve(compose(config, source, assignments))
    root = out or Path("runs") / f"{resolved.config.name}-{resolved.run_id}"
    with console.Progress(quiet=as_json) as progress:
        summary = launch(resolved, root, progress.start, progress.advance)
    if summary is not None:
        console.say(json.dumps(console.summary_record(summary)) if as_json else console.format_summary(summary))


@app.command()
def status(run_folder: RunArgument, as_json: JsonOption = False) -> None:
    """How far a run is, and what was rejected why."""
    from synthgen.inspect import run_status

    record = run_status(run_folder)
    console.say(json.dumps(record) if as_json else console.format_status(record))


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
    out: Annotated[Path, typer.Option(help="Where to write the dataset; must not exist.")],
    as_json: JsonOption = False,
) -> None:
    """Write a run's replacement dataset to another folder."""
    from synthgen.inspect import export_run

    record: dict[str, Any] = export_run(run_folder, out)
    console.say(json.dumps(record) if as_json else f"{out}: " + ", ".join(f"{n} {what}" for what, n in record.items()))


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
def train(
    config: Annotated[Path, typer.Argument(help="A training's YAML; see configs/train.")],
    assignments: SetOption = None,
) -> None:
    """Train the starter from scratch, or adapt a ControlNet (full or LoRA) to a dataset."""
    from synthgen.training.run import train as run_training

    console.say(str(run_training(config, assignments or [])))


def main() -> None:
    """Run the command line; what a user can mend is one message and exit status 2."""
    # The libraries' advice on optional packages says nothing about the run.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        app()
    except SynthgenError as error:
        console.complain(str(error))
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
            raise
        console.complain(f"{error.strerror}: {error.filename or 'the run folder'}; make room, the same command goes on")
        raise SystemExit(1) from None
