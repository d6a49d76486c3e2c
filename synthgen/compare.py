"""`synthgen compare REAL SYNTHETIC`: is the one set distributed like the other, and for which classes is it not?

Any two datasets of any format. What is measured and how it is tested stands in metrics/suite.py; here sets are read,
groups are made of columns, and the result becomes a record, a table and a verdict.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from synthgen.component import parse_component
from synthgen.datasets.base import Dataset, resolve_source
from synthgen.embedders.base import Embedder
from synthgen.features import FeatureCache, MeasuredSet, measure_dataset
from synthgen.images import SUFFIXES
from synthgen.metrics.sets import ImageSet, Measurement, Verdict
from synthgen.metrics.suite import MAX_SUBSETS, Settings, measure_sets, overall_verdict
from synthgen.types import ConfigError, Finding

NONE = "none"
MANY_VALUES = 20
"""A column of numbers with more values than this is cut at the real set's quartiles."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class CompareOptions:
    """`features` is `lite0`, `none`, or `inception:REF`, `dinov2:REF`, `clip:REF` with a weights reference.

    `by` names what to look at apart: `class`, or a column. `limit` images of each set at most. `scene` is the column
    that names scenes. `cache` is the folder of features (None: kept in memory).
    """

    features: str = "lite0"
    by: tuple[str, ...] = ("class",)
    seed: int = 0
    limit: int | None = None
    scene: str | None = None
    cache: Path | None = None
    level: float = 0.02
    permutations: int = 999


@dataclass(frozen=True)
class Comparison:
    """`sets` says of `real` and `synthetic` what was read; `names` is the title of each metric on these features."""

    verdict: Verdict
    sets: Mapping[str, Mapping[str, Any]]
    features: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...]
    names: Mapping[str, str]
    settings: Settings

    @property
    def flags(self) -> list[Measurement]:
        """What failed."""
        return [one for one in self.measurements if one.verdict == "fail"]

    def record(self) -> dict[str, Any]:
        """JSON-able values; a number that does not exist is null, never NaN."""
        return {
            "verdict": self.verdict,
            "flags": [
                {"metric": one.metric, "subset": one.subset, "p": one.p, "level": one.level} for one in self.flags
            ],
            "sets": self.sets,
            "features": self.features,
            "settings": asdict(self.settings),
            "findings": [asdict(one) for one in self.findings],
            "measurements": [{"title": self.names[one.metric], **asdict(one)} for one in self.measurements],
        }


def compare(
    real: Path | Dataset, synthetic: Path | Dataset, options: CompareOptions, say: Say = lambda _: None
) -> Comparison:
    """Measure and test two datasets.

    Args:
        say: hears what is done, one line at a time.

    Raises:
        ConfigError: a folder is no dataset, weights are missing, a column of `by` or `scene` is in no image.
    """
    embedder = parse_features(options.features)
    cache = None if embedder is None else FeatureCache(options.cache, embedder.digest())
    measured = {
        name: measure_source(source, name, embedder, cache, options, say)
        for name, source in (("real", real), ("synthetic", synthetic))
    }
    settings = Settings(seed=options.seed, level=options.level, permutations=options.permutations, by=options.by)
    alike = with_like_scenes(measured)
    one, two = with_groups(alike["real"], alike["synthetic"], options.by)
    found = measure_sets(one, two, settings, lambda subset: say(f"measuring {subset}"))
    return Comparison(
        overall_verdict(found),
        {name: _summary(part) for name, part in alike.items()},
        feature_record(options.features, embedder),
        tuple(found),
        tuple(_findings(measured, alike, found)),
        metric_names(embedder),
        settings,
    )


def measure_source(
    source: Path | Dataset,
    name: str,
    embedder: Embedder | None,
    cache: FeatureCache | None,
    options: CompareOptions,
    say: Say = lambda _: None,
) -> MeasuredSet:
    """The measured form of a dataset; of no images where the folder holds none.

    Args:
        name: what messages call it.
        cache: of `embedder`; None where that is None.

    Raises:
        ConfigError: the folder is no dataset, weights are missing, no image has `options.scene`.
    """
    dataset = _open(source, name)
    if dataset is None:
        return MeasuredSet(ImageSet(np.zeros(0, dtype=np.int64)), {}, 0, "image", False, (), ())
    device = _device() if embedder else "cpu"
    tell = _teller(name, say)
    return measure_dataset(dataset, embedder, cache, options.limit, options.seed, options.scene, device, tell)


def parse_features(text: str) -> Embedder | None:
    """The embedder behind `--features`: `none`, a kind, or `kind:weights reference`.

    Raises:
        ConfigError: no such kind, or a kind that needs a reference without one.
    """
    if text == NONE:
        return None
    kind, _, ref = text.partition(":")
    try:
        embedder = parse_component("embedders", {"kind": kind, **({"model": ref} if ref else {})})
    except ValueError as error:
        form = "expected none, lite0, or clip:REF, dinov2:REF, inception:REF (REF: a folder, or org/name@<commit>)"
        raise ConfigError(f"--features {text}: {form}: {error}") from error
    assert isinstance(embedder, Embedder)
    return embedder


def metric_names(embedder: Embedder | None) -> dict[str, str]:
    """What each metric is called on these features; FID and CMMD are names of certain features alone."""
    title = embedder.title if embedder else ""
    frechet = embedder.frechet_name if embedder else ""
    mmd = embedder.mmd_name if embedder else ""
    return {
        "frechet": frechet if frechet == "FID" else f"{frechet} ({title})",
        "kid": "KID" if frechet == "FID" else f"kernel distance, KID's ({title})",
        "gaussian_mmd": mmd if mmd == "CMMD" else f"{mmd}, CMMD's ({title})",
        "precision": "precision",
        "coverage": "coverage",
        "vendi": "Vendi score",
        "classifier": "classifier AUC",
        "duplicates": "repeated images",
        "modes": "shrunken mode (SE)",
        "lab_histogram": "Lab colours (W1)",
        "luminance": "luminance L* (W1)",
        "edge_density": "edge density (W1)",
        "spectral_slope": "spectral slope (W1)",
        "object_count": "objects an image (W1)",
        "object_size": "object sizes (JS)",
        "object_position": "object places (JS)",
        "class_shares": "classes (Cramér's V)",
        "lost_classes": "lost classes",
    }


def with_groups(real: MeasuredSet, synthetic: MeasuredSet, by: tuple[str, ...]) -> tuple[ImageSet, ImageSet]:
    """The two sets with the columns of `by` as text; numbers of many values become quarters of the real set.

    Raises:
        ConfigError: a column that no image of either set has.
    """
    columns: tuple[dict[str, tuple[str | None, ...]], dict[str, tuple[str | None, ...]]] = ({}, {})
    for column in (name for name in by if name != "class"):
        values = [[row.get(column) for row in part.attributes] for part in (real, synthetic)]
        if any(values) and not any(value is not None for part in values for value in part):
            there = sorted({name for part in (real, synthetic) for row in part.attributes for name in row})
            raise ConfigError(f"--by {column}: no image has that column; there are: class, {', '.join(there)}")
        cuts = _quartiles(values[0])
        for position in (0, 1):
            columns[position][column] = tuple(_as_group(value, cuts) for value in values[position])
    return replace(real.images, groups=columns[0]), replace(synthetic.images, groups=columns[1])


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _quartiles(values: list[Any]) -> np.ndarray | None:
    numbers = [_number(value) for value in values if value not in (None, "")]
    known = [number for number in numbers if number is not None and np.isfinite(number)]
    if len(known) < len(numbers) or len(set(known)) <= MANY_VALUES:
        return None
    return np.quantile(known, [0.25, 0.5, 0.75])


def _as_group(value: Any, cuts: np.ndarray | None) -> str | None:
    if value in (None, ""):
        return None
    if cuts is None:
        return str(value)
    number = _number(value)
    if number is None or not np.isfinite(number):
        return None
    names = (f"≤{cuts[0]:g}", f"{cuts[0]:g}..{cuts[1]:g}", f"{cuts[1]:g}..{cuts[2]:g}", f">{cuts[2]:g}")
    return names[int(np.searchsorted(cuts, number))]


def _open(source: Path | Dataset, name: str) -> Dataset | None:
    """The dataset; None for a folder that exists and holds no image: n = 0 is a result, not an error."""
    if isinstance(source, Dataset):
        return source
    if source.is_dir() and not any(path.suffix.lower() in SUFFIXES for path in source.rglob("*")):
        return None
    try:
        return resolve_source(source)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _summary(part: MeasuredSet) -> dict[str, Any]:
    return {
        "images": len(part.images),
        "skipped": dict(part.skipped),
        "scenes": part.scenes,
        "scene_rule": part.scene_rule,
        "units": len(np.unique(part.images.units)),
    }


def feature_record(text: str, embedder: Embedder | None) -> dict[str, Any]:
    """What a report says of the features; `text` is the value of --features."""
    if embedder is None:
        return {"kind": NONE}
    return {"kind": embedder.kind, "title": embedder.title, "ref": text, "digest": embedder.digest()}


def _teller(name: str, say: Say) -> Callable[[int, int], None]:
    """Tell of every hundredth image and the last."""

    def tell(done: int, total: int) -> None:
        if done % 100 == 0 or done == total:
            say(f"{name}: {done} of {total} images")

    return tell


def with_like_scenes(measured: Mapping[str, MeasuredSet]) -> Mapping[str, MeasuredSet]:
    """Both sets in scenes, or, where only one tells its scenes (a release under new names), both in single images.

    Scenes of one set can't be exchanged for single images of the other: that would be worse than taking frames of a
    scene as independent, which the report says.
    """
    if len({part.scene_rule for part in measured.values() if len(part.images)}) < 2:
        return measured
    return {
        name: replace(part, cut=False, images=replace(part.images, units=np.arange(len(part.images), dtype=np.int64)))
        for name, part in measured.items()
    }


def _findings(
    measured: Mapping[str, MeasuredSet], alike: Mapping[str, MeasuredSet], found: list[Measurement]
) -> Iterator[Finding]:
    for name, part in alike.items():
        for code, count in part.skipped.items():
            yield Finding(code, name, f"{count} image(s) could not be read and are not compared")
        if part.cut:
            yield Finding(
                "few-scenes",
                name,
                f"{part.scenes} scene(s): cut into {len(np.unique(part.images.units))} stretches, which are alike; "
                "p values and intervals are too optimistic and the real-real column too favourable",
            )
    originals = set(measured["real"].digests)
    if copies := sum(digest in originals for digest in measured["synthetic"].digests):
        message = f"{copies} of {len(measured['synthetic'].digests)} files equal a real one byte for byte"
        yield Finding("verbatim-copies", "synthetic", message)
    rules = {name: part.scene_rule for name, part in measured.items() if len(part.images)}
    if len(set(rules.values())) > 1:
        text = ", ".join(f"{name} by {rule}" for name, rule in rules.items())
        message = f"scenes are told unlike ({text}), so images count as independent: p values are too optimistic"
        yield Finding("scenes-unlike", "both", f"{message}; name a column of both as --scene")
    if len({one.subset for one in found}) > MAX_SUBSETS:
        yield Finding("many-subsets", "both", f"only the first {MAX_SUBSETS} classes and groups were measured")


def write_comparison(comparison: Comparison, out: Path) -> None:
    """Write `compare.json` and `compare.txt` into the folder `out`.

    Raises:
        ConfigError: it can't be written.
    """
    texts = {
        "compare.json": json.dumps(comparison.record(), indent=1, allow_nan=False, ensure_ascii=False) + "\n",
        "compare.txt": format_comparison(comparison) + "\n",
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            partial = out / f".{name}.{os.getpid()}"
            partial.write_text(text, encoding="utf-8")
            os.replace(partial, out / name)
    except OSError as error:
        raise ConfigError(f"--out {out}: can't be written: {error}") from error


def format_comparison(comparison: Comparison) -> str:
    """A plain text table: the whole sets first, then classes and groups that failed, then what the reader must know."""
    sizes = comparison.sets
    lines = [
        f"verdict  {comparison.verdict}   ({sizes['real']['images']} real, {sizes['synthetic']['images']} synthetic "
        f"images; {sizes['real']['scenes']} and {sizes['synthetic']['scenes']} scenes)"
    ]
    lines += [f"  ! {one.subject}: {one.message} ({one.code})" for one in comparison.findings]
    header = ("metric", "synthetic-real", "real-real", "95 % interval", "p", "level", "verdict")
    whole = [one for one in comparison.measurements if one.subset == "all"]
    lines += ["", *format_table([header, *(_cells(comparison, one) for one in whole)])]
    frechet = next((one for one in whole if one.metric == "frechet" and one.value is not None), None)
    if frechet:
        lines.append(
            f"  extrapolated to infinite size {format_number(frechet.details['fd_infinity'])} "
            f"(real-real {format_number(frechet.details['fd_infinity_floor'])}); "
            f"synthetic-real at the size of real-real {format_number(frechet.matched)}"
        )
    for one in whole:
        if one.details.get("lost"):
            lines.append(f"  {comparison.names[one.metric]}: lost {', '.join(one.details['lost'])}")
    parts = [one for one in comparison.measurements if one.subset != "all"]
    if parts:
        counts = {name: sum(one.verdict == name for one in parts) for name in ("pass", "fail", "insufficient")}
        lines += ["", "classes and groups: " + ", ".join(f"{count} {name}" for name, count in counts.items())]
        failed = [(one.subset, *_cells(comparison, one)) for one in parts if one.verdict == "fail"]
        if failed:
            lines += format_table([("subset", *header), *failed])
    return "\n".join(lines)


def _cells(comparison: Comparison, one: Measurement) -> tuple[str, ...]:
    interval = "" if one.interval is None else f"{format_number(one.interval[0])} .. {format_number(one.interval[1])}"
    mark = "*" if one.interval is not None and one.interval_of != "value" else ""
    verdict = f"{one.verdict}: {one.reason}" if one.reason else one.verdict
    title = comparison.names[one.metric]
    return (
        title,
        format_number(one.value),
        format_number(one.floor),
        interval + mark,
        format_number(one.p),
        format_number(one.level),
        verdict,
    )


def format_number(value: float | None) -> str:
    """Four digits; a dash for none."""
    return "–" if value is None else f"{value:.4g}"


def format_table(rows: list[tuple[str, ...]]) -> list[str]:
    """The lines of a table whose columns are as wide as their widest cell."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
