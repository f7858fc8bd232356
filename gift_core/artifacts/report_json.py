"""The JSON files of the report: metrics.json, zero_shot.json and summary.json in reports/.

Figures have four decimals. All tables, sentences and pages print these with one decimal (`one_decimal`).

metrics.json: {"<method>": {"transfer", "avg", "last", "forgetting"}} in percent. Transfer and forgetting are null where
they do not exist: with one task, or class-incremental.

zero_shot.json compares the pre-trained model's accuracies with the published ones: {"benchmark", "verdict": "agrees",
"differs", "not compared" or "no benchmark", "sentence", "data_sets": {"<name>": {"measured", "published"}}}. Percent.

summary.json is what `gift show` prints: {"experiment", "benchmark": its name or null, "miniature_model": true if the
model is the miniature CLIP, "note": what the numbers of the miniature mean or "", "protocol", "result": [sentences],
"best_method": null if nothing was trained, "tasks": in the order of training, "methods": {"<method>":
{"transfer_percent", "avg_percent", "last_percent", "forgetting_points", "by_task": {"<task>": {...}}}}}. A task has
"before_percent" (of the model from which its step starts), "after_percent" (right after its step), "end_percent" and
"difference_points" (end - after). A class-incremental step has "classes_seen", "zero_shot_percent", "after_percent" and
"difference_points" (after - zero-shot), all on the classes seen so far.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gift_core.artifacts.contract import broken, parse_json_object, read_json, require_fields, write_json

STAGE = "report"
DECIMALS = 4
METRICS = ("transfer", "avg", "last", "forgetting")
OPTIONAL = ("transfer", "forgetting")
SUMMARY_METRICS = {
    "transfer": "transfer_percent",
    "avg": "avg_percent",
    "last": "last_percent",
    "forgetting": "forgetting_points",
}
BY_TASK = {
    "task_incremental": ("before_percent", "after_percent", "end_percent", "difference_points"),
    "class_incremental": ("classes_seen", "zero_shot_percent", "after_percent", "difference_points"),
}
VERDICTS = ("agrees", "differs", "not compared", "no benchmark")
NO_BENCHMARK: dict[str, Any] = {"benchmark": None, "verdict": "no benchmark", "sentence": "", "data_sets": {}}
_FIELDS: dict[str, type | tuple[type, ...]] = {"verdict": str, "sentence": str, "data_sets": dict}
_SUMMARY_FIELDS: dict[str, type | tuple[type, ...]] = {
    "experiment": str,
    "benchmark": (str, type(None)),
    "miniature_model": bool,
    "note": str,
    "protocol": str,
    "result": list,
    "best_method": (str, type(None)),
    "tasks": list,
    "methods": dict,
}


def write_metrics(path: Path, metrics: Mapping[str, Mapping[str, float | None]]) -> None:
    """Writes the metrics, methods in the order given, in percent with four decimals. ContractError if unsound."""
    _require_metrics(path, metrics)
    write_json(path, {method: {name: rounded(row[name]) for name in METRICS} for method, row in metrics.items()})


def read_metrics(path: Path) -> dict[str, dict[str, float | None]]:
    """Returns {method: {metric: percent}}. ContractError if the file is missing or breaks the contract."""
    metrics = read_json(path, STAGE)
    _require_metrics(path, metrics)
    return metrics


def parse_metrics(text: str, source: Path) -> dict[str, dict[str, float | None]]:
    """Returns the metrics of a text, as git has it; `source` names it in errors. ContractError as in read_metrics."""
    metrics = parse_json_object(text.encode(), source, STAGE)
    _require_metrics(source, metrics)
    return metrics


def write_zero_shot(path: Path, check: Mapping[str, Any]) -> None:
    """Writes the comparison, accuracies with four decimals. ContractError if unsound."""
    _require_zero_shot(path, dict(check))
    data_sets = {name: {key: rounded(value) for key, value in row.items()} for name, row in check["data_sets"].items()}
    write_json(path, {**check, "data_sets": data_sets})


def read_zero_shot(path: Path) -> dict[str, Any]:
    """Returns the comparison. ContractError if the file is missing or breaks the contract."""
    check = read_json(path, STAGE)
    _require_zero_shot(path, check)
    return check


def write_summary(path: Path, summary: Mapping[str, Any]) -> None:
    """Writes the summary. ContractError if unsound."""
    _require_summary(path, dict(summary))
    write_json(path, summary)


def read_summary(path: Path) -> dict[str, Any]:
    """Returns the summary. ContractError if the file is missing or breaks the contract."""
    summary = read_json(path, STAGE)
    _require_summary(path, summary)
    return summary


def rounded(value: float | None) -> float | None:
    """The value with the decimals that the files have."""
    return None if value is None else round(value, DECIMALS)


def one_decimal(value: float) -> str:
    """The value as it is printed everywhere: with one decimal, rounded from the decimals that the files have.

    Two ways to compute the same mean differ in the last bits. Without the first rounding, one mean of 66.25 would be
    printed as 66.2 and another one as 66.3.
    """
    text = f"{round(value, DECIMALS):.1f}"
    return "0.0" if text == "-0.0" else text


def _require_metrics(path: Path, metrics: Mapping[str, Any]) -> None:
    for method, row in metrics.items():
        if not isinstance(row, Mapping) or sorted(row) != sorted(METRICS):
            raise broken(path, f"{method} should have {', '.join(METRICS)}; it is {row!r}", STAGE)
        for name, value in row.items():
            if value is None and name in OPTIONAL:
                continue
            if not isinstance(value, int | float) or not math.isfinite(value) or abs(value) > 100:
                raise broken(path, f"{method}.{name} should be a percentage, it is {value!r}", STAGE)


def _require_zero_shot(path: Path, check: dict[str, Any]) -> None:
    require_fields(path, check, _FIELDS, STAGE)
    if check["verdict"] not in VERDICTS:
        raise broken(path, f"verdict should be one of {', '.join(VERDICTS)}; found {check['verdict']!r}", STAGE)


def _require_summary(path: Path, summary: dict[str, Any]) -> None:
    require_fields(path, summary, _SUMMARY_FIELDS, STAGE)
    tasks, columns = summary["tasks"], BY_TASK.get(summary["protocol"])
    if columns is None:
        raise broken(path, f"protocol should be one of {', '.join(BY_TASK)}, it is {summary['protocol']!r}", STAGE)
    for name in ("tasks", "result"):
        if not summary[name] or not all(isinstance(text, str) for text in summary[name]):
            raise broken(path, f"{name} should be a list of texts, it is {summary[name]!r}", STAGE)
    for method, row in summary["methods"].items():
        by_task = row.get("by_task") if isinstance(row, dict) else None
        if not isinstance(by_task, dict) or list(by_task) != tasks:
            raise broken(path, f"{method} should have by_task with {', '.join(tasks)}; it is {row!r}", STAGE)
        _require_numbers(path, method, row, tuple(SUMMARY_METRICS.values()))
        for task, of_task in by_task.items():
            _require_numbers(path, f"{method}.by_task.{task}", of_task, columns)


def _require_numbers(path: Path, where: str, row: Any, names: tuple[str, ...]) -> None:
    """Raises ContractError unless the row has a finite number or null for each name."""
    if not isinstance(row, dict) or any(name not in row for name in names):
        raise broken(path, f"{where} should have {', '.join(names)}; it is {row!r}", STAGE)
    for name in names:
        value = row[name]
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if value is not None and not is_number:
            raise broken(path, f"{where}.{name} should be a number, it is {value!r}", STAGE)
