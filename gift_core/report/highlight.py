"""What a report page highlights: the best method, its baseline, the headline about them, and the colors of methods."""

from __future__ import annotations

from collections.abc import Iterable

from gift_core.metrics import ZERO_SHOT
from gift_core.quantities import plural
from gift_core.report.labels import label, number
from gift_core.report.run_record import RunRecord

COLORS = 6  # color-blind safe hues in page.css
QUIET = "quiet"


def best_method(record: RunRecord) -> str:
    """The contender with the highest Last, or the best reference if there is no contender. The first one wins a tie."""
    return max(record.contenders or record.methods, key=lambda method: _last(record, method))


def baseline_method(record: RunRecord) -> str | None:
    """The method that the best one is compared with: plain fine-tuning, else the contender with the lowest Last."""
    best = best_method(record)
    candidates = [m for m in record.plain_methods if m != best] or [m for m in record.contenders if m != best]
    return min(candidates, key=lambda method: _last(record, method)) if candidates else None


def headline(record: RunRecord) -> tuple[str, str]:
    """The result in two parts; the page prints the second part in a lighter color."""
    if record.seen is not None:
        return _class_incremental_headline(record)
    count, zero_shot = plural(len(record.tasks), "task"), record.metrics[ZERO_SHOT]
    benchmark = record.miniature.of_benchmark
    if not record.methods:
        return f"The zero-shot model has {number(zero_shot['last'])}% mean accuracy on {count}{benchmark}.", ""
    best, baseline = best_method(record), baseline_method(record)
    kept = f"After {count}{benchmark}, {label(best)} has {_percent(record, best, 'last')} mean accuracy"
    if baseline is not None:
        kept += f" and {name_in_text(record, baseline)} has {_percent(record, baseline, 'last')}"
    if len(record.tasks) == 1:
        return kept, f" (zero-shot model: {number(zero_shot['last'])}%)."
    unseen = f"On tasks not trained yet, {label(best)} has {_percent(record, best, 'transfer')}"
    if baseline is not None:
        unseen += f" and {name_in_text(record, baseline)} has {_percent(record, baseline, 'transfer')}"
    return f"{kept}.", f" {unseen} (zero-shot model: {number(zero_shot['transfer'])}%)."


def name_in_text(record: RunRecord, method: str) -> str:
    """The name of the method within a sentence."""
    return "plain fine-tuning" if method in record.plain_methods else label(method)


def is_crowded(record: RunRecord) -> bool:
    """Whether there are more methods than colors."""
    return len(record.methods) > COLORS


def styles_of(record: RunRecord) -> dict[str, str]:
    """The CSS class of each method: m0 to m5. On a crowded page, all but the best method and its baseline are quiet."""
    if not is_crowded(record):
        return {method: f"m{position}" for position, method in enumerate(record.methods)}
    main = {baseline_method(record): "m0", best_method(record): "m1"}
    return {method: main.get(method, QUIET) for method in record.methods}


def plotting_order(record: RunRecord, methods: Iterable[str]) -> list[str]:
    """Quiet methods first, so that they never cover a highlighted one."""
    styles = styles_of(record)
    return sorted(methods, key=lambda method: styles[method] != QUIET)


def reading_order(record: RunRecord, methods: Iterable[str]) -> list[str]:
    """Highlighted methods first."""
    styles = styles_of(record)
    return sorted(methods, key=lambda method: styles[method] == QUIET)


def _class_incremental_headline(record: RunRecord) -> tuple[str, str]:
    classes, zero_shot = plural(record.classes_seen[-1], "class"), number(record.metrics[ZERO_SHOT]["last"])
    if not record.methods:
        return f"The zero-shot model has {zero_shot}% accuracy on {classes}{record.miniature.of_benchmark}.", ""
    best, baseline = best_method(record), baseline_method(record)
    steps = f"{plural(len(record.tasks), 'step')}{record.miniature.of_benchmark}"
    kept = f"After {steps}, {label(best)} has {_percent(record, best, 'last')} accuracy on {classes}"
    mean = f" Averaged over all steps, {label(best)} has {_percent(record, best, 'avg')}"
    if baseline is not None:
        name = name_in_text(record, baseline)
        kept += f" and {name} has {_percent(record, baseline, 'last')}"
        mean += f" and {name} has {_percent(record, baseline, 'avg')}"
    return f"{kept} (zero-shot model: {zero_shot}%).", f"{mean}."


def _percent(record: RunRecord, method: str, metric: str) -> str:
    return f"{number(record.metrics[method][metric])}%"


def _last(record: RunRecord, method: str) -> float:
    value = record.metrics[method]["last"]
    assert value is not None, "Last exists for every sequence"
    return value
