"""Text for the report pages: method names, column titles, numbers, and the colors of tables."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from gift_core.artifacts.report_json import one_decimal
from gift_core.generators.filters import REASONS
from gift_core.method.metrics import ZERO_SHOT
from gift_core.quantities import first_names, plural

COLUMN_TITLES = {
    "transfer": "Transfer", "avg": "Avg", "last": "Last", "forgetting": "Forgetting", "probes": "Zero-shot kept",
    "own": "Own task",
}  # fmt: skip
LOWER_IS_BETTER = ("forgetting",)
NAMES = {  # of the methods that come with GIFT, and of published ones
    ZERO_SHOT: "Zero-shot",
    "individual": "Individual",
    "joint": "Joint",
    "finetune": "Fine-tuning",
    "finetune_released": "Fine-tuning, released",
    "finetune_lora": "Fine-tuning, LoRA",
    "lwf": "LwF",
    "lwf_vr": "LwF-VR",
    "icarl": "iCaRL",
    "wise_ft": "WiSE-FT",
    "l2": "L2",
    "ewc": "EWC",
    "zscl": "ZSCL",
    "moe_adapters": "MoE-Adapters",
    "gift": "GIFT",
    "gift_released": "GIFT, released",
    "gift_vocabulary": "GIFT, vocabulary",
    "gift_vocabulary_released": "GIFT, vocabulary released",
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
    "gift_image_tower": "GIFT, image tower",
    "gift_lora": "GIFT, LoRA",
}
MAX_LABEL_LENGTH = 22
MAX_TASKS_LISTED = 4
SHADE_POINTS = (1.0, 5.0, 10.0, 20.0, 35.0)  # percentage points at which the next darker shade begins


def count_test_images(tested: int, existing: int) -> str:
    """`8,041 test images`, or `500 of 8,041 test images` where only some were tested."""
    return f"{tested:,} of {plural(existing, 'test image')}" if tested < existing else plural(tested, "test image")


def known_name(method: str) -> str:
    """The printed name of a method without a label: `GIFT, reverse KL` of gift_reverse_kl, of one's own the row's."""
    return NAMES.get(method, method)


def labels_of(rows: Mapping[str, str | None]) -> dict[str, str]:
    """The printed name of each method, of which `rows` has the label. If two have one name, that of the row follows."""
    shown = {method: label or known_name(method) for method, label in rows.items()}
    counts = Counter(shown.values())
    return {method: name if counts[name] == 1 else f"{name} ({method})" for method, name in shown.items()}


def shorten(name: str) -> str:
    """The name, shortened to fit next to a chart. The end stays: names of one's own often differ there alone."""
    return name if len(name) <= MAX_LABEL_LENGTH else f"{name[: MAX_LABEL_LENGTH - 10]}…{name[-9:]}"


def number(value: float | None) -> str:
    """The value with one decimal and a true minus sign; an undefined value is a dash."""
    if value is None or math.isnan(value):
        return "–"
    return one_decimal(value).replace("-", "−")


def signed(value: float) -> str:
    """The value with one decimal and its sign: +1.2, −0.4, 0.0."""
    text = number(value)
    return f"+{text}" if value > 0 and text != "0.0" else text


def probability(p: float) -> str:
    """The p of a test: `p = 0.31`, `p = 0.004` or `p < 0.001`."""
    if p < 0.001:
        return "p < 0.001"
    return f"p = {p:.3f}" if p < 0.01 else f"p = {p:.2f}"


def task_list(tasks: Sequence[str], total: int) -> str:
    """The names of the tasks, or "all 11 tasks". A long list is cut after the first few names."""
    if len(tasks) == total and total > 1:
        return f"all {plural(total, 'task')}"
    return first_names(tasks, MAX_TASKS_LISTED)


def with_tasks(notes: Mapping[str, Sequence[str]]) -> list[str]:
    """Each of the notes by task once, in the order of the tasks, with those that it is of in parentheses."""
    tasks_of: dict[str, list[str]] = {}
    for task, of_task in notes.items():
        for text in of_task:
            tasks_of.setdefault(text, []).append(task)
    return [f"{text} ({task_list(tasks, len(notes))})" for text, tasks in tasks_of.items()]


def rejections(rejected: Mapping[str, int]) -> str:
    """`rejected by filters: 12 low CLIP score, 3 near-duplicate`; empty if no image was rejected."""
    counts = [f"{count:,} {REASONS.get(reason, reason)}" for reason, count in rejected.items() if count]
    return f"rejected by filters: {', '.join(counts)}" if counts else ""


def shade_of_points(difference: float) -> str:
    """The CSS class of a difference in percentage points: gain1 to gain5, loss1 to loss5, or same."""
    depth = sum(abs(difference) >= points for points in SHADE_POINTS)
    if depth == 0:
        return "same"
    return f"gain{depth}" if difference > 0 else f"loss{depth}"
