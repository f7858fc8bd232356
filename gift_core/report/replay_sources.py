"""The make-up of the replay: how many prompts of each step came from the base vocabulary and from each earlier task."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from gift_core.artifacts.prompt_files import read_prompts
from gift_core.layout import Layout
from gift_core.report.contact_sheet import BASE, source_name
from gift_core.report.labels import plural
from gift_core.report.thumbnails import evenly_spaced

MAX_STEPS = 12  # rows of the table
MAX_COLUMNS = 12  # sources of a longer sequence are summed: the base vocabulary and all earlier tasks
SHADES = 5  # CSS classes gain1 to gain5
EARLIER = "earlier tasks"


@dataclass(frozen=True)
class SourceCell:
    """How many prompts of a step have this source, the CSS class by their share, and the tooltip."""

    text: str
    shade: str
    exact: str


@dataclass(frozen=True)
class SourceRow:
    """The prompts of a step: its position from 1, its task, their number, and a cell for each source."""

    number: int
    task: str
    total: int
    cells: tuple[SourceCell, ...]


@dataclass(frozen=True)
class SourceTable:
    """A column for each source of prompts, a row for each step. `missing` names steps whose prompts are not here."""

    sources: tuple[str, ...]
    rows: tuple[SourceRow, ...]
    missing: tuple[str, ...]


def read_source_table(layout: Layout, tasks: tuple[str, ...]) -> SourceTable:
    """The sources of the prompts of each step, or of MAX_STEPS steps at even distances. ContractError for damage."""
    counts: dict[int, Mapping[str, int]] = {}
    steps = evenly_spaced(len(tasks), MAX_STEPS)
    for step in steps:
        if layout.prompts(tasks[step]).is_file():
            found = read_prompts(layout.prompts(tasks[step]))["source_task"].value_counts()
            counts[step] = {str(source): int(count) for source, count in found.items()}
    used = [source for source in (BASE, *tasks) if any(source in of_step for of_step in counts.values())]
    if len(used) > MAX_COLUMNS:
        used = [BASE, EARLIER]
        counts = {step: {BASE: of_step.get(BASE, 0), EARLIER: _earlier(of_step)} for step, of_step in counts.items()}
    rows = tuple(
        SourceRow(
            step + 1,
            tasks[step],
            sum(of_step.values()),
            tuple(_cell(of_step.get(source, 0), sum(of_step.values()), source) for source in used),
        )
        for step, of_step in counts.items()
    )
    missing = tuple(tasks[step] for step in steps if step not in counts)
    return SourceTable(tuple(source_name(source) for source in used), rows, missing)


def _earlier(counts: Mapping[str, int]) -> int:
    return sum(count for source, count in counts.items() if source != BASE)


def _cell(count: int, total: int, source: str) -> SourceCell:
    share = count / total
    shade = f"gain{math.ceil(share * SHADES)}" if count else "same"
    exact = f"{source_name(source)}\n{plural(count, 'prompt')}\t{share:.0%}"
    return SourceCell(f"{count:,}" if count else "", shade, exact)
