"""Text for the report pages: method names, column titles, numbers, and the colors of tables."""

from __future__ import annotations

import math
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
NAMES = {  # of methods; a variant has the name of its family before its own
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
}
WORDS = {"lora": "LoRA", "l2": "L2", "mse": "MSE", "kl": "KL", "fisher": "Fisher"}
MAX_LABEL_LENGTH = 22
MAX_TASKS_LISTED = 4
SHADE_POINTS = (1.0, 5.0, 10.0, 20.0, 35.0)  # percentage points at which the next darker shade begins


def count_test_images(tested: int, existing: int) -> str:
    """`8,041 test images`, or `500 of 8,041 test images` where only some were tested."""
    return f"{tested:,} of {plural(existing, 'test image')}" if tested < existing else plural(tested, "test image")


def label(method: str) -> str:
    """The printed name of a method: `GIFT, reverse KL` of gift_reverse_kl. Without a known family it keeps its name."""
    family = max((name for name in NAMES if f"{method}_".startswith(f"{name}_")), key=len, default="")
    words = method.removeprefix(family).strip("_").split("_")
    variant = " ".join(WORDS.get(word, word) for word in words)
    return ", ".join(filter(None, (NAMES[family], variant))) if family else method


def shorten(name: str) -> str:
    """The name, shortened to fit next to a chart."""
    return name if len(name) <= MAX_LABEL_LENGTH else f"{name[: MAX_LABEL_LENGTH - 1]}…"


def number(value: float | None) -> str:
    """The value with one decimal and a true minus sign; an undefined value is a dash."""
    if value is None or math.isnan(value):
        return "–"
    return one_decimal(value).replace("-", "−")


def signed(value: float) -> str:
    """The value with one decimal and its sign: +1.2, −0.4, 0.0."""
    text = number(value)
    return f"+{text}" if value > 0 and text != "0.0" else text


def task_list(tasks: Sequence[str], total: int) -> str:
    """The names of the tasks, or "all 11 tasks". A long list is cut after the first few names."""
    if len(tasks) == total and total > 1:
        return f"all {plural(total, 'task')}"
    return first_names(tasks, MAX_TASKS_LISTED)


def rejections(rejected: Mapping[str, int]) -> str:
    """`rejected by filters: 12 low CLIP score, 3 near-duplicate`; empty if no image was rejected."""
    counts = [f"{count:,} {REASONS.get(reason, reason)}" for reason, count in rejected.items() if count]
    return f"rejected by filters: {', '.join(counts)}" if counts else ""


def shade_of_points(difference: float) -> str:
    """The CSS class of a difference in percentage points: gain1 to gain5, loss1 to loss5, or same."""
    depth = sum(abs(difference) >= points for points in SHADE_POINTS)
    return f"{'gain' if difference > 0 else 'loss'}{depth}" if depth else "same"
