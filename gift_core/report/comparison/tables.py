"""The comparison's two tables: every figure with its seeds' single values, and every difference with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gift_core.report.comparison.figures import LOWER_IS_BETTER, Comparison, Difference, Spread
from gift_core.report.words import label, number


@dataclass(frozen=True)
class FigureCell:
    """Mean and deviation in print; how far each seed lies from the mean, in shares of the column's reach, -1 to 1."""

    mean: str
    deviation: str
    dots: tuple[float, ...]
    tip: str


@dataclass(frozen=True)
class DifferenceCell:
    """`verdict`: better or worse than the noise, noise (within it), unknown (no interval), none (no difference)."""

    mean: str
    interval: str
    verdict: str


@dataclass(frozen=True)
class Row:
    """`seeds` is a note where the method has fewer seeds than the others."""

    name: str
    seeds: str
    figures: tuple[FigureCell, ...]
    differences: tuple[DifferenceCell, ...]


@dataclass(frozen=True)
class RowGroup:
    """A group's title and its rows."""

    title: str
    rows: tuple[Row, ...]


def row_groups(comparison: Comparison) -> list[RowGroup]:
    """The groups with their rows in order."""
    reach = {column: reach_of(comparison, column) for column in comparison.runs.columns}
    return [
        RowGroup(group.title, tuple(_row(comparison, method, reach) for method in group.methods))
        for group in comparison.groups
    ]


def reach_of(comparison: Comparison, column: str) -> float:
    """The farthest that any seed of any method lies from that method's mean, in points."""
    methods = [method for method, spreads in comparison.spreads.items() if column in spreads]
    figures = [comparison.runs.of(method, column) for method in methods]
    return max((float((series - series.mean()).abs().max()) for series in figures if len(series)), default=0.0)


def _row(comparison: Comparison, method: str, reach: Mapping[str, float]) -> Row:
    runs = comparison.runs
    count, every = comparison.spreads[method][runs.columns[-1]].count, len(runs.seeds)
    differences = comparison.differences.get(method, {})
    return Row(
        name=label(method),
        seeds="" if count == every else f"{count} of {every} seeds",
        figures=tuple(_figure(comparison, method, column, reach[column]) for column in runs.columns),
        differences=tuple(_difference(differences.get(column), column) for column in runs.columns),
    )


def _figure(comparison: Comparison, method: str, column: str, reach: float) -> FigureCell:
    spread = comparison.spreads[method].get(column, Spread(None, None, 0))
    if spread.mean is None:
        return FigureCell(number(None), "", (), "")
    figures = comparison.runs.of(method, column)
    return FigureCell(
        mean=number(spread.mean),
        deviation="" if spread.deviation is None else number(spread.deviation),
        dots=tuple(round((float(value) - spread.mean) / (reach or 1.0), 3) for value in figures),
        tip="\n".join([label(method), *(f"seed {seed}\t{float(value):.2f}" for seed, value in figures.items())]),
    )


def _difference(difference: Difference | None, column: str) -> DifferenceCell:
    if difference is None:
        return DifferenceCell("", "", "none")
    mean = signed(difference.mean)
    if difference.low is None or difference.high is None:
        return DifferenceCell(mean, "", "unknown")
    interval = f"{signed(difference.low)} to {signed(difference.high)}"
    if not difference.exceeds_noise:
        return DifferenceCell(mean, interval, "noise")
    better = (difference.mean > 0) != (column in LOWER_IS_BETTER)
    return DifferenceCell(mean, interval, "better" if better else "worse")


def signed(value: float) -> str:
    """One decimal with its sign: +1.2, −0.4, 0.0."""
    text = number(value)
    return f"+{text}" if value > 0 and text != "0.0" else text
