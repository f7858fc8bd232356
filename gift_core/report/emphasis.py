"""Which methods a page draws in a hue of their own: all of a few, and of many only the best and its baseline."""

from __future__ import annotations

from collections.abc import Iterable

from gift_core.report.record import RunRecord
from gift_core.report.words import baseline_method, best_method

COLOURS = 6  # colour-blind safe hues in the style sheet
QUIET = "quiet"


def is_crowded(record: RunRecord) -> bool:
    """Whether there are more methods than hues."""
    return len(record.methods) > COLOURS


def styles_of(record: RunRecord) -> dict[str, str]:
    """The CSS class of each method: m0..m5, or quiet for the many, until the reader picks one in the legend."""
    if not is_crowded(record):
        return {method: f"m{position}" for position, method in enumerate(record.methods)}
    main = {baseline_method(record): "m0", best_method(record): "m1"}
    return {method: main.get(method, QUIET) for method in record.methods}


def quiet_first(record: RunRecord, methods: Iterable[str]) -> list[str]:
    """The methods in the order of drawing: so that no quiet one lies over one with a hue."""
    styles = styles_of(record)
    return sorted(methods, key=lambda method: styles[method] != QUIET)


def quiet_last(record: RunRecord, methods: Iterable[str]) -> list[str]:
    """The methods in the order of reading: those with a hue come first."""
    styles = styles_of(record)
    return sorted(methods, key=lambda method: styles[method] == QUIET)
