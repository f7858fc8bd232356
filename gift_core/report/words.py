"""The words and numbers of the report: names of methods, percentages, durations, the result in one sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gift_core.metrics import ZERO_SHOT
from gift_core.report.record import RunRecord

SHORT = 22
TASKS_NAMED = 4
REASONS = {"clip_score": "the CLIP score", "duplicate": "likeness to another"}
LABELS = {
    ZERO_SHOT: "Zero-shot",
    "individual": "Individual",
    "joint": "Joint",
    "finetune": "Fine-tuning",
    "lwf": "LwF",
    "lwf_vr": "LwF-VR",
    "icarl": "iCaRL",
    "wise_ft": "WiSE-FT",
    "l2": "L2",
    "ewc": "EWC",
    "zscl": "ZSCL",
    "moe_adapters": "MoE-Adapters",
    "gift": "GIFT",
    "gift_cd": "GIFT, CD only",
    "gift_cd_ita": "GIFT, CD + ITA",
    "gift_l2": "GIFT, L2",
    "gift_static_fisher": "GIFT, static Fisher",
    "gift_frozen_fisher": "GIFT, frozen Fisher",
    "gift_feature_mse": "GIFT, feature MSE",
    "gift_reverse_kl": "GIFT, reverse KL",
    "gift_image_side": "GIFT, image side",
    "gift_text_side": "GIFT, text side",
    "gift_initial_teacher": "GIFT, initial teacher",
    "gift_mixed_teacher": "GIFT, mixed teacher",
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
    """`1 task`, `6 tasks`, `1,000 tasks`, `100 classes`."""
    ending = "es" if noun.endswith("s") else "s"
    return f"{count:,} {noun}" + ("" if count == 1 else ending)


def named(tasks: Sequence[str], every: int) -> str:
    """The tasks by name; "all 11 tasks" or, where many are meant, the first of them and their number."""
    if len(tasks) == every and every > 1:
        return f"all {plural(every, 'task')}"
    rest = len(tasks) - TASKS_NAMED
    return ", ".join(tasks) if rest <= 1 else f"{', '.join(tasks[:TASKS_NAMED])} and {rest} more"


def rejections(rejected: Mapping[str, int]) -> str:
    """`12 turned away by clip_score, 3 by duplicate`; empty where the gates turned none away."""
    counted = [f"{count:,} by {REASONS.get(reason, reason)}" for reason, count in rejected.items() if count]
    return f"turned away: {', '.join(counted)}" if counted else ""


def best_method(record: RunRecord) -> str:
    """The contender with the highest Last, a reference only where there are no others; the first of equals."""
    return max(record.contenders or record.methods, key=lambda method: _last(record, method))


def baseline_method(record: RunRecord) -> str | None:
    """What the best is held against: a method with no protection at all, else the contender with the lowest Last."""
    best = best_method(record)
    candidates = [m for m in record.plain_methods if m != best] or [m for m in record.contenders if m != best]
    return min(candidates, key=lambda method: _last(record, method)) if candidates else None


def headline(record: RunRecord) -> tuple[str, str]:
    """The result in one sentence, from the metrics alone; in two parts: what is kept, and what of the unseen tasks."""
    metrics, count = record.metrics, plural(len(record.tasks), "task")
    if record.seen is not None:
        return _headline_on_seen(record)
    if not record.methods:
        return f"The untouched zero-shot model has {number(metrics[ZERO_SHOT]['last'])}% mean accuracy on {count}.", ""
    best, baseline = best_method(record), baseline_method(record)
    kept = f"After {count} {label(best)} keeps {number(metrics[best]['last'])}% mean accuracy"
    if baseline is not None:
        name = "plain fine-tuning" if baseline in record.plain_methods else label(baseline)
        kept += f" where {name} keeps {number(metrics[baseline]['last'])}%"
    if len(record.tasks) == 1:
        return kept, f" (the untouched zero-shot model: {number(metrics[ZERO_SHOT]['last'])}%)."
    unseen = f"on tasks it has not seen yet it has {number(metrics[best]['transfer'])}%"
    if baseline is not None:
        unseen += f" against {number(metrics[baseline]['transfer'])}%"
    return f"{kept};", f" {unseen} (the untouched zero-shot model: {number(metrics[ZERO_SHOT]['transfer'])}%)."


def _headline_on_seen(record: RunRecord) -> tuple[str, str]:
    """The same of a class-incremental run: the accuracy among all classes at the end, and its mean over the steps."""
    metrics, classes = record.metrics, plural(record.classes_seen[-1], "class")
    untouched = f"(the untouched zero-shot model: {number(metrics[ZERO_SHOT]['last'])}%"
    if not record.methods:
        return f"The untouched zero-shot model tells {classes} apart with {number(metrics[ZERO_SHOT]['last'])}%.", ""
    best, baseline = best_method(record), baseline_method(record)
    kept = f"After {plural(len(record.tasks), 'step')} {label(best)} tells {classes} apart with "
    kept += f"{number(metrics[best]['last'])}% accuracy"
    mean = f" over all steps its mean is {number(metrics[best]['avg'])}%"
    if baseline is not None:
        name = "plain fine-tuning" if baseline in record.plain_methods else label(baseline)
        kept += f" where {name} has {number(metrics[baseline]['last'])}%"
        mean += f" against {number(metrics[baseline]['avg'])}%"
    return f"{kept} {untouched});", f"{mean}."


def _last(record: RunRecord, method: str) -> float:
    value = record.metrics[method]["last"]
    assert value is not None, "Last exists for every sequence"
    return value
