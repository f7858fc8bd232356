"""The contact sheets: synthetic pairs of each step as thumbnails, grouped by the source of their prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from gift_core.artifacts.prompt_files import read_prompts
from gift_core.artifacts.shards import STAGE, describe_shards, missing_tars, read_pairs
from gift_core.layout import Layout
from gift_core.report.thumbnails import Thumbnail, a_few, evenly_spaced, thumbnail

PAIRS_PER_SHEET = 24
MAX_SHEETS = 12
MAX_SOURCES = 8  # shown on a sheet
BASE = "base"  # the source_task of the base vocabulary


@dataclass(frozen=True)
class SourceGroup:
    """The pairs of a sheet whose prompts have one source: its name, how many of all pairs there are, and a few of them.

    The name is empty if the sources are unknown.
    """

    source: str
    total: int
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class ContactSheet:
    """The synthetic pairs of one step, and how many of them exist, were generated again or were rejected by filters.

    `position` is the position of the task in the sequence, from 1. `rejected` has a count for each reason. There are no
    groups if the images are not on this machine.
    """

    position: int
    task: str
    total: int
    redrawn: int
    rejected: Mapping[str, int]
    groups: tuple[SourceGroup, ...]

    @property
    def thumbnails(self) -> tuple[Thumbnail, ...]:
        """All images of the sheet."""
        return tuple(image for group in self.groups for image in group.thumbnails)


def contact_sheets(layout: Layout, tasks: tuple[str, ...]) -> tuple[ContactSheet, ...]:
    """A sheet for each task; for a long sequence, MAX_SHEETS of them at even distances.

    ContractError if a manifest is missing, or shards are damaged.
    """
    return tuple(_contact_sheet(layout, tasks, position) for position in evenly_spaced(len(tasks), MAX_SHEETS))


def source_name(source: str) -> str:
    """The source of a prompt as the page names it."""
    return "base vocabulary" if source == BASE else source


def pair_thumbnails(folder: Path, prompt_ids: Sequence[int]) -> list[Thumbnail]:
    """The images of these prompts in their order. ContractError for a damaged shard."""
    pairs = read_pairs(folder, prompt_ids)
    return [thumbnail(pairs[number].prompt, pairs[number].image, file=folder, stage=STAGE) for number in prompt_ids]


def _contact_sheet(layout: Layout, tasks: tuple[str, ...], position: int) -> ContactSheet:
    """The first pairs of each source. Prompts are sampled in random order, so these are a fair sample."""
    task = tasks[position]
    folder, prompts = layout.shards(task), layout.prompts(task)
    manifest = describe_shards(folder, prompts)
    sources = pd.Series("", index=range(manifest["images"]))
    if prompts.is_file():
        sources = read_prompts(prompts)["source_task"]
    return ContactSheet(
        position=position + 1,
        task=task,
        total=manifest["images"],
        redrawn=manifest["redrawn"],
        rejected=manifest.get("rejected", {}),
        groups=() if missing_tars(folder, manifest) else _groups(folder, sources, (BASE, *tasks)),
    )


def _groups(folder: Path, sources: pd.Series, order: Sequence[str]) -> tuple[SourceGroup, ...]:
    """`sources` has the source of each prompt_id."""
    positions = {name: at for at, name in enumerate(order)}
    names = sorted(map(str, sources.unique()), key=lambda name: positions.get(name, -1))
    own = {name: [int(number) for number in sources.index[sources == name]] for name in a_few(names, MAX_SOURCES)}
    counts = _shares([len(numbers) for numbers in own.values()])
    return tuple(
        SourceGroup(source_name(name) if name else "", len(numbers), tuple(pair_thumbnails(folder, numbers[:count])))
        for (name, numbers), count in zip(own.items(), counts, strict=True)
    )


def _shares(totals: Sequence[int]) -> list[int]:
    """How many pairs of each source are shown: equally many, and what is left of the sheet from the first ones."""
    counts = [min(total, PAIRS_PER_SHEET // len(totals)) for total in totals]
    for at, total in enumerate(totals):
        counts[at] += min(total - counts[at], PAIRS_PER_SHEET - sum(counts))
    return counts
