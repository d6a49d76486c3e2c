"""What a config names, looked up and digested before work starts: source, plan, weights, and the run's id."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass

from synthgen.config import RunConfig, run_id
from synthgen.datasets.base import Dataset
from synthgen.hardness import count_pixels, rank_members
from synthgen.plan import Member, Plan
from synthgen.refusals import refuse_fixed_labels, refuse_moved_labels, refuse_own_judge
from synthgen.types import BadSample, ConfigError, Item, SourceIndex
from synthgen.weights import digest_weights


@dataclass(frozen=True, eq=False)
class Resolved:
    """A config with everything that it names looked up: what a run needs to know before work starts."""

    config: RunConfig
    index: SourceIndex
    items: dict[str, Item]
    plan: Plan
    digests: dict[str, str]
    run_id: str

    @property
    def outputs(self) -> int:
        """How many outputs the run is to make."""
        return self.plan.first_round


def resolve(config: RunConfig) -> Resolved:
    """Look everything up and refuse what can't work, before anything is loaded or written.

    Raises:
        ConfigError: an empty source, a class without a palette entry, a missing or unpinned model.
    """
    index, chosen = select_items(config.source)
    located = config.source.located_classes(index)
    for labelled in (*config.detect, *config.extract, *config.check):
        labelled.check_classes(located)
    plan = Plan(config.plan, config.seed, list_members(config, chosen))
    for randomizer in (*plan.file.randomizers(), *config.randomize):
        randomizer.check_classes(located)
    refuse_moved_labels(config, plan)
    refuse_fixed_labels(config)
    components = [*config.detect, *config.extract, config.generate, *config.check]
    digests = {f"weights {ref}": digest_weights(ref) for spec in components for ref in spec.weights()}
    refuse_own_judge(config, digests)
    digests |= {"source": digest_index(index, chosen), "prompts": plan.digest}
    items = {item.id: item for item in chosen}
    return Resolved(config, index, items, plan, digests, run_id(config, digests))


def list_members(config: RunConfig, items: tuple[Item, ...]) -> list[Member]:
    """The items as the plan sees them; labels are read only where a target is per class, or hardness counts.

    Raises:
        ConfigError: a target per class, and a source without classes; hardness, and a source without outlines.
    """
    per_class = any(target.per == "class" for target in config.plan.targets)
    hardness = config.plan.hardness
    if not per_class and hardness is None:
        return [Member(item.id) for item in items]
    members, pixels, classes = [], {}, config.source.index().classes
    for item in items:
        member = Member(item.id)
        with suppress(BadSample):
            labels = config.source.labels_of(item)
            member = Member(item.id, (labels.image_class or "") if per_class else "")
            if hardness is not None and labels.mask is not None:
                pixels[item.id] = count_pixels(labels.mask, classes)
        members.append(member)
    if per_class and not any(member.image_class for member in members):
        raise ConfigError("plan.targets: per: class needs images with a class (class folders); remove `per`")
    return members if hardness is None else rank_members(members, pixels, classes, hardness, config.plan.variants)


def select_items(source: Dataset) -> tuple[SourceIndex, tuple[Item, ...]]:
    """The source's index and those of its items that `source.splits` and `source.limit` leave.

    Raises:
        ConfigError: none are left.
    """
    index = source.index()
    if not index.items:
        raise ConfigError(f"source.path: {source.path} holds no images that format {source.format} can read")
    items = index.items
    if source.splits is not None:
        items = tuple(item for item in items if item.split in source.splits)
        if not items:
            there = sorted({str(item.split) for item in index.items})
            raise ConfigError(f"source.splits: {list(source.splits)} leaves no image; the splits are {there}")
    return index, items[: source.limit]


def digest_index(index: SourceIndex, items: tuple[Item, ...]) -> str:
    """SHA-256 over the ids, sizes in bytes and splits of all items and the class table.

    Contents are not read here (that would read the whole source twice); each ledger row has its image's digest.
    """
    digest = hashlib.sha256()
    for item in items:
        label = item.label.stat().st_size if item.label is not None and item.label.is_file() else -1
        size = item.image.stat().st_size if item.image.is_file() else -1
        digest.update(json.dumps([item.id, item.split, size, label]).encode())
    digest.update(json.dumps([[info.id, info.name, info.color, info.ignore] for info in index.classes]).encode())
    return digest.hexdigest()
