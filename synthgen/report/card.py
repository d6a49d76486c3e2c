"""The dataset card of a release: `README.md` with the front matter of the Hugging Face hub, then plain text.

It says what everyone who gets the release should know, and is written again when a report knows more. No date and no
file name stands in it, so the same run gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from synthgen.report import statements
from synthgen.report.made import public_reference
from synthgen.report.release_facts import ReleaseFacts

SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
)
MAX_CLASSES = 100
DPIA = (
    ("(a) the processing and its purposes", "*How it was made* and *Uses*"),
    ("(b) necessity and proportionality", "*How it was made*: what was protected and how strongly; for you to judge"),
    ("(c) risks to rights and freedoms", "*What was measured*, *People* and *Limits*; the audit's table of attacks"),
    ("(d) measures", "*How it was made*; the rejected outputs; what is kept apart and never released"),
)


def render_card(facts: ReleaseFacts, croissant: str) -> str:
    """The whole text of the card; `croissant` is the name of the Croissant file beside it."""
    sections = (
        ("", _opening(facts)),
        ("Artificial content", [statements.marking(facts)]),
        ("How it was made", _making(facts)),
        ("What was asked for", _asked(facts)),
        ("What was measured", _measured(facts)),
        ("People", [statements.personal_information(facts)]),
        ("Biases", [statements.biases(facts)]),
        ("Limits", [f"- {line}" for line in statements.limitations(facts)]),
        ("Uses", [f"- {line}" for line in statements.uses(facts)]),
        ("Licence", _licence(facts)),
        ("Data protection impact assessment", _dpia()),
        ("Citation", _citation(facts)),
    )
    body = "\n\n".join(
        "\n".join([*([f"## {title}", ""] if title else []), *lines]) for title, lines in sections if lines
    )
    return f"---\n{front_matter(facts)}\n---\n\n# {facts.title}\n\n{body}\n\nMachine-readable: `{croissant}`.\n"


def front_matter(facts: ReleaseFacts) -> str:
    """The YAML that the hub reads, without its fences."""
    from huggingface_hub import DatasetCardData

    card = facts.config.card
    licence = card.license or "unknown"
    address = "://" in licence
    kind = "synthetic" if facts.whole else "partly-synthetic"
    linked: dict[str, Any] = {"license_name": "see-link", "license_link": licence} if address else {}
    data = DatasetCardData(
        license="other" if address else licence,
        annotations_creators=["machine-generated"] if facts.tasks else ["no-annotation"],
        source_datasets=["extended"],
        task_categories=list(facts.tasks) or None,
        size_categories=[size_category(len(facts.items))],
        pretty_name=facts.title,
        tags=["synthgen", kind, "privacy", statements.digital_source(facts)],
        **linked,
    )
    return data.to_yaml(line_break="\n").strip()


def size_category(images: int) -> str:
    """The hub's word for a number of images."""
    return next((name for limit, name in SIZES if images < limit), "n>1T" if images >= 10**12 else "1B<n<10B")


def _opening(facts: ReleaseFacts) -> list[str]:
    lines = [statements.summary(facts), "", *_table(("", ""), _shape(facts))]
    return lines


def _shape(facts: ReleaseFacts) -> Iterable[tuple[str, str]]:
    yield "images", str(len(facts.items))
    if facts.splits:
        yield "splits", ", ".join(f"{name} {count}" for name, count in facts.splits.items())
    if facts.classes:
        more = f" and {len(facts.classes) - MAX_CLASSES} more" if len(facts.classes) > MAX_CLASSES else ""
        yield f"classes ({len(facts.classes)})", ", ".join(facts.classes[:MAX_CLASSES]) + more
    yield "layout", f"as format `{facts.config.source.format}`"


def _making(facts: ReleaseFacts) -> list[str]:
    lines = [*_table(("step", "how"), facts.made), "", statements.annotation(facts)]
    models = [
        (f"`{public_reference(model.name)}`", f"`{model.digest[:16]}`", model.licence or "not stated")
        for model in facts.provenance.models
    ]
    if models:
        lines += ["", *_table(("weights", "digest or commit", "licence of the weights"), models)]
    return lines


def _asked(facts: ReleaseFacts) -> list[str]:
    """Shares asked for against shares released."""
    lines: list[str] = []
    for name, shares in facts.targets.items():
        rows = [(share.level, f"{share.asked:.1%}", f"{share.released:.1%}") for share in shares]
        distance = sum(abs(share.asked - share.released) for share in shares) / 2
        text = f"Total variation {distance:.3f}."
        lines += [*([""] if lines else []), *_table((name, "asked for", "released"), rows), "", text]
    return lines or ["No shares of any factor were asked for."]


def _measured(facts: ReleaseFacts) -> list[str]:
    rejected = sum(facts.quarantined.values())
    lines = [f"{facts.accepted} outputs were accepted, {rejected} rejected and not released."]
    if facts.quarantined:
        lines += ["", *_table(("rejected for", "outputs"), [(name, str(n)) for name, n in facts.quarantined.items()])]
    if facts.measured:
        rows = [(name.replace("_", " "), f"{mean:.4g}", f"{sd:.4g}") for name, (mean, sd) in facts.measured.items()]
        lines += ["", *_table(("measured on the outputs", "mean", "standard deviation"), rows)]
    if facts.answers:
        rows = [(answer.title, answer.state, answer.summary) for answer in facts.answers]
        return [*lines, "", *_table(("question", "verdict", "why"), rows)]
    text = "Privacy, labels, distribution, bias and utility have not been reported on: nothing is proven of them."
    return [*lines, "", text]


def _licence(facts: ReleaseFacts) -> list[str]:
    stated = facts.config.card.license
    text = f"The release is under {stated}." if stated else "No licence of the release was stated: ask its owner."
    return [
        f"{text} The terms of the source dataset and of the weights named above may bind it as well; some licences of "
        "weights restrict what outputs may be used for."
    ]


def _dpia() -> list[str]:
    text = "Where this card helps with the headings of GDPR Art. 35(7):"
    return [text, "", *_table(("heading", "see"), DPIA)]


def _citation(facts: ReleaseFacts) -> list[str]:
    card = facts.config.card
    rows = [("made by", card.creator), ("published", card.published and card.published.isoformat()), ("page", card.url)]
    lines = [f"- {name}: {value}" for name, value in rows if value]
    return [*lines, *(["", "```", card.citation.strip(), "```"] if card.citation else [])]


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """A Markdown table; what would break a cell is escaped."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for row in rows:
        cells = (" ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;") for cell in row)
        lines.append(f"| {' | '.join(cells)} |")
    return lines
