"""The words and numbers of the report: names of methods, percentages, durations, the result in one sentence."""

from __future__ import annotations

import math

from gift_core.metrics import ZERO_SHOT
from gift_core.report.record import RunRecord

SHORT = 12
LABELS = {
    ZERO_SHOT: "Zero-shot",
    "finetune": "Fine-tuning",
    "gift": "GIFT",
    "lwf": "LwF",
    "lwf_vr": "LwF-VR",
    "icarl": "iCaRL",
    "wise_ft": "WiSE-FT",
    "ewc": "EWC",
    "l2": "L2",
    "zscl": "ZSCL",
}


def label(method: str) -> str:
    """The method's name in print; a method without an entry keeps its name from params.yaml."""
    return LABELS.get(method, method)


def short(name: str) -> str:
    """The name cut to the room that it has beside a chart."""
    return name if len(name) <= SHORT else f"{name[: SHORT - 1]}…"


def number(value: float | None) -> str:
    """One decimal, a true minus sign; an undefined value (one task has no Transfer) is a dash."""
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "−")


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8.3 s, 4 min 12 s, 2 h 5 min."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def plural(count: int, noun: str) -> str:
    """`1 task`, `6 tasks`, `1,000 tasks`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def best_method(record: RunRecord) -> str:
    """The method with the highest Last; the first in params.yaml's order where two are equal."""
    return max(record.methods, key=lambda method: _last(record, method))


def baseline_method(record: RunRecord) -> str | None:
    """What the best is held against: a method with no protection at all, else the one with the lowest Last."""
    best = best_method(record)
    candidates = [m for m in record.plain_methods if m != best] or [m for m in record.methods if m != best]
    return min(candidates, key=lambda method: _last(record, method)) if candidates else None


def headline(record: RunRecord) -> tuple[str, str]:
    """The result in one sentence, from the metrics alone; in two parts: what is kept, and what of the unseen tasks."""
    best, baseline = best_method(record), baseline_method(record)
    metrics = record.metrics
    count, last = plural(len(record.tasks), "task"), number(metrics[best]["last"])
    kept = f"After {count} {label(best)} keeps {last}% mean accuracy"
    if baseline is not None:
        name = "plain fine-tuning" if baseline in record.plain_methods else label(baseline)
        kept += f" where {name} keeps {number(metrics[baseline]['last'])}%"
    if len(record.tasks) == 1:
        return kept, f" (the untouched zero-shot model: {number(metrics[ZERO_SHOT]['last'])}%)."
    unseen = f"on tasks it has not seen yet it has {number(metrics[best]['transfer'])}%"
    if baseline is not None:
        unseen += f" against {number(metrics[baseline]['transfer'])}%"
    return f"{kept};", f" {unseen} (the untouched zero-shot model: {number(metrics[ZERO_SHOT]['transfer'])}%)."


def _last(record: RunRecord, method: str) -> float:
    value = record.metrics[method]["last"]
    assert value is not None, "Last exists for every sequence"
    return value
